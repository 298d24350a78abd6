use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use topicops_contract::{Password, Problem, Problems, PropertiesText};

use super::{Address, OAuthProperties, ScramMechanism, jaas::Jaas, property_key::PropertyKey};

/// How to reach the brokers: a Kafka client properties file as Java clients use it.
///
/// Errors: all mistakes at once; a key that no Kafka client knows is one. A key that would change how the connection is
/// secured and is not supported is one, too. Keys about reading, writing, batching and metering are ignored knowingly,
/// for a workload's own `client.properties` is read with this type as well.
#[derive(Clone, Debug)]
pub struct ClientProperties {
    /// Never empty; tried in this order.
    pub bootstrap_servers: Vec<Address>,
    /// `None` without TLS.
    pub tls: Option<TlsProperties>,
    /// `None` without SASL.
    pub sasl: Option<SaslProperties>,
    /// In its place: a login with a token.
    pub oauth: Option<OAuthProperties>,
    /// How long one request may take.
    pub request_timeout: Duration,
    pub client_id: Option<String>,
    /// Of no use to administration; the verifier looks whether the user sees this group.
    pub group_id: Option<String>,
}

/// Trust and identity for TLS. The broker's name is always checked against its certificate.
#[derive(Clone, Debug)]
pub struct TlsProperties {
    /// Who may vouch for brokers; `None`: the system's roots.
    pub trust: Option<PemSource>,
    /// Our own certificate chain and key, for mutual TLS.
    pub identity: Option<TlsIdentity>,
    /// TLS 1.2 is spoken besides 1.3.
    pub tls12: bool,
    pub tls13: bool,
}

#[derive(Clone, Debug)]
pub enum TlsIdentity {
    /// One PEM file with the key and the chain.
    File(PathBuf),
    Inline {
        chain: String,
        key: Password,
    },
}

/// PEM text, or the file that holds it. Files are read when the connection is configured, not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemSource {
    File(PathBuf),
    Inline(String),
}

#[derive(Clone, Debug)]
pub struct SaslProperties {
    pub mechanism: SaslMechanism,
    pub username: String,
    pub password: Password,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    Plain,
    Scram(ScramMechanism),
}

const MECHANISM: &str = "sasl.mechanism";
const OAUTHBEARER: &str = "OAUTHBEARER";

/// Java's default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

impl ClientProperties {
    /// Whether they are for a listener that knows no SASL.
    pub fn takes_no_sasl(&self) -> bool {
        self.sasl.is_none() && self.oauth.is_none()
    }

    /// Reads properties text. `source` names it in the problems: a file name, or a key.
    pub fn parse(source: &str, text: &str) -> Result<Self, Problems> {
        let pairs = PropertiesText::parse(source, text).map_err(without_values)?;
        let mut reader = Reader { pairs, problems: Problems::new() };
        reader.sort_keys();
        let bootstrap_servers = reader.bootstrap_servers();
        let (tls, sasl) = reader.security();
        let oauth = sasl && reader.pairs.get(MECHANISM).is_some_and(|text| text == OAUTHBEARER);
        if !oauth {
            reader.without_oauth();
        }
        let properties = Self {
            bootstrap_servers,
            tls: tls.then(|| reader.tls()),
            sasl: if sasl && !oauth { reader.sasl() } else { None },
            oauth: if oauth { reader.oauth() } else { None },
            request_timeout: reader.request_timeout(),
            client_id: reader.take("client.id"),
            group_id: reader.take("group.id"),
        };
        reader.problems.into_result(properties)
    }
}

/// A line that cannot be read may be the one with the password.
fn without_values(problems: Problems) -> Problems {
    let mut shown = Problems::new();
    shown.extend(problems.into_iter().map(|problem| {
        let expected = if problem.expected.contains("given twice") {
            "given twice with different values; keep one"
        } else {
            "cannot be read: a broken \\u escape, or a line without a key"
        };
        Problem::missing(problem.key, expected)
    }));
    shown
}

struct Reader {
    pairs: BTreeMap<String, String>,
    problems: Problems,
}

impl Reader {
    fn sort_keys(&mut self) {
        for key in self.pairs.keys() {
            match PropertyKey::of(key) {
                Ok(PropertyKey::Used | PropertyKey::Ignored) => {}
                Ok(PropertyKey::Unsupported) => self.problems.push(Problem::missing(
                    key,
                    "is not supported; take it out (PEM stores need no store password, and keys stand unencrypted)",
                )),
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    /// An empty value counts as none, as with most Java clients' optional settings.
    fn take(&mut self, key: &str) -> Option<String> {
        self.pairs.remove(key).filter(|value| !value.is_empty())
    }

    fn wrong<T>(&mut self, key: &str, value: &str, expected: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(key, value, expected));
        None
    }

    fn missing<T>(&mut self, key: &str, expected: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::missing(key, expected));
        None
    }

    fn bootstrap_servers(&mut self) -> Vec<Address> {
        const KEY: &str = "bootstrap.servers";
        let Some(text) = self.take(KEY) else {
            self.missing::<()>(KEY, "is required: host:port of some brokers, separated by commas");
            return Vec::new();
        };
        let mut servers = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.parse() {
                Ok(address) => servers.push(address),
                Err(expected) => {
                    self.wrong::<()>(KEY, entry, expected);
                }
            }
        }
        if servers.is_empty() && self.problems.iter().all(|problem| problem.key != KEY) {
            self.wrong::<()>(KEY, &text, "names no server");
        }
        servers
    }

    /// Whether TLS and SASL are wanted.
    fn security(&mut self) -> (bool, bool) {
        const KEY: &str = "security.protocol";
        match self.take(KEY).as_deref() {
            None => (false, false),
            Some(text) => match text.to_ascii_uppercase().as_str() {
                "PLAINTEXT" => (false, false),
                "SSL" => (true, false),
                "SASL_PLAINTEXT" => (false, true),
                "SASL_SSL" => (true, true),
                _ => {
                    self.wrong::<()>(KEY, text, "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL");
                    (false, false)
                }
            },
        }
    }

    fn tls(&mut self) -> TlsProperties {
        const ALGORITHM: &str = "ssl.endpoint.identification.algorithm";
        // Without the check, everybody with any certificate of the same authority passes for a broker and is handed
        // our login; so there is no way to turn it off.
        if let Some(value) = self.pairs.remove(ALGORITHM).filter(|value| !value.eq_ignore_ascii_case("https"))
        {
            self.wrong::<()>(
                ALGORITHM,
                &value,
                "must be https: topicops always checks that a broker's certificate is for the name it was called by",
            );
        }
        let (tls12, tls13) = self.tls_versions();
        TlsProperties { trust: self.trust(), identity: self.identity(), tls12, tls13 }
    }

    fn tls_versions(&mut self) -> (bool, bool) {
        const KEY: &str = "ssl.enabled.protocols";
        let Some(text) = self.take(KEY) else { return (true, true) };
        let (mut tls12, mut tls13) = (false, false);
        for entry in text.split(',').map(str::trim) {
            match entry {
                "TLSv1.2" => tls12 = true,
                "TLSv1.3" => tls13 = true,
                _ => {
                    self.wrong::<()>(KEY, entry, "TLSv1.2, TLSv1.3 or both");
                }
            }
        }
        (tls12, tls13)
    }

    /// `PEM` is the one store type that is read. Nothing but PEM can be meant by inline certificates.
    fn store_is_pem(&mut self, key: &str, inline: bool, location: bool) {
        match self.take(key) {
            Some(kind) if kind.eq_ignore_ascii_case("PEM") => {}
            Some(kind) => {
                self.wrong::<()>(
                    key,
                    &kind,
                    "must be PEM; `keytool -exportcert -rfc` and `openssl pkcs12` convert",
                );
            }
            None if location && !inline => {
                self.missing::<()>(key, "must be PEM, and Java clients assume JKS where it is missing");
            }
            None => {}
        }
    }

    fn trust(&mut self) -> Option<PemSource> {
        let inline = self.take("ssl.truststore.certificates");
        let location = self.take("ssl.truststore.location");
        self.store_is_pem("ssl.truststore.type", inline.is_some(), location.is_some());
        match (inline, location) {
            (Some(_), Some(location)) => self.wrong(
                "ssl.truststore.location",
                &location,
                "stands beside ssl.truststore.certificates; keep one of them",
            ),
            (Some(pem), None) => Some(PemSource::Inline(pem)),
            (None, Some(path)) => Some(PemSource::File(path.into())),
            (None, None) => None,
        }
    }

    fn identity(&mut self) -> Option<TlsIdentity> {
        let chain = self.take("ssl.keystore.certificate.chain");
        let key = self.take("ssl.keystore.key").map(Password::new);
        let location = self.take("ssl.keystore.location");
        self.store_is_pem("ssl.keystore.type", chain.is_some() || key.is_some(), location.is_some());
        match (chain, key, location) {
            (None, None, None) => None,
            (None, None, Some(path)) => Some(TlsIdentity::File(path.into())),
            (Some(chain), Some(key), None) => Some(TlsIdentity::Inline { chain, key }),
            (_, _, Some(location)) => self.wrong(
                "ssl.keystore.location",
                &location,
                "stands beside ssl.keystore.certificate.chain or ssl.keystore.key; keep one of them",
            ),
            (Some(_), None, None) => {
                self.missing("ssl.keystore.key", "is missing beside ssl.keystore.certificate.chain")
            }
            (None, Some(_), None) => {
                self.missing("ssl.keystore.certificate.chain", "is missing beside ssl.keystore.key")
            }
        }
    }

    fn sasl(&mut self) -> Option<SaslProperties> {
        let mechanism = self.mechanism();
        let login = match self.take("sasl.jaas.config") {
            Some(text) => self.jaas(&text, mechanism),
            None => Some((self.take("sasl.username"), self.take("sasl.password").map(Password::new))),
        };
        match (mechanism, login?) {
            (Some(mechanism), (Some(username), Some(password))) => {
                Some(SaslProperties { mechanism, username, password })
            }
            (None, _) => None,
            (Some(_), (username, password)) => {
                let lacking = match (username, password) {
                    (None, None) => "a username and a password are",
                    (None, Some(_)) => "a username is",
                    _ => "a password is",
                };
                self.missing(
                    "sasl.jaas.config",
                    format!("{lacking} missing: give them in sasl.jaas.config, or as sasl.username and sasl.password"),
                )
            }
        }
    }

    fn mechanism(&mut self) -> Option<SaslMechanism> {
        const KEY: &str = MECHANISM;
        const EXPECTED: &str = "one of SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, OAUTHBEARER";
        match self.take(KEY).as_deref() {
            Some("PLAIN") => Some(SaslMechanism::Plain),
            Some("SCRAM-SHA-256") => Some(SaslMechanism::Scram(ScramMechanism::Sha256)),
            Some("SCRAM-SHA-512") => Some(SaslMechanism::Scram(ScramMechanism::Sha512)),
            Some(other @ "GSSAPI") => self.wrong(KEY, other, format!("is not supported; {EXPECTED}")),
            Some(other) => self.wrong(KEY, other, EXPECTED),
            None => self.missing(KEY, format!("is missing, and Java clients assume GSSAPI; {EXPECTED}")),
        }
    }

    /// The login of a JAAS text. Its value is never part of a problem: it holds a password.
    fn jaas(
        &mut self,
        text: &str,
        mechanism: Option<SaslMechanism>,
    ) -> Option<(Option<String>, Option<Password>)> {
        const KEY: &str = "sasl.jaas.config";
        let jaas = match Jaas::parse(text) {
            Ok(jaas) => jaas,
            Err(expected) => return self.missing(KEY, format!("cannot be read: it {expected}")),
        };
        let module = jaas.module.rsplit('.').next().unwrap_or_default();
        let wanted = match mechanism {
            Some(SaslMechanism::Plain) => "PlainLoginModule",
            Some(SaslMechanism::Scram(_)) => "ScramLoginModule",
            None => module,
        };
        if module != wanted {
            return self.missing(
                KEY,
                format!("names a login module that does not fit sasl.mechanism, which needs {wanted}"),
            );
        }
        for key in ["sasl.username", "sasl.password"] {
            if self.take(key).is_some() {
                return self.missing(key, "stands beside sasl.jaas.config; keep one of them");
            }
        }
        Some((jaas.username.filter(|name| !name.is_empty()), jaas.password))
    }

    fn request_timeout(&mut self) -> Duration {
        const KEY: &str = "request.timeout.ms";
        let Some(text) = self.take(KEY) else { return REQUEST_TIMEOUT };
        match text.trim().parse::<u32>() {
            Ok(millis @ 1..=3_600_000) => Duration::from_millis(millis.into()),
            _ => {
                self.wrong::<()>(KEY, &text, "milliseconds, from 1 to 3600000");
                REQUEST_TIMEOUT
            }
        }
    }
}

#[path = "client_properties_oauth.rs"]
mod oauth;

#[cfg(test)]
#[path = "client_properties_tests.rs"]
mod tests;

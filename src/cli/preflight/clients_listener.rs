use std::{fs, path::Path};

use super::{
    super::settings::ClientSecurityProtocol,
    PreflightSettings,
    check::{Check, On::Kafka},
};
use crate::kafka::{ClientProperties, ClusterError, PemSource, TlsProperties, WireCluster, authorities};

/// Where and how clients log in.
pub(super) struct ClientsListener {
    /// `SCRAM-SHA-512`
    pub(super) mechanism: String,
    /// How it is reached; what is in the way of that.
    pub(super) setup: Result<ClientProperties, String>,
}

impl ClientsListener {
    /// As topicops itself reaches the brokers, where flags do not say otherwise.
    pub(super) fn of(settings: &PreflightSettings, own: &ClientProperties) -> Self {
        let mechanism = settings.client_sasl_mechanism.to_string();
        Self { mechanism, setup: setup(settings, own) }
    }

    /// Whether the brokers offer the mechanism there.
    pub(super) async fn look(&self) -> Check {
        let what = format!("{} for clients", self.mechanism);
        let cluster = match &self.setup {
            Ok(setup) => WireCluster::new(setup.clone()).map_err(|problems| problems.to_string()),
            Err(why) => Err(why.clone()),
        };
        match cluster {
            Ok(cluster) => self.of_offered(cluster.sasl_mechanisms().await),
            Err(why) => Check::missing(Kafka, what, why),
        }
    }

    fn of_offered(&self, offered: Result<Vec<String>, ClusterError>) -> Check {
        let wanted = &self.mechanism;
        match offered {
            Ok(offered) if offered.contains(wanted) => {
                Check::ok(Kafka, format!("clients may log in with {wanted}"))
            }
            Ok(offered) => {
                let why = format!("where clients log in, brokers offer {}", offered.join(", "));
                Check::missing(Kafka, format!("{wanted} for clients"), why).todo(format!(
                    "add {wanted} to sasl.enabled.mechanisms of that listener, or see --client-bootstrap-servers and \
                     --client-sasl-mechanism"
                ))
            }
            Err(error) => Check::missing(Kafka, format!("{wanted} for clients"), error.message)
                .todo("see --client-bootstrap-servers, --client-security-protocol and --client-ca"),
        }
    }
}

/// Clients have no certificate of their own, and nobody logs in here.
fn setup(settings: &PreflightSettings, own: &ClientProperties) -> Result<ClientProperties, String> {
    let secure = match settings.client_security_protocol {
        Some(protocol) => protocol == ClientSecurityProtocol::SaslSsl,
        None => own.tls.is_some(),
    };
    let trust = match (&settings.client_ca, secure) {
        (Some(file), true) => Some(PemSource::Inline(certificates(file)?)),
        (Some(file), false) => {
            let shown = file.display();
            return Err(format!(
                "--client-ca {shown}: clients use SASL_PLAINTEXT, which has no CA; take it away, or set \
                 --client-security-protocol SASL_SSL"
            ));
        }
        (None, true) => own_authorities(own)?.map(PemSource::Inline),
        (None, false) => None,
    };
    let at = &settings.client_bootstrap_servers;
    Ok(ClientProperties {
        bootstrap_servers: if at.is_empty() { own.bootstrap_servers.clone() } else { at.clone() },
        tls: secure.then(|| TlsProperties {
            trust,
            identity: None,
            tls12: own.tls.as_ref().is_none_or(|tls| tls.tls12),
            tls13: own.tls.as_ref().is_none_or(|tls| tls.tls13),
        }),
        sasl: None,
        oauth: None,
        request_timeout: own.request_timeout,
        client_id: own.client_id.clone(),
        group_id: None,
    })
}

/// What topicops itself trusts, as clients would get it.
fn own_authorities(own: &ClientProperties) -> Result<Option<String>, String> {
    let (key, pem) = match own.tls.as_ref().and_then(|tls| tls.trust.as_ref()) {
        None => return Ok(None),
        Some(PemSource::Inline(pem)) => ("ssl.truststore.certificates", pem.clone()),
        Some(PemSource::File(file)) => {
            const KEY: &str = "ssl.truststore.location";
            let pem =
                fs::read_to_string(file).map_err(|error| format!("{KEY} {}: {error}", file.display()))?;
            (KEY, pem)
        }
    };
    authorities(key, &pem).map(Some).map_err(|problem| format!("--kafka-config: {problem}"))
}

fn certificates(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let pem = fs::read_to_string(file).map_err(|error| format!("--client-ca {shown}: {error}"))?;
    authorities("--client-ca", &pem).map_err(|problem| format!("{shown}: {problem}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::check::State, *};

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        settings: PreflightSettings,
    }

    fn of(own: &str, flags: &[&str]) -> ClientsListener {
        let settings = Command::parse_from(["t"].iter().chain(flags)).settings;
        ClientsListener::of(&settings, &ClientProperties::parse("t", own).unwrap())
    }

    const PLAIN: &str = "bootstrap.servers=own:1\nsecurity.protocol=PLAINTEXT\n";
    const MUTUAL: &str = "bootstrap.servers=own:1\nsecurity.protocol=SSL\nssl.truststore.type=PEM\n\
                          ssl.truststore.location=/ca.pem\nssl.keystore.type=PEM\nssl.keystore.location=/own.pem\n";

    /// A certificate authority, and its key.
    fn authority() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn clients_log_in_as_topicops_does_unless_flags_say_otherwise_and_never_with_its_certificate() {
        let (folder, pem) = (tempfile::tempdir().unwrap(), authority().0);
        let file = folder.path().join("ca.pem");
        fs::write(&file, &pem).unwrap();
        let same = of(&MUTUAL.replace("/ca.pem", &file.display().to_string()), &[]);
        let setup = same.setup.unwrap();
        let tls = setup.tls.unwrap();
        assert_eq!(
            (same.mechanism.as_str(), setup.bootstrap_servers[0].to_string().as_str()),
            ("SCRAM-SHA-512", "own:1")
        );
        assert_eq!(tls.trust, Some(PemSource::Inline(pem)));
        assert!(tls.identity.is_none(), "that is topicops' own");
        let flags = ["--client-bootstrap-servers", "a:2,b:3", "--client-security-protocol", "SASL_PLAINTEXT"];
        let other = of(MUTUAL, &flags).setup.unwrap();
        assert!(other.tls.is_none() && other.bootstrap_servers.len() == 2);
        let secure = of(PLAIN, &["--client-security-protocol", "SASL_SSL"]).setup.unwrap();
        assert!(secure.tls.is_some_and(|tls| tls.trust.is_none()), "the system's roots");
    }

    #[test]
    fn a_ca_that_cannot_be_used_is_missing() {
        let plain = of(PLAIN, &["--client-ca", "/nowhere.pem"]);
        assert!(plain.setup.unwrap_err().contains("SASL_PLAINTEXT, which has no CA"));
        let away = of(MUTUAL, &["--client-ca", "/nowhere.pem"]);
        assert!(away.setup.unwrap_err().starts_with("--client-ca /nowhere.pem: "));
    }

    #[test]
    fn a_trust_store_of_its_own_that_run_does_not_start_with_is_missing() {
        let (pem, key) = authority();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("both.pem");
        fs::write(&file, format!("{key}{pem}")).unwrap();
        let located = MUTUAL.replace("/ca.pem", &file.display().to_string());
        let inline = format!("{key}{pem}").replace('\n', "\\n");
        let inline = format!("{PLAIN}ssl.truststore.type=PEM\nssl.truststore.certificates={inline}\n");
        let inline = inline.replace("=PLAINTEXT", "=SSL");
        for own in [located, inline] {
            let told = of(&own, &[]).setup.unwrap_err();
            assert!(told.contains("holds a private key"), "{told}");
            let plain = ["--client-bootstrap-servers", "a:2", "--client-security-protocol", "SASL_PLAINTEXT"];
            assert!(of(&own, &plain).setup.is_ok(), "clients get no CA");
        }
        let away = of(MUTUAL, &[]).setup.unwrap_err();
        assert!(away.starts_with("ssl.truststore.location /ca.pem: "), "{away}");
    }

    #[test]
    fn a_listener_without_the_mechanism_that_is_asked_for_is_missing_it() {
        let state = |flags: &[&str], names: &[&str]| {
            let offered = names.iter().map(|name| (*name).to_owned()).collect();
            of(PLAIN, flags).of_offered(Ok(offered)).state
        };
        let sha256 = ["--client-sasl-mechanism", "SCRAM-SHA-256"];
        assert_eq!(state(&[], &["PLAIN", "SCRAM-SHA-512"]), State::Ok);
        assert_eq!(state(&[], &["PLAIN"]), State::Missing);
        assert_eq!(state(&sha256, &["SCRAM-SHA-512"]), State::Missing);
        assert_eq!(state(&sha256, &["SCRAM-SHA-256"]), State::Ok);
    }
}

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use topicops_contract::ClientEndpoint;

use super::{Settings, kafka_config, settings::ClientSecurityProtocol};
use crate::kafka::{ClientProperties, PemSource, TlsIdentity, TokenSource, authorities};

/// How the brokers are reached, by topicops and by its clients: what the flags say, and what stands in their files.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) own: ClientProperties,
    /// What goes into the Secrets.
    pub(super) endpoint: ClientEndpoint,
    /// Where clients log in, when that may be another listener than topicops' own.
    pub(super) logins: Option<ClientProperties>,
    /// The clients' listener as clients reach it, whoever logs in.
    pub(super) clients: ClientProperties,
    /// Of all that was read.
    pub(super) digest: [u8; 32],
}

impl Reach {
    /// # Errors
    /// What cannot be read or used, with its file.
    pub(super) fn read(settings: &Settings) -> Result<Self> {
        let mut seen = Seen::default();
        let own = seen.read("--kafka-config", &settings.kafka_config)?;
        let own = kafka_config::parsed(&settings.kafka_config, &own)?;
        let mut own_trust = None;
        if let Some(tls) = &own.tls {
            own_trust = match &tls.trust {
                Some(PemSource::File(file)) => {
                    Some(("ssl.truststore.location", seen.read("ssl.truststore.location", file)?))
                }
                Some(PemSource::Inline(pem)) => Some(("ssl.truststore.certificates", pem.clone())),
                None => None,
            };
            if let Some(TlsIdentity::File(file)) = &tls.identity {
                seen.read("ssl.keystore.location", file)?;
            }
        }
        if let Some(TokenSource::Endpoint(server)) = own.oauth.as_ref().map(|oauth| &oauth.source)
            && let Some(PemSource::File(file)) = server.tls.as_ref().and_then(|tls| tls.trust.as_ref())
        {
            seen.read("ssl.truststore.location of the authorization server", file)?;
        }
        let (flags, protocol) = (&settings.clients, settings.clients.protocol(&own));
        let truststore_pem = match flags.ca(&own, |file| seen.read("--client-ca", file))? {
            Some(pem) => Some(pem),
            None if protocol == ClientSecurityProtocol::SaslSsl => {
                let pem = own_trust.map(|(key, pem)| authorities(key, &pem)).transpose();
                let shown = settings.kafka_config.display();
                pem.map_err(|problem| anyhow!("--kafka-config {shown}: {problem}"))?
            }
            None => None,
        };
        let endpoint = ClientEndpoint {
            bootstrap_servers: match &flags.client_bootstrap_servers {
                Some(servers) => servers.to_string(),
                None => own.bootstrap_servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            },
            security_protocol: protocol.as_str().to_owned(),
            sasl_mechanism: flags.client_sasl_mechanism.to_string(),
            truststore_pem,
        };
        let clients = flags.listener(&own, endpoint.truststore_pem.clone().map(PemSource::Inline));
        let logins = flags.client_bootstrap_servers.is_some().then(|| clients.clone());
        if logins.is_none() && own.takes_no_sasl() {
            bail!(
                "--client-bootstrap-servers is missing: with security.protocol={} topicops uses a listener where clients cannot \
                 log in with SASL; name one where they can",
                if own.tls.is_some() { "SSL" } else { "PLAINTEXT" }
            );
        }
        Ok(Self { own, endpoint, logins, clients, digest: seen.digest.finalize().into() })
    }
}

/// What was read so far.
#[derive(Default)]
struct Seen {
    digest: Sha256,
}

impl Seen {
    fn read(&mut self, what: &str, file: &Path) -> Result<String> {
        let text =
            fs::read_to_string(file).with_context(|| format!("{what} {}: cannot be read", file.display()))?;
        self.digest.update((text.len() as u64).to_be_bytes());
        self.digest.update(&text);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        settings: Settings,
    }

    const OWN: &str = "bootstrap.servers=own:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=u\n\
                       sasl.password=p\nssl.truststore.certificates=CA\n";

    fn authority() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn own(pem: &str) -> String {
        OWN.replace("=CA", &format!("={}", pem.replace('\n', "\\n")))
    }

    fn read(own: &str, args: &[&str]) -> Result<Reach> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("client.properties");
        fs::write(&file, own)?;
        let file = file.display().to_string();
        let command = Command::try_parse_from(["t", "--kafka-config", &file].iter().chain(args))?;
        Reach::read(&command.settings)
    }

    #[test]
    fn clients_reach_the_brokers_as_topicops_does_unless_flags_say_otherwise() {
        let ca = authority().0;
        let text = own(&ca);
        let same = read(&text, &[]).unwrap();
        assert_eq!((same.endpoint.bootstrap_servers.as_str(), same.logins.is_none()), ("own:1", true));
        assert_eq!(same.endpoint.security_protocol, "SASL_SSL");
        assert_eq!(same.endpoint.sasl_mechanism, "SCRAM-SHA-512");
        assert_eq!(same.endpoint.truststore_pem.as_deref(), Some(ca.as_str()));
        assert_eq!(same.clients.bootstrap_servers, same.own.bootstrap_servers);
        let other = read(
            &text,
            &[
                "--client-bootstrap-servers=a:1,b:2",
                "--client-security-protocol=SASL_PLAINTEXT",
                "--client-sasl-mechanism=SCRAM-SHA-256",
            ],
        )
        .unwrap();
        assert_eq!(other.endpoint.bootstrap_servers, "a:1,b:2");
        assert_eq!(other.endpoint.security_protocol, "SASL_PLAINTEXT");
        assert_eq!(other.endpoint.sasl_mechanism, "SCRAM-SHA-256");
        assert_eq!(other.endpoint.truststore_pem, None);
        let logins = other.logins.unwrap();
        assert_eq!((logins.bootstrap_servers.len(), logins.tls.is_none()), (2, true));
        assert_ne!(same.digest, read(&own(&authority().0), &[]).unwrap().digest);
        assert_eq!(same.digest, read(&text, &[]).unwrap().digest);
    }

    #[test]
    fn what_an_authorization_server_is_trusted_by_counts_as_read() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let text = format!(
            "bootstrap.servers=own:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n\
             sasl.oauthbearer.token.endpoint.url=https://idp/token\nsasl.jaas.config=\
             org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"c\" \
             clientSecret=\"s\" ssl.truststore.type=\"PEM\" ssl.truststore.location=\"{}\";\n",
            ca.display()
        );
        let digest = |pem: String| {
            fs::write(&ca, pem).unwrap();
            read(&text, &[]).unwrap().digest
        };
        assert_ne!(digest(authority().0), digest(authority().0));
    }

    #[test]
    fn no_private_key_gets_into_what_clients_are_given() {
        let (pem, key) = authority();
        let combined = format!("{key}{pem}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("both.pem");
        fs::write(&file, &combined).unwrap();
        let flag = format!("--client-ca={}", file.display());
        let located = OWN.replace("certificates=CA", &format!("location={}", file.display()));
        let located = format!("{located}ssl.truststore.type=PEM\n");
        for (text, args) in [(own(&combined), &[][..]), (located, &[]), (own(&pem), &[flag.as_str()])] {
            let told = format!("{:#}", read(&text, args).unwrap_err());
            assert!(told.contains("holds a private key"), "{told}");
            assert!(!told.contains(key.lines().nth(1).unwrap()), "{told}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, "no certificate").unwrap();
        let ca = format!("--client-ca={}", ca.display());
        let text = own(&authority().0);
        let mutual = "bootstrap.servers=own:1\nsecurity.protocol=SSL\n";
        for (own, args, told) in [
            (text.as_str(), &[ca.as_str()][..], "holds no PEM certificate"),
            (text.as_str(), &[&ca, "--client-security-protocol=SASL_PLAINTEXT"], "which has no CA"),
            (text.as_str(), &["--client-ca=/nowhere/ca.pem"], "--client-ca /nowhere/ca.pem: cannot be read"),
            (text.as_str(), &["--client-bootstrap-servers=a"], "\"a\": each server is host:port"),
            (text.as_str(), &["--client-bootstrap-servers=,"], "names no server"),
            (text.as_str(), &["--client-sasl-mechanism=PLAIN"], "SCRAM-SHA-256"),
            (text.as_str(), &["--client-security-protocol=SSL"], "SASL_PLAINTEXT"),
            (mutual, &[], "--client-bootstrap-servers is missing: with security.protocol=SSL"),
        ] {
            let error = format!("{:#}", read(own, args).unwrap_err());
            assert!(error.contains(told), "{told}: {error}");
        }
        assert!(read(mutual, &["--client-bootstrap-servers=a:1"]).is_ok());
    }
}

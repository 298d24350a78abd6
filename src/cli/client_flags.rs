use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use clap::Args;

use super::{
    bootstrap_servers::BootstrapServers,
    settings::{ClientSaslMechanism, ClientSecurityProtocol},
};
use crate::kafka::{ClientProperties, PemSource, TlsProperties, authorities};

/// How clients reach the brokers, where they do it differently from topicops.
#[derive(Args, Clone, Debug)]
pub struct ClientFlags {
    /// Bootstrap servers for the Secrets, when clients reach the brokers differently from topicops.
    #[arg(long, env = "TOPICOPS_CLIENT_BOOTSTRAP_SERVERS", value_name = "HOST:PORT,…")]
    pub client_bootstrap_servers: Option<BootstrapServers>,

    /// PEM file with the CA for the Secrets, when clients need another than topicops. Read again when it changes.
    #[arg(long, env = "TOPICOPS_CLIENT_CA", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// How clients log in: the SCRAM mechanism of the credentials made here.
    #[arg(long, env = "TOPICOPS_CLIENT_SASL_MECHANISM", value_enum, default_value = "SCRAM-SHA-512")]
    pub client_sasl_mechanism: ClientSaslMechanism,

    /// Security protocol for the Secrets, when clients reach the brokers differently from topicops. Default: with TLS where topicops itself uses it.
    #[arg(long, env = "TOPICOPS_CLIENT_SECURITY_PROTOCOL", value_enum, value_name = "PROTOCOL")]
    pub client_security_protocol: Option<ClientSecurityProtocol>,
}

impl ClientFlags {
    pub(super) fn protocol(&self, own: &ClientProperties) -> ClientSecurityProtocol {
        self.client_security_protocol.unwrap_or(match own.tls {
            Some(_) => ClientSecurityProtocol::SaslSsl,
            None => ClientSecurityProtocol::SaslPlaintext,
        })
    }

    /// The certificates of `--client-ca`, and nothing else of it; `None`: there is no such flag.
    ///
    /// # Errors
    /// What cannot be read or used.
    pub(super) fn ca(
        &self,
        own: &ClientProperties,
        read: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<Option<String>> {
        let Some(file) = &self.client_ca else { return Ok(None) };
        let shown = file.display();
        match self.protocol(own) {
            ClientSecurityProtocol::SaslSsl => {
                let pem = authorities("PEM", &read(file)?);
                Ok(Some(pem.map_err(|problem| anyhow!("--client-ca {shown}: {problem}"))?))
            }
            ClientSecurityProtocol::SaslPlaintext => bail!(
                "--client-ca {shown}: clients use SASL_PLAINTEXT, which has no CA; take it away, or set \
                 --client-security-protocol SASL_SSL"
            ),
        }
    }

    /// The clients' listener as clients reach it: they have no certificate of their own, and nobody logs in here.
    pub(super) fn listener(&self, own: &ClientProperties, trust: Option<PemSource>) -> ClientProperties {
        let secure = self.protocol(own) == ClientSecurityProtocol::SaslSsl;
        let servers = self.client_bootstrap_servers.as_ref();
        ClientProperties {
            bootstrap_servers: servers
                .map_or_else(|| own.bootstrap_servers.clone(), |servers| servers.addresses().to_vec()),
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
        }
    }
}

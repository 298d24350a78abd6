use std::{error::Error, io};

use rustls::AlertDescription;

use crate::kafka::{ClusterError, ItemError, Trouble};

/// Why a connection or a request failed, before it is known which operation that ends.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) trouble: Trouble,
    pub(super) message: String,
    /// The connection ended before it answered: on a kept connection, a fresh one may do better.
    pub(super) broken: bool,
    /// The broker's answer when it refused a login as such.
    pub(super) login: Option<ItemError>,
    /// The listener takes no logins of this kind at all.
    pub(super) unoffered: bool,
}

impl Fault {
    pub(super) fn new(trouble: Trouble, message: impl Into<String>) -> Self {
        Self { trouble, message: message.into(), broken: false, login: None, unoffered: false }
    }

    pub(super) fn protocol(message: impl Into<String>) -> Self {
        Self::new(Trouble::Protocol, message)
    }

    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self { broken: true, ..Self::new(Trouble::Unreachable, message) }
    }

    pub(super) fn unoffered(trouble: Trouble, message: impl Into<String>) -> Self {
        Self { unoffered: true, ..Self::new(trouble, message) }
    }

    pub(super) fn refused_login(error: ItemError) -> Self {
        let message = error.to_string();
        Self { login: Some(error), ..Self::new(Trouble::Authentication, message) }
    }

    /// A failure to read or write. TLS reports the peer's alerts through here, too.
    pub(super) fn io(error: &io::Error) -> Self {
        match tls_cause(error) {
            Some(rustls::Error::AlertReceived(
                alert @ (AlertDescription::BadCertificate | AlertDescription::CertificateRequired),
            )) => Self::new(
                Trouble::Tls,
                format!(
                    "TLS: {alert:?}: this listener asks for a client certificate that it trusts; see ssl.keystore"
                ),
            ),
            Some(cause) => Self::new(Trouble::Tls, format!("TLS: {cause}")),
            None => Self::broken(plain(error)),
        }
    }

    /// An error code that stands for a whole request.
    pub(super) fn answer(code: i16, text: Option<&str>) -> Self {
        let error = ItemError::of(code, text);
        let trouble = match code {
            ItemError::TOPIC_AUTHORIZATION_FAILED
            | ItemError::GROUP_AUTHORIZATION_FAILED
            | ItemError::CLUSTER_AUTHORIZATION_FAILED => Trouble::Authorization,
            ItemError::SASL_AUTHENTICATION_FAILED => Trouble::Authentication,
            _ if error.retriable => Trouble::Unreachable,
            _ => Trouble::Protocol,
        };
        Self::new(trouble, error.to_string())
    }

    /// The same fault, with the address it happened at.
    pub(super) fn at(self, address: &impl std::fmt::Display) -> Self {
        Self { message: format!("{address}: {}", self.message), ..self }
    }

    pub(super) fn during(self, operation: impl Into<String>) -> ClusterError {
        ClusterError { trouble: self.trouble, operation: operation.into(), message: self.message }
    }
}

fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| (inner as &(dyn Error + 'static)).downcast_ref::<rustls::Error>())
}

/// The system's words without its error number, which says nothing that the words do not.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    };
    text.to_lowercase()
}

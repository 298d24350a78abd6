use std::fmt;

use thiserror::Error;

/// How far a verification came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyStep {
    /// The client configuration itself is wrong.
    Configure,
    /// No broker could be reached at the addresses that clients are given.
    Connect,
    /// The trust store does not vouch for the brokers, or TLS failed otherwise.
    Tls,
    Authenticate,
    Topic(String),
    Group(String),
}

impl VerifyStep {
    /// A fixed word, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Authenticate => "authenticate",
            Self::Topic(_) => "topic",
            Self::Group(_) => "group",
        }
    }
}

impl fmt::Display for VerifyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configure => f.write_str("client configuration"),
            Self::Connect => f.write_str("connect"),
            Self::Tls => f.write_str("TLS"),
            Self::Authenticate => f.write_str("authenticate"),
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Group(name) => write!(f, "group {name}"),
        }
    }
}

/// A client with this configuration would fail.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{step}: {message}")]
pub struct VerifyError {
    pub step: VerifyStep,
    /// The client library's own words.
    pub message: String,
}

impl VerifyError {
    pub(super) fn new(step: VerifyStep, message: impl Into<String>) -> Self {
        Self { step, message: message.into() }
    }
}

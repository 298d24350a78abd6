use thiserror::Error;

/// Why certificates could not be read, made or served.
///
/// `place` is where the reader looked: a key of the Secret's data (`ca.crt`), or `caBundle`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The Secret exists and lacks a key that must be there.
    #[error("{place}: missing; {expected}")]
    Missing { place: String, expected: &'static str },
    /// The bytes are there and are not what they have to be.
    #[error("{place}: {found}; {expected}")]
    Malformed { place: String, found: String, expected: &'static str },
    /// Certificate and key are each well formed and do not belong together.
    #[error(
        "{key_place}: not the private key of the certificate in {certificate_place}; both must be written together"
    )]
    KeyMismatch { certificate_place: String, key_place: String },
    /// A leaf cannot be issued as asked.
    #[error("cannot issue a certificate: {reason}")]
    Issue { reason: String },
    /// The certificate or its key is unfit for the TLS server.
    #[error("cannot serve the certificate: {reason}")]
    Unservable { reason: String },
    /// A step was carried out on a Secret other than the one that it was decided on.
    #[error("this step does not fit what the Secret holds now: {reason}; decide again")]
    StaleStep { reason: &'static str },
    /// The periods of a policy contradict each other.
    #[error("certificate policy: {reason}")]
    Policy { reason: String },
}

impl CertificateError {
    pub(crate) fn malformed(place: &str, found: impl Into<String>, expected: &'static str) -> Self {
        Self::Malformed { place: place.to_owned(), found: found.into(), expected }
    }

    pub(crate) fn issue(cause: impl std::fmt::Display) -> Self {
        Self::Issue { reason: cause.to_string() }
    }

    pub(crate) fn unservable(cause: impl std::fmt::Display) -> Self {
        Self::Unservable { reason: cause.to_string() }
    }
}

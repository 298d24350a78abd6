//! The certificates of the webhook: one CA that all replicas share, leaves in the memory of each, and the rotation of
//! both in steps of which every one may be the last before a crash.
//!
//! No I/O and no clock: Secrets come and go as maps, PEM as bytes, time as a [`jiff::Timestamp`] (wall clock, because
//! that is what the API server compares certificates with).
//!
//! | what | where |
//! |---|---|
//! | a private key that cannot be printed | [`PrivateKey`] |
//! | a certificate that is trusted | [`CaCertificate`], several of them: [`Bundle`] |
//! | a CA that signs | [`Authority`] |
//! | what the server serves | [`Leaf`], through [`LeafResolver`] |
//! | what the Secret holds | [`StoredAuthorities`] |
//! | what to do next | [`next`], which answers with a [`Step`], by a [`Policy`] |
#![forbid(unsafe_code)]

mod authority;
mod bundle;
mod ca_certificate;
mod error;
mod leaf;
mod policy;
mod private_key;
mod resolver;
mod rotation;
mod step;
mod stored;
mod validity;

pub use authority::Authority;
pub use bundle::Bundle;
pub use ca_certificate::CaCertificate;
pub use error::CertificateError;
pub use leaf::Leaf;
pub use policy::Policy;
pub use private_key::PrivateKey;
pub use resolver::LeafResolver;
pub use rotation::{begin, next};
pub use step::Step;
pub use stored::StoredAuthorities;
pub use validity::Validity;

/// A DNS name or IP address that a leaf is issued for.
pub use rustls_pki_types::ServerName;

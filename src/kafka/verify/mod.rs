//! The client's eyes: logs in with librdkafka, the library under most clients that are not Java, with the very text that
//! a workload mounts.

mod error;
mod request;
mod session;
mod translate;
mod verifier;
mod witness;

pub use error::{VerifyError, VerifyStep};
pub use request::VerifyRequest;
pub use verifier::verify;

//! The controller: watches Kubernetes, plans with [`crate::topic`] and [`crate::access`], and carries the plans out in
//! batches.

mod object_key;
mod reporter;
mod watch;

pub use object_key::ObjectKey;
pub use reporter::Reporter;
pub use watch::{Index, keep_watching};

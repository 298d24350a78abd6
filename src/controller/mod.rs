//! The controller: watches Kubernetes, plans with [`crate::topic`] and [`crate::access`], and carries the plans out in
//! batches.

pub mod access;
pub mod admission;
pub mod certificates;
mod first_listing;
pub mod healing;
pub mod health;
mod home_cluster;
mod leader_watch;
mod leadership;
pub mod moves;
mod reporter;
mod scope;
pub mod topics;
mod watch;
mod watches;

pub use crate::object_key::ObjectKey;
pub use first_listing::FirstListing;
pub use home_cluster::HomeCluster;
pub use leader_watch::leader;
pub use leadership::Leadership;
use leadership::while_leading;
pub use reporter::Reporter;
pub use scope::Scope;
pub use watch::{Index, keep_watching, keep_watching_if_served};
pub use watches::{Watch, Watches};

use std::collections::BTreeSet;

use super::{Applied, Deletion};

/// What is remembered of a topic beyond its ConfigMap's life: whose it is, and which settings were set for it, so that a
/// setting taken out of a ConfigMap can be told from one that somebody else set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub namespace: String,
    pub keys: BTreeSet<String>,
    pub applied: Applied,
    /// It is to be deleted, and nothing in Kubernetes says so any more.
    pub deletion: Option<Deletion>,
}

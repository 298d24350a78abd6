use std::collections::BTreeSet;

use super::{Applied, Deletion, Extent, disk_share::RETENTION_BYTES};

/// What is remembered of a topic beyond its ConfigMap's life: whose it is, and which settings were set for it, so that a
/// setting taken out of a ConfigMap can be told from one that somebody else set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub namespace: String,
    pub keys: BTreeSet<String>,
    pub applied: Applied,
    /// It is to be deleted, and nothing in Kubernetes says so any more.
    pub deletion: Option<Deletion>,
    /// What the brokers have of it, noted when nobody declares it any more: it counts in its namespace's totals all the same.
    pub left: Option<Extent>,
}

impl Holding {
    /// How large the topic is, as far as that is remembered.
    pub fn extent(&self) -> Extent {
        self.left.unwrap_or_else(|| Extent {
            partitions: self.applied.partitions.unwrap_or(1),
            replication_factor: self.applied.replication_factor.unwrap_or(1),
            retention_bytes: self.applied.config(RETENTION_BYTES).and_then(|bytes| bytes.parse().ok()),
        })
    }
}

use std::collections::BTreeMap;

use super::{ItemError, TopicPartition};

/// The log directories of one broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerDisks {
    pub dirs: Vec<LogDir>,
}

/// One log directory, and the replicas in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogDir {
    pub path: String,
    /// Why the broker cannot use it; the rest is empty then.
    pub error: Option<ItemError>,
    /// The size of its volume. `None`: the broker is older than Kafka 3.3, or cannot tell.
    pub total_bytes: Option<u64>,
    /// What is free on its volume, likewise.
    pub usable_bytes: Option<u64>,
    pub replicas: BTreeMap<TopicPartition, ReplicaSize>,
}

/// How large a replica is on one broker's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaSize {
    pub bytes: u64,
    /// It is being copied here from another directory of the same broker.
    pub future: bool,
}

impl BrokerDisks {
    /// The size of a partition's replica here, if the broker holds one; copies between directories are not counted.
    pub fn size_of(&self, partition: &TopicPartition) -> Option<u64> {
        let sizes = self.dirs.iter().filter_map(|dir| dir.replicas.get(partition));
        sizes.filter(|size| !size.future).map(|size| size.bytes).reduce(|a, b| a + b)
    }

    /// The sizes of all volumes together; `None` when one is unknown, or there is none.
    pub fn total_bytes(&self) -> Option<u64> {
        sum(self.dirs.iter().map(|dir| dir.total_bytes))
    }

    /// What is free on all volumes together, likewise.
    pub fn usable_bytes(&self) -> Option<u64> {
        sum(self.dirs.iter().map(|dir| dir.usable_bytes))
    }
}

fn sum(mut sizes: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let first = sizes.next()??;
    sizes.try_fold(first, |sum, size| Some(sum.saturating_add(size?)))
}

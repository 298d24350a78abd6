use std::collections::BTreeMap;

use topicops_contract::TopicName;

use super::PlacementError;

/// A partition that may be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPartition {
    pub topic: TopicName,
    pub partition: i32,
    /// The brokers that hold it, preferred leader first.
    pub replicas: Vec<i32>,
    /// The size of one replica, in bytes: what it takes to copy it once.
    pub bytes: u64,
}

/// What a rebalance is to reach beyond racks, draining and even counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebalanceGoals {
    /// How far a broker's bytes may be from its fair share, in percent of that. `None`: bytes are not balanced.
    pub bytes_within_percent: Option<u8>,
}

impl Default for RebalanceGoals {
    /// Ten percent: less is not worth the copying, and partitions grow meanwhile.
    fn default() -> Self {
        Self { bytes_within_percent: Some(10) }
    }
}

/// What to move, and what it brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// By topic and partition; those that stay are not in it.
    pub moves: Vec<ReplicaMove>,
    /// What cannot leave a broker that is being drained, and stays as it is.
    pub stuck: Vec<StuckPartition>,
    /// Each broker of the layout, before and after.
    pub brokers: BTreeMap<i32, BrokerOutlook>,
}

impl Rebalance {
    /// All bytes that have to be copied.
    pub fn bytes_to_copy(&self) -> u64 {
        self.moves.iter().map(ReplicaMove::bytes_to_copy).fold(0, u64::saturating_add)
    }

    /// How many replicas have to be copied.
    pub fn replicas_to_copy(&self) -> usize {
        self.moves.iter().map(|one| one.adding().count()).sum()
    }
}

/// One partition's replicas as they are and as they are to be, preferred leader first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaMove {
    pub topic: TopicName,
    pub partition: i32,
    pub from: Vec<i32>,
    pub to: Vec<i32>,
    /// The size of one replica, in bytes.
    pub bytes: u64,
}

impl ReplicaMove {
    pub fn adding(&self) -> impl Iterator<Item = i32> {
        self.to.iter().copied().filter(|id| !self.from.contains(id))
    }

    pub fn removing(&self) -> impl Iterator<Item = i32> {
        self.from.iter().copied().filter(|id| !self.to.contains(id))
    }

    /// 0 when only the order changes.
    pub fn bytes_to_copy(&self) -> u64 {
        let copies = u64::try_from(self.adding().count()).unwrap_or(u64::MAX);
        self.bytes.saturating_mul(copies)
    }
}

/// A partition without enough brokers to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckPartition {
    pub topic: TopicName,
    pub partition: i32,
    pub error: PlacementError,
}

/// A broker before a rebalance, after it, and at most meanwhile, if everything moved at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerOutlook {
    pub before: BrokerLoad,
    pub after: BrokerLoad,
    pub most: BrokerLoad,
}

/// What a broker holds, of all topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerLoad {
    pub replicas: u64,
    /// Partitions that it is the preferred leader of.
    pub leaders: u64,
    pub bytes: u64,
}

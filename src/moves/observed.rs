use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::TopicName;

use crate::kafka::{Reassignment, TopicDescription, TopicPartition};

/// What one look at the brokers showed, and what is known beside it.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// All moves of the cluster, whoever began them.
    pub reassignments: Vec<Reassignment>,
    /// The topics that have moves; `None` for one that is gone.
    pub topics: BTreeMap<TopicName, Option<TopicDescription>>,
    /// The brokers that are alive.
    pub brokers: BTreeSet<i32>,
    /// `min.insync.replicas` of topics that have none of their own; `None` when no broker told.
    pub min_in_sync: Option<usize>,
    /// Read only when they are needed: see [`super::Act::Look`].
    pub throttles: Option<SeenThrottles>,
    /// Topics of which nothing new is begun: their authors paused them.
    pub paused: BTreeSet<TopicName>,
    /// Moves that Kafka does not list and that have not arrived either, for so many looks that metadata which lags is no
    /// explanation any more: somebody called them off.
    pub lost: BTreeSet<TopicPartition>,
}

/// The throttles that are set now, whoever set them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenThrottles {
    pub brokers: BTreeMap<i32, BrokerRates>,
    /// Lists of throttled replicas by topic: those for leaders, and those for followers.
    pub topics: BTreeMap<TopicName, [Option<String>; 2]>,
}

/// The two rates of a broker: for leaders, and for followers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerRates {
    /// What was set on this very broker at run time.
    pub own: [Option<String>; 2],
    /// Whether something sets a rate for all brokers, such as a cluster-wide default.
    pub inherited: [bool; 2],
}

impl Observed {
    pub(super) fn replicas(&self, partition: &TopicPartition) -> Option<&[i32]> {
        let topic = self.topics.get(&partition.topic)?.as_ref()?;
        let index = usize::try_from(partition.partition).ok()?;
        topic.replicas.get(index).map(Vec::as_slice)
    }

    pub(super) fn leader(&self, partition: &TopicPartition) -> Option<i32> {
        let topic = self.topics.get(&partition.topic)?.as_ref()?;
        let index = usize::try_from(partition.partition).ok()?;
        topic.leaders.get(index).copied().flatten()
    }
}

use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::{PartitionCount, ReplicationFactor, TopicName};

use super::Reassignment;

/// A topic to be created. What is `None` is left to the brokers' own defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: TopicName,
    pub partitions: Option<PartitionCount>,
    pub replication_factor: Option<ReplicationFactor>,
    /// For each partition the brokers that get a replica, preferred leader first; the two numbers above say the same
    /// then. `None`: the brokers choose.
    pub placement: Option<Vec<Vec<i32>>>,
    pub configs: BTreeMap<String, String>,
}

/// A topic that gets more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartitions {
    pub topic: TopicName,
    /// How many it has then, those that are there included.
    pub total: PartitionCount,
    /// For each partition that is added the brokers that get a replica, preferred leader first. `None`: the brokers
    /// choose.
    pub placement: Option<Vec<Vec<i32>>>,
}

/// A topic that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoomedTopic {
    pub name: TopicName,
    /// As in [`TopicDescription::id`]: then one of that name that was made since is left alone (`UNKNOWN_TOPIC_ID`). `None`:
    /// whatever bears the name.
    pub id: Option<String>,
}

impl From<TopicName> for DoomedTopic {
    fn from(name: TopicName) -> Self {
        Self { name, id: None }
    }
}

/// A topic as the brokers made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// As in [`TopicDescription::id`].
    pub id: String,
    /// What it got, where that was left to the brokers. `None` when they do not tell: we may not describe its settings.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
}

/// A topic as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Kafka's own id, base64url as its tools print it.
    pub id: String,
    /// For each partition, in order, the ids of the brokers that hold a replica, preferred leader first. While a
    /// partition is being moved: those to come and those to go, as in [`Reassignment::replicas`](super::Reassignment).
    pub replicas: Vec<Vec<i32>>,
    /// For each partition the broker that leads it now; `None` when nobody does.
    pub leaders: Vec<Option<i32>>,
    /// For each partition the replicas that are in sync.
    pub in_sync: Vec<Vec<i32>>,
    /// The settings of this topic itself (`DYNAMIC_TOPIC_CONFIG`), without what it inherits, among the [`ConfigKeys`]
    /// that were asked for.
    pub configs: BTreeMap<String, String>,
    /// What counts for those of [`TopicDescription::INHERITED`] that were asked for and that the topic has not itself, as
    /// far as brokers tell.
    pub inherited: BTreeMap<String, String>,
}

impl TopicDescription {
    /// The settings whose inherited values are described.
    pub const INHERITED: [&str; 2] = ["retention.bytes", "retention.ms"];

    pub fn partitions(&self) -> i32 {
        i32::try_from(self.replicas.len()).unwrap_or(i32::MAX)
    }

    /// The replication factor of the first partition; Kafka keeps one per partition, its tools report this one.
    pub fn replication_factor(&self) -> i16 {
        self.replicas.first().map_or(0, |replicas| i16::try_from(replicas.len()).unwrap_or(i16::MAX))
    }
}

impl TopicDescription {
    /// The replication factors of its partitions, once these moves are over: one where all are alike.
    pub fn factors_after<'a>(
        &self,
        topic: &TopicName,
        moves: impl IntoIterator<Item = &'a Reassignment>,
    ) -> BTreeSet<usize> {
        let of_it = moves.into_iter().filter(|running| running.partition.topic == *topic);
        let targets: BTreeMap<i32, usize> =
            of_it.map(|running| (running.partition.partition, running.target().len())).collect();
        let factors = (0..).zip(&self.replicas);
        factors
            .map(|(partition, replicas)| targets.get(&partition).copied().unwrap_or(replicas.len()))
            .collect()
    }
}

/// Which settings a describe is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigKeys {
    /// Every key: for an import or an export.
    All,
    /// These keys of every topic of the batch; none at all spares the request. Unknown keys are not told apart from
    /// keys without a setting.
    Only(BTreeSet<String>),
}

/// An incremental change of the settings of one topic or broker: keys that are not named stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    pub set: BTreeMap<String, String>,
    pub unset: Vec<String>,
}

impl ConfigChange {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.unset.is_empty()
    }
}

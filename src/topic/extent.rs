use topicops_contract::{PartitionCount, ReplicationFactor};

use crate::kafka::{NewTopic, TopicDescription};

use super::{Step, disk_share::RETENTION_BYTES};

/// How large a topic is on the brokers, as far as namespaces' totals go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub partitions: i32,
    pub replication_factor: i16,
    /// `None`: without a bound.
    pub retention_bytes: Option<u64>,
}

impl Extent {
    pub fn of(observed: &TopicDescription) -> Self {
        Self {
            partitions: observed.partitions(),
            replication_factor: observed.replication_factor(),
            retention_bytes: bounded(observed.configs.get(RETENTION_BYTES)),
        }
    }

    /// What the brokers leave open counts as one.
    pub fn of_new(topic: &NewTopic) -> Self {
        Self {
            partitions: topic.partitions.map_or(1, PartitionCount::get),
            replication_factor: topic.replication_factor.map_or(1, ReplicationFactor::get),
            retention_bytes: bounded(topic.configs.get(RETENTION_BYTES)),
        }
    }

    /// Once these are carried out.
    #[must_use]
    pub fn after(mut self, steps: &[Step]) -> Self {
        for step in steps {
            match step {
                Step::Grow(more) => self.partitions = more.total.get(),
                Step::Configure(change) => {
                    if let Some(value) = change.set.get(RETENTION_BYTES) {
                        self.retention_bytes = bounded(Some(value));
                    }
                    if change.unset.iter().any(|key| key == RETENTION_BYTES) {
                        self.retention_bytes = None;
                    }
                }
                Step::Create(_) | Step::ChangeFactor(_) | Step::Delete { .. } => {}
            }
        }
        self
    }
}

fn bounded(value: Option<&String>) -> Option<u64> {
    value?.parse().ok()
}

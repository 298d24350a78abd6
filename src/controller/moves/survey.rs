use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::TopicName;
use tracing::debug;

use crate::{
    kafka::{Cluster, ClusterError, ConfigKeys, TopicDescription, TopicPartition},
    placement::Layout,
};

/// Everything that placing replicas depends on: what each broker holds, and how large it is.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub layout: Layout,
    pub topics: BTreeMap<TopicName, TopicDescription>,
    /// The largest replica of each partition, in bytes; none where no broker told.
    pub sizes: BTreeMap<TopicPartition, u64>,
}

/// What the brokers give a topic that asks for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerDefaults {
    pub partitions: i32,
    pub replication_factor: i16,
    pub min_in_sync: usize,
}

const DEFAULT_KEYS: [&str; 3] = ["num.partitions", "default.replication.factor", "min.insync.replicas"];

impl Survey {
    /// Looks at everything. `draining`: brokers that are to get nothing.
    ///
    /// # Errors
    /// When the brokers do not answer; sizes that one of them does not tell count as nothing.
    pub async fn take(cluster: &dyn Cluster, draining: &BTreeSet<i32>) -> Result<Self, ClusterError> {
        let (description, names, disks) =
            tokio::try_join!(cluster.describe_cluster(), cluster.list_topics(), cluster.describe_log_dirs())?;
        let names: Vec<TopicName> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let described = cluster.describe_topics(&names, &ConfigKeys::Only(BTreeSet::new())).await?;
        let mut survey = Self { layout: Layout::new(description.brokers), ..Self::default() };
        for (broker, disks) in disks {
            let disks = match disks {
                Ok(disks) => disks,
                Err(error) => {
                    debug!(broker, %error, "the sizes of this broker's replicas are not known");
                    continue;
                }
            };
            if let Some(broker) = survey.layout.brokers.get_mut(&broker) {
                broker.disk_total = disks.total_bytes();
                broker.disk_usable = disks.usable_bytes();
            }
            for (partition, size) in disks.dirs.into_iter().flat_map(|dir| dir.replicas) {
                let largest = survey.sizes.entry(partition).or_default();
                *largest = (*largest).max(size.bytes);
            }
        }
        for broker in draining {
            // One that is gone for good, too: what it held has to go somewhere.
            survey.layout.brokers.entry(*broker).or_default().draining = true;
        }
        for (name, described) in names.into_iter().zip(described) {
            let Ok(Some(topic)) = described else { continue };
            for (partition, replicas) in (0..).zip(&topic.replicas) {
                let bytes = survey.size(&name, partition);
                survey.layout.hold(replicas, bytes);
            }
            survey.topics.insert(name, topic);
        }
        Ok(survey)
    }

    pub fn size(&self, topic: &TopicName, partition: i32) -> u64 {
        let partition = TopicPartition { topic: topic.clone(), partition };
        self.sizes.get(&partition).copied().unwrap_or(0)
    }
}

impl BrokerDefaults {
    /// Asks one broker after the other until one tells; `None` when none does.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn read(cluster: &dyn Cluster, brokers: &[i32]) -> Result<Option<Self>, ClusterError> {
        let keys = ConfigKeys::Only(DEFAULT_KEYS.map(str::to_owned).into());
        let configs = cluster.describe_broker_configs(brokers, &keys).await?;
        let told = configs.into_iter().flatten().find_map(|configs| {
            let number = |key: &str| configs.effective.get(key)?.parse::<i32>().ok();
            Some(Self {
                partitions: number(DEFAULT_KEYS[0])?,
                replication_factor: number(DEFAULT_KEYS[1])?.try_into().ok()?,
                min_in_sync: number(DEFAULT_KEYS[2])?.try_into().ok()?,
            })
        });
        Ok(told)
    }
}

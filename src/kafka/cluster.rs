use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use topicops_contract::TopicName;

use super::{
    Acl, BrokerConfigs, BrokerDisks, ClusterError, ConfigChange, ConfigKeys, CreatedTopic, DoomedTopic,
    ItemError, LoginCheck, LoginReport, NewPartitions, NewTopic, Quota, QuotaTarget, QuotaValue,
    Reassignment, ScramKeys, ScramMechanism, ScramUser, TopicDescription, TopicPartition,
};

/// One item's outcome within a batch.
pub type Item<T> = Result<T, ItemError>;

/// The brokers and how they are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    /// Broker id and rack.
    pub brokers: Vec<(i32, Option<String>)>,
}

/// A consumer group with live members, and the topics they read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumingGroup {
    pub group: String,
    pub topics: BTreeSet<String>,
}

/// The port to a Kafka cluster. Adapters: the wire protocol, and an in-memory double that passes the same contract tests.
///
/// Guarantees of every batch call: the answer has one outcome per item asked for, in the same order; an item that the
/// broker did not mention is an error; an empty batch makes no request; every call ends within a bounded time.
///
/// Reads come from a broker's metadata image, which may lag behind acknowledged writes: "absent" right after a write is
/// no proof of absence.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    async fn describe_cluster(&self) -> Result<ClusterDescription, ClusterError>;

    /// The names of all topics that we may see, Kafka's own included, in alphabetical order.
    async fn list_topics(&self) -> Result<Vec<String>, ClusterError>;

    /// `Ok(None)` for a topic that does not exist. Only the settings that `keys` selects are asked for: a broker takes
    /// four times as long to describe all keys of a thousand topics as to describe three.
    async fn describe_topics(
        &self,
        names: &[TopicName],
        keys: &ConfigKeys,
    ) -> Result<Vec<Item<Option<TopicDescription>>>, ClusterError>;

    async fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<Item<CreatedTopic>>, ClusterError>;

    /// Grows topics to a total count of partitions.
    async fn create_partitions(&self, topics: &[NewPartitions]) -> Result<Vec<Item<()>>, ClusterError>;

    async fn alter_configs(
        &self,
        changes: &[(TopicName, ConfigChange)],
    ) -> Result<Vec<Item<()>>, ClusterError>;

    async fn delete_topics(&self, topics: &[DoomedTopic]) -> Result<Vec<Item<()>>, ClusterError>;

    /// Every partition of the cluster that is being moved now, whoever began it, in order.
    async fn list_reassignments(&self) -> Result<Vec<Reassignment>, ClusterError>;

    /// Begins to move partitions to these replicas (preferred leader first), or, with `None`, calls a move off: then the
    /// same brokers hold it as before, in the order of the move, those that were to stay first. To call off what is
    /// not under way is a success. A partition that stands twice in a batch gets the outcome of one of them.
    async fn alter_reassignments(
        &self,
        changes: &[(TopicPartition, Option<Vec<i32>>)],
    ) -> Result<Vec<Item<()>>, ClusterError>;

    /// Has the first replica of each partition lead it; where it does so already, that is a success.
    async fn elect_preferred_leaders(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Item<()>>, ClusterError>;

    /// The disks of every live broker. A broker that does not answer is an error of its own.
    async fn describe_log_dirs(&self) -> Result<BTreeMap<i32, Item<BrokerDisks>>, ClusterError>;

    /// Settings of brokers. One that is away is an error of its own (`BROKER_NOT_AVAILABLE`, retriable): only itself
    /// knows them.
    async fn describe_broker_configs(
        &self,
        brokers: &[i32],
        keys: &ConfigKeys,
    ) -> Result<Vec<Item<BrokerConfigs>>, ClusterError>;

    /// Changes settings of single brokers at run time. One that is away is an error of its own, as above.
    async fn alter_broker_configs(
        &self,
        changes: &[(i32, ConfigChange)],
    ) -> Result<Vec<Item<()>>, ClusterError>;

    /// All consumer groups (classic and new protocol) that have members now.
    async fn consuming_groups(&self) -> Result<Vec<ConsumingGroup>, ClusterError>;

    /// All ALLOW rules of users whose name begins with `prefix`, host `*`.
    async fn describe_acls(&self, prefix: &str) -> Result<BTreeSet<Acl>, ClusterError>;

    async fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Item<()>>, ClusterError>;

    /// Deletes exactly these rules; one that is not there is a success.
    async fn delete_acls(&self, acls: &[Acl]) -> Result<Vec<Item<()>>, ClusterError>;

    /// All quotas of users whose name begins with `prefix`, those of single client ids of theirs too.
    async fn describe_quotas(&self, prefix: &str) -> Result<BTreeSet<Quota>, ClusterError>;

    /// Sets quotas, or takes them away; one that is not there is a success. What concerns one user and the same clients of
    /// it goes through as a whole or not at all.
    async fn alter_quotas(
        &self,
        changes: &[(QuotaTarget, Option<QuotaValue>)],
    ) -> Result<Vec<Item<()>>, ClusterError>;

    /// All users with a SCRAM credential whose name begins with `prefix`.
    async fn describe_scram_users(&self, prefix: &str) -> Result<Vec<ScramUser>, ClusterError>;

    /// Creates a user's credential or replaces it.
    async fn upsert_scram_users(&self, users: &[(String, ScramKeys)]) -> Result<Vec<Item<()>>, ClusterError>;

    /// Deletes the SCRAM credentials of these users, whatever their mechanism; one that is not there is a success.
    async fn delete_scram_users(&self, usernames: &[String]) -> Result<Vec<Item<()>>, ClusterError>;

    /// Deletes single SCRAM credentials; one that is not there is a success.
    async fn delete_scram_credentials(
        &self,
        credentials: &[(String, ScramMechanism)],
    ) -> Result<Vec<Item<()>>, ClusterError>;

    /// Logs in as each of these users and looks whether its topics and groups are visible to it. A login that the broker
    /// refuses is an [`ItemError`] (`SASL_AUTHENTICATION_FAILED`, retriable: credentials take a moment to spread).
    async fn check_logins(&self, checks: &[LoginCheck]) -> Result<Vec<Item<LoginReport>>, ClusterError>;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
};

use async_trait::async_trait;
use tokio::time::Instant;
use topicops_contract::TopicName;

use super::{
    Acl, BrokerConfigs, BrokerDisks, Cluster, ClusterDescription, ClusterError, ConfigChange, ConfigKeys,
    ConsumingGroup, CreatedTopic, DoomedTopic, Item, ItemError, LoginCheck, LoginReport, NewPartitions,
    NewTopic, Quota, QuotaTarget, QuotaValue, Reassignment, ScramKeys, ScramMechanism, ScramUser,
    TopicDescription, TopicPartition,
};
use crate::metrics::{ItemErrorLabel, Metrics, OperationLabel};

/// A cluster whose every call is measured: how long it took, how many items it was about, and what the brokers answered
/// for those that failed. An empty batch is no call.
#[derive(Clone)]
pub struct MeasuredCluster {
    cluster: Arc<dyn Cluster>,
    metrics: Metrics,
}

impl std::fmt::Debug for MeasuredCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MeasuredCluster")
    }
}

impl MeasuredCluster {
    pub fn new(cluster: Arc<dyn Cluster>, metrics: Metrics) -> Self {
        Self { cluster, metrics }
    }

    /// A call about a list of items.
    async fn batch<T>(
        &self,
        operation: &'static str,
        asked: usize,
        call: impl Future<Output = Result<Vec<Item<T>>, ClusterError>>,
    ) -> Result<Vec<Item<T>>, ClusterError> {
        if asked == 0 {
            return call.await;
        }
        self.count(operation, asked);
        let outcomes = self.time(operation, call).await?;
        self.note_failures(operation, outcomes.iter().filter_map(|outcome| outcome.as_ref().err()));
        Ok(outcomes)
    }

    /// A call about all there is of something.
    async fn whole<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, ClusterError>>,
        items: impl FnOnce(&T) -> usize,
    ) -> Result<T, ClusterError> {
        let answer = self.time(operation, call).await?;
        self.count(operation, items(&answer));
        Ok(answer)
    }

    async fn time<T>(&self, operation: &'static str, call: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let answer = call.await;
        let took = started.elapsed().as_secs_f64();
        self.metrics.kafka_seconds.get_or_create(&OperationLabel { operation }).observe(took);
        answer
    }

    fn count(&self, operation: &'static str, items: usize) {
        let items = f64::from(u32::try_from(items).unwrap_or(u32::MAX));
        self.metrics.kafka_items.get_or_create(&OperationLabel { operation }).observe(items);
    }

    fn note_failures<'a>(&self, operation: &'static str, errors: impl Iterator<Item = &'a ItemError>) {
        for error in errors {
            let label = ItemErrorLabel { operation, error: error.code.clone() };
            self.metrics.kafka_item_errors.get_or_create(&label).inc();
        }
    }
}

#[async_trait]
impl Cluster for MeasuredCluster {
    async fn describe_cluster(&self) -> Result<ClusterDescription, ClusterError> {
        self.whole("describe_cluster", self.cluster.describe_cluster(), |cluster| cluster.brokers.len()).await
    }

    async fn list_topics(&self) -> Result<Vec<String>, ClusterError> {
        self.whole("list_topics", self.cluster.list_topics(), Vec::len).await
    }

    async fn describe_topics(
        &self,
        names: &[TopicName],
        keys: &ConfigKeys,
    ) -> Result<Vec<Item<Option<TopicDescription>>>, ClusterError> {
        self.batch("describe_topics", names.len(), self.cluster.describe_topics(names, keys)).await
    }

    async fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<Item<CreatedTopic>>, ClusterError> {
        self.batch("create_topics", topics.len(), self.cluster.create_topics(topics)).await
    }

    async fn create_partitions(&self, topics: &[NewPartitions]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("create_partitions", topics.len(), self.cluster.create_partitions(topics)).await
    }

    async fn alter_configs(
        &self,
        changes: &[(TopicName, ConfigChange)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("alter_configs", changes.len(), self.cluster.alter_configs(changes)).await
    }

    async fn delete_topics(&self, topics: &[DoomedTopic]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("delete_topics", topics.len(), self.cluster.delete_topics(topics)).await
    }

    async fn list_reassignments(&self) -> Result<Vec<Reassignment>, ClusterError> {
        self.whole("list_reassignments", self.cluster.list_reassignments(), Vec::len).await
    }

    async fn alter_reassignments(
        &self,
        changes: &[(TopicPartition, Option<Vec<i32>>)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("alter_reassignments", changes.len(), self.cluster.alter_reassignments(changes)).await
    }

    async fn elect_preferred_leaders(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch(
            "elect_preferred_leaders",
            partitions.len(),
            self.cluster.elect_preferred_leaders(partitions),
        )
        .await
    }

    async fn describe_log_dirs(&self) -> Result<BTreeMap<i32, Item<BrokerDisks>>, ClusterError> {
        let disks = self.whole("describe_log_dirs", self.cluster.describe_log_dirs(), BTreeMap::len).await?;
        self.note_failures("describe_log_dirs", disks.values().filter_map(|disks| disks.as_ref().err()));
        Ok(disks)
    }

    async fn describe_broker_configs(
        &self,
        brokers: &[i32],
        keys: &ConfigKeys,
    ) -> Result<Vec<Item<BrokerConfigs>>, ClusterError> {
        self.batch(
            "describe_broker_configs",
            brokers.len(),
            self.cluster.describe_broker_configs(brokers, keys),
        )
        .await
    }

    async fn alter_broker_configs(
        &self,
        changes: &[(i32, ConfigChange)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("alter_broker_configs", changes.len(), self.cluster.alter_broker_configs(changes)).await
    }

    async fn consuming_groups(&self) -> Result<Vec<ConsumingGroup>, ClusterError> {
        self.whole("consuming_groups", self.cluster.consuming_groups(), Vec::len).await
    }

    async fn describe_acls(&self, prefix: &str) -> Result<BTreeSet<Acl>, ClusterError> {
        self.whole("describe_acls", self.cluster.describe_acls(prefix), BTreeSet::len).await
    }

    async fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("create_acls", acls.len(), self.cluster.create_acls(acls)).await
    }

    async fn delete_acls(&self, acls: &[Acl]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("delete_acls", acls.len(), self.cluster.delete_acls(acls)).await
    }

    async fn describe_quotas(&self, prefix: &str) -> Result<BTreeSet<Quota>, ClusterError> {
        self.whole("describe_quotas", self.cluster.describe_quotas(prefix), BTreeSet::len).await
    }

    async fn alter_quotas(
        &self,
        changes: &[(QuotaTarget, Option<QuotaValue>)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("alter_quotas", changes.len(), self.cluster.alter_quotas(changes)).await
    }

    async fn describe_scram_users(&self, prefix: &str) -> Result<Vec<ScramUser>, ClusterError> {
        self.whole("describe_scram_users", self.cluster.describe_scram_users(prefix), Vec::len).await
    }

    async fn upsert_scram_users(&self, users: &[(String, ScramKeys)]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("upsert_scram_users", users.len(), self.cluster.upsert_scram_users(users)).await
    }

    async fn delete_scram_users(&self, usernames: &[String]) -> Result<Vec<Item<()>>, ClusterError> {
        self.batch("delete_scram_users", usernames.len(), self.cluster.delete_scram_users(usernames)).await
    }

    async fn delete_scram_credentials(
        &self,
        credentials: &[(String, ScramMechanism)],
    ) -> Result<Vec<Item<()>>, ClusterError> {
        let call = self.cluster.delete_scram_credentials(credentials);
        self.batch("delete_scram_credentials", credentials.len(), call).await
    }

    async fn check_logins(&self, checks: &[LoginCheck]) -> Result<Vec<Item<LoginReport>>, ClusterError> {
        self.batch("check_logins", checks.len(), self.cluster.check_logins(checks)).await
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;
    use crate::kafka::{Call, MemoryCluster, Trouble};

    #[tokio::test]
    async fn calls_their_items_and_their_failures_are_counted_and_empty_batches_are_not() {
        let memory = MemoryCluster::new(1);
        let (metrics, registry) = Metrics::with_registry();
        let cluster = MeasuredCluster::new(Arc::new(memory.clone()), metrics);
        let doomed: Vec<DoomedTopic> =
            ["a", "b", "c"].iter().map(|name| name.parse::<TopicName>().unwrap().into()).collect();
        assert!(cluster.delete_topics(&doomed).await.unwrap().iter().all(Result::is_err));
        assert!(cluster.delete_topics(&[]).await.unwrap().is_empty());
        memory.fail(
            Call::ConsumingGroups,
            ClusterError {
                trouble: Trouble::Unreachable,
                operation: "x".to_owned(),
                message: "y".to_owned(),
            },
        );
        assert!(cluster.consuming_groups().await.is_err());

        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for line in [
            "topicops_kafka_item_errors_total{operation=\"delete_topics\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 3",
            "topicops_kafka_request_items_sum{operation=\"delete_topics\"} 3.0",
            "topicops_kafka_request_items_count{operation=\"delete_topics\"} 1",
            "topicops_kafka_request_duration_seconds_count{operation=\"delete_topics\"} 1",
            "topicops_kafka_request_duration_seconds_count{operation=\"consuming_groups\"} 1",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
        }
        assert!(!shown.contains("topicops_kafka_request_items_count{operation=\"consuming_groups\"}"));
    }
}

use topicops::kafka::{MemoryCluster, TopicPartition};

use crate::kafka_broker::Broker;

/// What an adapter's cluster can be told to hold.
pub(crate) trait Records: Sync {
    /// Puts so many bytes into a partition, at least, all of them acknowledged by all replicas.
    fn fill(&self, partition: &TopicPartition, bytes: u64) -> impl Future<Output = ()> + Send;
}

impl Records for MemoryCluster {
    async fn fill(&self, partition: &TopicPartition, bytes: u64) {
        self.set_size(partition.clone(), bytes);
    }
}

impl Records for Broker {
    async fn fill(&self, partition: &TopicPartition, bytes: u64) {
        self.produce(partition, bytes).await;
    }
}

use std::fmt;

use topicops_contract::TopicName;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A partition whose replicas are being moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    pub partition: TopicPartition,
    /// All that hold a replica now: those to come first, in the order asked for, and behind them those to go.
    pub replicas: Vec<i32>,
    /// Brokers that copy it.
    pub adding: Vec<i32>,
    /// Brokers that hold it until the others have caught up.
    pub removing: Vec<i32>,
}

impl Reassignment {
    /// The replicas once the move is done.
    pub fn target(&self) -> Vec<i32> {
        self.replicas.iter().filter(|broker| !self.removing.contains(broker)).copied().collect()
    }
}

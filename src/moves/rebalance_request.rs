use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use topicops_contract::NamePattern;

/// What `topicops rebalance` leaves for the replica that leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RebalanceRequest {
    /// Each request has another.
    pub id: String,
    /// Brokers that are to hold nothing any more, and get nothing new for as long as the request stands.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub drain: BTreeSet<i32>,
    /// Only topics of such names; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<NamePattern>,
    /// Bytes per second and broker; `None`: as the operator's flag says, 0: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<u64>,
    /// Topics that nobody declares, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_undeclared: bool,
    /// Kafka's own topics, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_internal: bool,
    /// What was asked for before is called off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
}

impl RebalanceRequest {
    /// Whether it asks for topics of this name, whoever declares them.
    pub fn names(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|pattern| pattern.matches(topic))
    }

    /// Whether both ask for the same to be moved, however fast.
    pub fn asks_for_the_same(&self, other: &Self) -> bool {
        let bare = |one: &Self| Self { id: String::new(), throttle: None, ..one.clone() };
        bare(self) == bare(other)
    }
}

/// How a rebalance stands, as the replica that leads last said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RebalanceStatus {
    /// The request that it speaks of.
    pub id: String,
    pub state: RebalanceState,
    pub message: String,
    pub partitions: usize,
    pub partitions_left: usize,
    pub bytes_left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// What stays where it is, and why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remarks: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RebalanceState {
    /// Not looked at yet.
    #[default]
    Waiting,
    Moving,
    Done,
    Cancelled,
    /// It cannot be done as asked.
    Refused,
}

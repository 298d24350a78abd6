use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use topicops_contract::TopicName;

use super::{Throttles, rebalance_request::RebalanceRequest};
use crate::kafka::TopicPartition;

/// Everything about moves that outlives a crash: which there are, how far they are, and which throttles are ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveState {
    /// The layout of this text; a later topicops reads earlier ones.
    version: u32,
    #[serde(default)]
    pub topics: BTreeMap<TopicName, TopicMove>,
    #[serde(default)]
    pub throttles: Throttles,
    /// The rebalance that was taken last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<TakenRequest>,
}

/// What an earlier topicops wrote.
#[derive(Deserialize)]
struct Earlier {
    request: EarlierRequest,
}

#[derive(Deserialize)]
struct EarlierRequest {
    #[serde(default)]
    more: bool,
}

/// A rebalance that was asked for and planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenRequest {
    pub request: RebalanceRequest,
    /// Partitions that were planned up to now.
    pub planned: usize,
    /// Bytes that are copied for them.
    pub bytes: u64,
    /// Moves of it that were called off or given up.
    #[serde(default)]
    pub abandoned: usize,
    /// Partitions that are to be moved and did not fit: when those that were planned are done, there is another plan.
    #[serde(default)]
    pub later: usize,
    #[serde(default)]
    pub bytes_later: u64,
    /// What stays where it is, and why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remarks: String,
}

impl TakenRequest {
    /// One that moves nothing.
    pub fn empty(request: RebalanceRequest) -> Self {
        Self { request, planned: 0, bytes: 0, abandoned: 0, later: 0, bytes_later: 0, remarks: String::new() }
    }

    /// With what was planned of the same request before.
    #[must_use]
    pub fn following(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before.filter(|before| before.request.id == self.request.id) {
            self.planned += before.planned;
            self.bytes = self.bytes.saturating_add(before.bytes);
            self.abandoned += before.abandoned;
        }
        self
    }
}

/// The moves of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicMove {
    /// Kafka's id of the topic: another topic of that name is not moved.
    #[serde(default)]
    pub topic_id: String,
    pub goal: Goal,
    /// Partitions of it when it was planned: those that are done are taken out below.
    pub planned: usize,
    /// It is being called off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
    /// Partitions that were given up: somebody else moved them, or Kafka refused.
    #[serde(default)]
    pub abandoned: usize,
    /// Partitions that stayed where they were because the move was called off.
    #[serde(default)]
    pub called_off: usize,
    /// Kafka was asked to move some of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
    pub partitions: BTreeMap<i32, PartitionMove>,
}

/// What a topic is moved for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Goal {
    ReplicationFactor { from: i16, to: i16 },
    Rebalance { id: String, factor: i16 },
}

/// The move of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMove {
    pub phase: Phase,
    /// Who held it, preferred leader first.
    pub from: Vec<i32>,
    pub to: Vec<i32>,
    /// The size of one replica when the move was planned.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// For its turn.
    Waiting,
    /// Its throttles are being set; or Kafka was asked to move it, and whether it heard that is not known.
    Starting,
    /// Kafka was, or is just being, asked to move it.
    Submitted,
    /// Kafka is being asked to call it off.
    Cancelling,
    /// Somebody else moves it elsewhere: ours is given up, and nothing is done about it until theirs has ended.
    Yielded,
    /// The replicas are where they should be; the preferred leader may still have to be elected.
    Done,
}

impl MoveState {
    pub const VERSION: u32 = 1;

    pub fn new() -> Self {
        Self { version: Self::VERSION, ..Self::default() }
    }

    /// Reads what an earlier process wrote. What it had begun is looked at anew: a move that Kafka lists with our target is
    /// ours and goes on, and one that it does not list never began, or has ended. Until that was looked at, it counts as
    /// begun: called off meanwhile, it has to be called off with Kafka.
    ///
    /// # Errors
    /// When it cannot be read, or a later topicops wrote it.
    pub fn take_over(text: &str) -> Result<Self, String> {
        let mut state: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if state.version > Self::VERSION {
            let newer = state.version;
            return Err(format!(
                "version {newer} is a later topicops's; this one reads up to {}",
                Self::VERSION
            ));
        }
        for (_, one) in state.partitions_mut() {
            if one.phase == Phase::Submitted {
                one.phase = Phase::Starting;
            }
        }
        // An earlier topicops noted that there is more, and not how much.
        if let Some(taken) = state.request.as_mut().filter(|taken| taken.later == 0)
            && serde_json::from_str(text).is_ok_and(|old: Earlier| old.request.more)
        {
            taken.later = 1;
        }
        Ok(state)
    }

    pub fn to_text(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    /// Nothing is to be done, and nothing of ours is left on the brokers.
    pub fn is_idle(&self) -> bool {
        self.topics.is_empty() && self.throttles.is_empty()
    }

    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionMove)> {
        self.topics.iter().flat_map(|(topic, moves)| {
            let of_topic = move |(partition, one): (&i32, _)| {
                (TopicPartition { topic: topic.clone(), partition: *partition }, one)
            };
            moves.partitions.iter().map(of_topic)
        })
    }

    pub(super) fn partitions_mut(&mut self) -> impl Iterator<Item = (TopicPartition, &mut PartitionMove)> {
        self.topics.iter_mut().flat_map(|(topic, moves)| {
            let topic = topic.clone();
            let named = move |(partition, one)| {
                let partition: &i32 = partition;
                (TopicPartition { topic: topic.clone(), partition: *partition }, one)
            };
            moves.partitions.iter_mut().map(named)
        })
    }

    pub fn get(&self, partition: &TopicPartition) -> Option<&PartitionMove> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    pub fn get_mut(&mut self, partition: &TopicPartition) -> Option<&mut PartitionMove> {
        self.topics.get_mut(&partition.topic)?.partitions.get_mut(&partition.partition)
    }

    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        if let Some(moves) = self.topics.get_mut(&partition.topic) {
            moves.partitions.remove(&partition.partition);
        }
    }

    /// Notes that a partition is where it was.
    pub(super) fn count_called_off(&mut self, partition: &TopicPartition) {
        if let Some(moves) = self.topics.get_mut(&partition.topic) {
            moves.called_off += 1;
        }
    }

    /// Takes a move out that is not to be had.
    pub fn give_up(&mut self, partition: &TopicPartition) {
        let Some(moves) = self.topics.get_mut(&partition.topic) else { return };
        moves.partitions.remove(&partition.partition);
        moves.abandoned += 1;
        if let (Goal::Rebalance { .. }, Some(taken)) = (&moves.goal, &mut self.request) {
            taken.abandoned += 1;
        }
    }

    /// Calls off what is moved of a topic: what has not begun is dropped, what is under way goes back.
    pub fn cancel(&mut self, topic: &TopicName) {
        let Some(moves) = self.topics.get_mut(topic) else { return };
        if std::mem::replace(&mut moves.cancelled, true) {
            return;
        }
        let before = moves.partitions.len();
        moves.partitions.retain(|_, one| one.phase != Phase::Waiting);
        moves.called_off += before - moves.partitions.len();
        for one in moves.partitions.values_mut() {
            if matches!(one.phase, Phase::Starting | Phase::Submitted) {
                one.phase = Phase::Cancelling;
            }
        }
    }

    /// Calls off what was planned for a rebalance; other moves go on.
    pub fn cancel_rebalance(&mut self) {
        let of_rebalance =
            |(_, moves): &(&TopicName, &TopicMove)| matches!(moves.goal, Goal::Rebalance { .. });
        let topics: BTreeSet<TopicName> =
            self.topics.iter().filter(of_rebalance).map(|(topic, _)| topic.clone()).collect();
        for topic in &topics {
            self.cancel(topic);
        }
        if let Some(taken) = &mut self.request {
            (taken.later, taken.bytes_later) = (0, 0);
        }
    }

    /// Has the rebalance under way go on for a request that asks for the same, as fast as that says. Whether it does.
    pub fn take_over_rebalance(&mut self, request: &RebalanceRequest) -> bool {
        let goes_on = |moves: &TopicMove| matches!(moves.goal, Goal::Rebalance { .. }) && !moves.cancelled;
        let Some(taken) = self.request.as_mut().filter(|taken| taken.request.asks_for_the_same(request))
        else {
            return false;
        };
        if !self.topics.values().any(goes_on) {
            return false;
        }
        taken.request = request.clone();
        for moves in self.topics.values_mut() {
            if let Goal::Rebalance { id, .. } = &mut moves.goal {
                id.clone_from(&request.id);
            }
        }
        true
    }

    pub fn is_rebalancing(&self) -> bool {
        self.topics.values().any(|moves| matches!(moves.goal, Goal::Rebalance { .. }))
    }
}

impl TopicMove {
    pub fn new(topic_id: String, goal: Goal, partitions: BTreeMap<i32, PartitionMove>) -> Self {
        Self {
            topic_id,
            goal,
            planned: partitions.len(),
            cancelled: false,
            abandoned: 0,
            called_off: 0,
            begun: false,
            partitions,
        }
    }

    /// Partitions that are where they should be, once nothing is left to be done.
    pub fn moved(&self) -> usize {
        self.planned.saturating_sub(self.abandoned + self.called_off)
    }
}

impl Goal {
    /// The replication factor that the topic is to have when its moves are over.
    pub fn factor(&self) -> i16 {
        match self {
            Self::ReplicationFactor { to, .. } => *to,
            Self::Rebalance { factor, .. } => *factor,
        }
    }
}

impl PartitionMove {
    pub fn waiting(from: Vec<i32>, to: Vec<i32>, bytes: u64) -> Self {
        Self { phase: Phase::Waiting, from, to, bytes }
    }

    /// Brokers that copy the partition.
    pub fn adding(&self) -> impl Iterator<Item = i32> {
        self.to.iter().copied().filter(|broker| !self.from.contains(broker))
    }

    /// Bytes that have to be copied for it.
    pub fn to_copy(&self) -> u64 {
        self.bytes.saturating_mul(self.adding().count() as u64)
    }

    /// Whether Kafka may be at work on it by our word.
    pub fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Submitted | Phase::Cancelling)
    }
}

/// Whether both name the same brokers, in whatever order.
pub(super) fn same_brokers(one: &[i32], other: &[i32]) -> bool {
    let set = |brokers: &[i32]| brokers.iter().copied().collect::<BTreeSet<_>>();
    set(one) == set(other)
}

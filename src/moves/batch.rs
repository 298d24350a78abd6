use std::collections::{BTreeMap, BTreeSet};

use super::{Goal, MoveState, Observed, PartitionMove, Phase, move_state::same_brokers};
use crate::kafka::{Reassignment, TopicPartition};

/// How much is moved at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Partitions under way.
    pub partitions: usize,
    /// Replicas that one broker copies.
    pub per_broker: usize,
    /// Bytes per second and broker; 0: as fast as they can.
    pub throttle: u64,
}

/// What keeps a partition that waits from being moved now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Paused,
    /// The partition is not known yet to the broker that was asked.
    Unseen,
    Offline,
    BrokerAway(i32),
    /// It does not tell its throttles, so that it might copy without any.
    ThrottleUnknown(i32),
    /// No broker told what `min.insync.replicas` is.
    MinInSyncUnknown,
    /// So many replicas would be in sync afterwards, and the topic asks for more.
    TooFewInSync {
        left: usize,
        needed: usize,
    },
}

impl Obstacle {
    pub(super) fn message(&self, partition: &TopicPartition, goal: Option<&Goal>) -> String {
        match self {
            Self::Paused => format!("partition {} waits: the topic is paused", partition.partition),
            Self::Unseen => format!("partition {} is not known to the brokers", partition.partition),
            Self::Offline => format!("partition {} waits: nobody leads it", partition.partition),
            Self::BrokerAway(broker) => {
                // A rebalance leaves alone what has its factor changed.
                let first = match goal {
                    Some(Goal::ReplicationFactor { .. }) => "set the replication factor back and ",
                    Some(Goal::Rebalance { .. }) | None => "",
                };
                format!(
                    "partition {} waits for broker {broker}, which is away; should it be gone for good, \
                     {first}run topicops rebalance --drain {broker}",
                    partition.partition
                )
            }
            Self::ThrottleUnknown(broker) => format!(
                "partition {} waits: broker {broker} does not tell its throttles (ACL DescribeConfigs on the cluster)",
                partition.partition
            ),
            Self::MinInSyncUnknown => format!(
                "partition {} waits: no broker tells its min.insync.replicas (ACL DescribeConfigs on the cluster)",
                partition.partition
            ),
            Self::TooFewInSync { left, needed } => format!(
                "partition {} waits: {left} replicas would be in sync afterwards, and min.insync.replicas is {needed}",
                partition.partition
            ),
        }
    }
}

/// Bytes that the notes of a batch's throttles may take: they are remembered beside the moves (see [`super::Room`]).
const NOTES: usize = 200_000;
/// Of a topic's notes, beside its name and the replicas that are throttled.
const NOTE: usize = 80;
/// One throttled replica, `"2147483647:2147483647",` at most.
const ITEM: usize = 24;

/// The partitions to begin with now, and what keeps others.
pub(super) fn choose(
    state: &MoveState,
    seen: &Observed,
    limits: BatchLimits,
) -> (BTreeSet<TopicPartition>, BTreeMap<TopicPartition, Obstacle>) {
    let mut obstacles = BTreeMap::new();
    let mut chosen = BTreeSet::new();
    let under_way: Vec<&PartitionMove> =
        state.partitions().map(|(_, one)| one).filter(|one| one.is_under_way()).collect();
    let stuck = |one: &PartitionMove| one.adding().any(|broker| !seen.brokers.contains(&broker));
    // One batch after the other; what is stuck does not hold up the others.
    let busy = under_way.iter().any(|one| !stuck(one));
    let mut room = limits.partitions.saturating_sub(under_way.len());
    let mut notes = NOTES;
    let mut copying: BTreeMap<i32, usize> = BTreeMap::new();
    for one in &under_way {
        one.adding().for_each(|broker| *copying.entry(broker).or_default() += 1);
    }
    for (partition, one) in state.partitions().filter(|(_, one)| one.phase == Phase::Waiting) {
        if let Some(obstacle) = obstacle(&partition, one, seen, limits) {
            obstacles.insert(partition, obstacle);
            continue;
        }
        let full = |broker: i32| copying.get(&broker).is_some_and(|count| *count >= limits.per_broker.max(1));
        if busy || room == 0 || one.adding().any(full) {
            continue;
        }
        let note = partition.topic.as_str().len() + (one.from.len() + one.to.len()) * ITEM + NOTE;
        let Some(rest) = notes.checked_sub(note) else { continue };
        notes = rest;
        one.adding().for_each(|broker| *copying.entry(broker).or_default() += 1);
        room -= 1;
        chosen.insert(partition);
    }
    (chosen, obstacles)
}

pub(super) fn obstacle(
    partition: &TopicPartition,
    one: &PartitionMove,
    seen: &Observed,
    limits: BatchLimits,
) -> Option<Obstacle> {
    if seen.paused.contains(&partition.topic) {
        return Some(Obstacle::Paused);
    }
    let Some(topic) = seen.topics.get(&partition.topic).and_then(Option::as_ref) else {
        return Some(Obstacle::Unseen);
    };
    let index = usize::try_from(partition.partition).unwrap_or(usize::MAX);
    let (Some(leader), Some(in_sync)) = (topic.leaders.get(index), topic.in_sync.get(index)) else {
        return Some(Obstacle::Unseen);
    };
    if leader.is_none() {
        return Some(Obstacle::Offline);
    }
    if let Some(away) = one.to.iter().find(|broker| !seen.brokers.contains(broker)) {
        return Some(Obstacle::BrokerAway(*away));
    }
    if let Some(throttles) = seen.throttles.as_ref().filter(|_| limits.throttle > 0)
        && one.adding().next().is_some()
    {
        let copying =
            one.adding().chain(one.from.iter().copied()).filter(|broker| seen.brokers.contains(broker));
        if let Some(silent) = copying.into_iter().find(|broker| !throttles.brokers.contains_key(broker)) {
            return Some(Obstacle::ThrottleUnknown(silent));
        }
    }
    // Kafka takes replicas away when those to come are in sync; those that stay may not be.
    let present: BTreeSet<i32> = topic.replicas.get(index).into_iter().flatten().copied().collect();
    let left = one.to.iter().filter(|broker| in_sync.contains(broker) || !present.contains(broker)).count();
    let own = topic.configs.get("min.insync.replicas").and_then(|text| text.parse().ok());
    let takes_away = present.iter().any(|broker| !one.to.contains(broker));
    let Some(needed) = own.or(seen.min_in_sync) else {
        return takes_away.then_some(Obstacle::MinInSyncUnknown);
    };
    // Where too few are in sync already, the move may be what mends it.
    (left < needed && left < in_sync.len()).then_some(Obstacle::TooFewInSync { left, needed })
}

/// Moves that Kafka has under way and that are not ours.
pub(super) fn foreign<'a>(state: &MoveState, seen: &'a Observed) -> Vec<&'a Reassignment> {
    let ours = |listed: &&Reassignment| {
        state
            .get(&listed.partition)
            .is_some_and(|one| one.phase != Phase::Yielded && same_brokers(&one.to, &listed.target()))
    };
    seen.reassignments.iter().filter(|listed| !ours(listed)).collect()
}

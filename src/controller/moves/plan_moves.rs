//! From what is wanted to moves, by [`crate::placement`].

use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::{ReplicationFactor, TopicName};

use super::Survey;
use crate::{
    moves::{Goal, PartitionMove, RebalanceRequest, Room, TakenRequest, TopicMove},
    placement::{
        PlacedPartition, PlacementError, Rebalance, RebalanceGoals, ReplicaMove, change_factor, rebalance,
    },
    topic::TopicPolicy,
};

/// The moves that give a topic another replication factor; `None` when it has it.
///
/// # Errors
/// When there are too few brokers.
pub fn plan_factor(
    survey: &mut Survey,
    topic: &TopicName,
    factor: ReplicationFactor,
) -> Result<Option<TopicMove>, PlacementError> {
    let Some(described) = survey.topics.get(topic) else { return Ok(None) };
    let sizes: Vec<u64> =
        (0..).zip(&described.replicas).map(|(partition, _)| survey.size(topic, partition)).collect();
    let targets = change_factor(&mut survey.layout, &described.replicas, &described.in_sync, &sizes, factor)?;
    let moves = (0..).zip(described.replicas.iter().zip(targets)).zip(sizes);
    let partitions: BTreeMap<i32, PartitionMove> = moves
        .filter(|((_, (from, to)), _)| *from != to)
        .map(|((partition, (from, to)), bytes)| (partition, PartitionMove::waiting(from.clone(), to, bytes)))
        .collect();
    let goal = Goal::ReplicationFactor { from: described.replication_factor(), to: factor.get() };
    let id = described.id.clone();
    Ok((!partitions.is_empty()).then(|| TopicMove::new(id, goal, partitions)))
}

/// Which topics a rebalance may move.
#[derive(Clone, Copy, Debug)]
pub struct Movable<'a> {
    /// Declared and owned.
    pub owned: &'a BTreeSet<TopicName>,
    pub paused: &'a BTreeSet<TopicName>,
    /// Those that are being moved already.
    pub busy: &'a BTreeSet<TopicName>,
    pub policy: &'a TopicPolicy,
}

/// Why a topic is left where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Internal,
    Protected,
    Undeclared,
    Paused,
    Busy,
    NotNamed,
}

impl Left {
    fn message(self) -> &'static str {
        match self {
            Self::Internal => "of Kafka's own topics (--include-internal)",
            Self::Protected => "of protected topics",
            Self::Undeclared => "of topics that nobody declares (--include-undeclared)",
            Self::Paused => "of paused topics",
            Self::Busy => "of topics whose replication factor is being changed",
            Self::NotNamed => "of topics that --topics does not name",
        }
    }
}

impl Movable<'_> {
    fn left(&self, topic: &TopicName, request: &RebalanceRequest) -> Option<Left> {
        if !request.names(topic.as_str()) {
            Some(Left::NotNamed)
        } else if topic.is_internal() {
            (!request.include_internal).then_some(Left::Internal)
        } else if self.policy.protects(topic).is_some() {
            Some(Left::Protected)
        } else if !self.owned.contains(topic) && !request.include_undeclared {
            Some(Left::Undeclared)
        } else if self.paused.contains(topic) {
            Some(Left::Paused)
        } else {
            self.busy.contains(topic).then_some(Left::Busy)
        }
    }
}

/// The moves of a rebalance that find room, and what is remembered of it; also the whole plan, for whoever shows it. What finds
/// no room is planned when the others are done.
///
/// # Errors
/// In words, when it cannot be done as asked.
pub fn plan_rebalance(
    survey: &Survey,
    request: &RebalanceRequest,
    movable: Movable<'_>,
    mut room: Room,
) -> Result<(BTreeMap<TopicName, TopicMove>, TakenRequest, Rebalance), String> {
    let holds = |broker: i32| {
        survey.topics.values().flat_map(|topic| &topic.replicas).any(|replicas| replicas.contains(&broker))
    };
    let has_rack_or_disk = |broker: &i32| {
        survey.layout.brokers.get(broker).is_some_and(|one| one.rack.is_some() || one.disk_total.is_some())
    };
    if let Some(unknown) = request.drain.iter().find(|broker| !has_rack_or_disk(broker) && !holds(**broker)) {
        let known: Vec<String> =
            survey.layout.brokers.keys().filter(|id| *id != unknown).map(i32::to_string).collect();
        return Err(format!(
            "--drain {unknown}: there is no such broker; the brokers are {}",
            known.join(", ")
        ));
    }
    let mut partitions = Vec::new();
    let mut left: BTreeMap<Left, usize> = BTreeMap::new();
    for (topic, described) in &survey.topics {
        let why = movable.left(topic, request);
        for (partition, replicas) in (0..).zip(&described.replicas) {
            match why {
                None => partitions.push(PlacedPartition {
                    topic: topic.clone(),
                    partition,
                    replicas: replicas.clone(),
                    bytes: survey.size(topic, partition),
                }),
                Some(why) if replicas.iter().any(|broker| request.drain.contains(broker)) => {
                    *left.entry(why).or_default() += 1;
                }
                Some(_) => {}
            }
        }
    }
    let plan = rebalance(&survey.layout, &partitions, &RebalanceGoals::default());
    let mut remarks: Vec<String> = left
        .iter()
        .map(|(why, count)| format!("{count} partitions {} stay on the drained brokers", why.message()))
        .collect();
    remarks.extend(plan.stuck.iter().take(3).map(|stuck| {
        format!("{}-{} stays on a drained broker: {}", stuck.topic, stuck.partition, stuck.error)
    }));
    if plan.stuck.len() > 3 {
        remarks.push(format!("and {} partitions more likewise", plan.stuck.len() - 3));
    }

    let id = |topic: &TopicName| survey.topics.get(topic).map(|topic| topic.id.clone()).unwrap_or_default();
    let mut topics: BTreeMap<TopicName, TopicMove> = BTreeMap::new();
    let mut planned = 0;
    for one in &plan.moves {
        let factor = i16::try_from(one.from.len()).unwrap_or(i16::MAX);
        let goal = || Goal::Rebalance { id: request.id.clone(), factor };
        let waiting = PartitionMove::waiting(one.from.clone(), one.to.clone(), one.bytes);
        let new = (!topics.contains_key(&one.topic))
            .then(|| TopicMove::new(id(&one.topic), goal(), BTreeMap::new()));
        if !room.take(new.as_ref().map(|moves| (&one.topic, moves)), &waiting) {
            break;
        }
        topics.extend(new.map(|moves| (one.topic.clone(), moves)));
        if let Some(moves) = topics.get_mut(&one.topic) {
            moves.planned += 1;
            moves.partitions.insert(one.partition, waiting);
        }
        planned += 1;
    }
    let (now, later) = plan.moves.split_at(planned);
    let bytes =
        |moves: &[ReplicaMove]| moves.iter().map(ReplicaMove::bytes_to_copy).fold(0, u64::saturating_add);
    let taken = TakenRequest {
        request: request.clone(),
        planned,
        bytes: bytes(now),
        abandoned: 0,
        later: later.len(),
        bytes_later: bytes(later),
        remarks: remarks.join("; "),
    };
    Ok((topics, taken, plan))
}

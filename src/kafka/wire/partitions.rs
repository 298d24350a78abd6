use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    elect_leaders_request::TopicPartitions,
};
use topicops_contract::TopicName;

use super::{
    fault::Fault,
    pool::{Again, Pool, Target},
    text::outcome,
    topics::{broker_timeout, wire},
};
use crate::kafka::{Item, ItemError, Reassignment, TopicPartition};

/// Partitions of one request. Each is a record or two, and a controller takes at most 10,000 of them in a request.
const CHUNK: usize = 2500;

/// Kafka's number for elections that make the first replica the leader.
const PREFERRED: i8 = 0;

type Outcomes = HashMap<(String, i32), Item<()>>;

pub(super) async fn reassignments(pool: &Arc<Pool>) -> Result<Vec<Reassignment>, Fault> {
    let request = ListPartitionReassignmentsRequest::default()
        .with_topics(None)
        .with_timeout_ms(broker_timeout(pool.endpoint().request_timeout));
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, answer.error_message.as_deref()));
    }
    let mut moves = Vec::new();
    for topic in answer.topics {
        let name: TopicName = topic
            .name
            .parse()
            .map_err(|problem| Fault::protocol(format!("the broker names a topic {problem}")))?;
        moves.extend(topic.partitions.into_iter().map(|partition| Reassignment {
            partition: TopicPartition { topic: name.clone(), partition: partition.partition_index },
            replicas: ids(partition.replicas),
            adding: ids(partition.adding_replicas),
            removing: ids(partition.removing_replicas),
        }));
    }
    moves.sort_unstable_by(|one, other| one.partition.cmp(&other.partition));
    Ok(moves)
}

pub(super) fn ids(brokers: Vec<BrokerId>) -> Vec<i32> {
    brokers.into_iter().map(|broker| broker.0).collect()
}

pub(super) async fn reassign(
    pool: &Arc<Pool>,
    changes: &[(TopicPartition, Option<Vec<i32>>)],
) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(changes.len());
    for part in changes.chunks(CHUNK) {
        let answered = reassign_part(pool, part).await?;
        outcomes.extend(part.iter().map(|(partition, target)| match of(&answered, partition) {
            Err(error) if target.is_none() && error.is(ItemError::NO_REASSIGNMENT_IN_PROGRESS) => Ok(()),
            outcome => outcome,
        }));
    }
    Ok(outcomes)
}

async fn reassign_part(
    pool: &Arc<Pool>,
    changes: &[(TopicPartition, Option<Vec<i32>>)],
) -> Result<Outcomes, Fault> {
    let mut topics: BTreeMap<&TopicName, Vec<ReassignablePartition>> = BTreeMap::new();
    for (partition, target) in changes {
        let replicas = target.as_ref().map(|brokers| brokers.iter().copied().map(BrokerId).collect());
        let wanted = ReassignablePartition::default().with_partition_index(partition.partition);
        topics.entry(&partition.topic).or_default().push(wanted.with_replicas(replicas));
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        ReassignableTopic::default().with_name(wire(name)).with_partitions(partitions)
    });
    let request = AlterPartitionReassignmentsRequest::default()
        .with_topics(topics.collect())
        .with_timeout_ms(broker_timeout(pool.endpoint().request_timeout));
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, answer.error_message.as_deref()));
    }
    let mut outcomes = Outcomes::new();
    for topic in answer.responses {
        outcomes.extend(topic.partitions.into_iter().map(|partition| {
            let outcome = outcome(partition.error_code, partition.error_message.as_ref());
            ((topic.name.to_string(), partition.partition_index), outcome)
        }));
    }
    Ok(outcomes)
}

pub(super) async fn elect(pool: &Arc<Pool>, partitions: &[TopicPartition]) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(partitions.len());
    for part in partitions.chunks(CHUNK) {
        let answered = elect_part(pool, part).await?;
        outcomes.extend(part.iter().map(|partition| match of(&answered, partition) {
            Err(error) if error.is(ItemError::ELECTION_NOT_NEEDED) => Ok(()),
            outcome => outcome,
        }));
    }
    Ok(outcomes)
}

async fn elect_part(pool: &Arc<Pool>, partitions: &[TopicPartition]) -> Result<Outcomes, Fault> {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        TopicPartitions::default().with_topic(wire(name)).with_partitions(partitions)
    });
    let request = ElectLeadersRequest::default()
        .with_election_type(PREFERRED)
        .with_topic_partitions(Some(topics.collect()))
        .with_timeout_ms(broker_timeout(pool.endpoint().request_timeout));
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, None));
    }
    let mut outcomes = Outcomes::new();
    for topic in answer.replica_election_results {
        outcomes.extend(topic.partition_result.into_iter().map(|partition| {
            let outcome = outcome(partition.error_code, partition.error_message.as_ref());
            ((topic.topic.to_string(), partition.partition_id), outcome)
        }));
    }
    Ok(outcomes)
}

fn of(outcomes: &Outcomes, partition: &TopicPartition) -> Item<()> {
    let key = (partition.topic.to_string(), partition.partition);
    outcomes.get(&key).cloned().unwrap_or_else(|| Err(ItemError::unmentioned()))
}

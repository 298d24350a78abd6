use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, TopicName as WireName,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
};
use topicops_contract::{PartitionCount, ReplicationFactor, TopicName};
use uuid::Uuid;

use super::{
    fault::Fault,
    pool::{Again, Pool, Target},
    text::{outcome, text},
};
use crate::kafka::{CreatedTopic, DoomedTopic, Item, ItemError, NewPartitions, NewTopic};

/// Topics of one request, for deletions and growth.
const CHUNK: usize = 1000;

/// A controller refuses a request that would write more than 10,000 records to the metadata log.
const CHUNK_RECORDS: usize = 5000;

/// What a topic is reckoned to write when the brokers choose its partitions.
const DEFAULT_PARTITIONS: usize = 3;

pub(super) async fn create(pool: &Arc<Pool>, topics: &[NewTopic]) -> Result<Vec<Item<CreatedTopic>>, Fault> {
    let mut outcomes = Vec::with_capacity(topics.len());
    // A stack: a part that proves too large is put back as its halves.
    let mut parts: Vec<&[NewTopic]> = parts(topics);
    parts.reverse();
    while let Some(part) = parts.pop() {
        let part_outcomes = create_part(pool, part).await?;
        if part.len() > 1 && part_outcomes.iter().all(is_too_large) {
            let (head, tail) = part.split_at(part.len() / 2);
            parts.extend([tail, head]);
        } else {
            outcomes.extend(part_outcomes);
        }
    }
    Ok(outcomes)
}

/// The controller's words (`ReplicationControlManager`, `BoundedList`) when a request would write too many records.
fn is_too_large(outcome: &Item<CreatedTopic>) -> bool {
    outcome.as_ref().is_err_and(|error| {
        (error.is(ItemError::POLICY_VIOLATION) || error.is(ItemError::INVALID_REQUEST))
            && (error.message.contains("Excessively large") || error.message.contains("too many records"))
    })
}

fn parts(topics: &[NewTopic]) -> Vec<&[NewTopic]> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut records = 0;
    for (index, topic) in topics.iter().enumerate() {
        let partitions = topic
            .partitions
            .map_or(DEFAULT_PARTITIONS, |count| usize::try_from(count.get()).unwrap_or(usize::MAX / 2));
        let cost = partitions.saturating_add(1 + topic.configs.len());
        if index > start && records + cost > CHUNK_RECORDS {
            parts.push(&topics[start..index]);
            start = index;
            records = 0;
        }
        records = records.saturating_add(cost);
    }
    if start < topics.len() {
        parts.push(&topics[start..]);
    }
    parts
}

async fn create_part(pool: &Arc<Pool>, topics: &[NewTopic]) -> Result<Vec<Item<CreatedTopic>>, Fault> {
    let wanted = topics.iter().map(|topic| {
        let configs = topic.configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        });
        let wanted = CreatableTopic::default().with_name(wire(&topic.name)).with_configs(configs.collect());
        match &topic.placement {
            // Brokers refuse the numbers beside it.
            Some(placement) => wanted
                .with_num_partitions(-1)
                .with_replication_factor(-1)
                .with_assignments(assignments(placement)),
            None => wanted
                .with_num_partitions(topic.partitions.map_or(-1, PartitionCount::get))
                .with_replication_factor(topic.replication_factor.map_or(-1, ReplicationFactor::get)),
        }
    });
    let request = CreateTopicsRequest::default()
        .with_topics(wanted.collect())
        .with_timeout_ms(broker_timeout(pool.endpoint().request_timeout));
    let answer = pool.call(Target::Any, &request, Again::Unsafe).await?;
    let mut created: HashMap<String, Item<CreatedTopic>> = answer
        .topics
        .into_iter()
        .map(|topic| {
            // -1 where we may not describe the topic's settings.
            let made = CreatedTopic {
                id: URL_SAFE_NO_PAD.encode(topic.topic_id.as_bytes()),
                partitions: Some(topic.num_partitions).filter(|count| *count > 0),
                replication_factor: Some(topic.replication_factor).filter(|factor| *factor > 0),
            };
            let outcome = outcome(topic.error_code, topic.error_message.as_ref()).map(|()| made);
            (topic.name.to_string(), outcome)
        })
        .collect();
    Ok(in_order(topics.iter().map(|topic| &topic.name), &mut created))
}

fn assignments(placement: &[Vec<i32>]) -> Vec<CreatableReplicaAssignment> {
    let partitions = (0..).zip(placement).map(|(index, brokers)| {
        CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(broker_ids(brokers))
    });
    partitions.collect()
}

fn broker_ids(brokers: &[i32]) -> Vec<BrokerId> {
    brokers.iter().copied().map(BrokerId).collect()
}

/// A controller that is asked for too many partitions at once breaks off half-way and keeps what it has made by then. How
/// many are added is not known here, so the totals are reckoned.
fn growth_parts(topics: &[NewPartitions]) -> Vec<&[NewPartitions]> {
    let mut parts = Vec::new();
    let (mut start, mut records) = (0, 0_usize);
    for (index, topic) in topics.iter().enumerate() {
        let cost = usize::try_from(topic.total.get()).unwrap_or(usize::MAX / 2);
        if index > start && (records.saturating_add(cost) > CHUNK_RECORDS || index - start == CHUNK) {
            parts.push(&topics[start..index]);
            (start, records) = (index, 0);
        }
        records = records.saturating_add(cost);
    }
    if start < topics.len() {
        parts.push(&topics[start..]);
    }
    parts
}

pub(super) async fn grow(pool: &Arc<Pool>, topics: &[NewPartitions]) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(topics.len());
    for part in growth_parts(topics) {
        let wanted = part.iter().map(|topic| {
            let added = topic.placement.as_ref().map(|added| {
                let one = |brokers: &Vec<i32>| {
                    CreatePartitionsAssignment::default().with_broker_ids(broker_ids(brokers))
                };
                added.iter().map(one).collect()
            });
            CreatePartitionsTopic::default()
                .with_name(wire(&topic.topic))
                .with_count(topic.total.get())
                .with_assignments(added)
        });
        let request = CreatePartitionsRequest::default()
            .with_topics(wanted.collect())
            .with_timeout_ms(broker_timeout(pool.endpoint().request_timeout));
        let answer = pool.call(Target::Any, &request, Again::Unsafe).await?;
        let mut grown = answer
            .results
            .into_iter()
            .map(|topic| (topic.name.to_string(), outcome(topic.error_code, topic.error_message.as_ref())))
            .collect();
        outcomes.extend(in_order(part.iter().map(|topic| &topic.topic), &mut grown));
    }
    Ok(outcomes)
}

pub(super) async fn delete(pool: &Arc<Pool>, topics: &[DoomedTopic]) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(topics.len());
    for part in topics.chunks(CHUNK) {
        // Either a name or an id: a broker refuses both at once.
        let states = part.iter().map(|topic| match topic.id.as_deref().and_then(uuid) {
            Some(id) => DeleteTopicState::default().with_topic_id(id),
            None => DeleteTopicState::default().with_name(Some(wire(&topic.name))),
        });
        let request = DeleteTopicsRequest::default()
            .with_topics(states.collect())
            .with_timeout_ms(broker_timeout(pool.endpoint().request_timeout));
        let answer = pool.call(Target::Any, &request, Again::Unsafe).await?;
        let (mut by_id, mut by_name) = (HashMap::new(), HashMap::new());
        for topic in answer.responses {
            let outcome = outcome(topic.error_code, topic.error_message.as_ref());
            by_id.insert(topic.topic_id, outcome.clone());
            if let Some(name) = topic.name {
                by_name.insert(name.to_string(), outcome);
            }
        }
        outcomes.extend(part.iter().map(|topic| {
            let outcome = match topic.id.as_deref().and_then(uuid) {
                Some(id) => by_id.get(&id),
                None => by_name.get(topic.name.as_str()),
            };
            outcome.cloned().unwrap_or_else(|| Err(ItemError::unmentioned()))
        }));
    }
    Ok(outcomes)
}

/// A topic's id, from the text that stands for it; `None` for one of a broker too old to have any.
fn uuid(text: &str) -> Option<Uuid> {
    let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(Uuid::from_bytes(bytes)).filter(|id| !id.is_nil())
}

/// One outcome per name, in the order of the names. A name that stands twice gets its outcome twice.
pub(super) fn in_order<'a, T: Clone>(
    names: impl Iterator<Item = &'a TopicName>,
    outcomes: &mut HashMap<String, Item<T>>,
) -> Vec<Item<T>> {
    names
        .map(|name| outcomes.get(name.as_str()).cloned().unwrap_or_else(|| Err(ItemError::unmentioned())))
        .collect()
}

pub(super) fn wire(name: &TopicName) -> WireName {
    WireName(text(name.as_str()))
}

/// How long a broker may take: less than we wait, so that its own answer arrives first.
pub(super) fn broker_timeout(ours: Duration) -> i32 {
    i32::try_from(ours.mul_f64(0.8).as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn topic(name: &str, partitions: Option<i32>) -> NewTopic {
        NewTopic {
            name: name.parse().unwrap(),
            partitions: partitions.map(|count| count.try_into().unwrap()),
            replication_factor: None,
            placement: None,
            configs: BTreeMap::new(),
        }
    }

    #[test]
    fn parts_hold_every_topic_once_and_in_order() {
        let topics: Vec<NewTopic> = (0..4000)
            .map(|n| {
                topic(&format!("t{n}"), [None, Some(1), Some(6000)][usize::from(n % 1000 == 0) * (n % 3)])
            })
            .collect();
        let parts = parts(&topics);
        assert!(parts.len() > 2 && parts.iter().all(|part| !part.is_empty()));
        assert_eq!(parts.concat(), topics);
        assert!(super::parts(&[]).is_empty());
    }
}

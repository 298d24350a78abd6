use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetFetchRequest,
    ShareGroupDescribeRequest, offset_fetch_request::OffsetFetchRequestGroup,
};

use super::{
    describe,
    fault::Fault,
    member_topics::{assigned_topics, subscribed_topics},
    pool::{Again, Pool, Target},
    text::text,
};
use crate::kafka::{Address, ConsumingGroup};

/// Brokers asked at once.
const CONCURRENCY: usize = 4;

/// Groups of one describe; members and their assignments come along.
const CHUNK: usize = 200;

type Groups = BTreeMap<String, BTreeSet<String>>;

/// Every group lives on the broker that coordinates it, so every broker is asked for its own. One that does not answer
/// fails the whole call: its groups might be the ones that matter.
pub(super) async fn consuming(pool: &Arc<Pool>) -> Result<Vec<ConsumingGroup>, Fault> {
    let (_, brokers) = describe::brokers(pool).await?;
    let asked: Vec<_> = brokers.iter().map(|broker| of_broker(pool, &broker.address)).collect();
    let groups: Vec<Groups> = stream::iter(asked).buffer_unordered(CONCURRENCY).try_collect().await?;
    let mut merged = Groups::new();
    for (group, topics) in groups.into_iter().flatten() {
        merged.entry(group).or_default().extend(topics);
    }
    Ok(merged.into_iter().map(|(group, topics)| ConsumingGroup { group, topics }).collect())
}

/// Groups by the protocol that their members speak.
#[derive(Default)]
struct Listed {
    classic: Vec<GroupId>,
    consumer: Vec<GroupId>,
    share: Vec<GroupId>,
    /// Kafka Streams' own protocol, and what is yet to be invented.
    other: Vec<GroupId>,
}

async fn of_broker(pool: &Arc<Pool>, broker: &Address) -> Result<Groups, Fault> {
    let listed = list(pool, broker).await?;
    let mut groups = Groups::new();
    for part in listed.classic.chunks(CHUNK) {
        groups.extend(classic(pool, broker, part).await?);
    }
    for part in listed.consumer.chunks(CHUNK) {
        groups.extend(consumer(pool, broker, part).await?);
    }
    for part in listed.share.chunks(CHUNK) {
        groups.extend(share(pool, broker, part).await?);
    }
    groups.extend(listed.other.into_iter().map(|group| (group.to_string(), BTreeSet::new())));
    // Members in the middle of a rebalance tell no topics, and those of other protocols tell them in other ways; what
    // the group committed is what it reads.
    let silent: Vec<String> =
        groups.iter().filter(|(_, topics)| topics.is_empty()).map(|(group, _)| group.clone()).collect();
    for part in silent.chunks(CHUNK) {
        groups.extend(committed(pool, broker, part).await?);
    }
    Ok(groups)
}

async fn list(pool: &Arc<Pool>, broker: &Address) -> Result<Listed, Fault> {
    let answer = pool.call(Target::Broker(broker), &ListGroupsRequest::default(), Again::Harmless).await?;
    if answer.error_code != 0 {
        return Err(Fault::answer(answer.error_code, None).at(broker));
    }
    let mut listed = Listed::default();
    for group in answer.groups {
        if matches!(&*group.group_state, "Empty" | "Dead") {
            continue;
        }
        match &*group.group_type.to_lowercase() {
            // Connect workers and schema registries use groups to elect a leader; they read no topic by it.
            "" | "classic" if matches!(&*group.protocol_type, "consumer" | "") => {
                listed.classic.push(group.group_id);
            }
            "" | "classic" => {}
            "consumer" => listed.consumer.push(group.group_id),
            "share" => listed.share.push(group.group_id),
            _ => listed.other.push(group.group_id),
        }
    }
    Ok(listed)
}

async fn classic(pool: &Arc<Pool>, broker: &Address, groups: &[GroupId]) -> Result<Groups, Fault> {
    let request = DescribeGroupsRequest::default().with_groups(groups.to_vec());
    let answer = pool.call(Target::Broker(broker), &request, Again::Harmless).await?;
    let mut described = Groups::new();
    for group in answer.groups {
        if !is_there(group.error_code, group.error_message.as_deref(), broker)? || group.members.is_empty() {
            continue;
        }
        let topics = group.members.iter().flat_map(|member| {
            let assigned = assigned_topics(&member.member_assignment);
            assigned.into_iter().chain(subscribed_topics(&member.member_metadata))
        });
        described.insert(group.group_id.to_string(), topics.collect());
    }
    Ok(described)
}

async fn consumer(pool: &Arc<Pool>, broker: &Address, groups: &[GroupId]) -> Result<Groups, Fault> {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(groups.to_vec());
    let answer = pool.call(Target::Broker(broker), &request, Again::Harmless).await?;
    let mut described = Groups::new();
    for group in answer.groups {
        if !is_there(group.error_code, group.error_message.as_deref(), broker)? || group.members.is_empty() {
            continue;
        }
        let topics = group.members.iter().flat_map(|member| {
            let assigned =
                member.assignment.topic_partitions.iter().chain(&member.target_assignment.topic_partitions);
            let assigned = assigned.map(|part| part.topic_name.to_string());
            assigned.chain(member.subscribed_topic_names.iter().map(|name| name.to_string()))
        });
        described.insert(group.group_id.to_string(), topics.collect());
    }
    Ok(described)
}

async fn share(pool: &Arc<Pool>, broker: &Address, groups: &[GroupId]) -> Result<Groups, Fault> {
    let request = ShareGroupDescribeRequest::default().with_group_ids(groups.to_vec());
    let answer = pool.call(Target::Broker(broker), &request, Again::Harmless).await?;
    let mut described = Groups::new();
    for group in answer.groups {
        if !is_there(group.error_code, group.error_message.as_deref(), broker)? || group.members.is_empty() {
            continue;
        }
        let topics = group.members.iter().flat_map(|member| {
            let assigned = member.assignment.topic_partitions.iter().map(|part| part.topic_name.to_string());
            assigned.chain(member.subscribed_topic_names.iter().map(|name| name.to_string()))
        });
        described.insert(group.group_id.to_string(), topics.collect());
    }
    Ok(described)
}

async fn committed(pool: &Arc<Pool>, broker: &Address, groups: &[String]) -> Result<Groups, Fault> {
    let wanted = groups.iter().map(|group| {
        OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(group)))
            .with_member_id(None)
            .with_member_epoch(-1)
            .with_topics(None)
    });
    let request = OffsetFetchRequest::default().with_groups(wanted.collect());
    let answer = pool.call(Target::Broker(broker), &request, Again::Harmless).await?;
    let mut described = Groups::new();
    for group in answer.groups {
        if is_there(group.error_code, None, broker)? {
            let topics = group.topics.iter().map(|topic| topic.name.to_string()).collect();
            described.insert(group.group_id.to_string(), topics);
        }
    }
    Ok(described)
}

/// A group that went away or moved between the list and the describe is no reason to fail; the broker that it moved to
/// tells about it next time. Any other error is: an unknown group must not pass for an inactive one.
fn is_there(code: i16, message: Option<&str>, broker: &Address) -> Result<bool, Fault> {
    const GROUP_ID_NOT_FOUND: i16 = 69;
    match code {
        0 => Ok(true),
        GROUP_ID_NOT_FOUND => Ok(false),
        code => Err(Fault::answer(code, message).at(broker)),
    }
}

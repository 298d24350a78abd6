use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{StreamExt, TryStreamExt, stream};
use kafka_protocol::messages::{
    DescribeConfigsRequest, MetadataRequest, MetadataResponse,
    describe_configs_request::DescribeConfigsResource, metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponseTopic,
};
use topicops_contract::TopicName;

use super::{
    configs::TOPIC_RESOURCE,
    fault::Fault,
    partitions::ids,
    pool::{Again, Pool, Target},
    text::{outcome, text},
    topics::{in_order, wire},
};
use crate::kafka::{Address, ClusterDescription, ConfigKeys, Item, ItemError, TopicDescription};

/// Topics of one request: the answer for as many topics of 100 partitions stays well below the bound for answers.
const CHUNK: usize = 2500;

/// Requests under way at once; each has a connection of its own, and brokers serve them in parallel.
const CONCURRENCY: usize = 3;

/// The source that Kafka calls `DYNAMIC_TOPIC_CONFIG`: set on the topic itself.
const OF_THE_TOPIC: i8 = 1;

/// A live broker: where it listens for us, and in which rack it stands.
pub(super) struct Broker {
    pub(super) id: i32,
    pub(super) address: Address,
    pub(super) rack: Option<String>,
}

/// Cluster id and live brokers.
pub(super) async fn brokers(pool: &Arc<Pool>) -> Result<(String, Vec<Broker>), Fault> {
    let answer = metadata(pool, Some(&[])).await?;
    let id = answer.cluster_id.as_deref().unwrap_or_default().to_owned();
    let brokers = answer.brokers.iter().map(|broker| {
        let port = u16::try_from(broker.port)
            .map_err(|_| Fault::protocol(format!("broker {} has no port", broker.node_id.0)))?;
        Ok(Broker {
            id: broker.node_id.0,
            address: Address { host: broker.host.to_string(), port },
            rack: broker.rack.as_deref().map(str::to_owned),
        })
    });
    Ok((id, brokers.collect::<Result<_, Fault>>()?))
}

pub(super) async fn cluster(pool: &Arc<Pool>) -> Result<ClusterDescription, Fault> {
    let (cluster_id, brokers) = brokers(pool).await?;
    let mut brokers: Vec<_> = brokers.into_iter().map(|broker| (broker.id, broker.rack)).collect();
    brokers.sort_unstable();
    Ok(ClusterDescription { cluster_id, brokers })
}

pub(super) async fn topics(
    pool: &Arc<Pool>,
    names: &[TopicName],
    keys: &ConfigKeys,
) -> Result<Vec<Item<Option<TopicDescription>>>, Fault> {
    let parts: Vec<_> = names.chunks(CHUNK).map(|part| part_of_topics(pool, part, keys)).collect();
    let parts: Vec<_> = stream::iter(parts).buffered(CONCURRENCY).try_collect().await?;
    Ok(parts.into_iter().flatten().collect())
}

async fn part_of_topics(
    pool: &Arc<Pool>,
    names: &[TopicName],
    keys: &ConfigKeys,
) -> Result<Vec<Item<Option<TopicDescription>>>, Fault> {
    let mut found: HashMap<String, Item<Option<TopicDescription>>> = HashMap::with_capacity(names.len());
    for topic in metadata(pool, Some(names)).await?.topics {
        let Some(name) = topic.name.as_ref().map(|name| name.to_string()) else { continue };
        let description = match topic.error_code {
            ItemError::UNKNOWN_TOPIC_OR_PARTITION => Ok(None),
            code => outcome(code, None).map(|()| Some(description(topic))),
        };
        found.insert(name, description);
    }
    let existing: Vec<&TopicName> =
        names.iter().filter(|name| matches!(found.get(name.as_str()), Some(Ok(Some(_))))).collect();
    for (name, configs) in configs(pool, &existing, keys).await? {
        let Some(slot) = found.get_mut(&name) else { continue };
        match (configs, slot) {
            (Ok((configs, inherited)), Ok(Some(description))) => {
                (description.configs, description.inherited) = (configs, inherited);
            }
            // Deleted between the two requests.
            (Err(error), slot) if error.is(ItemError::UNKNOWN_TOPIC_OR_PARTITION) => *slot = Ok(None),
            (Err(error), slot) => *slot = Err(error),
            (Ok(_), _) => {}
        }
    }
    Ok(in_order(names.iter(), &mut found))
}

/// The names of all topics that we may see.
pub(super) async fn topic_names(pool: &Arc<Pool>) -> Result<Vec<String>, Fault> {
    let topics = metadata(pool, None).await?.topics;
    let mut names: Vec<String> =
        topics.into_iter().filter_map(|topic| topic.name.map(|name| name.to_string())).collect();
    names.sort_unstable();
    Ok(names)
}

/// Of all topics where none are named. Never creates one, whatever the brokers' `auto.create.topics.enable`.
async fn metadata(pool: &Arc<Pool>, names: Option<&[TopicName]>) -> Result<MetadataResponse, Fault> {
    let topics = names.map(|names| {
        names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(wire(name)))).collect()
    });
    let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    if answer.error_code == 0 { Ok(answer) } else { Err(Fault::answer(answer.error_code, None)) }
}

fn description(topic: MetadataResponseTopic) -> TopicDescription {
    let mut partitions = topic.partitions;
    partitions.sort_unstable_by_key(|partition| partition.partition_index);
    let mut description = TopicDescription {
        id: URL_SAFE_NO_PAD.encode(topic.topic_id.as_bytes()),
        replicas: Vec::with_capacity(partitions.len()),
        leaders: Vec::with_capacity(partitions.len()),
        in_sync: Vec::with_capacity(partitions.len()),
        configs: BTreeMap::new(),
        inherited: BTreeMap::new(),
    };
    for partition in partitions {
        description.replicas.push(ids(partition.replica_nodes));
        // -1 where nobody leads.
        description.leaders.push(Some(partition.leader_id.0).filter(|leader| *leader >= 0));
        description.in_sync.push(ids(partition.isr_nodes));
    }
    description
}

/// Its own, and what it inherits of [`TopicDescription::INHERITED`].
type Configs = Item<(BTreeMap<String, String>, BTreeMap<String, String>)>;

async fn configs(
    pool: &Arc<Pool>,
    names: &[&TopicName],
    keys: &ConfigKeys,
) -> Result<Vec<(String, Configs)>, Fault> {
    let keys = match keys {
        ConfigKeys::All => None,
        ConfigKeys::Only(keys) => Some(keys.iter().map(|key| text(key)).collect::<Vec<_>>()),
    };
    if names.is_empty() || keys.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let resources = names.iter().map(|name| {
        DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(name.as_str()))
            .with_configuration_keys(keys.clone())
    });
    let request = DescribeConfigsRequest::default().with_resources(resources.collect());
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    let mut missing: std::collections::HashSet<&str> = names.iter().map(|name| name.as_str()).collect();
    let mut configs: Vec<(String, Configs)> = Vec::with_capacity(names.len());
    for result in answer.results {
        missing.remove(&*result.resource_name);
        let settings = outcome(result.error_code, result.error_message.as_ref()).map(|()| {
            let (mut own, mut inherited) = (BTreeMap::new(), BTreeMap::new());
            for entry in result.configs {
                let of_the_topic = entry.config_source == OF_THE_TOPIC;
                if !of_the_topic && !TopicDescription::INHERITED.contains(&entry.name.as_str()) {
                    continue;
                }
                let into = if of_the_topic { &mut own } else { &mut inherited };
                into.extend(entry.value.map(|value| (entry.name.to_string(), value.to_string())));
            }
            (own, inherited)
        });
        configs.push((result.resource_name.to_string(), settings));
    }
    configs.extend(missing.into_iter().map(|name| (name.to_owned(), Err(ItemError::unmentioned()))));
    Ok(configs)
}

use std::{collections::HashMap, sync::Arc};

use kafka_protocol::messages::{
    IncrementalAlterConfigsRequest,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use topicops_contract::TopicName;

use super::{
    fault::Fault,
    pool::{Again, Pool, Target},
    text::{outcome, text},
    topics::in_order,
};
use crate::kafka::{ConfigChange, Item};

/// Kafka's number for topics among the resources that have settings.
pub(super) const TOPIC_RESOURCE: i8 = 2;

/// Each setting is a record, and a controller takes at most 10,000 of them in a request.
const CHUNK_SETTINGS: usize = 5000;

const SET: i8 = 0;
const DELETE: i8 = 1;

pub(super) async fn alter(
    pool: &Arc<Pool>,
    changes: &[(TopicName, ConfigChange)],
) -> Result<Vec<Item<()>>, Fault> {
    let mut outcomes = Vec::with_capacity(changes.len());
    let mut rest = changes;
    while !rest.is_empty() {
        let (part, later) = rest.split_at(first_part(rest));
        outcomes.extend(alter_part(pool, part).await?);
        rest = later;
    }
    Ok(outcomes)
}

/// How many changes from the start on fit one request; at least one.
fn first_part(changes: &[(TopicName, ConfigChange)]) -> usize {
    let mut settings = 0;
    let fitting = changes
        .iter()
        .take_while(|(_, change)| {
            settings += change.set.len() + change.unset.len();
            settings <= CHUNK_SETTINGS
        })
        .count();
    fitting.max(1)
}

async fn alter_part(pool: &Arc<Pool>, changes: &[(TopicName, ConfigChange)]) -> Result<Vec<Item<()>>, Fault> {
    let resources = changes.iter().map(|(name, change)| resource(TOPIC_RESOURCE, name.as_str(), change));
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources.collect());
    let answer = pool.call(Target::Any, &request, Again::Harmless).await?;
    let mut altered: HashMap<String, Item<()>> = answer
        .responses
        .into_iter()
        .map(|result| {
            (result.resource_name.to_string(), outcome(result.error_code, result.error_message.as_ref()))
        })
        .collect();
    Ok(in_order(changes.iter().map(|(name, _)| name), &mut altered))
}

/// The change of one resource's settings as it goes into a request.
pub(super) fn resource(kind: i8, name: &str, change: &ConfigChange) -> AlterConfigsResource {
    let set = change.set.iter().map(|(key, value)| {
        let entry = AlterableConfig::default().with_name(text(key)).with_config_operation(SET);
        entry.with_value(Some(text(value)))
    });
    let unset = change.unset.iter().map(|key| {
        AlterableConfig::default().with_name(text(key)).with_config_operation(DELETE).with_value(None)
    });
    AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(set.chain(unset).collect())
}

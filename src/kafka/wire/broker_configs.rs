use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
};

use super::{
    broker_each::{addresses, away, of_each},
    configs::resource,
    fault::Fault,
    pool::{Again, Pool, Target},
    text::{outcome, text},
};
use crate::kafka::{Address, BrokerConfigs, ConfigChange, ConfigKeys, Item, ItemError};

/// Kafka's number for brokers among the resources that have settings.
const BROKER_RESOURCE: i8 = 4;

/// The source that Kafka calls `DYNAMIC_BROKER_CONFIG`: set on the broker itself at run time.
const OF_THE_BROKER: i8 = 2;

/// A broker describes its own settings and refuses to describe those of others.
pub(super) async fn describe(
    pool: &Arc<Pool>,
    brokers: &[i32],
    keys: &ConfigKeys,
) -> Result<Vec<Item<BrokerConfigs>>, Fault> {
    if brokers.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = addresses(pool).await?;
    let wanted: BTreeSet<i32> = brokers.iter().copied().collect();
    let asked = wanted.iter().filter_map(|broker| {
        addresses.get(broker).map(|address| (*broker, describe_one(pool, *broker, address, keys)))
    });
    let answers = of_each(asked.collect()).await;
    Ok(brokers.iter().map(|broker| answer_of(&answers, *broker)).collect())
}

async fn describe_one(
    pool: &Arc<Pool>,
    broker: i32,
    address: &Address,
    keys: &ConfigKeys,
) -> Result<Item<BrokerConfigs>, Fault> {
    let keys = match keys {
        ConfigKeys::All => None,
        ConfigKeys::Only(keys) if keys.is_empty() => return Ok(Ok(BrokerConfigs::default())),
        ConfigKeys::Only(keys) => Some(keys.iter().map(|key| text(key)).collect()),
    };
    let resource = DescribeConfigsResource::default()
        .with_resource_type(BROKER_RESOURCE)
        .with_resource_name(text(&broker.to_string()))
        .with_configuration_keys(keys);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    Ok(settings(pool.call(Target::Broker(address), &request, Again::Harmless).await?))
}

fn settings(answer: DescribeConfigsResponse) -> Item<BrokerConfigs> {
    let Some(result) = answer.results.into_iter().next() else { return Err(ItemError::unmentioned()) };
    outcome(result.error_code, result.error_message.as_ref())?;
    let mut settings = BrokerConfigs::default();
    for entry in result.configs {
        let Some(value) = entry.value else { continue };
        let (key, value) = (entry.name.to_string(), value.to_string());
        if entry.config_source == OF_THE_BROKER {
            settings.own.insert(key.clone(), value.clone());
        }
        settings.effective.insert(key, value);
    }
    Ok(settings)
}

/// A broker checks changes of its own settings and refuses those of others.
pub(super) async fn alter(pool: &Arc<Pool>, changes: &[(i32, ConfigChange)]) -> Result<Vec<Item<()>>, Fault> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = addresses(pool).await?;
    let mut wanted: BTreeMap<i32, Vec<&ConfigChange>> = BTreeMap::new();
    for (broker, change) in changes {
        wanted.entry(*broker).or_default().push(change);
    }
    let asked = wanted.into_iter().filter_map(|(broker, changes)| {
        addresses.get(&broker).map(|address| (broker, alter_one(pool, broker, address, changes)))
    });
    let answers = of_each(asked.collect()).await;
    Ok(changes.iter().map(|(broker, _)| answer_of(&answers, *broker)).collect())
}

async fn alter_one(
    pool: &Arc<Pool>,
    broker: i32,
    address: &Address,
    changes: Vec<&ConfigChange>,
) -> Result<Item<()>, Fault> {
    for change in changes {
        let resources = vec![resource(BROKER_RESOURCE, &broker.to_string(), change)];
        let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
        let answer = pool.call(Target::Broker(address), &request, Again::Harmless).await?;
        let Some(result) = answer.responses.into_iter().next() else {
            return Ok(Err(ItemError::unmentioned()));
        };
        if let Err(error) = outcome(result.error_code, result.error_message.as_ref()) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn answer_of<T: Clone>(answers: &BTreeMap<i32, Item<T>>, broker: i32) -> Item<T> {
    let answer = answers.get(&broker).cloned();
    answer.unwrap_or_else(|| Err(away(broker, "it is not among the live brokers")))
}

//! KafkaTopics: made, and waited for.

use anyhow::{Context, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use serde::Deserialize;
use serde_json::Value;
use topicops::KafkaTopic;
use topicops_contract::{KafkaTopicStatus, Status};

use super::{PATIENCE, World, past_stalls, wait};

pub fn object(name: &str, spec: Value) -> KafkaTopic {
    KafkaTopic::new(ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, spec)
}

pub async fn create(world: &World, namespace: &str, name: &str, spec: Value) -> Result<()> {
    let (api, object) = (world.api::<KafkaTopic>(namespace), object(name, spec));
    past_stalls(async || api.create(&PostParams::default(), &object).await).await.map(drop)
}

/// Waits for a status that satisfies `right`; its hash is the generation that it speaks of.
pub async fn until(
    world: &World,
    namespace: &str,
    name: &str,
    what: &str,
    right: impl Fn(&Status) -> bool,
) -> Result<(KafkaTopic, Status)> {
    let api = world.api::<KafkaTopic>(namespace);
    wait::until(format!("KafkaTopic {namespace}/{name} to be {what}"), PATIENCE, || async {
        let object = api.get(name).await?;
        let status = KafkaTopicStatus::deserialize(&object.status).context("no status yet")?;
        let status = status.status().context("no condition yet")?;
        ensure!(right(&status), "{status:?}");
        Ok::<_, anyhow::Error>((object, status))
    })
    .await
}

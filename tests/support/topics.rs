//! Topics: declared, waited for, and made behind topicops' back.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::Value;
use topicops::kafka::{Cluster, NewTopic};
use topicops_contract::{State, Status};

use super::{PATIENCE, World, past_stalls, topic_config_map, wait};

impl World {
    pub async fn declare(
        &self,
        namespace: &str,
        name: &str,
        data: Value,
        annotations: Value,
    ) -> Result<ConfigMap> {
        let config_map = topic_config_map(name, data, annotations)?;
        let api = self.api::<ConfigMap>(namespace);
        past_stalls(async || api.create(&PostParams::default(), &config_map).await).await
    }

    pub async fn patch_topic(&self, namespace: &str, name: &str, patch: Value) -> Result<()> {
        let api = self.api::<ConfigMap>(namespace);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        past_stalls(async || api.patch(name, &params, &patch).await).await.map(drop)
    }

    /// Waits for a status that satisfies `right`. It may be of an earlier ConfigMap: `hash` tells of which.
    pub async fn until_status(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        right: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let api = self.api::<ConfigMap>(namespace);
        wait::until(format!("ConfigMap {namespace}/{name} to be {what}"), PATIENCE, || async {
            let config_map = api.get(name).await?;
            let text = config_map.annotations().get("topic.kafka.nb/status").context("no status yet")?;
            let status: Status = serde_json::from_str(text).context("a status that is no status")?;
            ensure!(right(&status), "{text}");
            Ok::<_, anyhow::Error>(status)
        })
        .await
    }

    pub async fn until_ready(&self, namespace: &str, name: &str) -> Result<Status> {
        self.until_status(namespace, name, "ready", |status| status.state == State::Ready).await
    }

    pub async fn until_refused(&self, namespace: &str, name: &str, reason: &str) -> Result<Status> {
        self.until_status(namespace, name, reason, |status| status.reason == reason).await
    }

    /// The topic as Kafka's own tool describes it: the first line, and `None` when there is none.
    pub async fn described(&self, topic: &str) -> Result<Option<String>> {
        let list = self.kafka_tool("kafka-topics.sh", &["--list"]).await?;
        if !list.lines().any(|line| line.trim() == topic) {
            return Ok(None);
        }
        let text = self.kafka_tool("kafka-topics.sh", &["--describe", "--topic", topic]).await?;
        Ok(Some(text.lines().find(|line| line.contains("PartitionCount")).unwrap_or_default().to_owned()))
    }

    /// The same line once it has all of these parts: brokers show what they acknowledged a moment later.
    pub async fn until_described(&self, topic: &str, parts: &[&str]) -> Result<String> {
        wait::until(format!("topic {topic} as it should be"), PATIENCE, || async {
            let line = self.described(topic).await?.context("no topic")?;
            for part in parts {
                ensure!(line.contains(part), "{part} is missing: {line}");
            }
            Ok::<_, anyhow::Error>(line)
        })
        .await
    }

    /// A topic that nobody declares.
    pub async fn create_by_hand(&self, topic: &str) -> Result<()> {
        let new = NewTopic {
            name: topic.parse()?,
            partitions: None,
            replication_factor: None,
            placement: None,
            configs: BTreeMap::new(),
        };
        for outcome in self.cluster()?.create_topics(&[new]).await? {
            outcome?;
        }
        self.until_topic(topic).await
    }

    pub async fn until_topic(&self, topic: &str) -> Result<()> {
        wait::until(format!("topic {topic}"), PATIENCE, || async {
            let there = self.cluster()?.list_topics().await?;
            ensure!(there.iter().any(|name| name == topic), "it is not there");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    pub async fn until_no_topic(&self, topic: &str) -> Result<()> {
        wait::until(format!("topic {topic} to go"), PATIENCE, || async {
            let there = self.cluster()?.list_topics().await?;
            ensure!(!there.iter().any(|name| name == topic), "it is still there");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Waits until topicops' finalizer is on a ConfigMap, and no other.
    pub async fn until_finalizer(&self, namespace: &str, name: &str) -> Result<()> {
        wait::until(format!("the finalizer on {namespace}/{name}"), PATIENCE, || async {
            let finalizers = self.api::<ConfigMap>(namespace).get(name).await?.finalizers().to_vec();
            ensure!(finalizers == ["topic.kafka.nb/topic"], "{finalizers:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }
}

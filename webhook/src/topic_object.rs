use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use topicops_contract::{
    KafkaTopicSource, KafkaTopicStatus, Problems, Status, TopicManifest, TopicObjectKind, TopicSource,
    keys::{self, kafka_topic, topic},
};

use crate::Review;

/// An object that declares a topic, as a review brings it: what is read of either kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TopicObject {
    #[serde(skip, default = "config_map")]
    kind: TopicObjectKind,
    #[serde(default)]
    pub(crate) metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<String>,
}

fn config_map() -> TopicObjectKind {
    TopicObjectKind::ConfigMap
}

static NONE: BTreeMap<String, String> = BTreeMap::new();

impl TopicObject {
    /// Which kind a review is about; `None`: one that declares no topics.
    pub(crate) fn kind_of(review: &Review<'_>) -> Option<TopicObjectKind> {
        match (review.group(), review.kind()) {
            ("", "ConfigMap") => Some(TopicObjectKind::ConfigMap),
            (kafka_topic::GROUP, kafka_topic::KIND) => Some(TopicObjectKind::KafkaTopic),
            _ => None,
        }
    }

    pub(crate) fn read(kind: TopicObjectKind, text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Self>(text).map(|object| Self { kind, ..object })
    }

    /// A ConfigMap is one by its label.
    pub(crate) fn is_topic(&self) -> bool {
        let label = self.metadata.labels.as_ref().and_then(|labels| labels.get(keys::CONFIG_LABEL));
        match self.kind {
            TopicObjectKind::ConfigMap => label.is_some_and(|value| value == keys::CONFIG_LABEL_TOPIC),
            TopicObjectKind::KafkaTopic => true,
        }
    }

    /// `name`: that of the request, where the object bears none.
    pub(crate) fn parse(&self, name: &str) -> Result<TopicManifest, Problems> {
        let name = self.metadata.name.as_deref().unwrap_or(name);
        match self.kind {
            TopicObjectKind::ConfigMap => {
                let binary_keys: Vec<String> =
                    self.binary_data.iter().flat_map(BTreeMap::keys).cloned().collect();
                TopicManifest::parse(TopicSource {
                    name,
                    annotations: self.annotations(),
                    data: self.data.as_ref().unwrap_or(&NONE),
                    binary_keys: &binary_keys,
                })
            }
            TopicObjectKind::KafkaTopic => TopicManifest::parse(KafkaTopicSource {
                name,
                annotations: self.annotations(),
                spec: &self.spec,
            }),
        }
    }

    /// How many partitions its topic has, as its status says.
    pub(crate) fn partitions(&self) -> Option<i32> {
        match self.kind {
            TopicObjectKind::ConfigMap => {
                let text = self.annotations().get(topic::STATUS)?;
                serde_json::from_str::<Status>(text).ok()?.partitions
            }
            TopicObjectKind::KafkaTopic => KafkaTopicStatus::deserialize(&self.status).ok()?.partitions,
        }
    }

    fn annotations(&self) -> &BTreeMap<String, String> {
        self.metadata.annotations.as_ref().unwrap_or(&NONE)
    }
}

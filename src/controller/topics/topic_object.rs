use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use topicops_contract::{
    KafkaTopicSource, KafkaTopicStatus, Problems, Status, TopicManifest, TopicName, TopicObjectKind,
    TopicSource, keys,
};

use crate::{
    KafkaTopic,
    topic::{Declaration, TopicObjectKey},
};

/// An object that declares a topic, trimmed to what is needed of it.
#[derive(Clone, Debug)]
pub struct TopicObject {
    pub key: TopicObjectKey,
    pub uid: String,
    pub created: i64,
    pub deleting: bool,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// Whether it ever was, as far as is known.
    pub(super) held: bool,
    /// Of what its author wrote, as in [`Status::hash`].
    pub hash: String,
    pub manifest: Option<Arc<TopicManifest>>,
    pub problems: Problems,
    /// What its status says now.
    pub status: Option<Status>,
    /// The last two statuses that we wrote, as [`fingerprint`]s: what else stands there is somebody else's.
    pub(super) written: [Option<u64>; 2],
}

/// What tells one status from another, in a few bytes.
pub(super) fn fingerprint(status: &Status) -> u64 {
    let mut hasher = DefaultHasher::new();
    status.hash(&mut hasher);
    hasher.finish()
}

impl TopicObject {
    /// `None`: it names no topic that one could look at.
    pub fn declaration(&self) -> Option<Declaration> {
        self.manifest.as_ref().map(|manifest| Declaration {
            object: self.key.clone(),
            created: self.created,
            manifest: Arc::clone(manifest),
            problems: self.problems.clone(),
            deleting: self.deleting,
        })
    }

    pub(super) fn topic(&self) -> Option<&TopicName> {
        self.manifest.as_ref().map(|manifest| &manifest.topic)
    }

    /// Whether what became of it matters to the topic; a status that we wrote does not.
    pub(super) fn differs(&self, now: &Self) -> bool {
        (&self.uid, &self.hash, self.deleting) != (&now.uid, &now.hash, now.deleting)
            // A KafkaTopic's hash says nothing of its annotations, and there are none that it may have.
            || self.problems != now.problems
            // Somebody took our finalizer or our status away: they are put back.
            || (self.finalizer && !now.finalizer)
            || (self.status.is_some() && now.status.is_none())
            // Or wrote another in its place.
            || (now.written[0].is_some()
                && now.status != self.status
                && !now.written.contains(&now.status.as_ref().map(fingerprint)))
    }
}

impl From<&ConfigMap> for TopicObject {
    fn from(config_map: &ConfigMap) -> Self {
        let meta = &config_map.metadata;
        let none = BTreeMap::new();
        let annotations = meta.annotations.as_ref().unwrap_or(&none);
        let data = config_map.data.as_ref().unwrap_or(&none);
        let binary_keys: Vec<String> =
            config_map.binary_data.as_ref().map(|data| data.keys().cloned().collect()).unwrap_or_default();
        let source = TopicSource {
            name: meta.name.as_deref().unwrap_or_default(),
            annotations,
            data,
            binary_keys: &binary_keys,
        };
        let (manifest, problems) = TopicManifest::parse_what_is_right(source);
        let finalizer = meta.finalizers.iter().flatten().any(|finalizer| finalizer == keys::TOPIC_FINALIZER);
        Self {
            key: TopicObjectKey::of(TopicObjectKind::ConfigMap, meta),
            uid: meta.uid.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            deleting: meta.deletion_timestamp.is_some(),
            finalizer,
            held: finalizer,
            hash: hash(annotations, data, &binary_keys),
            manifest: manifest.map(Arc::new),
            problems,
            // One that cannot be read is somebody's hand-written text: it is replaced.
            status: annotations.get(keys::topic::STATUS).and_then(|text| serde_json::from_str(text).ok()),
            written: [None, None],
        }
    }
}

impl From<&KafkaTopic> for TopicObject {
    fn from(topic: &KafkaTopic) -> Self {
        let meta = &topic.metadata;
        let none = BTreeMap::new();
        let (manifest, problems) = TopicManifest::parse_what_is_right(KafkaTopicSource {
            name: meta.name.as_deref().unwrap_or_default(),
            annotations: meta.annotations.as_ref().unwrap_or(&none),
            spec: &topic.spec,
        });
        let status = KafkaTopicStatus::deserialize(&topic.status).ok();
        let finalizer = meta.finalizers.iter().flatten().any(|finalizer| finalizer == keys::TOPIC_FINALIZER);
        Self {
            key: TopicObjectKey::of(TopicObjectKind::KafkaTopic, meta),
            uid: meta.uid.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            deleting: meta.deletion_timestamp.is_some(),
            finalizer,
            held: finalizer,
            // The API server counts the changes of a spec, and nothing else that an author writes is read.
            hash: meta.generation.unwrap_or_default().to_string(),
            manifest: manifest.map(Arc::new),
            problems,
            status: status.and_then(|status| status.status()),
            written: [None, None],
        }
    }
}

fn hash(
    annotations: &BTreeMap<String, String>,
    data: &BTreeMap<String, String>,
    binary_keys: &[String],
) -> String {
    let ours = annotations
        .iter()
        .filter(|(key, _)| key.starts_with(keys::ANNOTATION_PREFIX) && *key != keys::topic::STATUS);
    let mut hash = Sha256::new();
    for text in ours.chain(data).flat_map(|(key, value)| [key, value]).chain(binary_keys) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

//! Topic ConfigMaps: all mistakes at once, at the moment they are made.
//!
//! As with workloads, what was wrong before is only warned about: the operator writes its status into that very ConfigMap.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use topicops_contract::{
    Problem, Problems, Status, TopicManifest, TopicSource,
    keys::{self, data, topic},
};

use crate::{Answer, Finding, Review, TopicPolicy};

/// Answers a review of a topic ConfigMap. Pure but for `policy`, which answers from memory.
pub fn validate(review: &Review<'_>, policy: &dyn TopicPolicy) -> Answer {
    let (true, Some(object)) = (review.writes_object(), review.object()) else { return Answer::untouched() };
    if review.kind() != "ConfigMap" || !review.group().is_empty() {
        return Answer::untouched();
    }
    let object: ConfigMap = match serde_json::from_str(object) {
        Ok(object) => object,
        Err(error) => return Answer::unreadable("ConfigMap", &error),
    };
    // Paused or not, an object on its way out only loses finalizers.
    if !object.is_topic() || object.metadata.deletion_timestamp.is_some() {
        return Answer::untouched();
    }
    let old: Option<ConfigMap> = match review.old_object().map(serde_json::from_str).transpose() {
        Ok(old) => old,
        Err(error) => return Answer::unreadable("oldObject", &error),
    };
    let old = old.filter(ConfigMap::is_topic);
    let before = old.as_ref().map(|old| (old, old.parse(review.name())));
    let manifest = match object.parse(review.name()) {
        Ok(manifest) => manifest,
        Err(problems) => {
            let known = match &before {
                Some((_, Err(known))) => {
                    problems.iter().all(|problem| known.iter().any(|old| old == problem))
                }
                _ => false,
            };
            return if known {
                let warnings = problems.iter().map(|problem| format!("not applied: {problem}")).collect();
                Answer::Allowed { patch: Default::default(), warnings }
            } else {
                Answer::invalid(&problems, Vec::new())
            };
        }
    };
    let before_manifest = before.as_ref().and_then(|(_, parsed)| parsed.as_ref().ok());
    if before_manifest == Some(&manifest) {
        return Answer::untouched();
    }
    let mut denials = Problems::new();
    let mut warnings = Vec::new();
    if let Some((old, Ok(before))) = &before {
        denials.extend(fewer_partitions(&manifest, before, old));
    }
    let name = object.metadata.name.as_deref().unwrap_or(review.name());
    for finding in policy.review(review.namespace(), name, &manifest, before_manifest) {
        match finding {
            Finding::Warning(warning) => warnings.push(warning),
            Finding::Denial(problem) => denials.push(problem),
        }
    }
    if denials.is_empty() {
        Answer::Allowed { patch: Default::default(), warnings }
    } else {
        Answer::invalid(&denials, warnings)
    }
}

/// Kafka cannot take partitions away. Measured against what the topic has, as the status says, and not against what was
/// declared: a number that was never carried out may be corrected.
fn fewer_partitions(manifest: &TopicManifest, before: &TopicManifest, old: &ConfigMap) -> Option<Problem> {
    let declared = manifest.partitions?.get();
    let status: Status = serde_json::from_str(old.metadata.annotations.as_ref()?.get(topic::STATUS)?).ok()?;
    let has = status.partitions?;
    (manifest.topic == before.topic && declared < has).then(|| {
        Problem::new(
            data::PARTITIONS,
            declared.to_string(),
            format!("the topic has {has} partitions, and Kafka cannot take any away: {has} or more"),
        )
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigMap {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

impl ConfigMap {
    fn is_topic(&self) -> bool {
        let label = self.metadata.labels.as_ref().and_then(|labels| labels.get(keys::CONFIG_LABEL));
        label.is_some_and(|value| value == keys::CONFIG_LABEL_TOPIC)
    }

    fn parse(&self, name: &str) -> Result<TopicManifest, Problems> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let binary_keys: Vec<String> = self.binary_data.iter().flat_map(BTreeMap::keys).cloned().collect();
        TopicManifest::parse(TopicSource {
            name: self.metadata.name.as_deref().unwrap_or(name),
            annotations: self.metadata.annotations.as_ref().unwrap_or(&NONE),
            data: self.data.as_ref().unwrap_or(&NONE),
            binary_keys: &binary_keys,
        })
    }
}

use std::sync::Arc;

use topicops_contract::{NamePattern, TopicManifest, TopicName};

use super::{
    OwnerRule, OwnerRules,
    limits::{Judgement, TopicRules},
};

/// What the operator's configuration says about topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPolicy {
    pub owners: OwnerRules,
    /// Topics that are never touched, beside those that begin with `__`.
    pub protected: Vec<NamePattern>,
    /// Partitions that a topic may be declared with where `rules` say nothing of it; `None`: as many as Kafka takes.
    pub max_partitions: Option<i32>,
    /// Limits and defaults, from the policy file.
    pub rules: Arc<TopicRules>,
    /// No version of the policy file is known: nothing that `rules` decide is done until one is.
    pub unread: bool,
}

impl TopicPolicy {
    /// As the flags and the policy file say it.
    pub fn new(
        owners: Vec<OwnerRule>,
        protected: Vec<NamePattern>,
        max_partitions: i32,
        rules: TopicRules,
    ) -> Self {
        let max_partitions = Some(max_partitions);
        Self {
            owners: OwnerRules::new(owners),
            protected,
            max_partitions,
            rules: Arc::new(rules),
            unread: false,
        }
    }

    /// The pattern that protects a topic, if one does.
    pub fn protects(&self, topic: &TopicName) -> Option<String> {
        if topic.is_internal() {
            return Some("__*".to_owned());
        }
        self.protected.iter().find(|pattern| pattern.matches(topic.as_str())).map(ToString::to_string)
    }

    /// What limits and defaults make of a manifest in a namespace; the namespace's totals are not in it.
    pub fn judge(&self, namespace: &str, manifest: &Arc<TopicManifest>) -> Judgement {
        self.rules.of(namespace).judge(manifest, self.max_partitions)
    }
}

use topicops_contract::{NamePattern, TopicName};

use super::OwnerRules;

/// What the operator's configuration says about topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPolicy {
    pub owners: OwnerRules,
    /// Topics that are never touched, beside those that begin with `__`.
    pub protected: Vec<NamePattern>,
    /// Partitions that a topic may be declared with; `None`: as many as Kafka takes.
    pub max_partitions: Option<i32>,
}

impl TopicPolicy {
    /// The pattern that protects a topic, if one does.
    pub fn protects(&self, topic: &TopicName) -> Option<String> {
        if topic.is_internal() {
            return Some("__*".to_owned());
        }
        self.protected.iter().find(|pattern| pattern.matches(topic.as_str())).map(ToString::to_string)
    }
}

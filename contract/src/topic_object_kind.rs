use std::{borrow::Cow, fmt};

use crate::keys::{self, data};

/// The kinds of object that declare a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicObjectKind {
    /// One with the label `config: kafka-topic`.
    ConfigMap,
    /// Our custom resource.
    KafkaTopic,
}

impl TopicObjectKind {
    pub const ALL: [Self; 2] = [Self::ConfigMap, Self::KafkaTopic];

    /// The kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::KafkaTopic => keys::kafka_topic::KIND,
        }
    }

    pub fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap => "v1",
            Self::KafkaTopic => keys::kafka_topic::API_VERSION,
        }
    }

    /// Where an author of this kind writes what a ConfigMap has under a data key or an annotation of the contract: what is
    /// `replication-factor` in a ConfigMap is `spec.replicationFactor` in a KafkaTopic.
    pub fn field(self, key: &str) -> Cow<'_, str> {
        match self {
            Self::ConfigMap => Cow::Borrowed(key),
            Self::KafkaTopic if key == data::PROPERTIES => Cow::Borrowed("spec.config"),
            Self::KafkaTopic => {
                let words = key.strip_prefix(keys::ANNOTATION_PREFIX).unwrap_or(key).split('-');
                let mut field = "spec.".to_owned();
                for (index, word) in words.enumerate() {
                    let (first, rest) = word.split_at_checked(usize::from(index > 0)).unwrap_or(("", word));
                    field.push_str(&first.to_ascii_uppercase());
                    field.push_str(rest);
                }
                Cow::Owned(field)
            }
        }
    }

    /// Where an author of this kind writes one key of the topic configuration.
    pub fn property(self, key: &str) -> String {
        match self {
            Self::ConfigMap => format!("{}: {key}", data::PROPERTIES),
            Self::KafkaTopic => format!("spec.config[{key}]"),
        }
    }
}

impl fmt::Display for TopicObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::topic;

    #[test]
    fn a_custom_resource_has_its_fields_under_spec() {
        for (key, field) in [
            (data::NAME, "spec.name"),
            (data::REPLICATION_FACTOR, "spec.replicationFactor"),
            (data::RETENTION_DISK_SHARE, "spec.retentionDiskShare"),
            (data::PROPERTIES, "spec.config"),
            (topic::FORCE_DELETE, "spec.forceDelete"),
        ] {
            assert_eq!(TopicObjectKind::KafkaTopic.field(key), field);
            assert_eq!(TopicObjectKind::ConfigMap.field(key), key);
        }
    }
}

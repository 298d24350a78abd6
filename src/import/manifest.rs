use std::collections::BTreeMap;

use serde::Serialize;
use topicops_contract::{PropertiesText, TopicObjectKind, keys};

use super::ImportedTopic;

/// The object that declares an imported topic, as YAML.
#[derive(Debug)]
pub struct Manifest<'a> {
    pub kind: TopicObjectKind,
    pub name: &'a str,
    /// `None`: that of whoever applies it.
    pub namespace: Option<&'a str>,
    /// Where it comes from: the value of the annotation `topic.kafka.nb/generated`.
    pub origin: &'a str,
    pub topic: &'a ImportedTopic,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    labels: Pairs<'a>,
    annotations: Pairs<'a>,
}

type Pairs<'a> = BTreeMap<&'a str, &'a str>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Body<'a> {
    Data(Data<'a>),
    Spec(Spec<'a>),
}

/// Of a ConfigMap.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    partitions: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_factor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<String>,
}

/// Of a KafkaTopic.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    partitions: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_factor: Option<i16>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    config: Pairs<'a>,
}

impl Manifest<'_> {
    /// One YAML document, the same for the same topic.
    ///
    /// # Errors
    /// None that is known: YAML can write every text.
    pub fn to_yaml(&self) -> Result<String, serde_norway::Error> {
        let topic = self.topic;
        let configs = || topic.configs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let name = Some(topic.topic.as_str()).filter(|name| *name != self.name);
        let (labels, body) = match self.kind {
            TopicObjectKind::ConfigMap => {
                let data = Data {
                    name,
                    partitions: topic.partitions.to_string(),
                    replication_factor: topic.replication_factor.map(|factor| factor.to_string()),
                    properties: (!topic.configs.is_empty()).then(|| PropertiesText::render(configs())),
                };
                (Pairs::from([(keys::CONFIG_LABEL, keys::CONFIG_LABEL_TOPIC)]), Body::Data(data))
            }
            TopicObjectKind::KafkaTopic => {
                let (partitions, replication_factor) = (topic.partitions, topic.replication_factor);
                let spec = Spec { name, partitions, replication_factor, config: configs().collect() };
                (Pairs::new(), Body::Spec(spec))
            }
        };
        let object = Object {
            api_version: self.kind.api_version(),
            kind: self.kind.as_str(),
            metadata: Metadata {
                name: self.name,
                namespace: self.namespace,
                labels,
                annotations: Pairs::from([(keys::topic::GENERATED, self.origin)]),
            },
            body,
        };
        let remarks = topic.remarks.iter().map(|remark| format!("# {}\n", remark.replace(['\n', '\r'], " ")));
        Ok(remarks.collect::<String>() + &serde_norway::to_string(&object)?)
    }
}

#[cfg(test)]
mod tests {
    use topicops_contract::{KafkaTopicSource, TopicManifest};

    use super::*;

    fn imported(topic: &str, configs: &[(&str, &str)]) -> ImportedTopic {
        ImportedTopic {
            topic: topic.parse().unwrap(),
            partitions: 3,
            replication_factor: Some(2),
            configs: configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            remarks: Vec::new(),
        }
    }

    #[test]
    fn a_topic_is_written_as_somebody_would_write_it() {
        let topic = imported("Orders", &[("cleanup.policy", "compact,delete"), ("retention.ms", "-1")]);
        let manifest = Manifest {
            kind: TopicObjectKind::ConfigMap,
            name: "orders-1",
            namespace: Some("shop"),
            origin: "topicops",
            topic: &topic,
        };
        let expected = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: orders-1
  namespace: shop
  labels:
    config: kafka-topic
  annotations:
    topic.kafka.nb/generated: topicops
data:
  name: Orders
  partitions: '3'
  replication-factor: '2'
  properties: |
    cleanup.policy=compact,delete
    retention.ms=-1
";
        assert_eq!(manifest.to_yaml().unwrap(), expected);
    }

    #[test]
    fn a_custom_resource_says_the_same_in_its_own_types() {
        let topic = imported("Orders", &[("preallocate", "true"), ("retention.ms", "-1")]);
        let manifest = Manifest {
            kind: TopicObjectKind::KafkaTopic,
            name: "orders-1",
            namespace: None,
            origin: "topicops",
            topic: &topic,
        };
        let text = manifest.to_yaml().unwrap();
        let expected = "\
apiVersion: topic.kafka.nb/v1beta1
kind: KafkaTopic
metadata:
  name: orders-1
  annotations:
    topic.kafka.nb/generated: topicops
spec:
  name: Orders
  partitions: 3
  replicationFactor: 2
  config:
    preallocate: 'true'
    retention.ms: '-1'
";
        assert_eq!(text, expected);
        // As the contract reads it.
        let object: serde_json::Value = serde_norway::from_str(&text).unwrap();
        let annotations = BTreeMap::from([(keys::topic::GENERATED.to_owned(), "topicops".to_owned())]);
        let source = KafkaTopicSource { name: "orders-1", annotations: &annotations, spec: &object["spec"] };
        let (manifest, problems) = TopicManifest::parse_what_is_right(source);
        assert!(problems.is_empty(), "{problems}");
        let manifest = manifest.unwrap();
        assert_eq!((manifest.topic.as_str(), &manifest.configs), ("Orders", &topic.configs));
    }

    #[test]
    fn what_need_not_be_said_is_left_out_and_remarks_stay_comments() {
        let topic = ImportedTopic {
            replication_factor: None,
            remarks: vec!["first\nkind: Secret".to_owned()],
            ..imported("orders", &[])
        };
        let manifest = Manifest {
            kind: TopicObjectKind::ConfigMap,
            name: "orders",
            namespace: None,
            origin: "topicops",
            topic: &topic,
        };
        let text = manifest.to_yaml().unwrap();
        assert!(text.starts_with("# first kind: Secret\napiVersion"), "{text}");
        assert!(text.ends_with("data:\n  partitions: '3'\n"), "{text}");
        assert!(!text.contains("namespace"), "{text}");
    }
}

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};

use crate::{
    Grant, Problem, Problems, PropertiesText, TopicManifest, TopicObjectKind, TopicText,
    keys::{self, data, topic},
    nearest::suggestion,
};

/// The parts of a KafkaTopic that declare a topic.
#[derive(Clone, Copy, Debug)]
pub struct KafkaTopicSource<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    pub annotations: &'a BTreeMap<String, String>,
    /// As the API server, or a file, has it: anything may stand here that its schema would refuse.
    pub spec: &'a Value,
}

/// How a field of the spec is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Number,
    Flag,
    /// A list of grants: the lines of a ConfigMap's text.
    Lines,
    /// Topic configuration by key: the properties text of a ConfigMap.
    Properties,
}

/// The fields by what they are in a ConfigMap; [`TopicObjectKind::field`] says how they are called here.
const FIELDS: [(&str, Form); 12] = [
    (data::NAME, Form::Text),
    (data::PARTITIONS, Form::Number),
    (data::REPLICATION_FACTOR, Form::Number),
    (data::PROPERTIES, Form::Properties),
    (data::RETENTION, Form::Text),
    (data::RETENTION_DISK_SHARE, Form::Text),
    (data::CONSUMERS, Form::Lines),
    (data::PRODUCERS, Form::Lines),
    (topic::DELETION_POLICY, Form::Text),
    (topic::PAUSED, Form::Flag),
    (topic::FORCE_DELETE, Form::Flag),
    (topic::DRIFT, Form::Text),
];

const KIND: TopicObjectKind = TopicObjectKind::KafkaTopic;

impl KafkaTopicSource<'_> {
    /// The fields of a spec, in the order of the README's table.
    pub fn fields() -> impl Iterator<Item = String> {
        FIELDS.iter().map(|(key, _)| short(key))
    }
}

impl TopicManifest {
    /// The spec of a KafkaTopic for this topic: reading it gives the same manifest again.
    pub fn spec(&self) -> Value {
        let (text, annotations) = (self.data(), self.annotations());
        let mut spec = Map::new();
        for (key, form) in FIELDS {
            let Some(value) = text.get(key).or_else(|| annotations.get(key)) else { continue };
            let value = match form {
                Form::Text => Value::from(value.as_str()),
                // What is no number cannot come out of a manifest.
                Form::Number => value.parse::<i64>().map_or(Value::Null, Value::from),
                Form::Flag => Value::from(value == "true"),
                Form::Lines => value.lines().map(Value::from).collect(),
                Form::Properties => {
                    let pairs = PropertiesText::parse(key, value).unwrap_or_default();
                    pairs
                        .into_iter()
                        .map(|(key, value)| (key, Value::from(value)))
                        .collect::<Map<_, _>>()
                        .into()
                }
            };
            spec.insert(short(key), value);
        }
        Value::Object(spec)
    }
}

impl<'a> From<KafkaTopicSource<'a>> for TopicText<'a> {
    fn from(source: KafkaTopicSource<'a>) -> Self {
        let mut problems = Problems::new();
        for key in source.annotations.keys().filter(|key| key.starts_with(keys::ANNOTATION_PREFIX)) {
            if key != topic::GENERATED {
                problems.push(Problem::missing(key, misplaced(key)));
            }
        }
        let empty = Map::new();
        let spec = match source.spec {
            Value::Object(spec) => spec,
            Value::Null => &empty,
            other => {
                problems.push(Problem::new("spec", other.to_string(), "fields and their values"));
                &empty
            }
        };
        let (mut text, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        for (field, value) in spec.iter().filter(|(_, value)| !value.is_null()) {
            if problems.is_full() {
                break;
            }
            let Some((key, form)) = FIELDS.iter().find(|(key, _)| short(key) == *field) else {
                let known: Vec<String> = KafkaTopicSource::fields().collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let expected = suggestion("no field of a KafkaTopic", field, &known);
                problems.push(Problem::missing(format!("spec.{field}"), expected));
                continue;
            };
            let read = match form {
                Form::Lines => lines(key, value, &mut problems),
                Form::Properties => properties(value, &mut problems),
                Form::Text => problems.note(of_type(key, value, value.is_string(), "a text, in quotes")),
                Form::Number => {
                    problems.note(of_type(key, value, value.is_number(), "a number, not in quotes"))
                }
                Form::Flag => {
                    problems.note(of_type(key, value, value.is_boolean(), "true or false, not in quotes"))
                }
            };
            let into = if key.starts_with(keys::ANNOTATION_PREFIX) { &mut annotations } else { &mut text };
            into.extend(read.map(|read| ((*key).to_owned(), read)));
        }
        Self {
            kind: KIND,
            name: source.name,
            annotations: Cow::Owned(annotations),
            data: Cow::Owned(text),
            problems,
        }
    }
}

/// The field's own name: `replicationFactor`.
fn short(key: &str) -> String {
    let path = KIND.field(key);
    path.strip_prefix("spec.").unwrap_or(&path).to_owned()
}

/// What an annotation of ConfigMaps is here.
fn misplaced(key: &str) -> String {
    if FIELDS.iter().any(|(known, _)| *known == key) {
        format!("is an annotation of ConfigMaps; set {} instead", KIND.field(key))
    } else {
        "no annotation of a KafkaTopic; what it declares stands under spec".to_owned()
    }
}

fn of_type(key: &str, value: &Value, right: bool, expected: &str) -> Result<String, Problem> {
    let text = scalar(value);
    match text {
        Some(text) if right => Ok(text),
        _ => Err(Problem::new(KIND.field(key), value.to_string(), expected)),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Each entry is one line: what is none would become several of them, or a comment.
fn lines(key: &str, value: &Value, problems: &mut Problems) -> Option<String> {
    let Value::Array(entries) = value else {
        problems.push(Problem::new(KIND.field(key), value.to_string(), "a list of namespace/workload"));
        return None;
    };
    let mut text = String::new();
    for (index, entry) in entries.iter().enumerate() {
        let shown = scalar(entry).unwrap_or_else(|| entry.to_string());
        let grant: Result<Grant, Problem> = shown.parse();
        let field = format!("{}[{index}]", KIND.field(key));
        if let Some(grant) = problems.note(grant.map_err(|problem| problem.under(field))) {
            text.push_str(&format!("{grant}\n"));
        }
    }
    Some(text)
}

fn properties(value: &Value, problems: &mut Problems) -> Option<String> {
    let Value::Object(pairs) = value else {
        let expected = "topic configuration by key, e.g. max.message.bytes: 1000000";
        problems.push(Problem::new(KIND.field(data::PROPERTIES), value.to_string(), expected));
        return None;
    };
    let mut read = Vec::new();
    for (key, value) in pairs {
        match scalar(value) {
            Some(text) => read.push((key.as_str(), text)),
            None => problems.push(Problem::new(KIND.property(key), value.to_string(), "one text or number")),
        }
    }
    Some(PropertiesText::render(read.iter().map(|(key, value)| (*key, value.as_str()))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(spec: &Value, annotations: &[(&str, &str)]) -> Result<TopicManifest, Problems> {
        let annotations =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TopicManifest::parse(KafkaTopicSource { name: "orders", annotations: &annotations, spec })
    }

    #[test]
    fn everything_that_a_config_map_declares_has_a_field() {
        let here: Vec<&str> = FIELDS.iter().map(|(key, _)| *key).collect();
        let written = [topic::STATUS, topic::GENERATED];
        let there = data::ALL.iter().chain(topic::ALL.iter().filter(|key| !written.contains(key)));
        for key in there {
            assert!(here.contains(key), "{key} has no field in a KafkaTopic");
        }
    }

    #[test]
    fn a_spec_says_what_a_config_map_says() {
        let manifest = parse(
            &json!({
                "name": "Orders_1", "partitions": 12, "replicationFactor": 3, "retention": "7d",
                "config": { "max.message.bytes": 1_000_000, "cleanup.policy": "compact", "preallocate": true },
                "consumers": ["shipping/packer", "audit/*"], "deletionPolicy": "delete", "paused": true,
            }),
            &[("topic.kafka.nb/generated", "true"), ("other/annotation", "x")],
        )
        .unwrap();
        let text = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let data: BTreeMap<String, String> = text(&[
            ("name", "Orders_1"),
            ("partitions", "12"),
            ("replication-factor", "3"),
            ("retention", "7d"),
            ("properties", "max.message.bytes=1000000\ncleanup.policy=compact\npreallocate=true"),
            ("consumers", "shipping/packer\naudit/*"),
        ]);
        let annotations =
            text(&[("topic.kafka.nb/deletion-policy", "delete"), ("topic.kafka.nb/paused", "true")]);
        let source =
            crate::TopicSource { name: "orders", annotations: &annotations, data: &data, binary_keys: &[] };
        assert_eq!(TopicManifest::parse(source).unwrap(), manifest);
    }

    #[test]
    fn a_spec_that_says_nothing_declares_a_topic_of_the_objects_name() {
        for spec in [json!({}), Value::Null, json!({ "partitions": null })] {
            assert_eq!(parse(&spec, &[]).unwrap().topic.as_str(), "orders");
        }
    }

    #[test]
    fn mistakes_are_told_by_the_fields_that_hold_them() {
        let problems = parse(
            &json!({
                "name": "my topic", "partitions": "3", "replicationFactor": 1.5, "retention": 7, "retentions": "7d",
                "retentionDiskShare": "5", "config": { "retention.sm": 1, "segment.bytes": [1] },
                "consumers": ["a/b\nc/d", "# a/b"], "producers": "a/b", "deletionPolicy": "keep", "paused": "true",
                "forceDelete": 1,
            }),
            &[("topic.kafka.nb/paused", "true"), ("topic.kafka.nb/pause", "true")],
        )
        .unwrap_err();
        let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        keys.sort_unstable();
        let mut expected = [
            "spec.config[retention.sm]",
            "spec.config[segment.bytes]",
            "spec.consumers[0]",
            "spec.consumers[1]",
            "spec.deletionPolicy",
            "spec.forceDelete",
            "spec.name",
            "spec.partitions",
            "spec.paused",
            "spec.producers",
            "spec.replicationFactor",
            "spec.retention",
            "spec.retentionDiskShare",
            "spec.retentions",
            "topic.kafka.nb/pause",
            "topic.kafka.nb/paused",
        ];
        expected.sort_unstable();
        assert_eq!(keys, expected, "{problems}");
        let text = problems.to_string();
        assert!(text.contains("did you mean retention?"), "{text}");
        assert!(text.contains("set spec.paused instead"), "{text}");
    }

    #[test]
    fn retention_given_twice_is_told_in_the_words_of_the_spec() {
        let problems =
            parse(&json!({ "retention": "7d", "config": { "retention.ms": "1" } }), &[]).unwrap_err();
        assert!(
            problems.to_string().contains("spec.retention and as retention.ms in spec.config"),
            "{problems}"
        );
    }
}

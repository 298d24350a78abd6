use std::collections::BTreeMap;

use crate::{
    DiskShare, DriftPolicy, Grant, PartitionCount, Problem, Problems, PropertiesText, ReplicationFactor,
    Retention, TopicConfig, TopicName, TopicObjectKind, TopicText,
    keys::{data, topic},
};

/// What happens to the topic when the object that declares it is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    #[default]
    Retain,
    Delete,
}

/// A topic ConfigMap or a KafkaTopic, parsed: what its author declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicManifest {
    pub topic: TopicName,
    /// `None`: the brokers' `num.partitions`.
    pub partitions: Option<PartitionCount>,
    /// `None`: the brokers' `default.replication.factor`.
    pub replication_factor: Option<ReplicationFactor>,
    /// The declared topic configuration, `retention` included as `retention.ms`.
    pub configs: BTreeMap<String, String>,
    pub retention_disk_share: Option<DiskShare>,
    pub consumers: Vec<Grant>,
    pub producers: Vec<Grant>,
    pub deletion_policy: DeletionPolicy,
    pub paused: bool,
    pub force_delete: bool,
    /// `None`: the operator's own. It cannot make a topic corrected where the operator only wants reports.
    pub drift: Option<DriftPolicy>,
}

/// The parts of a ConfigMap that declare a topic.
#[derive(Clone, Copy, Debug)]
pub struct TopicSource<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    pub annotations: &'a BTreeMap<String, String>,
    pub data: &'a BTreeMap<String, String>,
    /// The keys of `binaryData`, which has no meaning here.
    pub binary_keys: &'a [String],
}

impl TopicManifest {
    /// Reads what declares a topic: a ConfigMap or a KafkaTopic.
    ///
    /// # Errors
    /// All mistakes at once, each with key, value and what would be right.
    pub fn parse<'a>(source: impl Into<TopicText<'a>>) -> Result<Self, Problems> {
        match Self::parse_what_is_right(source) {
            (Some(manifest), problems) => problems.into_result(manifest),
            (None, problems) => Err(problems),
        }
    }

    /// Reads one that may hold mistakes: what is right is kept, so that a mistake made in one place takes no
    /// access away in another. `None` when not even the topic's name can be read. A manifest that comes with problems
    /// must not be applied to a topic.
    pub fn parse_what_is_right<'a>(source: impl Into<TopicText<'a>>) -> (Option<Self>, Problems) {
        let mut source: TopicText<'a> = source.into();
        let mut problems = std::mem::take(&mut source.problems);
        let source = &source;
        let topic = problems.note(topic_name(source));
        let partitions = field(source, data::PARTITIONS, &mut problems);
        let replication_factor = field(source, data::REPLICATION_FACTOR, &mut problems);
        let retention: Option<Retention> = field(source, data::RETENTION, &mut problems);
        let retention_disk_share = field(source, data::RETENTION_DISK_SHARE, &mut problems);
        let mut configs = properties(source, &mut problems);
        if let Some(retention) = retention {
            let ms = retention.as_ms().to_string();
            if let Some(before) = configs.insert("retention.ms".to_owned(), ms) {
                problems.push(both(source.kind, data::RETENTION, "retention.ms", &before));
            }
        }
        if let (Some(_), Some(bytes)) = (retention_disk_share, configs.get("retention.bytes")) {
            problems.push(both(source.kind, data::RETENTION_DISK_SHARE, "retention.bytes", bytes));
        }
        let consumers = grants(source, data::CONSUMERS, &mut problems);
        let producers = grants(source, data::PRODUCERS, &mut problems);
        let deletion_policy = match source.annotations.get(topic::DELETION_POLICY).map(String::as_str) {
            None | Some("retain") => DeletionPolicy::Retain,
            Some("delete") => DeletionPolicy::Delete,
            Some(other) => {
                let key = source.kind.field(topic::DELETION_POLICY);
                problems.push(Problem::new(key, other, "retain or delete"));
                DeletionPolicy::Retain
            }
        };
        let paused = flag(source, topic::PAUSED, &mut problems);
        let force_delete = flag(source, topic::FORCE_DELETE, &mut problems);
        let drift = source.annotations.get(topic::DRIFT).and_then(|text| {
            let drift: Result<DriftPolicy, Problem> = text.parse();
            problems.note(drift.map_err(|problem| problem.under(source.kind.field(topic::DRIFT))))
        });
        let manifest = topic.map(|topic| Self {
            topic,
            partitions,
            replication_factor,
            configs,
            retention_disk_share,
            consumers,
            producers,
            deletion_policy,
            paused,
            force_delete,
            drift,
        });
        (manifest, problems)
    }

    /// The keys of topic configuration that this declares, be it in other words.
    pub fn config_keys(&self) -> impl Iterator<Item = &str> {
        let by_share = self.retention_disk_share.map(|_| "retention.bytes");
        self.configs.keys().map(String::as_str).chain(by_share)
    }

    /// The ConfigMap's data for this topic: [`TopicManifest::parse`] of it gives the same again.
    pub fn data(&self) -> BTreeMap<String, String> {
        let mut text = BTreeMap::from([(data::NAME.to_owned(), self.topic.to_string())]);
        let mut put = |key: &str, value: Option<String>| {
            text.extend(value.map(|value| (key.to_owned(), value)));
        };
        put(data::PARTITIONS, self.partitions.map(|count| count.to_string()));
        put(data::REPLICATION_FACTOR, self.replication_factor.map(|factor| factor.to_string()));
        put(data::RETENTION_DISK_SHARE, self.retention_disk_share.map(|share| share.to_string()));
        let pairs = self.configs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        put(data::PROPERTIES, (!self.configs.is_empty()).then(|| PropertiesText::render(pairs)));
        put(data::CONSUMERS, lines(&self.consumers));
        put(data::PRODUCERS, lines(&self.producers));
        text
    }

    /// The annotations that go with [`TopicManifest::data`].
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::new();
        if self.deletion_policy == DeletionPolicy::Delete {
            annotations.insert(topic::DELETION_POLICY.to_owned(), "delete".to_owned());
        }
        for (key, set) in [(topic::PAUSED, self.paused), (topic::FORCE_DELETE, self.force_delete)] {
            if set {
                annotations.insert(key.to_owned(), "true".to_owned());
            }
        }
        annotations.extend(self.drift.map(|drift| (topic::DRIFT.to_owned(), drift.to_string())));
        annotations
    }
}

fn topic_name(source: &TopicText<'_>) -> Result<TopicName, Problem> {
    let (key, text) = match source.data.get(data::NAME) {
        Some(name) => (source.kind.field(data::NAME), name.trim()),
        None => ("metadata.name".into(), source.name),
    };
    let name: TopicName = text.parse().map_err(|problem: Problem| problem.under(key.clone()))?;
    if name.is_internal() {
        return Err(Problem::new(
            key,
            text,
            "topics that begin with __ are Kafka's own and are never managed",
        ));
    }
    Ok(name)
}

fn field<T: std::str::FromStr<Err = Problem>>(
    source: &TopicText<'_>,
    key: &str,
    problems: &mut Problems,
) -> Option<T> {
    let text = source.data.get(key)?;
    problems.note(text.parse::<T>().map_err(|problem| problem.under(source.kind.field(key))))
}

fn properties(source: &TopicText<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let Some(text) = source.data.get(data::PROPERTIES) else { return BTreeMap::new() };
    if let Some(problem) = too_long(source.kind.field(data::PROPERTIES), text) {
        problems.push(problem);
        return BTreeMap::new();
    }
    match PropertiesText::parse(data::PROPERTIES, text) {
        Ok(pairs) => {
            for (key, value) in &pairs {
                if problems.is_full() {
                    break;
                }
                let right = match TopicConfig::is_reserved(key) {
                    true => Err(Problem::new(key, value, RESERVED)),
                    false => TopicConfig::check(key, value),
                };
                if let Err(problem) = right {
                    problems.push(problem.under(source.kind.property(key)));
                }
            }
            let declared = pairs.into_iter().filter(|(key, _)| !TopicConfig::is_reserved(key));
            declared.map(|(key, value)| (key, value.trim().to_owned())).collect()
        }
        Err(found) => {
            problems.extend(found);
            BTreeMap::new()
        }
    }
}

const RESERVED: &str =
    "not in a manifest: replicas are throttled by topicops, while it moves them, and by nobody else";

/// A topic has some thirty settings and a handful of grants; what is much longer is a mistake, and would only cost time.
const LONGEST: usize = 64 * 1024;

fn too_long(key: impl Into<String>, text: &str) -> Option<Problem> {
    let expected = format!("is {} bytes long; at most {LONGEST} are read", text.len());
    (text.len() > LONGEST).then(|| Problem::missing(key, expected))
}

fn both(kind: TopicObjectKind, key: &str, property: &str, value: &str) -> Problem {
    let (key, properties) = (kind.field(key), kind.field(data::PROPERTIES));
    let expected = format!("given as {key} and as {property} in {properties}; keep one");
    Problem::new(key, value, expected)
}

fn grants(source: &TopicText<'_>, key: &str, problems: &mut Problems) -> Vec<Grant> {
    let text = source.data.get(key).map_or("", String::as_str);
    if let Some(problem) = too_long(source.kind.field(key), text) {
        problems.push(problem);
        return Vec::new();
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| {
            problems.note(line.parse::<Grant>().map_err(|problem| problem.under(source.kind.field(key))))
        })
        .collect()
}

fn lines(grants: &[Grant]) -> Option<String> {
    (!grants.is_empty()).then(|| grants.iter().map(|grant| format!("{grant}\n")).collect())
}

fn flag(source: &TopicText<'_>, key: &str, problems: &mut Problems) -> bool {
    match source.annotations.get(key).map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            let expected = match source.kind {
                TopicObjectKind::ConfigMap => "\"true\" or \"false\", in quotes",
                TopicObjectKind::KafkaTopic => "true or false",
            };
            problems.push(Problem::new(source.kind.field(key), other, expected));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::KafkaTopicSource;

    fn parse(
        name: &str,
        data: &[(&str, &str)],
        annotations: &[(&str, &str)],
    ) -> Result<TopicManifest, Problems> {
        let own = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let (data, annotations) = (own(data), own(annotations));
        TopicManifest::parse(TopicSource { name, annotations: &annotations, data: &data, binary_keys: &[] })
    }

    #[test]
    fn an_empty_config_map_declares_a_topic_with_the_brokers_defaults() {
        let manifest = parse("orders", &[], &[]).unwrap();
        assert_eq!(manifest.topic.as_str(), "orders");
        assert_eq!((manifest.partitions, manifest.replication_factor), (None, None));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let problems = parse(
            "orders",
            &[
                ("partitions", "three"),
                ("replication-factor", "0"),
                ("properties", "retention.sm=1\nmax.message.bytes=big"),
                ("consumer", "a/b"),
                ("producers", "nobody"),
            ],
            &[("topic.kafka.nb/deletion-policy", "Delete"), ("topic.kafka.nb/pause", "true")],
        )
        .unwrap_err();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "consumer",
                "topic.kafka.nb/pause",
                "partitions",
                "replication-factor",
                "properties: max.message.bytes",
                "properties: retention.sm",
                "producers",
                "topic.kafka.nb/deletion-policy",
            ]
        );
    }

    #[test]
    fn retention_given_twice_is_refused() {
        let problems = parse("t", &[("retention", "7d"), ("properties", "retention.ms=1")], &[]).unwrap_err();
        assert!(problems.to_string().contains("keep one"), "{problems}");
        let problems =
            parse("t", &[("retention-disk-share", "5%"), ("properties", "retention.bytes=1")], &[])
                .unwrap_err();
        assert!(problems.to_string().contains("keep one"), "{problems}");
    }

    #[test]
    fn throttles_cannot_be_declared() {
        for key in ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"] {
            let properties = format!("retention.ms=1\n{key}=*");
            let data = BTreeMap::from([("properties".to_owned(), properties)]);
            let annotations = BTreeMap::new();
            let source = TopicSource { name: "t", annotations: &annotations, data: &data, binary_keys: &[] };
            let (manifest, problems) = TopicManifest::parse_what_is_right(source);
            let told = problems.to_string();
            assert!(told.contains(key) && told.contains("throttled by topicops"), "{told}");
            assert_eq!(manifest.unwrap().configs.into_keys().collect::<Vec<_>>(), ["retention.ms"]);
        }
    }

    #[test]
    fn a_flood_of_mistakes_is_cut_short() {
        let flood: String = (0..200_000).map(|index| format!("k{index}=1\n")).collect();
        let problems = parse("t", &[("properties", &flood), ("consumers", &flood)], &[]).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems}");
        let many: String = (0..2_000).map(|index| format!("k{index}=1\n")).collect();
        let problems = parse("t", &[("properties", &many)], &[]).unwrap_err();
        assert!(problems.is_full() && problems.to_string().len() < 8_192, "{}", problems.to_string().len());
    }

    #[test]
    fn kafkas_own_topics_cannot_be_declared() {
        assert!(parse("t", &[("name", "__consumer_offsets")], &[]).is_err());
    }

    proptest! {
        #[test]
        fn parse_of_render_is_identity(
            name in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}",
            partitions in proptest::option::of(1i32..),
            factor in proptest::option::of(1i16..),
            retention in proptest::option::of(-1i64..),
            compression in proptest::option::of(proptest::sample::select(vec!["zstd", "lz4", "producer"])),
            consumers in proptest::collection::vec("[a-z*]{1,5}/[a-z.*]{1,5}", 0..4),
            delete in any::<bool>(),
            paused in any::<bool>(),
            drift in proptest::option::of(any::<bool>()),
        ) {
            let mut configs = BTreeMap::new();
            configs.extend(retention.map(|ms| ("retention.ms".to_owned(), ms.to_string())));
            configs.extend(compression.map(|kind| ("compression.type".to_owned(), kind.to_owned())));
            let manifest = TopicManifest {
                topic: name.parse().unwrap(),
                partitions: partitions.map(|count| count.try_into().unwrap()),
                replication_factor: factor.map(|factor| factor.try_into().unwrap()),
                configs,
                retention_disk_share: None,
                consumers: consumers.iter().map(|line| line.parse().unwrap()).collect(),
                producers: Vec::new(),
                deletion_policy: if delete { DeletionPolicy::Delete } else { DeletionPolicy::Retain },
                paused,
                force_delete: false,
                drift: drift.map(|report| if report { DriftPolicy::Report } else { DriftPolicy::Correct }),
            };
            let (data, annotations) = (manifest.data(), manifest.annotations());
            let source = TopicSource { name: "x", annotations: &annotations, data: &data, binary_keys: &[] };
            prop_assert_eq!(&TopicManifest::parse(source).unwrap(), &manifest);
            let (none, spec) = (BTreeMap::new(), manifest.spec());
            let source = KafkaTopicSource { name: "x", annotations: &none, spec: &spec };
            prop_assert_eq!(TopicManifest::parse(source).unwrap(), manifest);
        }

        #[test]
        fn no_text_makes_it_panic(key in proptest::sample::select(data::ALL.to_vec()), text in any::<String>()) {
            let data = BTreeMap::from([(key.to_owned(), text)]);
            let source = TopicSource { name: "x", annotations: &BTreeMap::new(), data: &data, binary_keys: &[] };
            let _ = TopicManifest::parse(source).map_err(|problems| problems.to_string());
        }
    }
}

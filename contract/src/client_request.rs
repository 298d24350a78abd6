use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    ClientQuotas, NamePattern, Problem, Problems, RotationWish, TopicName, Workload,
    keys::{self, client},
    nearest::suggestion,
};

/// How the credentials get into the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inject {
    pub files: bool,
    pub env: bool,
}

impl Inject {
    pub const FILES: Self = Self { files: true, env: false };
    pub const NONE: Self = Self { files: false, env: false };
}

/// What a workload asks for by its annotations, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest {
    pub workload: Workload,
    /// Topic names, or prefixes that stand for the granted topics that begin so.
    pub consumes: BTreeSet<NamePattern>,
    pub produces: BTreeSet<NamePattern>,
    /// Consumer groups beyond [`Workload::own_groups`].
    pub groups: BTreeSet<NamePattern>,
    pub transactional_ids: BTreeSet<NamePattern>,
    pub streams_application_id: Option<String>,
    pub secret_name: String,
    pub inject: Inject,
    /// `None`: all containers, init containers too.
    pub containers: Option<BTreeSet<String>>,
    pub rotation: RotationWish,
    pub quotas: ClientQuotas,
}

impl ClientRequest {
    /// Whether labels ask for credentials.
    pub fn is_labelled(labels: &BTreeMap<String, String>) -> bool {
        labels.get(keys::INJECT_LABEL).is_some_and(|value| value == keys::INJECT_LABEL_VALUE)
    }

    /// Reads the annotations of a labelled workload. `Ok(None)`: it asks for nothing (no topic, group, transactional id or
    /// streams application is named), so nothing is injected and it has no user.
    ///
    /// # Errors
    /// All mistakes at once, each with annotation, value and what would be right.
    pub fn parse(
        workload: Workload,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, Problems> {
        let mut problems = Problems::new();
        for key in annotations.keys().filter(|key| key.starts_with(keys::ANNOTATION_PREFIX)) {
            let ours = [keys::topic::STATUS, keys::injected::CREDENTIALS].contains(&key.as_str());
            let known = client::ALL.contains(&key.as_str()) || ours;
            if !known {
                let what = "no annotation of a workload";
                problems.push(Problem::missing(key, suggestion(what, key, &client::ALL)));
            }
        }
        let consumes = list(annotations, client::CONSUMES, topic_pattern, &mut problems);
        let produces = list(annotations, client::PRODUCES, topic_pattern, &mut problems);
        let groups = list(annotations, client::GROUPS, id_pattern, &mut problems);
        let transactional_ids = list(annotations, client::TRANSACTIONAL_IDS, id_pattern, &mut problems);
        let streams_application_id = annotations
            .get(client::STREAMS_APPLICATION_ID)
            .and_then(|text| problems.note(application_id(text)));
        let secret_name = match annotations.get(client::TOPIC_SECRET) {
            None => workload.default_secret_name(),
            Some(text) => problems.note(object_name(client::TOPIC_SECRET, text)).unwrap_or_default(),
        };
        let inject = annotations
            .get(client::INJECT)
            .map_or(Some(Inject::FILES), |text| problems.note(inject(text)))
            .unwrap_or(Inject::NONE);
        let containers = annotations
            .contains_key(client::CONTAINERS)
            .then(|| list(annotations, client::CONTAINERS, container_name, &mut problems));
        let rotation = RotationWish::parse(annotations, &mut problems);
        let quotas = ClientQuotas::parse(annotations, &mut problems);
        let request = Self {
            workload,
            consumes,
            produces,
            groups,
            transactional_ids,
            streams_application_id,
            secret_name,
            inject,
            containers,
            rotation,
            quotas,
        };
        let asks = !request.asks_nothing();
        problems.into_result(asks.then_some(request))
    }

    fn asks_nothing(&self) -> bool {
        self.consumes.is_empty()
            && self.produces.is_empty()
            && self.groups.is_empty()
            && self.transactional_ids.is_empty()
            && self.streams_application_id.is_none()
    }

    /// The annotations for this request: [`ClientRequest::parse`] of them gives the same again.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::new();
        let mut put = |key: &str, text: String| annotations.insert(key.to_owned(), text);
        for (key, patterns) in [
            (client::CONSUMES, &self.consumes),
            (client::PRODUCES, &self.produces),
            (client::GROUPS, &self.groups),
            (client::TRANSACTIONAL_IDS, &self.transactional_ids),
        ] {
            if !patterns.is_empty() {
                put(key, join(patterns));
            }
        }
        if let Some(id) = &self.streams_application_id {
            put(client::STREAMS_APPLICATION_ID, id.clone());
        }
        put(client::TOPIC_SECRET, self.secret_name.clone());
        let inject = match (self.inject.files, self.inject.env) {
            (true, true) => "files,env",
            (true, false) => "files",
            (false, true) => "env",
            (false, false) => "none",
        };
        put(client::INJECT, inject.to_owned());
        if let Some(containers) = &self.containers {
            put(client::CONTAINERS, join(containers));
        }
        for (key, text) in self.rotation.annotations().chain(self.quotas.annotations()) {
            put(key, text);
        }
        annotations
    }
}

fn join<T: ToString>(items: &BTreeSet<T>) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn list<T: Ord>(
    annotations: &BTreeMap<String, String>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Problems,
) -> BTreeSet<T> {
    let Some(text) = annotations.get(key) else { return BTreeSet::new() };
    if text.trim().is_empty() {
        problems.push(Problem::missing(key, "is empty; name something, or take the annotation away"));
        return BTreeSet::new();
    }
    let parts = text.split(',').map(str::trim);
    parts
        .filter_map(|part| {
            if part.is_empty() {
                problems.push(Problem::new(key, text, "has an empty entry; take the extra comma away"));
                return None;
            }
            problems.note(parse(part).map_err(|expected| Problem::new(key, part, expected)))
        })
        .collect()
}

fn topic_pattern(text: &str) -> Result<NamePattern, String> {
    let pattern = NamePattern::read(text);
    let name = match &pattern {
        NamePattern::Prefix(prefix) if prefix.is_empty() || prefix == "." || prefix == ".." => {
            return Ok(pattern);
        }
        pattern => pattern.text(),
    };
    match name.parse::<TopicName>() {
        Ok(name) if name.is_internal() => Err("topics that begin with __ are Kafka's own".to_owned()),
        Ok(_) => Ok(pattern),
        Err(problem) => Err(format!("{}; a * may stand at its end", problem.expected)),
    }
}

/// Groups and transactional ids: Kafka allows any text; quotes, commas and white space help nobody and are refused.
fn id_pattern(text: &str) -> Result<NamePattern, String> {
    let pattern = NamePattern::read(text);
    match &pattern {
        NamePattern::Prefix(prefix) if prefix.is_empty() => {
            Err("* alone would be everybody's; name a prefix, e.g. orders.*".to_owned())
        }
        pattern => id(pattern.text()).map(|()| pattern.clone()),
    }
}

fn id(text: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-:/@+#~=".contains(c);
    if (1..=TopicName::MAX_LEN).contains(&text.len()) && text.chars().all(legal) {
        Ok(())
    } else {
        Err("1 to 249 of letters a-z A-Z, digits and . _ - : / @ + # ~ =, with a * at its end for a prefix"
            .to_owned())
    }
}

fn application_id(text: &str) -> Result<String, Problem> {
    let trimmed = text.trim();
    // Its internal topics are named after it, so it has to be a legal beginning of a topic name.
    match trimmed.parse::<TopicName>() {
        Ok(name) if !name.is_internal() && trimmed.len() <= 100 => Ok(trimmed.to_owned()),
        _ => Err(Problem::new(
            client::STREAMS_APPLICATION_ID,
            text,
            "one application id of at most 100 letters a-z A-Z, digits, '.', '_' and '-'",
        )),
    }
}

fn object_name(key: &str, text: &str) -> Result<String, Problem> {
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(Problem::new(
            key,
            text,
            "a Secret's name: at most 253 of a-z, 0-9, '-' and '.', no '-' or '.' at the ends",
        ))
    }
}

fn container_name(text: &str) -> Result<String, String> {
    let legal = text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if legal {
        Ok(text.to_owned())
    } else {
        Err("a container's name: at most 63 of a-z, 0-9 and '-'".to_owned())
    }
}

fn inject(text: &str) -> Result<Inject, Problem> {
    let wrong = || Problem::new(client::INJECT, text, "files, env, \"files,env\" or none");
    let mut inject = Inject::NONE;
    if text.trim() == "none" {
        return Ok(inject);
    }
    for part in text.split(',').map(str::trim) {
        match part {
            "files" => inject.files = true,
            "env" => inject.env = true,
            _ => return Err(wrong()),
        }
    }
    Ok(inject)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{ByteRate, RequestPercentage, RotateAfter, WorkloadKind};

    fn parse(pairs: &[(&str, &str)]) -> Result<Option<ClientRequest>, Problems> {
        let annotations =
            pairs.iter().map(|(key, value)| (format!("topic.kafka.nb/{key}"), (*value).to_owned())).collect();
        ClientRequest::parse(Workload::new("shop", WorkloadKind::Deployment, "orders"), &annotations)
    }

    #[test]
    fn defaults_follow_from_the_workload() {
        let request = parse(&[("produces", "orders, payments\n")]).unwrap().unwrap();
        assert_eq!(request.secret_name, "orders-kafka-credentials");
        assert_eq!(request.inject, Inject::FILES);
        assert_eq!(join(&request.produces), "orders,payments");
        assert_eq!(request.containers, None);
    }

    #[test]
    fn a_workload_that_names_no_topic_asks_for_nothing() {
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&[("producer-byte-rate", "1MB/s")]).unwrap(), None);
    }

    #[test]
    fn what_topicops_wrote_on_a_pod_that_somebody_copied_is_no_mistake() {
        let copied = parse(&[("consumes", "orders"), ("credentials", "topicops.shop.orders_2 2026-11-21")]);
        assert_eq!(copied.unwrap(), parse(&[("consumes", "orders")]).unwrap());
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let problems = parse(&[
            ("consumes", "good,bad name,,*x"),
            ("produces", ""),
            ("groups", "*"),
            ("inject", "file"),
            ("topic-secret", "My_Secret"),
            ("containers", "main,Side"),
            ("consume", "typo"),
            ("streams-application-id", "a b"),
            ("rotate", " "),
            ("rotate-after", "5m"),
            ("producer-byte-rate", "fast"),
            ("consumer-byte-rate", "0"),
            ("request-percentage", "-5%"),
        ])
        .unwrap_err();
        assert_eq!(problems.len(), 15, "{problems}");
        assert!(
            problems.to_string().contains("topic.kafka.nb/producer-byte-rate: \"fast\": bytes per"),
            "{problems}"
        );
        assert!(problems.to_string().contains("did you mean topic.kafka.nb/consumes?"), "{problems}");
    }

    #[test]
    fn text_that_could_leave_a_jaas_or_properties_file_is_refused() {
        for bad in ["a\"b", "a\\b", "a;b", "a\nb", "a'b", "a b", "ä", "a{b}", "${x}"] {
            for key in [
                "consumes",
                "produces",
                "groups",
                "transactional-ids",
                "streams-application-id",
                "topic-secret",
                "producer-byte-rate",
                "request-percentage",
            ] {
                assert!(parse(&[("consumes", "t"), (key, bad)]).is_err(), "{key}={bad:?} was accepted");
            }
        }
    }

    proptest! {
        #[test]
        fn parse_of_render_is_identity(
            consumes in proptest::collection::btree_set("[a-z][a-zA-Z0-9._-]{0,6}\\*?", 1..4),
            groups in proptest::collection::btree_set("[a-z][a-z.:/-]{0,6}\\*?", 0..3),
            secret in "[a-z][a-z-]{0,6}[a-z]",
            env in any::<bool>(), files in any::<bool>(),
            containers in proptest::option::of(proptest::collection::btree_set("[a-z]{1,6}", 1..3)),
            token in proptest::option::of("[a-zA-Z0-9:-]{1,9}"),
            hours in proptest::option::of(1u64..9_000),
            rates in (proptest::option::of(1..ByteRate::MAX), proptest::option::of(1..ByteRate::MAX)),
            share in proptest::option::of(1..1_000_000_u32),
        ) {
            let patterns = |names: &BTreeSet<String>| names.iter().map(|name| NamePattern::read(name)).collect();
            let request = ClientRequest {
                workload: Workload::new("shop", WorkloadKind::StatefulSet, "orders"),
                consumes: patterns(&consumes),
                produces: BTreeSet::new(),
                groups: patterns(&groups),
                transactional_ids: BTreeSet::new(),
                streams_application_id: None,
                secret_name: secret,
                inject: Inject { files, env },
                containers,
                rotation: RotationWish {
                    token,
                    after: hours.map(|hours| RotateAfter::Age(Duration::from_secs(hours * 3_600))),
                },
                quotas: ClientQuotas {
                    producer_byte_rate: rates.0.and_then(ByteRate::from_bytes),
                    consumer_byte_rate: rates.1.and_then(ByteRate::from_bytes),
                    request_percentage: share.and_then(RequestPercentage::from_hundredths),
                },
            };
            let parsed = ClientRequest::parse(request.workload.clone(), &request.annotations());
            prop_assert_eq!(parsed.unwrap().unwrap(), request);
        }

        #[test]
        fn no_text_makes_it_panic(key in proptest::sample::select(client::ALL.to_vec()), text in any::<String>()) {
            let annotations = BTreeMap::from([(key.to_owned(), text)]);
            let workload = Workload::new("shop", WorkloadKind::Job, "x");
            let _ = ClientRequest::parse(workload, &annotations).map_err(|problems| problems.to_string());
        }
    }
}

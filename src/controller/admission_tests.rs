use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::Time};
use proptest::prelude::*;
use topicops_contract::TopicSource;
use topicops_webhook::TopicPolicy as _;

use super::*;
use crate::{
    access::{GrantsMode, testing::request},
    controller::Index as _,
    topic::{Extent, PlanContext, TopicPlan, TopicPolicy, limits::TopicRules},
};

/// Everything that can be limited, with an action that is put in.
const POLICY: &str = "
defaults: { partitions: 2, replication-factor: 1, properties: { retention.bytes: 10 } }
limits:
  partitions: { min: 2, max: 6, action: ANY }
  replication-factor: { max: 3, action: ANY }
  retention: { min: 1h, max: 7d, action: ANY }
  retention-bytes: { max: 100, action: ANY }
  name: { pattern: 't[0-9]', action: SOME }
  topics: { max: 4, action: SOME }
  total-partitions: { max: 16, action: SOME }
  total-bytes: { max: 900, action: SOME }
  properties:
    preallocate: { forbidden: true, action: ANY }
    segment.ms: { min: 5, max: 9, action: ANY }
    flush.ms: { required: true, action: SOME }
    compression.type: { one-of: [zstd], action: SOME }";

const KIND: TopicObjectKind = TopicObjectKind::ConfigMap;

type Data = Vec<(&'static str, String)>;

fn data() -> impl Strategy<Value = Data> {
    let lines = proptest::sample::subsequence(
        vec!["retention.bytes=50", "preallocate=true", "segment.ms=4", "flush.ms=1", "compression.type=gzip"],
        0..5,
    );
    (
        proptest::option::of(1..9u8),
        proptest::option::of(1..5u8),
        proptest::option::of(proptest::sample::select(vec!["1m", "2h", "30d", "unlimited"])),
        lines,
    )
        .prop_map(|(partitions, factor, retention, lines)| {
            let mut data = vec![("properties", lines.join("\n"))];
            data.extend(partitions.map(|count| ("partitions", count.to_string())));
            data.extend(factor.map(|factor| ("replication-factor", factor.to_string())));
            data.extend(retention.map(|text| ("retention", text.to_owned())));
            data
        })
}

fn config_map(name: &str, created: i64, data: &Data) -> ConfigMap {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut config_map = ConfigMap { data: Some(data), ..ConfigMap::default() };
    config_map.metadata.name = Some(name.to_owned());
    config_map.metadata.namespace = Some("shop".to_owned());
    config_map.metadata.uid = Some(name.to_owned());
    config_map.metadata.creation_timestamp = Timestamp::from_second(created).ok().map(Time);
    config_map
}

fn manifest(config_map: &ConfigMap) -> TopicManifest {
    let (annotations, data) = Default::default();
    TopicManifest::parse(TopicSource {
        name: config_map.metadata.name.as_deref().unwrap_or_default(),
        annotations: &annotations,
        data: config_map.data.as_ref().unwrap_or(&data),
        binary_keys: &[],
    })
    .unwrap()
}

fn split(findings: Vec<Finding>) -> (Vec<String>, Vec<String>) {
    let (mut denials, mut warnings) = (Vec::new(), Vec::new());
    for finding in findings {
        match finding {
            Finding::Denial(problem) => denials.push(problem.to_string()),
            Finding::Warning(text) => warnings.push(text),
        }
    }
    (denials, warnings)
}

fn index(any: &str, some: &str) -> Arc<TopicIndex> {
    let text = POLICY.replace("ANY", any).replace("SOME", some);
    let rules = Arc::new(TopicRules::parse(&text).unwrap());
    let index = TopicIndex::default();
    index.govern(TopicPolicy { rules, max_partitions: Some(5), ..TopicPolicy::default() });
    Arc::new(index)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn admission_denies_what_the_controller_refuses_and_nothing_else_with_the_same_words(
        others in proptest::collection::vec((0..9u8, 0..3i64, data()), 0..8),
        new in data(),
        fits in any::<bool>(),
        (any, some) in proptest::sample::select(vec![
            ("refuse", "refuse"), ("warn", "warn"), ("adjust", "refuse"), ("adjust", "warn"), ("warn", "refuse"),
        ]),
    ) {
        let index = index(any, some);
        for (name, created, data) in &others {
            index.apply(config_map(&format!("t{name}"), *created, data));
        }
        let name = if fits { "t9" } else { "other" };
        let new = config_map(name, 1_000, &new);
        let declared = manifest(&new);
        let admission = AdmissionPolicy::new(Arc::clone(&index));
        let (denials, warnings) = split(admission.review(KIND, "shop", name, &declared, None));

        index.apply(new);
        let context = index.under_policy(&PlanContext::default());
        let declarations = index.declarations(&declared.topic);
        let plan = TopicPlan::of(&declared.topic, &declarations, None, None, &context);
            let refusals: Vec<String> = plan.refusals.iter().map(|refusal| refusal.message(KIND)).collect();
        prop_assert_eq!(&denials, &refusals);
        prop_assert_eq!(&warnings, &plan.notices);
        prop_assert_eq!(plan.creates(), denials.is_empty());
    }
}

#[test]
fn while_no_policy_could_be_read_an_author_is_told_that_the_topic_waits() {
    let index = index("refuse", "refuse");
    index.govern(TopicPolicy { unread: true, ..TopicPolicy::default() });
    let data = Data::new();
    let new = manifest(&config_map("t9", 1, &data));
    let (denials, warnings) = split(AdmissionPolicy::new(index).review(KIND, "shop", "t9", &new, None));
    assert!(denials.is_empty() && warnings.len() == 1 && warnings[0].contains("policy file"), "{warnings:?}");
}

#[test]
fn what_was_outside_a_limit_before_is_warned_about_and_what_becomes_so_is_denied() {
    let index = index("refuse", "refuse");
    let review = |name: &str, before: &Data, now: &Data| {
        let (before, now) = (manifest(&config_map(name, 1, before)), manifest(&config_map(name, 1, now)));
        split(AdmissionPolicy::new(Arc::clone(&index)).review(KIND, "shop", name, &now, Some(&before)))
    };
    let data = |partitions: &str, retention: &str| {
        vec![
            ("partitions", partitions.to_owned()),
            ("retention", retention.to_owned()),
            ("properties", "flush.ms=1".to_owned()),
        ]
    };
    let (denials, warnings) = review("t1", &data("9", "2h"), &data("9", "3h"));
    assert!(
        denials.is_empty() && warnings[0].starts_with("not applied: partitions: \"9\""),
        "{denials:?} {warnings:?}"
    );
    let (denials, _) = review("t1", &data("9", "2h"), &data("8", "2h"));
    assert!(denials[0].starts_with("partitions: \"8\": 2 to 6"), "{denials:?}");
}

#[test]
fn what_may_stay_outside_a_limit_grows_no_further_than_the_totals() {
    let index = index("refuse", "refuse");
    let data = |partitions: &str, lines: &str| {
        vec![
            ("partitions", partitions.to_owned()),
            ("retention", "30d".to_owned()),
            ("properties", lines.to_owned()),
        ]
    };
    for (name, partitions) in [("t1", 6), ("t2", 6), ("t3", 2)] {
        let there = Extent { partitions, replication_factor: 1, retention_bytes: Some(10) };
        index.hold([(name.parse().unwrap(), Some(("shop".to_owned(), there)))]);
        index.apply(config_map(name, 1, &data(&partitions.to_string(), "flush.ms=1")));
    }
    let review = |now: &Data| {
        let before = manifest(&config_map("t3", 1, &data("2", "flush.ms=1")));
        let now = manifest(&config_map("t3", 1, now));
        split(AdmissionPolicy::new(Arc::clone(&index)).review(KIND, "shop", "t3", &now, Some(&before)))
    };
    let (denials, warnings) = review(&data("4", "flush.ms=2"));
    assert!(denials.is_empty() && warnings.len() == 1, "16 of 16: {denials:?}");
    assert!(warnings[0].starts_with("not applied: retention: \"30d\": 1h to 7d"), "{warnings:?}");
    let (denials, _) = review(&data("5", "flush.ms=1"));
    assert_eq!(denials.len(), 1, "{denials:?}");
    assert!(denials[0].starts_with("partitions: \"5\": the other topics"), "{denials:?}");

    // What came by another way the controller leaves as it is.
    index.apply(config_map("t3", 1, &data("5", "flush.ms=1")));
    let context = index.under_policy(&PlanContext::default());
    let over: Vec<&str> = context.over_quota.keys().map(|key| key.name.as_str()).collect();
    assert_eq!(over, ["t3"]);
}

#[test]
fn growth_beyond_the_totals_is_denied_and_whoever_is_beyond_them_may_still_change_the_rest() {
    let index = index("refuse", "refuse");
    let data = |partitions: &str, retention: &str| {
        vec![
            ("partitions", partitions.to_owned()),
            ("retention", retention.to_owned()),
            ("properties", "flush.ms=1".to_owned()),
        ]
    };
    for (name, created) in [("t1", 1), ("t2", 2), ("t3", 3), ("t4", 4)] {
        index.apply(config_map(name, created, &data("4", "2h")));
    }
    let review = |name: &str, now: &Data| {
        let now = manifest(&config_map(name, 1, now));
        let before = manifest(&config_map(name, 1, &data("4", "2h")));
        split(AdmissionPolicy::new(Arc::clone(&index)).review(KIND, "shop", name, &now, Some(&before)))
    };
    assert_eq!(review("t4", &data("4", "3h")), (vec![], vec![]), "16 of 16");
    let (denials, _) = review("t4", &data("5", "2h"));
    assert!(denials[0].contains("have 12 already, of 16 at most in all"), "{denials:?}");
    // The oldest has its share first: it may take from the youngest, which keeps what it has and gets no more.
    assert_eq!(review("t1", &data("5", "2h")), (vec![], vec![]));
    index.apply(config_map("t1", 1, &data("5", "2h")));
    let (denials, warnings) = review("t4", &data("4", "3h"));
    assert!(denials.is_empty() && warnings[0].starts_with("not applied: partitions: \"4\""), "{warnings:?}");
}

#[test]
fn a_quota_outside_its_limit_is_denied_when_it_is_new_and_only_told_when_it_was_there_before() {
    let topics = Arc::new(TopicIndex::default());
    let rules = TopicRules::parse(
        "limits: { producer-byte-rate: { max: 10MB/s }, request-percentage: { max: 50, action: adjust } }",
    );
    topics.govern(TopicPolicy { rules: Arc::new(rules.unwrap()), ..TopicPolicy::default() });
    let consented = Consented::new(Arc::default(), GrantsMode::Namespace);
    let admission = AdmissionConsent::new(consented, topics, false);
    let greedy = request("shop/w").producer_byte_rate("100MB/s");
    let told = "topic.kafka.nb/producer-byte-rate: \"100MB/s\": 10MB/s at most, says the operator's policy \
                (limits.producer-byte-rate)";
    assert_eq!(split(admission.review(&greedy, None)).0, [told]);
    let other = request("shop/w").producer_byte_rate("90MB/s");
    assert_eq!(split(admission.review(&greedy, Some(&other))).0, [told]);
    let mut edited = greedy.clone();
    edited.quotas.request_percentage = Some("200%".parse().unwrap());
    let (denials, warnings) = split(admission.review(&edited, Some(&greedy)));
    assert!(denials.is_empty(), "{denials:?}");
    assert!(
        warnings[0].contains("\"200%\": 50% at most") && warnings[0].ends_with("adjusted to 50%"),
        "{warnings:?}"
    );
    assert_eq!(warnings[1], format!("{told}; 10MB/s counts until it is changed"));
    let modest = request("shop/w").producer_byte_rate("10MB/s");
    assert!(admission.review(&modest, None).is_empty());
}

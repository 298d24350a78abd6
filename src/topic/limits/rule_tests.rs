use std::{collections::BTreeMap, sync::Arc};

use topicops_contract::{TopicManifest, TopicObjectKind, TopicSource};

use super::*;

const KIND: TopicObjectKind = TopicObjectKind::ConfigMap;

fn manifest(data: &[(&str, &str)]) -> Arc<TopicManifest> {
    let data: BTreeMap<String, String> =
        data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let source = TopicSource { name: "orders", annotations: &BTreeMap::new(), data: &data, binary_keys: &[] };
    Arc::new(TopicManifest::parse(source).unwrap())
}

fn judge(policy: &str, data: &[(&str, &str)]) -> Judgement {
    judge_in("shop", policy, data)
}

fn judge_in(namespace: &str, policy: &str, data: &[(&str, &str)]) -> Judgement {
    TopicRules::parse(policy).unwrap().of(namespace).judge(&manifest(data), Some(1_000))
}

/// A policy, a manifest that it refuses, the reason, and the sentence as a whole.
#[test]
fn what_is_refused_is_told_with_key_value_and_bound() {
    for (policy, data, reason, sentence) in [
        (
            "limits: { partitions: { max: 100 } }",
            &[("partitions", "200")][..],
            "TooManyPartitions",
            "partitions: \"200\": 100 at most, says the operator's policy (limits.partitions)",
        ),
        (
            "limits: { partitions: { min: 3, max: 100 } }",
            &[("partitions", "2")],
            "TooFewPartitions",
            "partitions: \"2\": 3 to 100, says the operator's policy (limits.partitions)",
        ),
        (
            "{}",
            &[("partitions", "1001")],
            "TooManyPartitions",
            "partitions: \"1001\": 1000 at most, says the operator (--max-partitions)",
        ),
        (
            "namespaces: { shop: { limits: { replication-factor: { min: 3, max: 3 } } } }",
            &[("replication-factor", "1")],
            "ReplicationFactorOutOfBounds",
            "replication-factor: \"1\": exactly 3, says the operator's policy (namespaces.shop.limits.replication-factor)",
        ),
        (
            "limits: { retention: { max: 30d } }",
            &[("retention", "unlimited")],
            "RetentionOutOfBounds",
            "retention: \"unlimited\": 30d at most, says the operator's policy (limits.retention)",
        ),
        (
            "limits: { retention: { min: 1h } }",
            &[("properties", "retention.ms=1000")],
            "RetentionOutOfBounds",
            "retention: \"1s\": 1h at least, says the operator's policy (limits.retention)",
        ),
        (
            "limits: { retention-bytes: { max: 1Gi } }",
            &[("properties", "retention.bytes=2147483648")],
            "RetentionOutOfBounds",
            "properties: retention.bytes: \"2Gi\": 1Gi at most, says the operator's policy (limits.retention-bytes)",
        ),
        (
            "limits: { retention-disk-share: { max: 7.5% } }",
            &[("retention-disk-share", "10%")],
            "RetentionOutOfBounds",
            "retention-disk-share: \"10%\": 7.50% at most, says the operator's policy (limits.retention-disk-share)",
        ),
        (
            "limits: { properties: { retention.bytes: { forbidden: true } } }",
            &[("retention-disk-share", "10%")],
            "PropertyForbidden",
            "retention-disk-share: \"10%\": may not be declared, because it sets retention.bytes, says the operator's policy (limits.properties.retention.bytes)",
        ),
        (
            "limits: { name: { pattern: '{namespace}\\..+' } }",
            &[("name", "orders")],
            "NameNotAllowed",
            "name: \"orders\": must match {namespace}\\..+ in namespace shop, says the operator's policy (limits.name)",
        ),
        (
            "limits: { properties: { min.insync.replicas: { required: true, min: 2 } } }",
            &[],
            "PropertyRequired",
            "properties: min.insync.replicas: is required, says the operator's policy (limits.properties.min.insync.replicas)",
        ),
        (
            "limits: { properties: { min.insync.replicas: { required: true, min: 2 } } }",
            &[("properties", "min.insync.replicas=1")],
            "PropertyOutOfBounds",
            "properties: min.insync.replicas: \"1\": 2 at least, says the operator's policy (limits.properties.min.insync.replicas)",
        ),
        (
            "limits: { properties: { min.cleanable.dirty.ratio: { max: 0.5 } } }",
            &[("properties", "min.cleanable.dirty.ratio=0.75")],
            "PropertyOutOfBounds",
            "properties: min.cleanable.dirty.ratio: \"0.75\": 0.5 at most, says the operator's policy (limits.properties.min.cleanable.dirty.ratio)",
        ),
        (
            "limits: { properties: { unclean.leader.election.enable: { forbidden: true } } }",
            &[("properties", "unclean.leader.election.enable=true")],
            "PropertyForbidden",
            "properties: unclean.leader.election.enable: \"true\": may not be declared, says the operator's policy (limits.properties.unclean.leader.election.enable)",
        ),
        (
            "limits: { properties: { compression.type: { one-of: [producer, zstd] } } }",
            &[("properties", "compression.type=gzip")],
            "PropertyOutOfBounds",
            "properties: compression.type: \"gzip\": one of producer, zstd, says the operator's policy (limits.properties.compression.type)",
        ),
    ] {
        let judged = judge(policy, data);
        let [violation] = judged.refused.as_slice() else { panic!("{policy}: {judged:?}") };
        assert_eq!(
            (violation.reason.as_str(), violation.problem(KIND).to_string().as_str()),
            (reason, sentence),
            "{policy}"
        );
        assert_eq!(*judged.manifest, *manifest(data), "{policy}: what is refused is not changed");
    }
}

#[test]
fn what_is_within_the_limits_or_left_to_the_brokers_is_right() {
    let policy = "limits: { partitions: { min: 3, max: 6 }, replication-factor: { min: 2 }, retention: { min: 1h, max: 7d },
        retention-bytes: { max: 1Gi }, name: { pattern: 'ord.*' },
        properties: { cleanup.policy: { one-of: ['compact,delete'] }, segment.ms: { min: 10, max: 10 } } }";
    for data in [
        &[][..],
        &[("partitions", "3"), ("replication-factor", "2"), ("retention", "1h")],
        &[("partitions", "6"), ("replication-factor", "9"), ("retention", "7d")],
        &[("properties", "retention.bytes=1073741824\ncleanup.policy=compact, delete\nsegment.ms=10")],
    ] {
        let judged = judge(policy, data);
        assert_eq!(
            (judged.refused.len(), judged.warned.len(), judged.adjusted.len()),
            (0, 0, 0),
            "{judged:?}"
        );
    }
}

#[test]
fn a_warning_lets_pass_and_an_adjustment_takes_the_nearest_value_and_says_so() {
    let data =
        [("partitions", "200"), ("retention", "unlimited"), ("properties", "preallocate=true\nsegment.ms=5")];
    let warned = judge("limits: { partitions: { max: 100, action: warn } }", &data);
    assert!(warned.refused.is_empty() && *warned.manifest == *manifest(&data));
    let notices: Vec<String> = warned.notices(KIND).collect();
    assert_eq!(notices, ["partitions: \"200\": 100 at most, says the operator's policy (limits.partitions)"]);

    let adjusted = judge(
        "limits: { partitions: { max: 100, action: adjust }, retention: { max: 7d, action: adjust },
           properties: { preallocate: { forbidden: true, action: adjust }, segment.ms: { min: 10, action: adjust } } }",
        &data,
    );
    assert!(adjusted.refused.is_empty() && adjusted.warned.is_empty());
    let expected = manifest(&[("partitions", "100"), ("retention", "7d"), ("properties", "segment.ms=10")]);
    assert_eq!(*adjusted.manifest, *expected);
    let notices: Vec<String> = adjusted.notices(KIND).collect();
    assert_eq!(
        notices[0],
        "partitions: \"200\": 100 at most, says the operator's policy (limits.partitions): adjusted to 100"
    );
    let ends: Vec<&str> = notices.iter().filter_map(|notice| notice.rsplit(": ").next()).collect();
    assert_eq!(ends, ["adjusted to 100", "adjusted to 7d", "left out", "adjusted to 10"]);
}

#[test]
fn defaults_are_for_what_a_manifest_leaves_out() {
    let policy = "defaults: { partitions: 6, replication-factor: 3, retention: 2d, properties: { min.insync.replicas: 2, preallocate: true } }";
    let filled = judge(policy, &[]);
    let expected = [
        ("partitions", "6"),
        ("replication-factor", "3"),
        ("retention", "2d"),
        ("properties", "min.insync.replicas=2\npreallocate=true"),
    ];
    assert_eq!(*filled.manifest, *manifest(&expected));
    let own = [
        ("partitions", "1"),
        ("replication-factor", "1"),
        ("retention", "1h"),
        ("properties", "min.insync.replicas=1\npreallocate=false"),
    ];
    assert_eq!(*judge(policy, &own).manifest, *manifest(&own));
    let share = [("retention-disk-share", "5%")];
    let by_share = judge("defaults: { properties: { retention.bytes: 5 } }", &share);
    assert_eq!(*by_share.manifest, *manifest(&share), "both would contradict each other");
}

#[test]
fn the_most_specific_part_wins_limit_by_limit_and_key_by_key() {
    let policy = "
limits: { partitions: { min: 2, max: 10 }, retention: { max: 7d }, properties: { preallocate: { forbidden: true } } }
defaults: { properties: { segment.ms: 10, flush.ms: 10 } }
namespaces:
  team-a: { limits: { partitions: { max: 30 } } }
  '*': { limits: { partitions: { max: 15 } } }
  team-*:
    limits: { partitions: { max: 20 }, retention: null, properties: { preallocate: null } }
    defaults: { properties: { segment.ms: 20, flush.ms: null } }
";
    let most = |namespace: &str| {
        let judged = judge_in(namespace, policy, &[("partitions", "999")]);
        judged.refused[0].expected.split(' ').next().unwrap().to_owned()
    };
    assert_eq!([most("shop"), most("team-b"), most("team-a")], ["15", "20", "30"]);
    let one = [("partitions", "1"), ("retention", "8d"), ("properties", "preallocate=true")];
    assert_eq!(
        judge_in("shop", policy, &one).refused.len(),
        2,
        "the limit as a whole is replaced, its min too"
    );
    assert!(judge_in("team-a", policy, &one).refused.is_empty(), "null lifts");
    let configs = |namespace| judge_in(namespace, policy, &[]).manifest.configs.clone();
    assert_eq!(configs("shop").len(), 2);
    assert_eq!(configs("team-b"), BTreeMap::from([("segment.ms".to_owned(), "20".to_owned())]));
}

#[test]
fn the_flag_counts_where_the_policy_names_no_most() {
    let refused = |policy: &str| judge(policy, &[("partitions", "1500")]).refused.len();
    assert_eq!(refused("limits: { partitions: { min: 2 } }"), 1);
    assert_eq!(refused("limits: { partitions: { max: 2000 } }"), 0);
    assert_eq!(refused("limits: { partitions: null }"), 1);
}

#[test]
fn a_name_pattern_is_for_the_whole_name_and_names_its_namespace_literally() {
    let refused = |namespace: &str, pattern: &str, name: &str| {
        let policy = format!("limits: {{ name: {{ pattern: '{pattern}' }} }}");
        !judge_in(namespace, &policy, &[("name", name)]).refused.is_empty()
    };
    assert!(!refused("a-b", r"{namespace}\.[a-z]+", "a-b.orders"));
    assert!(refused("a-b", r"{namespace}\.[a-z]+", "a-b.Orders"));
    assert!(refused("a-b", r"{namespace}\.[a-z]+", "xa-b.orders"));
    assert!(refused("shop", "a|b", "ab"));
    assert!(refused("shop", "orders", "orders2"));
}

#[test]
fn where_bytes_are_counted_every_topic_says_how_many() {
    let policy =
        "{ defaults: { partitions: 1, replication-factor: 1 }, limits: { total-bytes: { max: 10Gi } } }";
    let required = "properties: retention.bytes: is required, and not unlimited: the bytes of namespace shop are counted";
    let share = "retention-disk-share: \"5%\": the bytes of namespace shop are counted, and what a share of a disk comes to \
                 is known only when the topic is there: declare retention.bytes in its place";
    for (data, sentence) in [
        (&[][..], required),
        (&[("properties", "retention.bytes=-1")], required),
        (&[("retention-disk-share", "5%")], share),
    ] {
        let judged = judge(policy, data);
        assert_eq!(judged.refused[0].reason, "PropertyRequired", "{judged:?}");
        let told = judged.refused[0].problem(KIND).to_string();
        assert_eq!(told, format!("{sentence}, says the operator's policy (limits.total-bytes)"));
        assert!(judged.withholds_config("retention.bytes"), "what there is stays");
    }
    assert!(judge(policy, &[("properties", "retention.bytes=5")]).refused.is_empty());
}

#[test]
fn where_retention_bytes_is_required_a_share_of_the_disk_is_told_to_give_way_to_it() {
    let policy = "limits: { properties: { retention.bytes: { required: true } } }";
    let judged = judge(policy, &[("retention-disk-share", "5%")]);
    assert_eq!(
        judged.refused[0].problem(KIND).to_string(),
        "retention-disk-share: \"5%\": retention.bytes is required in its place, says the operator's policy \
         (limits.properties.retention.bytes)"
    );
    assert!(judged.withholds_config("retention.bytes") && judged.refused.len() == 1);
}

#[test]
fn a_share_of_the_disk_is_adjusted_like_everything_else() {
    let policy = "limits: { retention-disk-share: { max: 5%, action: adjust } }";
    let judged = judge(policy, &[("retention-disk-share", "50%")]);
    assert_eq!(*judged.manifest, *manifest(&[("retention-disk-share", "5%")]));
    assert!(judged.notices(KIND).all(|notice| notice.ends_with(": adjusted to 5%")), "{judged:?}");
    let policy = "limits: { properties: { retention.bytes: { forbidden: true, action: adjust } } }";
    assert_eq!(*judge(policy, &[("retention-disk-share", "50%")]).manifest, *manifest(&[]));
}

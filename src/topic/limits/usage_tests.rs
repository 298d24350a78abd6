use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use topicops_contract::{TopicManifest, TopicObjectKind, TopicSource};

use super::{super::TopicRules, *};

const POLICY: &str = "
defaults: { partitions: 1, replication-factor: 1, properties: { retention.bytes: 10 } }
limits: { topics: { max: 4 }, total-partitions: { max: 20 }, total-bytes: { max: 300 } }
namespaces: { free: { limits: { topics: null, total-partitions: null, total-bytes: null } } }";

fn declared(
    name: &str,
    topic: &str,
    created: i64,
    data: &[(&str, &str)],
    refused: bool,
    existing: Option<i32>,
) -> Declared {
    let mut data: BTreeMap<String, String> =
        data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    data.insert("name".to_owned(), topic.to_owned());
    let source = TopicSource { name, annotations: &BTreeMap::new(), data: &data, binary_keys: &[] };
    let manifest = Arc::new(TopicManifest::parse(source).unwrap());
    let rules = TopicRules::parse(POLICY).unwrap();
    let judged = rules.of("shop").judge(&manifest, None);
    Declared::new(
        TopicObjectKey::config_map("shop", name),
        created,
        false,
        &judged.manifest,
        refused,
        existing,
    )
}

fn partitions(name: &str, created: i64, count: &str) -> Declared {
    declared(name, name, created, &[("partitions", count)], false, None)
}

fn over(usage: &Usage) -> Vec<(String, Vec<String>)> {
    let rules = TopicRules::parse(POLICY).unwrap();
    let over = usage.over(|namespace| rules.of(namespace)).into_iter();
    over.map(|(key, found)| {
        (
            key.name,
            found.iter().map(|one| one.violation.problem(TopicObjectKind::ConfigMap).to_string()).collect(),
        )
    })
    .collect()
}

#[test]
fn the_younger_one_that_does_not_fit_is_over_and_takes_no_room() {
    let mut usage = Usage::default();
    usage.set(partitions("young", 3, "2"));
    usage.set(partitions("old", 1, "15"));
    usage.set(partitions("middle", 2, "10"));
    let sentence = "partitions: \"10\": the older topics of namespace shop have 15 already, of 20 at most in all, says the \
                    operator's policy (limits.total-partitions)";
    assert_eq!(over(&usage), [("middle".to_owned(), vec![sentence.to_owned()])]);
    usage.remove(&TopicObjectKey::config_map("shop", "old"));
    assert_eq!(over(&usage), []);
}

#[test]
fn topics_and_bytes_are_counted_too_each_with_its_own_sentence() {
    let mut usage = Usage::default();
    for index in 0..4 {
        usage.set(partitions(&format!("t{index}"), index, "1"));
    }
    let factor = [("replication-factor", "3"), ("properties", "retention.bytes=100")];
    usage.set(declared("t4", "t4", 4, &factor, false, None));
    let [(name, told)] = over(&usage).try_into().unwrap();
    assert_eq!(name, "t4");
    assert_eq!(
        told[0],
        "name: \"t4\": namespace shop has 4 older topics, of 4 at most, says the operator's policy (limits.topics)"
    );
    assert!(told[1].starts_with("properties: retention.bytes: \"300\": is what all replicas"), "{}", told[1]);
    assert!(told[1].contains("have 40 already, of 300 at most in all"), "{}", told[1]);
}

#[test]
fn what_exists_keeps_its_room_when_it_is_refused_more() {
    let mut usage = Usage::default();
    usage.set(partitions("old", 1, "15"));
    usage.set(declared("grown", "grown", 2, &[("partitions", "10")], false, Some(4)));
    usage.set(partitions("young", 3, "2"));
    let names = |usage: &Usage| over(usage).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&usage), ["grown", "young"], "4 of the 5 that are left stay taken");
    usage.set(declared("grown", "grown", 2, &[("partitions", "10")], true, None));
    assert!(names(&usage).is_empty(), "what another limit refuses takes nothing while it does not exist");
}

#[test]
fn a_topic_that_two_declare_counts_once() {
    let mut usage = Usage::default();
    usage.set(declared("first", "orders", 1, &[("partitions", "15")], false, None));
    let second = declared("second", "orders", 2, &[("partitions", "15")], false, None);
    let rules = TopicRules::parse(POLICY).unwrap().of("shop");
    assert!(usage.over_with(&rules, &second).is_empty());
    usage.set(second);
    assert_eq!(over(&usage), []);
    usage.set(partitions("third", 3, "5"));
    assert_eq!(over(&usage), []);
    usage.remove(&TopicObjectKey::config_map("shop", "first"));
    assert_eq!(over(&usage), []);
    usage.set(partitions("fourth", 4, "1"));
    assert_eq!(over(&usage).len(), 1, "the successor counts");
}

fn any_declared() -> impl Strategy<Value = Declared> {
    (0..8u8, 0..8u8, 0..4i64, 1..9u8, any::<bool>(), proptest::option::of(1..9i32)).prop_map(
        |(object, topic, created, count, refused, existing)| {
            let (object, topic) = (format!("o{object}"), format!("t{topic}"));
            declared(&object, &topic, created, &[("partitions", &count.to_string())], refused, existing)
        },
    )
}

proptest! {
    /// Bit by bit or from scratch, in whatever order: the totals are the same.
    #[test]
    fn counting_bit_by_bit_comes_to_the_same(
        steps in proptest::collection::vec((any_declared(), any::<bool>()), 0..30),
    ) {
        let mut usage = Usage::default();
        let mut left = BTreeMap::new();
        for (one, gone) in steps {
            if gone {
                usage.remove(&one.object);
                left.remove(&one.object);
            } else {
                usage.set(one.clone());
                left.insert(one.object.clone(), one);
            }
        }
        let mut afresh = Usage::default();
        for one in left.into_values() {
            afresh.set(one);
        }
        prop_assert_eq!(format!("{:?}", usage.namespaces), format!("{:?}", afresh.namespaces));
        prop_assert_eq!(over(&usage), over(&afresh));
    }

    /// Admission and controller agree: what would not fit is what does not fit once it is there.
    #[test]
    fn what_would_not_fit_does_not_fit_once_it_is_there(
        others in proptest::collection::vec(any_declared(), 0..10),
        one in any_declared(),
        new in any::<bool>(),
    ) {
        let rules = TopicRules::parse(POLICY).unwrap();
        let mut usage = Usage::default();
        for other in others {
            // An object that is changed keeps its age. One that gives up a topic somebody else waits for is left out: both
            // are looked at again then.
            if other.object != one.object {
                usage.set(other);
            } else if !new && other.topic == one.topic {
                usage.set(Declared { created: one.created, ..other });
            }
        }
        let one = if new { Declared { created: i64::MAX, ..one } } else { one };
        let foretold = usage.over_with(&rules.of("shop"), &one);
        usage.set(one.clone());
        let found = usage.over(|namespace| rules.of(namespace)).remove(&one.object).unwrap_or_default();
        prop_assert_eq!(foretold, found);
    }
}

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use topicops_contract::{TopicManifest, TopicObjectKind, TopicSource};

use super::{
    super::{At, TopicRules, Violation},
    *,
};
use crate::Reason;

const POLICY: &str = "
defaults: { partitions: 1, replication-factor: 1, properties: { retention.bytes: 10 } }
limits: { topics: { max: 4 }, total-partitions: { max: 20 }, total-bytes: { max: 300 } }
namespaces: { free: { limits: { topics: null, total-partitions: null, total-bytes: null } } }";

/// `refused`: what a limit of its own leaves as it is, where one refuses it.
fn declared(
    name: &str,
    topic: &str,
    created: i64,
    data: &[(&str, &str)],
    refused: Option<&[Field]>,
) -> Declared {
    let mut data: BTreeMap<String, String> =
        data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    data.insert("name".to_owned(), topic.to_owned());
    let source = TopicSource { name, annotations: &BTreeMap::new(), data: &data, binary_keys: &[] };
    let manifest = Arc::new(TopicManifest::parse(source).unwrap());
    let rules = TopicRules::parse(POLICY).unwrap();
    let mut judged = rules.of("shop").judge(&manifest, None);
    judged.refused.extend(refused.map(|withholds| Violation {
        reason: Reason::NameNotAllowed,
        at: At::Data("name"),
        value: topic.to_owned(),
        expected: "another".to_owned(),
        withholds: withholds.to_vec(),
        by_flag: false,
    }));
    Declared::new(TopicObjectKey::config_map("shop", name), created, false, &manifest, &judged)
}

fn partitions(name: &str, created: i64, count: &str) -> Declared {
    declared(name, name, created, &[("partitions", count)], None)
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

fn names(usage: &Usage) -> Vec<String> {
    over(usage).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_younger_one_that_does_not_fit_is_over_and_takes_no_room() {
    let mut usage = Usage::default();
    usage.set(partitions("young", 3, "2"));
    usage.set(partitions("old", 1, "15"));
    usage.set(partitions("middle", 2, "10"));
    let sentence = "partitions: \"10\": the other topics of namespace shop have 15 already, of 20 at most in all, says the \
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
    usage.set(declared("t4", "t4", 4, &factor, None));
    let [(name, told)] = over(&usage).try_into().unwrap();
    assert_eq!(name, "t4");
    assert_eq!(
        told[0],
        "name: \"t4\": namespace shop has 4 other topics, of 4 at most, says the operator's policy (limits.topics)"
    );
    assert!(told[1].starts_with("properties: retention.bytes: \"300\": is what all replicas"), "{}", told[1]);
    assert!(told[1].contains("have 40 already, of 300 at most in all"), "{}", told[1]);
}

#[test]
fn what_exists_keeps_its_room_when_it_is_refused_more() {
    let mut usage = Usage::default();
    usage.set(partitions("old", 1, "15"));
    usage.set(partitions("grown", 2, "10"));
    usage.hold(&topic("grown"), Some(("shop", extent(4))));
    usage.set(partitions("young", 3, "2"));
    assert_eq!(names(&usage), ["grown", "young"], "4 of the 5 that are left stay taken");
    usage.hold(&topic("grown"), None);
    usage.set(declared("grown", "grown", 2, &[("partitions", "10")], Some(&[])));
    assert!(names(&usage).is_empty(), "what another limit refuses takes nothing while it does not exist");
}

#[test]
fn what_another_limit_refuses_is_weighed_with_all_that_it_changes_of_a_topic_that_is_there() {
    let more = [("partitions", "6"), ("replication-factor", "2"), ("properties", "retention.bytes=30")];
    let bytes = Field::Config("retention.bytes".to_owned());
    for (withheld, others, told) in [
        (&[][..], 0, vec!["retention.bytes: \"360\""]),
        (&[], 15, vec!["partitions: \"6\"", "retention.bytes: \"360\""]),
        (&[Field::Partitions], 18, vec![]),
        (&[Field::Partitions], 19, vec!["partitions: \"2\"", "retention.bytes: \"120\""]),
        (&[Field::ReplicationFactor], 0, vec![]),
        (&[Field::ReplicationFactor], 13, vec!["retention.bytes: \"180\""]),
        (&[bytes], 14, vec![]),
        (&[Field::Partitions, Field::ReplicationFactor], 18, vec![]),
    ] {
        let mut usage = Usage::default();
        if others > 0 {
            usage.set(partitions("others", 1, &others.to_string()));
            usage.hold(&topic("others"), Some(("shop", extent(others))));
        }
        usage.hold(&topic("it"), Some(("shop", extent(2))));
        let it = declared("it", "it", 2, &more, Some(withheld));
        assert!(usage.grows(&it));
        let rules = TopicRules::parse(POLICY).unwrap().of("shop");
        let foretold = usage.over_with(&rules, &it).len();
        usage.set(it);
        let found =
            over(&usage).into_iter().find(|(name, _)| name == "it").map_or(vec![], |(_, found)| found);
        let matches =
            found.len() == told.len() && found.iter().zip(&told).all(|(one, told)| one.contains(told));
        assert!(matches && foretold == told.len(), "{withheld:?} beside {others}: {found:?}, {foretold}");
    }
}

#[test]
fn a_topic_is_weighed_as_it_comes_to_be_and_not_by_numbers_that_change_nothing() {
    let mut usage = Usage::default();
    usage.set(partitions("old", 1, "5"));
    usage.hold(&topic("it"), Some(("shop", Extent { replication_factor: 3, ..extent(5) })));
    // Fewer partitions than there are take none away, and nobody speaks of replicas.
    usage.set(declared("it", "it", 2, &[("partitions", "1"), ("properties", "retention.bytes=20")], None));
    let [(name, told)] = over(&usage).try_into().unwrap();
    assert!(name == "it" && told.len() == 1 && told[0].contains("retention.bytes: \"300\""), "{told:?}");
    usage.set(declared("it", "it", 2, &[("properties", "retention.bytes=15")], None));
    assert_eq!(over(&usage), []);
}

#[test]
fn what_is_carried_out_of_a_declaration_that_does_not_fit_takes_room() {
    let mut usage = Usage::default();
    for (n, created) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)] {
        usage.set(partitions(&format!("t{n}"), created, "1"));
        usage.hold(&topic(&format!("t{n}")), Some(("shop", extent(1))));
    }
    // Two topics too many. They stay, and the older one grows: nothing of that is withheld.
    usage.set(partitions("t4", 5, "12"));
    usage.set(partitions("t5", 6, "5"));
    let told: Vec<(String, usize)> =
        over(&usage).into_iter().map(|(name, told)| (name, told.len())).collect();
    assert_eq!(told, [("t4".to_owned(), 1), ("t5".to_owned(), 2)], "16 of 20 partitions, and 5");
    // Its partitions do not grow, and what each of them may come to does.
    let mut usage = Usage::default();
    usage.hold(&topic("it"), Some(("shop", extent(2))));
    usage.set(declared("it", "it", 1, &[("partitions", "21"), ("properties", "retention.bytes=14")], None));
    usage.set(declared("next", "next", 2, &[("properties", "retention.bytes=273")], None));
    assert_eq!(names(&usage), ["it", "next"], "28 of 300, and 273");
    usage.set(declared("next", "next", 2, &[("properties", "retention.bytes=272")], None));
    assert_eq!(names(&usage), ["it"]);
}

#[test]
fn an_object_that_takes_another_name_asks_for_all_of_it() {
    let mut usage = Usage::default();
    for (n, created) in [(0, 1), (1, 2), (2, 3), (3, 4)] {
        usage.set(partitions(&format!("t{n}"), created, "1"));
        usage.hold(&topic(&format!("t{n}")), Some(("shop", extent(1))));
    }
    let rules = TopicRules::parse(POLICY).unwrap().of("shop");
    let renamed = declared("t0", "new", 1, &[("partitions", "1")], None);
    assert!(usage.grows(&renamed) && usage.over_with(&rules, &renamed).len() == 1);
    usage.set(renamed);
    assert_eq!(names(&usage), ["t0"], "4 of 4 topics are there");
}

#[test]
fn a_topic_that_two_declare_counts_once() {
    let mut usage = Usage::default();
    usage.set(declared("first", "orders", 1, &[("partitions", "15")], None));
    let second = declared("second", "orders", 2, &[("partitions", "15")], None);
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

fn extent(partitions: i32) -> Extent {
    Extent { partitions, replication_factor: 1, retention_bytes: Some(10) }
}

fn topic(name: &str) -> TopicName {
    name.parse().unwrap()
}

#[test]
fn what_is_left_of_topics_that_nobody_declares_counts_until_it_is_gone() {
    let mut usage = Usage::default();
    assert!(usage.hold(&topic("left"), Some(("shop", extent(15)))));
    assert!(!usage.hold(&topic("left"), Some(("shop", extent(15)))));
    usage.hold(&topic("elsewhere"), Some(("free", extent(99))));
    usage.set(partitions("fits", 1, "5"));
    assert_eq!(over(&usage), []);
    usage.set(partitions("new", 2, "1"));
    let sentence = "partitions: \"1\": the other topics of namespace shop have 20 already, of 20 at most in all, says the \
                    operator's policy (limits.total-partitions); topics count as long as they are there, declared or not: \
                    nobody declares left any more. To be rid of one, declare it again with the deletion policy delete, and \
                    delete that";
    assert_eq!(over(&usage), [("new".to_owned(), vec![sentence.to_owned()])]);
    usage.hold(&topic("left"), None);
    assert_eq!(over(&usage), []);
    usage.hold(&topic("left"), Some(("shop", extent(15))));
    usage.clear_held();
    assert_eq!(over(&usage), []);
}

#[test]
fn a_topic_that_is_declared_again_asks_for_nothing_more_and_makes_no_room_for_others() {
    let mut usage = Usage::default();
    usage.hold(&topic("left"), Some(("shop", extent(15))));
    usage.set(partitions("waits", 1, "10"));
    for count in ["1", "15"] {
        let again = partitions("left", 2, count);
        let rules = TopicRules::parse(POLICY).unwrap().of("shop");
        assert!(!usage.grows(&again) && usage.over_with(&rules, &again).is_empty(), "{count}");
        usage.set(again);
        assert_eq!(names(&usage), ["waits"], "{count} are declared, and 15 are there");
    }
    assert!(usage.grows(&partitions("left", 2, "16")));
    let less = Extent { partitions: 4, ..extent(4) };
    usage.set(partitions("left", 2, "1"));
    usage.hold(&topic("left"), Some(("shop", less)));
    assert_eq!(over(&usage), [], "4 of them are there, and 10 fit beside those");
}

#[test]
fn the_oldest_does_not_grow_into_what_the_others_have() {
    let mut usage = Usage::default();
    for (name, created, count) in [("old", 1, 1), ("young", 2, 19)] {
        usage.set(partitions(name, created, &count.to_string()));
        usage.hold(&topic(name), Some(("shop", extent(count))));
    }
    let rules = TopicRules::parse(POLICY).unwrap().of("shop");
    let grown = partitions("old", 1, "20");
    assert_eq!(usage.over_with(&rules, &grown).len(), 2, "partitions, and bytes");
    usage.set(grown);
    assert_eq!(names(&usage), ["old"]);
}

fn any_declared() -> impl Strategy<Value = Declared> {
    let fields = vec![
        Field::Partitions,
        Field::ReplicationFactor,
        Field::Config("retention.bytes".to_owned()),
        Field::Config("retention.ms".to_owned()),
    ];
    let refused = proptest::option::of(proptest::sample::subsequence(fields, 0..4));
    (0..8u8, 0..8u8, 0..4i64, 1..9u8, 1..30u8, refused).prop_map(
        |(object, topic, created, count, bytes, refused)| {
            let (object, topic) = (format!("o{object}"), format!("t{topic}"));
            let data =
                [("partitions", count.to_string()), ("properties", format!("retention.bytes={bytes}"))];
            let data = [(data[0].0, data[0].1.as_str()), (data[1].0, data[1].1.as_str())];
            declared(&object, &topic, created, &data, refused.as_deref())
        },
    )
}

fn any_held() -> impl Strategy<Value = (TopicName, Option<(&'static str, i32)>)> {
    let held = prop_oneof![Just(None), (prop_oneof![Just("shop"), Just("free")], 1..9i32).prop_map(Some)];
    ((0..8u8).prop_map(|n| topic(&format!("t{n}"))), held)
}

proptest! {
    /// Bit by bit or from scratch, in whatever order: the totals are the same.
    #[test]
    fn counting_bit_by_bit_comes_to_the_same(
        steps in proptest::collection::vec((any_declared(), any::<bool>(), any_held()), 0..30),
    ) {
        let mut usage = Usage::default();
        let mut left = BTreeMap::new();
        let mut held = BTreeMap::new();
        for (one, gone, (topic, now)) in steps {
            usage.hold(&topic, now.map(|(namespace, count)| (namespace, extent(count))));
            held.insert(topic, now);
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
        for (topic, now) in &held {
            afresh.hold(topic, now.map(|(namespace, count)| (namespace, extent(count))));
        }
        let sorted = |usage: &Usage| format!("{:?}", usage.namespaces.iter().collect::<BTreeMap<_, _>>());
        prop_assert_eq!(sorted(&usage), sorted(&afresh));
        prop_assert_eq!(over(&usage), over(&afresh));
        usage.clear();
        for (topic, now) in held {
            usage.hold(&topic, now.map(|(namespace, count)| (namespace, extent(count + 1))));
            usage.hold(&topic, None);
        }
        prop_assert!(usage.namespaces.is_empty() && usage.holders.is_empty());
    }

    /// Admission and controller agree: what would not fit is what does not fit once it is there.
    #[test]
    fn what_would_not_fit_does_not_fit_once_it_is_there(
        others in proptest::collection::vec(any_declared(), 0..10),
        one in any_declared(),
        new in any::<bool>(),
        held in proptest::collection::vec(any_held(), 0..10),
    ) {
        let rules = TopicRules::parse(POLICY).unwrap();
        let mut usage = Usage::default();
        for (topic, now) in held {
            usage.hold(&topic, now.map(|(namespace, count)| (namespace, extent(count))));
        }
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

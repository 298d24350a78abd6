use std::{collections::BTreeMap, sync::Arc};

use topicops_contract::{TopicManifest, TopicObjectKind, TopicSource};

use super::*;
use crate::topic::{OwnerRules, TopicObjectKey};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn declared(data: &[(&str, &str)], annotations: &[(&str, &str)]) -> Declaration {
    let (data, annotations) = (map(data), map(annotations));
    let source = TopicSource { name: "orders", annotations: &annotations, data: &data, binary_keys: &[] };
    let (manifest, problems) = TopicManifest::parse_what_is_right(source);
    Declaration {
        object: TopicObjectKey::config_map("shop", "orders"),
        created: 1,
        manifest: Arc::new(manifest.unwrap()),
        problems,
        deleting: false,
    }
}

fn existing(partitions: usize, factor: usize, configs: &[(&str, &str)]) -> TopicDescription {
    TopicDescription {
        id: "id".to_owned(),
        replicas: vec![vec![1; factor]; partitions],
        leaders: vec![Some(1); partitions],
        in_sync: vec![vec![1; factor]; partitions],
        configs: map(configs),
    }
}

fn held(keys: &[&str]) -> Holding {
    Holding { namespace: "shop".to_owned(), keys: keys.iter().map(|key| (*key).to_owned()).collect() }
}

fn plan(
    declaration: &Declaration,
    observed: Option<&TopicDescription>,
    holding: Option<&Holding>,
) -> TopicPlan {
    let policy =
        TopicPolicy { owners: OwnerRules::default(), protected: Vec::new(), max_partitions: Some(100) };
    let topic = "orders".parse().unwrap();
    TopicPlan::of(&topic, std::slice::from_ref(declaration), observed, holding, &PlanContext { policy })
}

fn configure(plan: &TopicPlan) -> Option<ConfigChange> {
    plan.steps.iter().find_map(|step| match step {
        Step::Configure(change) => Some(change.clone()),
        _ => None,
    })
}

#[test]
fn what_is_missing_is_created_with_everything_declared() {
    let plan = plan(&declared(&[("partitions", "3"), ("retention", "1h")], &[]), None, None);
    let [Step::Create(topic)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!(topic.partitions.map(PartitionCount::get), Some(3));
    assert_eq!(topic.configs, map(&[("retention.ms", "3600000")]));
    assert_eq!(plan.holding, Some(held(&["retention.ms"])));
}

#[test]
fn what_is_as_declared_needs_nothing() {
    let topic = existing(3, 1, &[("retention.ms", "3600000")]);
    let declaration = declared(&[("partitions", "3"), ("retention", "1h"), ("replication-factor", "1")], &[]);
    let plan = plan(&declaration, Some(&topic), Some(&held(&["retention.ms"])));
    assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 0));
    assert_eq!(plan.holding, plan.holding_after);
}

#[test]
fn partitions_grow_and_never_shrink() {
    let topic = existing(3, 1, &[]);
    let more = plan(&declared(&[("partitions", "6")], &[]), Some(&topic), Some(&held(&[])));
    assert_eq!(more.steps, [Step::Grow(6.try_into().unwrap())]);
    let fewer =
        plan(&declared(&[("partitions", "2"), ("retention", "1h")], &[]), Some(&topic), Some(&held(&[])));
    assert_eq!(fewer.refusals, [Refusal::FewerPartitions { declared: 2, existing: 3 }]);
    assert!(configure(&fewer).is_some(), "the rest of the manifest still counts");
    let message = fewer.refusals[0].message(TopicObjectKind::ConfigMap);
    assert!(message.contains('2') && message.contains('3'), "{message}");
}

#[test]
fn more_partitions_than_the_operator_allows_are_neither_created_nor_grown() {
    let declaration = declared(&[("partitions", "101")], &[]);
    let (topic, holding) = (existing(3, 1, &[]), held(&[]));
    for (observed, holding) in [(None, None), (Some(&topic), Some(&holding))] {
        let plan = plan(&declaration, observed, holding);
        assert_eq!(plan.refusals, [Refusal::TooManyPartitions { declared: 101, most: 100 }]);
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    }
}

#[test]
fn a_changed_replication_factor_is_refused_with_both_numbers() {
    let topic = existing(3, 1, &[]);
    let plan = plan(&declared(&[("replication-factor", "3")], &[]), Some(&topic), Some(&held(&[])));
    assert_eq!(plan.refusals, [Refusal::ReplicationFactorChange { declared: 3, existing: 1 }]);
}

#[test]
fn settings_are_merged_three_ways() {
    let topic = existing(1, 1, &[("retention.ms", "1"), ("segment.ms", "5"), ("max.message.bytes", "7")]);
    let declaration = declared(&[("properties", "retention.ms=2")], &[]);
    let plan = plan(&declaration, Some(&topic), Some(&held(&["retention.ms", "segment.ms"])));
    let change = configure(&plan).unwrap();
    assert_eq!(change.set, map(&[("retention.ms", "2")]));
    assert_eq!(change.unset, ["segment.ms"], "what others set (max.message.bytes) is left alone");
    assert_eq!(plan.holding, Some(held(&["retention.ms", "segment.ms"])));
    assert_eq!(plan.holding_after, Some(held(&["retention.ms"])));
}

#[test]
fn a_paused_topic_is_not_touched_even_when_its_config_map_goes() {
    let topic = existing(1, 1, &[]);
    let annotations = [("topic.kafka.nb/paused", "true"), ("topic.kafka.nb/deletion-policy", "delete")];
    let mut declaration = declared(&[("partitions", "9")], &annotations);
    for deleting in [false, true] {
        declaration.deleting = deleting;
        let plan = plan(&declaration, Some(&topic), Some(&held(&[])));
        assert!(plan.held_back && plan.steps.is_empty());
    }
}

#[test]
fn a_mistake_holds_everything_back_and_keeps_ownership() {
    let topic = existing(1, 1, &[]);
    let declaration = declared(&[("partitions", "9"), ("properties", "retention.ms=soon")], &[]);
    let plan = plan(&declaration, Some(&topic), Some(&held(&[])));
    assert!(plan.held_back && plan.steps.is_empty() && plan.owner.is_some());
}

#[test]
fn deletion_follows_the_policy() {
    let topic = existing(1, 1, &[]);
    let mut retain = declared(&[], &[]);
    retain.deleting = true;
    let retained = plan(&retain, Some(&topic), Some(&held(&[])));
    assert!(retained.steps.is_empty());
    assert_eq!(retained.holding_after, Some(held(&[])), "it stays its namespace's");

    let mut delete = declared(&[], &[("topic.kafka.nb/deletion-policy", "delete")]);
    delete.deleting = true;
    let deleted = plan(&delete, Some(&topic), Some(&held(&[])));
    assert_eq!(deleted.steps, [Step::Delete { force: false }]);
    assert_eq!(deleted.holding_after, None);
    assert!(plan(&delete, None, Some(&held(&[]))).steps.is_empty());
}

#[test]
fn an_existing_topic_of_nobody_is_left_alone() {
    let topic = existing(1, 1, &[("retention.ms", "1")]);
    let mut declaration = declared(&[("retention", "1h")], &[("topic.kafka.nb/deletion-policy", "delete")]);
    for deleting in [false, true] {
        declaration.deleting = deleting;
        let plan = plan(&declaration, Some(&topic), None);
        assert!(plan.owner.is_none() && plan.steps.is_empty() && plan.holding.is_none());
        assert_eq!(plan.refused[0].1.reason(), "AdoptionNotAllowed");
    }
}

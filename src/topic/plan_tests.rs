use std::{collections::BTreeMap, sync::Arc};

use topicops_contract::{TopicManifest, TopicObjectKind, TopicSource};

use super::*;
use crate::topic::{BrokerFacts, TopicObjectKey, TopicPolicy, limits::TopicRules};

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
    let policy = TopicPolicy { max_partitions: Some(100), ..TopicPolicy::default() };
    let topic = "orders".parse().unwrap();
    TopicPlan::of(&topic, std::slice::from_ref(declaration), observed, holding, &PlanContext::new(policy))
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
    let grown = NewPartitions { topic: more.topic.clone(), total: 6.try_into().unwrap(), placement: None };
    assert_eq!(more.steps, [Step::Grow(grown)]);
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
        let [refusal] = plan.refusals.as_slice() else { panic!("{:?}", plan.refusals) };
        assert_eq!(refusal.reason(), "TooManyPartitions");
        let message = refusal.message(TopicObjectKind::ConfigMap);
        assert!(message.contains("\"101\"") && message.contains("100 at most"), "{message}");
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    }
}

/// A plan for another replication factor, on so many brokers that ask for so many replicas in sync.
fn factor_plan(
    data: &[(&str, &str)],
    observed: &TopicDescription,
    brokers: usize,
    min_in_sync: usize,
) -> TopicPlan {
    let brokers = Some(BrokerFacts { count: brokers, min_in_sync });
    let context = PlanContext { brokers, ..PlanContext::default() };
    let topic = "orders".parse().unwrap();
    TopicPlan::of(&topic, &[declared(data, &[])], Some(observed), Some(&held(&[])), &context)
}

#[test]
fn another_replication_factor_is_a_step_both_ways() {
    let topic = existing(3, 2, &[]);
    for factor in ["1", "3"] {
        let plan = factor_plan(&[("replication-factor", factor)], &topic, 3, 1);
        assert_eq!(plan.steps, [Step::ChangeFactor(factor.parse::<i16>().unwrap().try_into().unwrap())]);
    }
    let mut uneven = existing(3, 2, &[]);
    uneven.replicas[2].push(9);
    assert!(factor_plan(&[("replication-factor", "2")], &uneven, 3, 1).changes_factor().is_some());
    assert!(factor_plan(&[("replication-factor", "2")], &topic, 3, 1).steps.is_empty());
}

#[test]
fn a_replication_factor_that_cannot_be_had_or_would_stop_writers_is_refused_with_both_numbers() {
    let topic = existing(3, 2, &[]);
    let plan = factor_plan(&[("replication-factor", "4")], &topic, 3, 1);
    assert_eq!(plan.refusals, [Refusal::TooFewBrokers { declared: 4, brokers: 3 }]);
    let below = Refusal::BelowMinInsyncReplicas { declared: 1, least: 2 };
    assert_eq!(
        factor_plan(&[("replication-factor", "1")], &topic, 3, 2).refusals,
        std::slice::from_ref(&below)
    );
    let own = existing(3, 2, &[("min.insync.replicas", "2")]);
    assert_eq!(factor_plan(&[("replication-factor", "1")], &own, 3, 1).refusals, [below]);
    let lowered = [("replication-factor", "1"), ("properties", "min.insync.replicas=1")];
    assert!(factor_plan(&lowered, &own, 3, 2).refusals.is_empty(), "the topic's own, as declared, counts");
}

#[test]
fn a_topic_on_its_way_is_planned_by_where_it_goes() {
    // Meanwhile the brokers show those to come and those to go.
    let topic = existing(3, 4, &[]);
    let moving = |goal| PlanContext {
        moving: BTreeMap::from([("orders".parse().unwrap(), goal)]),
        ..PlanContext::default()
    };
    let of = |declared_factor: &str, goal| {
        let declaration = declared(&[("replication-factor", declared_factor)], &[]);
        let topic_name = "orders".parse().unwrap();
        TopicPlan::of(&topic_name, &[declaration], Some(&topic), Some(&held(&[])), &moving(goal))
            .changes_factor()
    };
    assert_eq!(of("3", 3), None);
    assert_eq!(of("1", 3).map(ReplicationFactor::get), Some(1), "it was set back");
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

fn plan_under(
    policy: &str,
    declaration: &Declaration,
    observed: Option<&TopicDescription>,
    holding: Option<&Holding>,
) -> TopicPlan {
    let rules = Arc::new(TopicRules::parse(policy).unwrap());
    let context = PlanContext::new(TopicPolicy { rules, ..TopicPolicy::default() });
    let topic = "orders".parse().unwrap();
    TopicPlan::of(&topic, std::slice::from_ref(declaration), observed, holding, &context)
}

fn reasons(plan: &TopicPlan) -> Vec<&'static str> {
    plan.refusals.iter().map(|refusal| refusal.reason().as_str()).collect()
}

#[test]
fn what_is_outside_a_limit_is_not_created_and_where_it_exists_the_rest_converges() {
    let policy = "limits: { retention: { max: 7d }, partitions: { min: 3, max: 6 } }";
    let declaration =
        declared(&[("partitions", "9"), ("retention", "30d"), ("properties", "segment.ms=5")], &[]);
    let new = plan_under(policy, &declaration, None, None);
    assert!(new.steps.is_empty() && new.holding.is_none(), "{new:?}");
    assert_eq!(reasons(&new), ["TooManyPartitions", "RetentionOutOfBounds"]);

    let topic = existing(4, 1, &[("retention.ms", "1000")]);
    let plan = plan_under(policy, &declaration, Some(&topic), Some(&held(&["retention.ms"])));
    assert_eq!(reasons(&plan), ["TooManyPartitions", "RetentionOutOfBounds"]);
    let [Step::Configure(change)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!((&change.set, change.unset.len()), (&map(&[("segment.ms", "5")]), 0));
    assert_eq!(plan.holding_after, Some(held(&["retention.ms", "segment.ms"])), "what was ours stays ours");
    let foreign = plan_under(policy, &declaration, Some(&topic), Some(&held(&[])));
    assert_eq!(foreign.holding_after, Some(held(&["segment.ms"])), "what was not does not become so");
}

#[test]
fn an_existing_topic_outside_a_new_limit_is_not_touched_and_says_so() {
    let declaration = declared(&[("partitions", "9"), ("replication-factor", "1")], &[]);
    let topic = existing(9, 1, &[]);
    let policy = "limits: { partitions: { max: 6 }, replication-factor: { min: 3 } }";
    let plan = plan_under(policy, &declaration, Some(&topic), Some(&held(&[])));
    assert_eq!(
        (plan.steps.len(), reasons(&plan)),
        (0, vec!["TooManyPartitions", "ReplicationFactorOutOfBounds"])
    );
    let adjusted = plan_under(
        "limits: { partitions: { max: 6, action: adjust } }",
        &declaration,
        Some(&topic),
        Some(&held(&[])),
    );
    assert!(
        adjusted.steps.is_empty() && adjusted.refusals.is_empty(),
        "partitions are never taken away: {adjusted:?}"
    );
    assert_eq!(adjusted.notices.len(), 1);
}

#[test]
fn the_flag_lets_a_topic_be_that_has_more_already() {
    let declaration = declared(&[("partitions", "150"), ("retention", "1h")], &[]);
    let topic = existing(150, 1, &[]);
    let plan = plan(&declaration, Some(&topic), Some(&held(&[])));
    assert!(plan.refusals.is_empty() && configure(&plan).is_some(), "{plan:?}");
}

#[test]
fn defaults_of_numbers_are_for_new_topics_and_those_of_settings_are_kept() {
    let before = "defaults: { partitions: 6, replication-factor: 3, properties: { segment.ms: 5 } }";
    let new = plan_under(before, &declared(&[], &[]), None, None);
    let [Step::Create(created)] = new.steps.as_slice() else { panic!("{:?}", new.steps) };
    assert_eq!(created.partitions.map(PartitionCount::get), Some(6));
    assert_eq!(created.configs, map(&[("segment.ms", "5")]));
    let topic = existing(6, 3, &[("segment.ms", "5")]);
    for now in ["defaults: { partitions: 9, replication-factor: 2 }", "defaults: { partitions: 3 }"] {
        let plan = plan_under(now, &declared(&[], &[]), Some(&topic), new.holding_after.as_ref());
        assert!(plan.refusals.is_empty(), "{plan:?}");
        let [Step::Configure(change)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
        assert_eq!((change.set.len(), change.unset.as_slice()), (0, &["segment.ms".to_owned()][..]));
    }
    let same = plan_under(before, &declared(&[], &[]), Some(&topic), new.holding_after.as_ref());
    assert!(same.steps.is_empty(), "{same:?}");
}

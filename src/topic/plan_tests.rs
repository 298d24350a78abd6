use std::{collections::BTreeMap, sync::Arc};

use topicops_contract::{TopicManifest, TopicObjectKind, TopicSource};

use super::*;
use crate::topic::{BrokerFacts, OwnerRules, TopicObjectKey, TopicPolicy, limits::TopicRules};

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
        inherited: map(&[("retention.bytes", "-1"), ("retention.ms", "604800000")]),
    }
}

fn held(keys: &[&str]) -> Holding {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Holding { namespace: "shop".to_owned(), keys, ..Holding::default() }
}

/// The same, of the topic that is there.
fn seen(keys: &[&str]) -> Holding {
    let applied = Applied { topic_id: Some(existing(1, 1, &[]).id), ..Applied::default() };
    Holding { applied, ..held(keys) }
}

/// What is remembered of a topic that was made as declared.
fn settled(declaration: &Declaration, topic: &TopicDescription) -> Holding {
    let mut topic = topic.clone();
    topic.configs.extend(declaration.manifest.configs.clone());
    plan(declaration, Some(&topic), Some(&held(&[]))).holding_after.unwrap()
}

fn plan(
    declaration: &Declaration,
    observed: Option<&TopicDescription>,
    holding: Option<&Holding>,
) -> TopicPlan {
    plan_in(declaration, observed, holding, DriftPolicy::Correct)
}

fn plan_in(
    declaration: &Declaration,
    observed: Option<&TopicDescription>,
    holding: Option<&Holding>,
    drift: DriftPolicy,
) -> TopicPlan {
    let policy = TopicPolicy { max_partitions: Some(100), ..TopicPolicy::default() };
    let topic = "orders".parse().unwrap();
    let context = PlanContext { drift, ..PlanContext::new(policy) };
    TopicPlan::of(&topic, std::slice::from_ref(declaration), observed, holding, &context)
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
    assert_eq!(plan.holding, Some(held(&["retention.ms"])), "nothing is applied before it is made");
    let after = plan.holding_after.unwrap();
    assert!(after.applied.has("retention.ms", "3600000") && after.applied.partitions == Some(3));
}

#[test]
fn what_is_as_declared_needs_nothing() {
    let topic = existing(3, 1, &[("retention.ms", "3600000")]);
    let declaration = declared(&[("partitions", "3"), ("retention", "1h"), ("replication-factor", "1")], &[]);
    let holding = settled(&declaration, &topic);
    let plan = plan(&declaration, Some(&topic), Some(&holding));
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

#[test]
fn settings_are_merged_three_ways() {
    let topic = existing(1, 1, &[("retention.ms", "1"), ("segment.ms", "5"), ("max.message.bytes", "7")]);
    let declaration = declared(&[("properties", "retention.ms=2")], &[]);
    let plan = plan(&declaration, Some(&topic), Some(&held(&["retention.ms", "segment.ms"])));
    let change = configure(&plan).unwrap();
    assert_eq!(change.set, map(&[("retention.ms", "2")]));
    assert_eq!(change.unset, ["segment.ms"], "what others set (max.message.bytes) is left alone");
    assert_eq!(plan.holding, Some(seen(&["retention.ms", "segment.ms"])));
    let after = plan.holding_after.unwrap();
    assert_eq!(after.keys, held(&["retention.ms"]).keys);
    assert!(after.applied.has("retention.ms", "2") && after.applied.config("segment.ms").is_none());
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
    let deleted = plan(&delete, Some(&topic), Some(&seen(&[])));
    assert_eq!(deleted.steps, [Step::Delete { force: false, id: "id".to_owned() }]);
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
    let keys = |plan: TopicPlan| plan.holding_after.unwrap().keys;
    assert_eq!(keys(plan), held(&["retention.ms", "segment.ms"]).keys, "what was ours stays ours");
    let foreign = plan_under(policy, &declaration, Some(&topic), Some(&held(&[])));
    assert_eq!(keys(foreign), held(&["segment.ms"]).keys, "what was not does not become so");
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
fn while_no_policy_could_be_read_nothing_is_done_but_what_it_has_no_say_in() {
    let policy = TopicPolicy { unread: true, ..TopicPolicy::default() };
    let context = PlanContext::new(policy);
    let topic = "orders".parse().unwrap();
    let declaration = declared(&[("partitions", "9"), ("retention", "1h")], &[]);
    let there = existing(1, 1, &[("segment.ms", "5")]);
    for observed in [Some(&there), None] {
        let held = seen(&["segment.ms"]);
        let plan = TopicPlan::of(&topic, std::slice::from_ref(&declaration), observed, Some(&held), &context);
        assert!(
            plan.steps.is_empty() && plan.held_back && plan.owner.is_some(),
            "it keeps its owner: {plan:?}"
        );
        assert_eq!(plan.refusals, [Refusal::PolicyUnread]);
        assert_eq!(plan.holding_after, Some(held), "what was its own stays so");
    }
    let going =
        Declaration { deleting: true, ..declared(&[], &[("topic.kafka.nb/deletion-policy", "delete")]) };
    let plan = TopicPlan::of(&topic, &[going], Some(&there), Some(&seen(&[])), &context);
    assert!(plan.deletes().is_some() && plan.refusals.is_empty(), "{plan:?}");
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

const HOUR: (&str, &str) = ("retention.ms", "3600000");

#[test]
fn a_setting_changed_by_hand_is_put_back_or_reported_and_somebody_elses_is_neither() {
    let declaration = declared(&[("retention", "1h"), ("properties", "segment.ms=5")], &[]);
    let holding = settled(&declaration, &existing(1, 1, &[]));
    let by_hand = existing(1, 1, &[("retention.ms", "60000"), ("max.message.bytes", "7")]);
    let corrected = plan(&declaration, Some(&by_hand), Some(&holding));
    let change = configure(&corrected).unwrap();
    assert_eq!(change.set, map(&[HOUR, ("segment.ms", "5")]));
    assert!(change.unset.is_empty() && corrected.drifted.is_empty());
    let told: Vec<String> = corrected.corrected.iter().map(Drift::corrected).collect();
    assert_eq!(told, ["retention.ms: 60000 -> 3600000", "segment.ms: nothing set -> 5"]);

    let reported = plan_in(&declaration, Some(&by_hand), Some(&holding), DriftPolicy::Report);
    assert!(reported.steps.is_empty() && reported.corrected.is_empty());
    let told: Vec<String> = reported.drifted.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["retention.ms: declared 3600000, found 60000", "segment.ms: declared 5, found nothing set"]
    );
    assert_eq!(
        reported.holding_after,
        Some(holding),
        "what was applied is remembered as long as it is declared"
    );
}

#[test]
fn an_authors_change_is_applied_where_drift_is_only_reported_and_corrects_nothing_else() {
    let before = declared(&[("retention", "1h"), ("properties", "segment.ms=5")], &[]);
    let holding = settled(&before, &existing(1, 1, &[]));
    let by_hand = existing(1, 1, &[("retention.ms", "60000"), ("segment.ms", "9")]);
    let edited = declared(&[("partitions", "2"), ("retention", "1h"), ("properties", "segment.ms=6")], &[]);
    let plan = plan_in(&edited, Some(&by_hand), Some(&holding), DriftPolicy::Report);
    assert_eq!(configure(&plan).unwrap().set, map(&[("segment.ms", "6")]));
    assert!(plan.steps.iter().any(|step| matches!(step, Step::Grow(more) if more.total.get() == 2)));
    assert_eq!(plan.drifted.len(), 1, "{:?}", plan.drifted);
}

#[test]
fn after_a_crash_between_change_and_memory_the_change_is_made_again() {
    let before = declared(&[("retention", "1h")], &[]);
    let holding = settled(&before, &existing(1, 1, &[]));
    let edited = declared(&[("retention", "2h")], &[]);
    // What is remembered when the brokers are asked is what was, so that nothing is lost with the answer.
    let first = plan_in(&edited, Some(&existing(1, 1, &[HOUR])), Some(&holding), DriftPolicy::Report);
    assert!(first.holding.as_ref().unwrap().applied.has("retention.ms", "3600000"));
    let again = plan_in(&edited, Some(&existing(1, 1, &[HOUR])), first.holding.as_ref(), DriftPolicy::Report);
    assert_eq!(again.steps, first.steps);
    let made = existing(1, 1, &[("retention.ms", "7200000")]);
    let told = plan_in(&edited, Some(&made), first.holding.as_ref(), DriftPolicy::Report);
    assert_eq!(told.steps, first.steps, "what was remembered last may come yet on brokers that lag");
    assert!(told.drifted.is_empty() && told.corrected.is_empty());
    let rests = plan_in(&edited, Some(&made), told.holding_after.as_ref(), DriftPolicy::Report);
    assert!(rests.steps.is_empty() && rests.drifted.is_empty());
}

#[test]
fn what_is_taken_back_while_brokers_do_not_show_it_yet_is_taken_back_all_the_same() {
    let holding = settled(&declared(&[("retention", "2h")], &[]), &existing(1, 1, &[]));
    for drift in [DriftPolicy::Correct, DriftPolicy::Report] {
        let changed = plan_in(
            &declared(&[("retention", "1h")], &[]),
            Some(&existing(1, 1, &[HOUR])),
            Some(&holding),
            drift,
        );
        assert_eq!(configure(&changed).unwrap().set, map(&[HOUR]));
        let given_up = plan_in(&declared(&[], &[]), Some(&existing(1, 1, &[])), Some(&holding), drift);
        assert_eq!(configure(&given_up).unwrap().unset, ["retention.ms"]);
        for plan in [changed, given_up] {
            assert!(plan.corrected.is_empty() && plan.drifted.is_empty(), "{plan:?}");
        }
    }
}

#[test]
fn a_setting_that_others_changed_and_the_manifest_gave_up_is_unset_where_drift_is_only_reported_too() {
    let holding = settled(&declared(&[("retention", "1h")], &[]), &existing(1, 1, &[]));
    let by_hand = existing(1, 1, &[("retention.ms", "60000"), ("segment.ms", "5")]);
    let plan = plan_in(&declared(&[], &[]), Some(&by_hand), Some(&holding), DriftPolicy::Report);
    assert_eq!(configure(&plan).unwrap().unset, ["retention.ms"]);
    assert!(plan.drifted.is_empty() && plan.holding_after.unwrap().keys.is_empty());
}

#[test]
fn a_manifest_may_ask_for_reports_and_not_for_corrections() {
    let by_hand = existing(1, 1, &[("retention.ms", "60000")]);
    for (operator, manifest, written) in [
        (DriftPolicy::Correct, "correct", true),
        (DriftPolicy::Correct, "report", false),
        (DriftPolicy::Report, "correct", false),
        (DriftPolicy::Report, "report", false),
    ] {
        let declaration = declared(&[("retention", "1h")], &[("topic.kafka.nb/drift", manifest)]);
        let holding = settled(&declaration, &existing(1, 1, &[]));
        let plan = plan_in(&declaration, Some(&by_hand), Some(&holding), operator);
        assert_eq!(!plan.steps.is_empty(), written, "{operator} and {manifest}");
    }
}

#[test]
fn partitions_added_by_hand_are_reported_whatever_the_policy() {
    let declaration = declared(&[("partitions", "3")], &[]);
    let holding = settled(&declaration, &existing(3, 1, &[]));
    for drift in [DriftPolicy::Correct, DriftPolicy::Report] {
        let plan = plan_in(&declaration, Some(&existing(5, 1, &[])), Some(&holding), drift);
        assert_eq!(plan.drifted, [Drift::Partitions { declared: 3, found: 5 }]);
        assert!(plan.steps.is_empty() && plan.refusals.is_empty());
    }
    let fewer = declared(&[("partitions", "2")], &[]);
    let plan = plan(&fewer, Some(&existing(3, 1, &[])), Some(&holding));
    assert_eq!(plan.refusals, [Refusal::FewerPartitions { declared: 2, existing: 3 }]);
}

#[test]
fn a_topic_deleted_by_hand_is_made_anew_or_reported() {
    let declaration = declared(&[("retention", "1h")], &[]);
    let holding = settled(&declaration, &existing(1, 1, &[]));
    let remade = plan(&declaration, None, Some(&holding));
    assert!(remade.creates() && remade.corrected == [Drift::Missing]);
    assert!(remade.corrected[0].corrected().contains("gone"));
    let reported = plan_in(&declaration, None, Some(&holding), DriftPolicy::Report);
    assert!(reported.steps.is_empty() && reported.drifted == [Drift::Missing]);
    assert_eq!(reported.holding_after, Some(holding.clone()));
    // Claimed and not made yet: nobody deleted it.
    let new = plan_in(&declaration, None, Some(&held(&["retention.ms"])), DriftPolicy::Report);
    assert!(new.creates() && new.corrected.is_empty());
    // Nobody declared it for a while: whoever declares it again wants it.
    let topic = "orders".parse().unwrap();
    let left =
        TopicPlan::of(&topic, &[], Some(&existing(1, 1, &[])), Some(&holding), &PlanContext::default());
    let again = plan_in(&declaration, None, left.holding_after.as_ref(), DriftPolicy::Report);
    assert!(again.creates() && again.drifted.is_empty());
}

#[test]
fn a_topic_made_anew_by_hand_is_told_once() {
    let declaration = declared(&[("retention", "1h")], &[]);
    let holding = settled(&declaration, &existing(1, 1, &[]));
    let other = TopicDescription { id: "another".to_owned(), ..existing(1, 1, &[]) };
    let plan = plan(&declaration, Some(&other), Some(&holding));
    assert!(plan.remade && configure(&plan).is_some());
    assert_eq!(plan.holding_after.unwrap().applied.topic_id.as_deref(), Some("another"));
}

#[test]
fn what_another_namespace_declared_before_is_left_to_whoever_takes_the_topic_over() {
    let topic = existing(1, 1, &[("retention.ms", "2592000000"), ("segment.ms", "1")]);
    let mut former = held(&["retention.ms", "segment.ms"]);
    let declaration = declared(&[("properties", "segment.ms=2")], &[]);
    assert_eq!(
        configure(&plan(&declaration, Some(&topic), Some(&former))).unwrap().unset,
        ["retention.ms"],
        "given up by its own namespace"
    );
    former.namespace = "former".to_owned();
    let policy =
        TopicPolicy { owners: OwnerRules::new(vec!["shop=*".parse().unwrap()]), ..TopicPolicy::default() };
    let name = "orders".parse().unwrap();
    let context = PlanContext::new(policy);
    let taken =
        TopicPlan::of(&name, std::slice::from_ref(&declaration), Some(&topic), Some(&former), &context);
    let change = configure(&taken).unwrap();
    assert_eq!((change.set, change.unset), (map(&[("segment.ms", "2")]), Vec::<String>::new()));
    assert_eq!(taken.holding.unwrap(), seen(&["segment.ms"]), "nothing of what was another's");
    assert_eq!(taken.holding_after.unwrap().keys, held(&["segment.ms"]).keys);
}

#[path = "plan_factor_tests.rs"]
mod factor;
#[path = "plan_retention_tests.rs"]
mod retention;

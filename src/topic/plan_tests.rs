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
        inherited: BTreeMap::new(),
    }
}

fn held(keys: &[&str]) -> Holding {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Holding { namespace: "shop".to_owned(), keys, ..Holding::default() }
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
    let deleted = plan(&delete, Some(&topic), Some(&held(&[])));
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
    assert!(told.steps.is_empty() && told.drifted.is_empty());
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

mod retention {
    use super::*;
    use crate::{
        kafka::{BrokerConfigs, BrokerDisks, LogDir, ReplicaSize, TopicPartition},
        topic::{RetentionSteps, StorageFacts},
    };

    const GB: u64 = 1_000_000_000;

    fn dir(total_bytes: Option<u64>, stored: &[u64]) -> LogDir {
        let replicas = (0..).zip(stored).map(|(partition, bytes)| {
            let partition = TopicPartition { topic: "orders".parse().unwrap(), partition };
            (partition, ReplicaSize { bytes: *bytes, future: false })
        });
        LogDir { total_bytes, replicas: replicas.collect(), ..LogDir::default() }
    }

    /// Brokers from 1 on with these log directories each.
    fn facts(brokers: Vec<Vec<LogDir>>) -> StorageFacts {
        let disks = (1..).zip(brokers).map(|(broker, dirs)| (broker, Ok(BrokerDisks { dirs })));
        StorageFacts::of(&disks.collect())
    }

    fn in_context(
        declaration: &Declaration,
        observed: Option<&TopicDescription>,
        holding: Option<&Holding>,
        facts: Option<StorageFacts>,
        now: i64,
    ) -> TopicPlan {
        let steps = RetentionSteps { keep_percent: 50, interval: 60, above: 10 };
        let context = PlanContext { storage: facts.map(Arc::new), steps, now, ..PlanContext::default() };
        let topic = "orders".parse().unwrap();
        TopicPlan::of(&topic, std::slice::from_ref(declaration), observed, holding, &context)
    }

    fn set(plan: &TopicPlan, key: &str) -> Option<String> {
        configure(plan).and_then(|change| change.set.get(key).cloned())
    }

    fn share(percent: &str) -> Declaration {
        declared(&[("retention-disk-share", percent)], &[])
    }

    fn placed(replicas: &[&[i32]], configs: &[(&str, &str)]) -> TopicDescription {
        TopicDescription {
            replicas: replicas.iter().map(|held| held.to_vec()).collect(),
            ..existing(1, 1, configs)
        }
    }

    #[test]
    fn a_share_is_of_the_tightest_broker_for_each_of_its_replicas() {
        let brokers = || {
            facts(vec![
                vec![dir(Some(100 * GB), &[])],
                vec![dir(Some(40 * GB), &[])],
                vec![dir(Some(GB), &[])],
            ])
        };
        // Broker 1 holds three replicas, broker 2 one, broker 3 none.
        let topic = placed(&[&[1, 2], &[1], &[1]], &[]);
        let holding = held(&[]);
        let asked = in_context(&share("6%"), Some(&topic), Some(&holding), None, 0);
        assert!(asked.wants_storage && asked.steps.is_empty());
        let plan = in_context(&share("6%"), Some(&topic), Some(&holding), Some(brokers()), 0);
        assert_eq!(set(&plan, "retention.bytes"), Some((2 * GB).to_string()));
        // Two directories: two of three replicas may be in the smaller one.
        let two = facts(vec![
            vec![dir(Some(50 * GB), &[]), dir(Some(80 * GB), &[])],
            vec![dir(Some(40 * GB), &[])],
        ]);
        let plan = in_context(&share("6%"), Some(&topic), Some(&holding), Some(two), 0);
        assert_eq!(set(&plan, "retention.bytes"), Some((3 * GB / 2).to_string()));
    }

    #[test]
    fn disks_and_partitions_are_followed_by_more_than_a_tenth_and_changes_by_hand_are_drift() {
        let disk = |total: u64| Some(facts(vec![vec![dir(Some(total), &[])]]));
        let topic = |bytes: u64| placed(&[&[1]], &[("retention.bytes", &bytes.to_string())]);
        let first =
            in_context(&share("10%"), Some(&placed(&[&[1]], &[])), Some(&held(&[])), disk(100 * GB), 0);
        let holding = first.holding_after.unwrap();
        for (total, expected) in
            [(100, None), (109, None), (91, None), (112, Some(112 * GB / 10)), (88, Some(88 * GB / 10))]
        {
            let plan = in_context(&share("10%"), Some(&topic(10 * GB)), Some(&holding), disk(total * GB), 0);
            assert_eq!(set(&plan, "retention.bytes"), expected.map(|bytes| bytes.to_string()), "{total}");
            assert!(plan.corrected.is_empty() && plan.refusals.is_empty());
        }
        let by_hand = in_context(&share("10%"), Some(&topic(11 * GB)), Some(&holding), disk(100 * GB), 0);
        assert_eq!(set(&by_hand, "retention.bytes"), Some((10 * GB).to_string()));
        assert_eq!(by_hand.corrected.len(), 1);
        // Another share is its author's change, however little it differs.
        let edited = in_context(&share("10.5%"), Some(&topic(10 * GB)), Some(&holding), disk(100 * GB), 0);
        assert_eq!(set(&edited, "retention.bytes"), Some((105 * GB / 10).to_string()));
    }

    #[test]
    fn brokers_that_do_not_tell_refuse_a_new_share_and_leave_an_old_one() {
        let silent = || Some(facts(vec![vec![dir(None, &[])]]));
        let topic = placed(&[&[1]], &[]);
        let plan = in_context(&share("10%"), Some(&topic), Some(&held(&[])), silent(), 0);
        assert_eq!(plan.refusals[0].reason().as_str(), "DiskSizeUnknown");
        assert!(plan.refusals[0].message(TopicObjectKind::ConfigMap).contains("broker 1"));
        let told = Some(facts(vec![vec![dir(Some(100 * GB), &[])]]));
        let holding =
            in_context(&share("10%"), Some(&topic), Some(&held(&[])), told, 0).holding_after.unwrap();
        let set = placed(&[&[1]], &[("retention.bytes", "10000000000")]);
        let plan = in_context(&share("10%"), Some(&set), Some(&holding), silent(), 0);
        assert!(plan.refusals.is_empty() && plan.steps.is_empty());
        assert_eq!(plan.holding_after, Some(holding));
    }

    #[test]
    fn a_new_topic_gets_its_share_at_once_where_its_replicas_can_be_counted() {
        let three = || Some(facts(vec![vec![dir(Some(90 * GB), &[])]; 3]));
        let data = [("retention-disk-share", "10%"), ("partitions", "4"), ("replication-factor", "2")];
        let plan = in_context(&declared(&data, &[]), None, None, three(), 0);
        let [Step::Create(topic)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
        assert_eq!(topic.configs["retention.bytes"], (3 * GB).to_string());
        assert!(plan.holding.unwrap().keys.contains("retention.bytes"));
        let plan = in_context(&share("10%"), None, None, three(), 0);
        assert!(plan.creates() && plan.again);
    }

    /// Applies plan after plan, and gives the values that the broker saw with the seconds at which it did.
    fn walk(
        declaration: &Declaration,
        mut topic: TopicDescription,
        mut holding: Holding,
        key: &str,
    ) -> Vec<(i64, String)> {
        let mut seen = Vec::new();
        for now in (0..3_600).step_by(10) {
            let facts = Some(facts(vec![vec![dir(None, &[1_000])]]));
            let plan = in_context(declaration, Some(&topic), Some(&holding), facts, now);
            if let Some(change) = configure(&plan) {
                topic.configs.retain(|key, _| !change.unset.contains(key));
                topic.configs.extend(change.set);
                seen.push((now, topic.configs.get(key).cloned().unwrap_or_default()));
            }
            assert!(plan.corrected.is_empty() && plan.drifted.is_empty(), "{plan:?}");
            holding = plan.holding_after.unwrap();
        }
        assert_eq!(holding.applied.stepped_at, None);
        seen
    }

    #[test]
    fn a_large_cut_goes_down_in_steps_an_interval_apart() {
        let declaration = declared(&[("properties", "retention.ms=1000")], &[]);
        let topic = existing(1, 1, &[("retention.ms", "7000")]);
        let seen = walk(&declaration, topic, held(&[]), "retention.ms");
        assert_eq!(seen, [(0, "3500".to_owned()), (60, "1750".to_owned()), (120, "1000".to_owned())]);
    }

    #[test]
    fn what_is_inherited_is_cut_in_steps_and_what_is_given_up_goes_down_to_the_brokers_default() {
        let mut topic = existing(1, 1, &[]);
        topic.inherited = map(&[("retention.ms", "4000")]);
        let declaration = declared(&[("properties", "retention.ms=1500")], &[]);
        let seen = walk(&declaration, topic, held(&[]), "retention.ms");
        assert_eq!(seen, [(0, "2000".to_owned()), (60, "1500".to_owned())]);
        let topic = existing(1, 1, &[("retention.ms", "3000000000")]);
        let holding =
            settled(&declared(&[("properties", "retention.ms=3000000000")], &[]), &existing(1, 1, &[]));
        let seen = walk(&declared(&[], &[]), topic, holding, "retention.ms");
        // Kafka's seven days: 604,800,000 ms.
        assert_eq!(seen, [(0, "1500000000".to_owned()), (60, "750000000".to_owned()), (120, String::new())]);
    }

    #[test]
    fn what_is_stored_decides_and_a_topic_of_little_is_cut_at_once() {
        let declaration = declared(&[("properties", "retention.ms=1000\nretention.bytes=100")], &[]);
        let topic = existing(1, 1, &[("retention.ms", "7000")]);
        let stored = |bytes: &[u64]| Some(facts(vec![vec![dir(None, bytes)]]));
        let little = in_context(&declaration, Some(&topic), Some(&held(&[])), stored(&[4, 6]), 0);
        assert_eq!(set(&little, "retention.ms").as_deref(), Some("1000"));
        assert!(little.stepping.is_empty());
        let much = in_context(&declaration, Some(&topic), Some(&held(&[])), stored(&[900, 6]), 0);
        assert_eq!(set(&much, "retention.ms").as_deref(), Some("3500"));
        assert_eq!(set(&much, "retention.bytes").as_deref(), Some("450"), "half of the largest replica");
        let [bytes, ms] = much.stepping.as_slice() else { panic!("{:?}", much.stepping) };
        assert_eq!((bytes.target, bytes.left, bytes.next_at), (100, 3, 60));
        assert_eq!((ms.now, ms.target, ms.left), (3_500, 1_000, 2));
        // Nobody knows how much there is.
        let unknown = in_context(
            &declaration,
            Some(&topic),
            Some(&held(&[])),
            Some(StorageFacts::unknown("no".to_owned())),
            0,
        );
        assert_eq!(set(&unknown, "retention.bytes").as_deref(), Some("1600"));
        // Not asked yet: the rest of the manifest does not wait.
        let declaration = declared(&[("properties", "retention.ms=1000\nsegment.ms=9")], &[]);
        let asked = in_context(&declaration, Some(&topic), Some(&held(&[])), None, 0);
        assert!(asked.wants_storage && set(&asked, "retention.ms").is_none());
    }

    #[test]
    fn a_higher_declaration_ends_the_steps_and_a_restart_does_not_hurry_them() {
        let stored = || Some(facts(vec![vec![dir(None, &[1_000])]]));
        let low = declared(&[("properties", "retention.ms=1000")], &[]);
        let first = in_context(
            &low,
            Some(&existing(1, 1, &[("retention.ms", "9000")])),
            Some(&held(&[])),
            stored(),
            100,
        );
        assert_eq!(
            first.holding.as_ref().unwrap().applied.stepped_at,
            Some(100),
            "remembered before it is done"
        );
        let now = existing(1, 1, &[("retention.ms", "4500")]);
        let holding = first.holding_after.unwrap();
        // After a crash what was remembered before may be all there is.
        for remembered in [&holding, first.holding.as_ref().unwrap()] {
            let early = in_context(&low, Some(&now), Some(remembered), stored(), 130);
            assert!(early.steps.is_empty() && early.drifted.is_empty());
            assert_eq!(early.stepping[0].next_at, 160);
            assert!(!in_context(&low, Some(&now), Some(remembered), stored(), 160).steps.is_empty());
        }
        let higher = declared(&[("properties", "retention.ms=5000")], &[]);
        let ended = in_context(&higher, Some(&now), Some(&holding), stored(), 130);
        assert_eq!(set(&ended, "retention.ms").as_deref(), Some("5000"));
        assert_eq!(ended.holding_after.unwrap().applied.stepped_at, None);
        let paused = declared(&[("properties", "retention.ms=1000")], &[("topic.kafka.nb/paused", "true")]);
        assert!(in_context(&paused, Some(&now), Some(&holding), stored(), 500).steps.is_empty());
        // A clock that went back holds nothing up.
        assert!(!in_context(&low, Some(&now), Some(&holding), stored(), 5).steps.is_empty());
    }

    #[test]
    fn brokers_tell_their_default_retention_in_three_units() {
        let told = |pairs: &[(&str, &str)]| {
            let settings = BrokerConfigs { effective: map(pairs), ..BrokerConfigs::default() };
            StorageFacts::default().with_defaults(&settings).default_retention("retention.ms")
        };
        assert_eq!(told(&[("log.retention.hours", "2")]), 7_200_000);
        assert_eq!(told(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]), 180_000);
        assert_eq!(told(&[("log.retention.hours", "2"), ("log.retention.ms", "-1")]), -1);
        assert_eq!(told(&[]), 604_800_000);
    }
}

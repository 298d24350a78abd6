use super::*;

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
fn a_new_topic_is_held_to_the_brokers_there_are_and_to_the_replicas_that_its_writers_are_promised() {
    let of = |data: &[(&str, &str)], rules: &str| {
        let rules = Arc::new(TopicRules::parse(rules).unwrap());
        let brokers = Some(BrokerFacts { count: 3, min_in_sync: 2 });
        let context =
            PlanContext { brokers, ..PlanContext::new(TopicPolicy { rules, ..TopicPolicy::default() }) };
        let plan = TopicPlan::of(&"orders".parse().unwrap(), &[declared(data, &[])], None, None, &context);
        assert_eq!(plan.creates(), plan.refusals.is_empty(), "{plan:?}");
        assert!(plan.creates() || plan.holding_after.is_none(), "what is refused claims no name: {plan:?}");
        plan.refusals
    };
    assert_eq!(of(&[("replication-factor", "4")], ""), [Refusal::TooFewBrokers { declared: 4, brokers: 3 }]);
    let below = Refusal::BelowMinInsyncReplicas { declared: 1, least: 2 };
    assert_eq!(of(&[("replication-factor", "1")], ""), std::slice::from_ref(&below));
    assert_eq!(of(&[], "defaults: { replication-factor: 1 }"), [below], "a default is no excuse");
    let three = [("replication-factor", "3")];
    let least = |least: &str| format!("defaults: {{ properties: {{ min.insync.replicas: {least} }} }}");
    assert_eq!(of(&three, &least("4")), [Refusal::BelowMinInsyncReplicas { declared: 3, least: 4 }]);
    assert_eq!(of(&[("replication-factor", "1")], &least("1")), []);
    assert_eq!(of(&three, ""), []);
    assert_eq!(of(&[], ""), [], "the brokers choose");
}

#[test]
fn more_replicas_in_sync_than_a_topic_has_are_not_asked_for_and_all_else_is_done() {
    let declares = |factor: &'static str| {
        [("replication-factor", factor), ("properties", "min.insync.replicas=2\nsegment.ms=5")]
    };
    let one = existing(1, 1, &[("min.insync.replicas", "1")]);
    let plan = factor_plan(&[("properties", "min.insync.replicas=2\nsegment.ms=5")], &one, 3, 1);
    assert_eq!(plan.refusals, [Refusal::MinInsyncReplicasAbove { least: 2, factor: 1 }]);
    assert_eq!(configure(&plan).unwrap().set, map(&[("segment.ms", "5")]));
    let raised = factor_plan(&declares("2"), &one, 3, 1);
    assert!(raised.refusals.is_empty() && raised.changes_factor().is_some(), "{raised:?}");
    assert_eq!(
        configure(&raised).unwrap().set,
        map(&[("segment.ms", "5")]),
        "not before there are two in sync"
    );
    let context =
        PlanContext { moving: BTreeMap::from([("orders".parse().unwrap(), 2)]), ..PlanContext::default() };
    let copying = TopicDescription {
        replicas: vec![vec![1, 2]],
        ..existing(1, 1, &[("min.insync.replicas", "1"), ("segment.ms", "5")])
    };
    let topic = "orders".parse().unwrap();
    let both = [declared(&declares("2"), &[])];
    let moving = TopicPlan::of(&topic, &both, Some(&copying), raised.holding_after.as_ref(), &context);
    assert!(moving.steps.is_empty() && moving.refusals.is_empty(), "{moving:?}");
    let two = existing(1, 2, &[("min.insync.replicas", "1"), ("segment.ms", "5")]);
    let there =
        TopicPlan::of(&topic, &both, Some(&two), moving.holding_after.as_ref(), &PlanContext::default());
    assert_eq!(configure(&there).unwrap().set, map(&[("min.insync.replicas", "2")]));
    let so_already = existing(1, 1, &[("min.insync.replicas", "2")]);
    let plan = factor_plan(&[("properties", "min.insync.replicas=2")], &so_already, 3, 1);
    assert!(plan.refusals.is_empty(), "it is as declared: {plan:?}");
}

#[test]
fn what_a_topic_asks_to_be_in_sync_is_not_taken_away_where_the_brokers_ask_for_more_than_it_has() {
    let topic = "orders".parse().unwrap();
    let of = |factor: &str, observed: &TopicDescription, min_in_sync| {
        let brokers = Some(BrokerFacts { count: 3, min_in_sync });
        let context = PlanContext { brokers, ..PlanContext::default() };
        let declaration = declared(&[("replication-factor", factor)], &[]);
        TopicPlan::of(&topic, &[declaration], Some(observed), Some(&held(&["min.insync.replicas"])), &context)
    };
    let unset =
        |plan: &TopicPlan| configure(plan).is_some_and(|change| change.unset == ["min.insync.replicas"]);
    let still_ours = |plan: &TopicPlan| {
        plan.holding_after.as_ref().is_some_and(|after| after.keys.contains("min.insync.replicas"))
    };
    let one = existing(1, 1, &[("min.insync.replicas", "1")]);
    let refused = of("1", &one, 2);
    assert_eq!(refused.refusals, [Refusal::MinInsyncReplicasNeeded { own: 1, least: 2, factor: 1 }]);
    assert!(!unset(&refused) && still_ours(&refused), "{refused:?}");
    let raised = of("2", &one, 2);
    assert!(raised.refusals.is_empty() && raised.changes_factor().is_some(), "{raised:?}");
    assert!(!unset(&raised) && still_ours(&raised), "not before there are two in sync: {raised:?}");
    let two = existing(1, 2, &[("min.insync.replicas", "1")]);
    let there = of("2", &two, 2);
    assert!(there.refusals.is_empty() && unset(&there) && !still_ours(&there), "{there:?}");
    let lowered = of("1", &two, 2);
    assert!(!unset(&lowered), "it would have fewer than the brokers ask for: {lowered:?}");
    assert!(unset(&of("1", &one, 1)), "the brokers ask for no more");
    let more = existing(1, 2, &[("min.insync.replicas", "2")]);
    assert!(unset(&of("2", &more, 1)), "what asks for more than the brokers can go");
}

#[test]
fn a_factor_set_back_as_soon_as_its_move_has_ended_is_its_authors_change_and_nobodys_hand() {
    let two = declared(&[("replication-factor", "2")], &[]);
    let three = declared(&[("replication-factor", "3")], &[]);
    let before = settled(&two, &existing(1, 2, &[]));
    let up = plan(&three, Some(&existing(1, 2, &[])), Some(&before));
    assert!(up.changes_factor().is_some());
    for holding in [up.holding, up.holding_after] {
        let back = plan(&two, Some(&existing(1, 3, &[])), holding.as_ref());
        assert!(back.changes_factor().is_some() && back.corrected.is_empty(), "{back:?}");
    }
    let by_hand = plan(&two, Some(&existing(1, 3, &[])), Some(&before));
    assert_eq!(by_hand.corrected, [Drift::ReplicationFactor { declared: 2, found: 3 }]);
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

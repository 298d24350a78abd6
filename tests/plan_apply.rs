//! Plan, apply, plan again: from whatever is declared and whatever is there, one application reaches the goal, and what is
//! left then is refused, not repeated. And whatever is declared, nothing is touched that policy protects.

#![allow(clippy::unwrap_used, clippy::panic)]

mod plan_support;

use plan_support::{
    Declared, Existing, Policy, Tampering, Topics, World, declared, existing, policy, tampering,
};
use proptest::{prelude::*, test_runner::RngAlgorithm};
use topicops::topic::{Declaration, Holding, Step, TopicPlan};
use topicops_contract::{DeletionPolicy, DriftPolicy, PartitionCount, TopicConfig, TopicName};

proptest! {
    #![proptest_config(ProptestConfig {
        // Proptest's own generator takes a third of the time in a build without optimization.
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: None,
        ..ProptestConfig::with_cases(100_000)
    })]

    #[test]
    fn a_plan_reaches_what_is_declared_and_touches_nothing_that_is_protected(
        declared in proptest::collection::vec(declared(), 0..5),
        existing in proptest::collection::vec(existing(), 0..4),
        policy in policy(),
        tamperings in proptest::collection::vec(tampering(), 0..3),
    ) {
        check(&declared, &existing, policy, &tamperings);
    }
}

fn check(declared: &[Declared], existing: &[Existing], policy: Policy, tamperings: &[Tampering]) {
    let mut world = World::new(existing, declared, policy);
    let all: Vec<_> = declared.iter().enumerate().map(|(index, one)| one.declaration(index)).collect();
    let before = world.topics();
    let first = world.plans(&all);
    assert_eq!(first, world.plans(&all), "not the same again");
    let may = Limits { world: &world, before: &before, all: &all, policy };
    let allowed: Vec<Allowed> = first.iter().map(|plan| may.of(&plan.topic)).collect();
    let remembered = world.ledger.clone();
    world.apply(&first);
    let after = world.topics();
    for (plan, allowed) in first.iter().zip(&allowed) {
        kept(plan, *allowed, remembered.get(&plan.topic), &before, &after);
        reached(plan, &world, &before, &after);
    }

    // What is being deleted lost its finalizer by now.
    let left: Vec<_> = all.into_iter().filter(|one| !one.deleting).collect();
    let second = world.plans(&left);
    for (plan, before) in second.iter().zip(&first) {
        // Ownership may pass on when an object goes; then its successor has a first plan of its own.
        if before.owner.as_ref().map(|owner| &owner.object) == plan.owner.as_ref().map(|owner| &owner.object)
        {
            assert!(plan.steps.is_empty(), "not empty: {plan:?}");
            // That replicas were moved is noted once they are seen to be there, and what was applied for those who went now
            // is forgotten.
            let forgets = plan.owner.is_none() && plan.refused.is_empty();
            if before.changes_factor().is_none() && !forgets {
                assert_eq!(plan.holding, plan.holding_after);
            }
        }
    }
    world.apply(&second);
    let third = world.plans(&left);
    for plan in &third {
        assert!(plan.steps.is_empty(), "never comes to rest: {plan:?}");
    }
    // What is remembered of topics that were found in order is written, too.
    world.apply(&third);
    if !tamperings.is_empty() {
        tampered(&mut world, &left, policy, tamperings, &third);
    }
}

/// A default takes the place of a setting that was somebody else's and is no more: that puts nothing back.
fn fills_in(plan: &TopicPlan, step: &Step) -> bool {
    let applied =
        |key: &String| plan.holding.as_ref().is_some_and(|holding| holding.applied.config(key).is_some());
    matches!(step, Step::Configure(change) if change.unset.is_empty() && !change.set.keys().any(applied))
}

/// Somebody changes topics on the brokers: that is put back, or left and told, as policy has it.
fn tampered(
    world: &mut World,
    all: &[Declaration],
    policy: Policy,
    tamperings: &[Tampering],
    at_rest: &[TopicPlan],
) {
    tamperings.iter().for_each(|tampering| world.tamper(tampering));
    let before = world.topics();
    let plans = world.plans(all);
    let may = Limits { world, before: &before, all, policy };
    let allowed: Vec<Allowed> = plans.iter().map(|plan| may.of(&plan.topic)).collect();
    let remembered = world.ledger.clone();
    world.apply(&plans);
    let after = world.topics();
    for ((plan, allowed), at_rest) in plans.iter().zip(&allowed).zip(at_rest) {
        kept(plan, *allowed, remembered.get(&plan.topic), &before, &after);
        let same_owner = plan.owner == at_rest.owner;
        match policy.drift {
            DriftPolicy::Correct => reached(plan, world, &before, &after),
            // Nobody who declares a topic changed his mind.
            DriftPolicy::Report if same_owner => {
                assert!(plan.steps.iter().all(|step| fills_in(plan, step)), "not left alone: {plan:?}");
            }
            DriftPolicy::Report => {}
        }
    }
    for plan in world.plans(all) {
        assert!(plan.steps.is_empty(), "not at rest after {tamperings:?}: {plan:?}");
    }
}

/// What may be done to a topic, whatever the plan says.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    touch: bool,
    delete: bool,
}

/// What policy says of each topic, told from what is declared, and not from plans.
struct Limits<'a> {
    world: &'a World,
    before: &'a Topics,
    all: &'a [Declaration],
    policy: Policy,
}

impl Limits<'_> {
    fn of(&self, topic: &TopicName) -> Allowed {
        let exists = self.before.contains_key(topic);
        let holder = self.world.ledger.get(topic).map(|holding| holding.namespace.as_str());
        let protected = topic.as_str().starts_with("__") || topic.as_str().starts_with("protected-");
        let has_a_say = |one: &&Declaration| {
            one.manifest.topic == *topic
                && (!exists || self.policy.open || holder == Some(one.object.namespace.as_str()))
        };
        let acts = |one: &Declaration| !one.manifest.paused && (one.problems.is_empty() || one.deleting);
        let of_topic: Vec<&Declaration> = self.all.iter().filter(has_a_say).collect();
        let gives_up = |one: &&Declaration| {
            one.deleting && !one.manifest.paused && one.manifest.deletion_policy == DeletionPolicy::Delete
        };
        let asked = self.world.ledger.get(topic).and_then(|holding| holding.deletion.as_ref());
        let remembered = of_topic.is_empty()
            && asked.is_some_and(|asked| {
                self.before.get(topic).is_some_and(|now| asked.topic_id.as_ref() == Some(&now.id))
            });
        // A topic that somebody else may have, or that is to stay, is not deleted.
        let given_up = of_topic.iter().any(gives_up) && of_topic.iter().all(|one| one.deleting);
        Allowed {
            touch: !protected && (remembered || of_topic.iter().any(|one| acts(one))),
            delete: !protected && (remembered || given_up),
        }
    }
}

/// Nothing was done that is not allowed, and nothing ever shrinks.
fn kept(plan: &TopicPlan, allowed: Allowed, remembered: Option<&Holding>, before: &Topics, after: &Topics) {
    let (was, is) = (before.get(&plan.topic), after.get(&plan.topic));
    if !allowed.touch {
        assert_eq!(was, is, "touched: {plan:?}");
    }
    let Some(was) = was else { return };
    let Some(is) = is else {
        assert!(allowed.delete, "deleted: {plan:?}");
        return;
    };
    assert_eq!(was.id, is.id, "made anew: {plan:?}");
    assert!(is.replicas.len() >= was.replicas.len(), "partitions went: {was:?}, {is:?}");
    match plan.changes_factor().map(|factor| usize::try_from(factor.get()).unwrap()) {
        Some(factor) => assert!(is.replicas.iter().all(|replicas| replicas.len() == factor), "{is:?}"),
        None => assert!(is.replicas.starts_with(&was.replicas), "replicas moved or went: {was:?}, {is:?}"),
    }
    // With defaults, and with what the author took out.
    let held = |key: &String| plan.holding.as_ref().is_some_and(|holding| holding.keys.contains(key));
    let declared =
        |key: &String| plan.owner.as_ref().is_some_and(|owner| owner.manifest.configs.contains_key(key));
    for (key, value) in &was.configs {
        assert!(
            held(key) || declared(key) || is.configs.get(key) == Some(value),
            "somebody else's {key} changed: {plan:?}"
        );
        let own = |holding: &Holding| {
            holding.keys.contains(key)
                && plan.owner.as_ref().is_some_and(|owner| owner.object.namespace == holding.namespace)
        };
        assert!(
            is.configs.contains_key(key) || remembered.is_some_and(own),
            "{key} was never this namespace's to unset: {plan:?}"
        );
    }
}

/// What the owner declares is there, as far as limits let it, unless the plan says what is not and why.
fn reached(plan: &TopicPlan, world: &World, before: &Topics, after: &Topics) {
    let Some(owner) = plan.owner.as_ref().filter(|_| !plan.held_back) else { return };
    let is = after.get(&plan.topic);
    if owner.deleting {
        // One that somebody made in its place stays.
        let goes = owner.manifest.deletion_policy == DeletionPolicy::Delete && plan.refusals.is_empty();
        assert_eq!(is.is_some(), before.contains_key(&plan.topic) && !goes, "{plan:?}");
        return;
    }
    let judged = world.context.policy.judge(&owner.object.namespace, &owner.manifest);
    let existed = before.get(&plan.topic);
    if !plan.refusals.is_empty() {
        assert!(is.is_some() || existed.is_none());
        return;
    }
    let is = is.unwrap_or_else(|| panic!("not made: {plan:?}"));
    let wanted = match existed {
        Some(was) => {
            owner.manifest.partitions.and(judged.manifest.partitions).map_or(was.partitions(), |count| {
                assert!(
                    was.partitions() <= count.get()
                        || !judged.adjusted.is_empty()
                        || !plan.drifted.is_empty(),
                    "nobody said no: {plan:?}"
                );
                count.get().max(was.partitions())
            })
        }
        None => judged.manifest.partitions.map_or(1, PartitionCount::get),
    };
    assert_eq!(is.partitions(), wanted, "{plan:?}");
    for (key, value) in &judged.manifest.configs {
        let now = is.configs.get(key).unwrap_or_else(|| panic!("{key} is not set: {plan:?}"));
        // A default does not replace what somebody set on the topic itself.
        let was = existed.and_then(|was| was.configs.get(key));
        let stays = !owner.manifest.configs.contains_key(key) && was == Some(now);
        assert!(stays || TopicConfig::same(key, now, value), "{key} is {now}, not {value}: {plan:?}");
    }
    let held = plan.holding.iter().flat_map(|holding| &holding.keys);
    for key in held.filter(|key| !judged.manifest.configs.contains_key(*key)) {
        assert!(!is.configs.contains_key(key), "{key} was taken out and is still set: {plan:?}");
    }
    assert_eq!(world.ledger[&plan.topic].namespace, owner.object.namespace);
}

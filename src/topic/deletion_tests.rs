use std::{collections::BTreeMap, sync::Arc};

use topicops_contract::{TopicManifest, TopicName, TopicSource};

use super::*;
use crate::{
    Reason,
    kafka::TopicDescription,
    topic::{Applied, PlanContext, Refusal, Step, TopicPlan, TopicPolicy},
};

fn declared(namespace: &str, annotations: &[(&str, &str)], deleting: bool) -> Declaration {
    let annotations: BTreeMap<String, String> = annotations
        .iter()
        .map(|(key, value)| (format!("topic.kafka.nb/{key}"), (*value).to_owned()))
        .collect();
    let data = BTreeMap::from([("consumers".to_owned(), "shipping/packer".to_owned())]);
    let source = TopicSource { name: "orders", annotations: &annotations, data: &data, binary_keys: &[] };
    Declaration {
        object: TopicObjectKey::config_map(namespace, "orders"),
        created: 1,
        manifest: Arc::new(TopicManifest::parse(source).unwrap()),
        problems: topicops_contract::Problems::new(),
        deleting,
    }
}

fn existing(id: &str) -> TopicDescription {
    TopicDescription {
        id: id.to_owned(),
        replicas: vec![vec![1]],
        leaders: vec![Some(1)],
        in_sync: vec![vec![1]],
        configs: BTreeMap::new(),
        inherited: BTreeMap::new(),
    }
}

fn held(id: Option<&str>) -> Holding {
    let applied = Applied { topic_id: id.map(str::to_owned), ..Applied::default() };
    Holding { namespace: "shop".to_owned(), applied, ..Holding::default() }
}

fn due(id: Option<&str>) -> Holding {
    let deletion = Deletion { topic_id: id.map(str::to_owned), ..Deletion::default() };
    Holding { namespace: "shop".to_owned(), deletion: Some(deletion), ..Holding::default() }
}

fn plan(declarations: &[Declaration], observed: Option<&str>, holding: &Holding) -> TopicPlan {
    plan_with(declarations, observed, holding, TopicPolicy::default())
}

fn plan_with(
    declarations: &[Declaration],
    observed: Option<&str>,
    holding: &Holding,
    policy: TopicPolicy,
) -> TopicPlan {
    let topic: TopicName = "orders".parse().unwrap();
    let context = PlanContext { policy, ..PlanContext::default() };
    TopicPlan::of(&topic, declarations, observed.map(existing).as_ref(), Some(holding), &context)
}

fn delete(id: &str) -> Vec<Step> {
    vec![Step::Delete { force: false, id: id.to_owned() }]
}

#[test]
fn only_the_topic_that_was_known_is_deleted() {
    let going = [declared("shop", &[("deletion-policy", "delete")], true)];
    for observed in [Some("a"), None] {
        let known = plan(&going, observed, &held(Some("a")));
        assert_eq!((known.steps, known.holding_after), (delete("a"), None), "{observed:?}");
    }
    assert!(plan(&going, None, &held(None)).steps.is_empty(), "nothing is known of it");
    let unknown = plan(&going, Some("a"), &held(None));
    assert!(unknown.steps.is_empty(), "by its name alone it may be somebody else's: {:?}", unknown.steps);
    assert!(matches!(unknown.refusals[0], Refusal::NeverSeen { .. }), "{:?}", unknown.refusals);
    let remade = plan(&going, Some("b"), &held(Some("a")));
    assert!(remade.steps.is_empty(), "{:?}", remade.steps);
    assert_eq!(remade.refusals[0].reason(), Reason::TopicReplaced);
    assert_eq!(remade.holding_after.unwrap().namespace, "shop", "it stays its namespace's");
}

#[test]
fn which_topic_it_is_is_remembered_before_any_step_may_be_refused() {
    for annotations in [&[][..], &[("paused", "true")]] {
        let declared = [declared("shop", annotations, false)];
        let before = plan(&declared, Some("a"), &held(None)).holding.unwrap();
        assert_eq!(before, held(Some("a")), "{annotations:?}");
        let remade = plan(&declared, Some("b"), &held(Some("a"))).holding.unwrap();
        assert_eq!(remade, held(Some("a")), "it is not known yet to be the one that is declared");
    }
    let going = plan(&[declared("shop", &[("deletion-policy", "delete")], true)], Some("a"), &held(None));
    assert_eq!(going.holding.unwrap(), held(None), "seen too late");
}

#[test]
fn a_deletion_that_was_remembered_without_an_id_is_dropped() {
    let plan = plan(&[], Some("a"), &due(None));
    assert!(plan.steps.is_empty() && matches!(plan.refusals[..], [Refusal::NeverSeen { .. }]), "{plan:?}");
    let stays = plan.holding_after.unwrap();
    assert!(stays.left.is_some(), "it counts in its namespace's totals");
    assert_eq!(Holding { left: None, ..stays }, held(None), "it stays its namespace's");
}

#[test]
fn a_remembered_deletion_is_carried_out_and_forgotten() {
    let plan_of = |observed| plan(&[], observed, &due(Some("a")));
    assert_eq!((plan_of(Some("a")).steps, plan_of(Some("a")).holding_after), (delete("a"), None));
    assert_eq!(
        (plan_of(None).steps, plan_of(None).holding_after),
        (delete("a"), None),
        "a broker may not show it yet"
    );
    let remade = plan_of(Some("b"));
    assert!(remade.steps.is_empty(), "{:?}", remade.steps);
    assert_eq!(remade.holding_after.unwrap().deletion, None, "it would wait for ever");
}

#[test]
fn whoever_declares_the_topic_again_calls_its_deletion_off() {
    for annotations in [&[][..], &[("paused", "true")], &[("deletion-policy", "delete")]] {
        let plan = plan(&[declared("shop", annotations, false)], Some("a"), &due(Some("a")));
        assert!(plan.deletes().is_none(), "{:?}", plan.steps);
        for holding in [plan.holding, plan.holding_after] {
            assert_eq!(holding.unwrap().deletion, None);
        }
    }
}

#[test]
fn a_stranger_calls_no_deletion_off_and_gets_the_name_only_when_it_is_free() {
    for observed in [Some("a"), None] {
        let plan = plan(&[declared("evil", &[], false)], observed, &due(Some("a")));
        assert_eq!(plan.steps, delete("a"), "{observed:?}");
        assert_eq!(plan.refused[0].1.reason(), Reason::OwnedByNamespace);
    }
}

#[test]
fn a_protected_topic_is_not_deleted_however_long_that_was_due() {
    let policy = TopicPolicy {
        protected: vec![topicops_contract::NamePattern::read("ord*")],
        ..TopicPolicy::default()
    };
    let plan = plan_with(&[], Some("a"), &due(Some("a")), policy);
    assert!(plan.steps.is_empty(), "{plan:?}");
    assert_eq!(plan.holding_after.unwrap().deletion, None, "it would come true when the protection ends");
}

#[test]
fn what_stays_on_the_brokers_needs_none_of_them_to_go() {
    let leaves = |going: &Declaration, others: &[Declaration], holding: Option<&Holding>| {
        let all: Vec<_> = others.iter().chain([going]).cloned().collect();
        TopicPlan::leaves_topic(going, &all, holding, &TopicPolicy::default())
    };
    let delete = [("deletion-policy", "delete")];
    let going = declared("shop", &delete, true);
    assert!(!leaves(&going, &[], Some(&held(None))), "its topic goes with it");
    assert!(leaves(&declared("shop", &[], true), &[], Some(&held(None))), "retained");
    let paused = declared("shop", &[delete[0], ("paused", "true")], true);
    assert!(leaves(&paused, &[], Some(&held(None))), "paused");
    assert!(leaves(&declared("evil", &delete, true), &[], Some(&held(None))), "another namespace's");
    assert!(leaves(&going, &[], None), "a topic that is not held is nobody's to delete");
    let mut successor = declared("shop", &[], false);
    successor.object.name = "successor".to_owned();
    assert!(leaves(&going, &[successor], Some(&held(None))), "handed over");
}

#[test]
fn an_endless_list_of_consumers_is_remembered_as_everybody() {
    let mut owner = declared("shop", &[("deletion-policy", "delete"), ("force-delete", "true")], true);
    let deletion = Deletion::asked_by(&owner, &held(Some("a")));
    assert!(deletion.force);
    assert_eq!(deletion.topic_id.as_deref(), Some("a"));
    assert_eq!(deletion.consumers[0].to_string(), "shipping/packer");
    let mut manifest = (*owner.manifest).clone();
    manifest.consumers = (0..1_000).map(|index| format!("n{index}/w").parse().unwrap()).collect();
    owner.manifest = Arc::new(manifest);
    let bounded = Deletion::asked_by(&owner, &held(Some("a"))).consumers;
    assert_eq!(bounded.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*/*"]);
}

#[test]
fn a_remembered_deletion_stays_while_its_object_goes_and_ends_when_that_is_paused() {
    let going = |annotations: &[(&str, &str)]| [declared("shop", annotations, true)];
    let kept = plan(&going(&[("deletion-policy", "delete")]), Some("a"), &due(Some("a")));
    assert!(kept.holding.unwrap().deletion.is_some(), "its object is not waited for any more");
    for annotations in [&[("deletion-policy", "delete"), ("paused", "true")][..], &[]] {
        let ended = plan(&going(annotations), Some("a"), &due(Some("a")));
        assert!(ended.steps.is_empty() && ended.holding_after.unwrap().deletion.is_none());
    }
}

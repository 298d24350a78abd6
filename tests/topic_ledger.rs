//! What the ledger remembers of topics, and what becomes of them when it cannot.

#![allow(clippy::unwrap_used, clippy::panic)]

mod paused_time;
mod topic_scene;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use paused_time::pass;
use serde_json::json;
use topic_scene::{Kubernetes, REST, Scene};
use topicops::{
    ObjectKey,
    access::{GrantsMode, GroupClaims, resolve},
    controller::Index,
    kafka::{
        Call, Cluster, ClusterError, ConfigChange, ConfigKeys, DoomedTopic, NewPartitions, NewTopic, Trouble,
    },
    topic::{TopicObjectKey, TopicPolicy, limits::TopicRules},
};
use topicops_contract::{ClientRequest, Status, TopicName, Workload, WorkloadKind};

/// No look at everything: what happens has a reason of its own.
const NEVER: Duration = Duration::from_secs(100_000);

fn orders(n: usize, partitions: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("orders-{n}"), "namespace": "shop", "uid": format!("uid-{n}"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "data": { "partitions": partitions },
    }))
    .unwrap()
}

/// How many partitions `orders-0` and `orders-1` have, where they are there.
async fn partitions(scene: &Scene) -> [Option<i32>; 2] {
    let names: Vec<TopicName> = ["orders-0", "orders-1"].map(|name| name.parse().unwrap()).to_vec();
    let keys = ConfigKeys::Only(BTreeSet::new());
    let found = scene.cluster.describe_topics(&names, &keys).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|one| Some(one.unwrap()?.partitions())).collect();
    found.try_into().unwrap()
}

/// That a namespace has so many partitions at most in all.
fn limit(scene: &Scene, most: usize) {
    let rules =
        format!("{{ defaults: {{ partitions: 1 }}, limits: {{ total-partitions: {{ max: {most} }} }} }}");
    let rules = Arc::new(TopicRules::parse(&rules).unwrap());
    scene.index.govern(TopicPolicy { rules, ..TopicPolicy::default() });
}

/// The topic `orders-0`, made by somebody.
async fn make(scene: &Scene, partitions: i32) {
    let orders = NewTopic {
        name: "orders-0".parse().unwrap(),
        partitions: Some(partitions.try_into().unwrap()),
        replication_factor: None,
        placement: None,
        configs: Default::default(),
    };
    scene.cluster.create_topics(&[orders]).await.unwrap().remove(0).unwrap();
}

async fn delete(scene: &Scene) {
    let orders = DoomedTopic { name: "orders-0".parse().unwrap(), id: None };
    scene.cluster.delete_topics(&[orders]).await.unwrap().remove(0).unwrap();
}

fn status(scene: &Scene, name: &str) -> Status {
    scene.index.object(&TopicObjectKey::config_map("shop", name)).unwrap().status.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_claim_on_a_topic_that_may_have_been_made_ends_when_its_creation_is_refused_for_good() {
    let scene = Scene::start(NEVER);
    let mut evil = orders(0, "1");
    evil.data.as_mut().unwrap().insert("replication-factor".to_owned(), "9".to_owned());
    let unanswered = ClusterError {
        trouble: Trouble::Unreachable,
        operation: "create topics".to_owned(),
        message: "no answer".to_owned(),
    };
    scene.cluster.fail(Call::CreateTopics, unanswered);
    scene.index.apply(evil.clone());
    pass(REST).await;
    assert_eq!(status(&scene, "orders-0").reason, "KafkaRefused", "at the second try");
    let theirs = NewTopic {
        name: "orders-0".parse().unwrap(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: None,
        placement: None,
        configs: Default::default(),
    };
    scene.cluster.create_topics(&[theirs]).await.unwrap().remove(0).unwrap();
    evil.data.as_mut().unwrap().insert("retention".to_owned(), "1h".to_owned());
    scene.index.apply(evil);
    pass(REST).await;
    assert_eq!(status(&scene, "orders-0").reason, "AdoptionNotAllowed");
}

#[tokio::test(start_paused = true)]
async fn topics_that_cannot_be_remembered_hold_up_no_others() {
    let others = (0..6_000).map(|n| format!("other-{n} elsewhere  left=1/1\n")).collect::<String>();
    let full_page = others + "orders-0 shop  \n";
    let scene = Scene::of(NEVER, &full_page, Kubernetes::default());
    scene.ledger.full.store(true, Ordering::Relaxed);
    scene.lead();
    (0..2).for_each(|n| scene.index.apply(orders(n, "1")));
    pass(REST).await;
    assert_eq!(
        partitions(&scene).await,
        [Some(1), None],
        "what has a line is kept, and what has none is not touched"
    );
    let told = status(&scene, "orders-1");
    assert!(told.reason == "NotRemembered" && told.message.contains("exceeded quota"), "{told:?}");
    scene.ledger.full.store(false, Ordering::Relaxed);
    pass(REST * 10).await;
    assert_eq!(partitions(&scene).await, [Some(1), Some(1)], "once there is a page, all are kept");
}

#[tokio::test(start_paused = true)]
async fn topics_that_stay_when_nobody_declares_them_go_on_counting_in_the_totals() {
    let first = Scene::start(NEVER);
    limit(&first, 4);
    first.index.apply(orders(0, "3"));
    pass(REST).await;
    assert_eq!(partitions(&first).await, [Some(3), None]);
    // All at once: nobody has looked in between.
    Index::<ConfigMap>::remove(first.index.as_ref(), &ObjectKey::new("shop", "orders-0"));
    first.index.apply(orders(1, "2"));
    pass(REST).await;
    assert_eq!(partitions(&first).await, [Some(3), None], "3 of 4 are there");
    let told = status(&first, "orders-1");
    assert_eq!(told.reason, "NamespaceQuotaExceeded");
    assert!(told.message.contains("nobody declares orders-0 any more"), "{told:?}");

    // Another leader knows whose it is from the ledger.
    let remembered = first.ledger.text();
    assert!(remembered.contains("left=3/"), "{remembered}");
    let second = Scene::of(Duration::from_secs(1_000), &remembered, Kubernetes::default());
    limit(&second, 4);
    make(&second, 3).await;
    second.index.apply(orders(1, "2"));
    second.lead();
    pass(REST).await;
    assert_eq!(partitions(&second).await, [Some(3), None]);
    assert!(status(&second, "orders-1").message.contains("nobody declares orders-0 any more"));
    // It goes from the brokers: the next look at everything finds out, and there is room at once.
    delete(&second).await;
    pass(Duration::from_secs(2_000)).await;
    assert_eq!(partitions(&second).await, [None, Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_weighs_by_what_the_brokers_have_from_its_first_pass_on() {
    let silent = |n: usize| {
        let mut object = orders(n, "1");
        object.data = None;
        object
    };
    for (ledger, declared) in
        [("orders-0 shop  \n", true), ("orders-0 shop  \n", false), ("orders-0 shop  left=1/1\n", false)]
    {
        let scene = Scene::of(NEVER, ledger, Kubernetes::default());
        limit(&scene, 10);
        // Grown by hand, or adopted as it was; or declared so once, with a number that was taken out.
        make(&scene, 10).await;
        if declared {
            scene.index.apply(silent(0));
        }
        scene.index.apply(silent(1));
        scene.lead();
        pass(REST).await;
        assert_eq!(partitions(&scene).await, [Some(10), None], "{ledger}: 10 of 10 are there");
        let told = status(&scene, "orders-1");
        assert!(told.message.contains("have 10 already, of 10 at most in all"), "{told:?}");
        assert_eq!(scene.cluster.calls()[&Call::CreateTopics], 1, "{ledger}: that of the test");
        // The first policy that has totals is as good as the first pass.
        let scene = Scene::of(NEVER, ledger, Kubernetes::default());
        make(&scene, 10).await;
        scene.lead();
        pass(REST).await;
        limit(&scene, 10);
        scene.index.apply(silent(1));
        pass(REST).await;
        assert_eq!(partitions(&scene).await, [Some(10), None], "{ledger}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_brokers_are_asked_for_what_is_there_once_and_only_where_there_are_totals() {
    for limited in [false, true] {
        let scene = Scene::of(NEVER, "orders-0 shop  \n", Kubernetes::default());
        if limited {
            limit(&scene, 10);
        } else {
            let elsewhere = "namespaces: { other: { limits: { topics: { max: 1 } } } }";
            let rules = Arc::new(TopicRules::parse(elsewhere).unwrap());
            scene.index.govern(TopicPolicy { rules, ..TopicPolicy::default() });
        }
        make(&scene, 3).await;
        scene.lead();
        for (retention, more) in [("1h", usize::from(limited)), ("2h", 0)] {
            let before = scene.passes();
            let mut object = orders(0, "3");
            object.data.as_mut().unwrap().insert("retention".to_owned(), retention.to_owned());
            scene.index.apply(object);
            let looks = scene.asked().await.0[&Call::DescribeTopics];
            assert_eq!(looks, scene.passes() - before + more, "{limited}, {retention}: beside one each pass");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_somebody_set_on_a_topic_count_whoever_declares_none() {
    let scene = Scene::of(NEVER, "orders-0 shop  \n", Kubernetes::default());
    let rules =
        "{ defaults: { partitions: 1, replication-factor: 1 }, limits: { total-bytes: { max: 100 } } }";
    let rules = Arc::new(TopicRules::parse(rules).unwrap());
    scene.index.govern(TopicPolicy { rules, ..TopicPolicy::default() });
    make(&scene, 1).await;
    let bytes = ConfigChange { set: [("retention.bytes".to_owned(), "90".to_owned())].into(), unset: vec![] };
    scene.cluster.alter_configs(&[("orders-0".parse().unwrap(), bytes)]).await.unwrap().remove(0).unwrap();
    scene.index.apply(orders(0, "1"));
    scene.lead();
    pass(REST).await;
    assert_eq!(status(&scene, "orders-0").reason, "PropertyRequired");
    let mut next = orders(1, "1");
    next.data.as_mut().unwrap().insert("properties".to_owned(), "retention.bytes=11".to_owned());
    scene.index.apply(next);
    pass(REST).await;
    assert_eq!(partitions(&scene).await, [Some(1), None]);
    assert_eq!(status(&scene, "orders-1").reason, "NamespaceQuotaExceeded");
}

#[tokio::test(start_paused = true)]
async fn what_the_ledger_has_forgotten_counts_no_more_however_that_was_learnt() {
    let scene = Scene::of(Duration::from_secs(1_000), "orders-0 shop  left=3/1\n", Kubernetes::default());
    limit(&scene, 4);
    make(&scene, 3).await;
    scene.index.apply(orders(1, "2"));
    scene.lead();
    pass(REST).await;
    assert_eq!(partitions(&scene).await, [Some(3), None]);
    delete(&scene).await;
    scene.ledger.lost_answer.store(true, Ordering::Relaxed);
    pass(Duration::from_secs(2_000)).await;
    assert!(!scene.ledger.lost_answer.load(Ordering::Relaxed), "nothing was written");
    assert_eq!(partitions(&scene).await, [None, Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_makes_right_after_a_deletion_is_not_taken_for_what_was_deleted() {
    let scene = Scene::start(NEVER);
    scene.index.apply(orders(0, "1"));
    pass(REST).await;
    let mut going = orders(0, "1");
    going.metadata.annotations =
        Some([("topic.kafka.nb/deletion-policy".to_owned(), "delete".to_owned())].into());
    going.metadata.finalizers = Some(vec!["topic.kafka.nb/topic".to_owned()]);
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-02T00:00:00Z")).unwrap();
    scene.index.apply(going);
    pass(Duration::from_secs(1)).await;
    assert_eq!(partitions(&scene).await, [None, None]);
    Index::<ConfigMap>::remove(scene.index.as_ref(), &ObjectKey::new("shop", "orders-0"));
    make(&scene, 3).await;
    let mut again = orders(0, "1");
    again.metadata.uid = Some("another".to_owned());
    scene.index.apply(again);
    pass(Duration::from_secs(5)).await;
    assert_eq!(status(&scene, "orders-0").reason, "AdoptionNotAllowed");
}

/// Why a Kafka Streams application of namespace shop does not get the id `shop.app`, if it does not.
fn refused(scene: &Scene) -> Option<String> {
    let annotation = ("topic.kafka.nb/streams-application-id".to_owned(), "shop.app".to_owned());
    let workload = Workload::new("shop", WorkloadKind::Deployment, "w");
    let request = ClientRequest::parse(workload, &[annotation].into()).unwrap().unwrap();
    let (grants, claims) = (scene.grants.borrow(), GroupClaims::default());
    let resolution = resolve(&request, Timestamp::UNIX_EPOCH, &grants, &claims, GrantsMode::Namespace);
    assert_eq!(resolution.granted.streams_application_id.is_none(), !resolution.findings.is_empty());
    resolution.findings.into_iter().map(|finding| finding.message).next()
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_stays_its_namespaces_is_out_of_reach_of_others_streams_applications_until_it_is_gone() {
    let scene = Scene::start(NEVER);
    let says = |scene: &Scene, what: &str| refused(scene).is_some_and(|message| message.contains(what));
    let paid = json!({ "name": "shop.app-paid", "namespace": "billing", "uid": "uid-of-paid" });
    scene.index.apply(serde_json::from_value::<ConfigMap>(json!({ "metadata": paid })).unwrap());
    pass(REST).await;
    assert!(says(&scene, "which is owned by ConfigMap billing/shop.app-paid"), "{:?}", refused(&scene));
    Index::<ConfigMap>::remove(scene.index.as_ref(), &ObjectKey::new("billing", "shop.app-paid"));
    pass(REST).await;
    let stays = "topic shop.app-paid, which belongs to namespace billing";
    assert!(says(&scene, stays), "{:?}", refused(&scene));

    // On other brokers, which do not have it: that is found at the second look at everything.
    let later = Scene::of(10 * REST, &scene.ledger.text(), Kubernetes::default());
    assert_eq!(refused(&later), None);
    later.lead();
    pass(REST).await;
    assert!(says(&later, stays), "the next leader knows: {:?}", refused(&later));
    pass(60 * REST).await;
    assert_eq!(later.ledger.text(), "");
    assert_eq!(refused(&later), None);
}

#[tokio::test(start_paused = true)]
async fn protected_topics_are_out_of_reach_of_streams_applications_also_where_no_topic_is_declared() {
    let scene = Scene::of(NEVER, "", Kubernetes::default());
    scene.protect("shop.app-audit*");
    scene.lead();
    pass(REST).await;
    let message = refused(&scene).unwrap_or_default();
    assert!(message.contains("topics shop.app-audit*, which are never touched"), "{message}");
    let admission = scene.index.with_grants(|grants| grants.protected().len());
    assert_eq!(admission, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_before_this_leadership_counts_no_more_once_brokers_cannot_lag() {
    let mut paused = orders(0, "1");
    paused.metadata.annotations = Some([("topic.kafka.nb/paused".to_owned(), "true".to_owned())].into());
    for (ledger, declared) in [("left=3/1", None), ("partitions=3", Some(paused))] {
        let ledger = format!("orders-0 shop  id=some,{ledger}\n");
        let scene = Scene::of(NEVER, &ledger, Kubernetes::default());
        limit(&scene, 4);
        declared.into_iter().for_each(|object| scene.index.apply(object));
        scene.index.apply(orders(1, "2"));
        scene.lead();
        pass(REST).await;
        assert_eq!(partitions(&scene).await, [None, None], "{ledger}: brokers may not show it");
        pass(Duration::from_secs(310)).await;
        assert_eq!(partitions(&scene).await, [None, Some(2)], "{ledger}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_by_the_controllers_word_counts_no_more_than_what_is_declared() {
    let scene = Scene::start(NEVER);
    limit(&scene, 4);
    let mut declared = orders(0, "1");
    declared.metadata.annotations = Some([("topic.kafka.nb/drift".to_owned(), "report".to_owned())].into());
    scene.index.apply(declared.clone());
    pass(REST).await;
    let more =
        NewPartitions { topic: "orders-0".parse().unwrap(), total: 3.try_into().unwrap(), placement: None };
    scene.cluster.create_partitions(&[more]).await.unwrap().remove(0).unwrap();
    let mut edited = |consumers: &str| {
        declared.data.as_mut().unwrap().insert("consumers".to_owned(), consumers.to_owned());
        scene.index.apply(declared.clone());
    };
    edited("billing/one");
    pass(REST).await;
    scene.index.apply(orders(1, "2"));
    pass(REST).await;
    assert_eq!(partitions(&scene).await, [Some(3), None]);
    delete(&scene).await;
    edited("billing/two");
    pass(Duration::from_secs(10)).await;
    assert_eq!(status(&scene, "orders-0").reason, "Drifted");
    assert_eq!(partitions(&scene).await, [None, Some(2)]);
}

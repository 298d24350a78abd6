//! Objects that go, and what is deleted with them: with everything around the controller in memory, for moments that no
//! cluster can be brought to.

#![allow(clippy::unwrap_used, clippy::panic)]

mod paused_time;
mod topic_scene;

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use paused_time::pass;
use serde_json::{Value, json};
use topic_scene::{Kubernetes, REST, Scene};
use topicops::{
    ObjectKey,
    controller::Index,
    kafka::{Call, Cluster, ClusterError, ItemError, NewTopic, Trouble},
};

/// No look at everything: what happens has a reason of its own.
const NEVER: Duration = Duration::from_secs(100_000);
const FINALIZER: &str = "topic.kafka.nb/topic";

/// A ConfigMap `shop/orders` whose topic is to go with it.
fn orders(deleting: bool) -> ConfigMap {
    let mut metadata = metadata("orders", if deleting { &[FINALIZER] } else { &[] });
    metadata["annotations"] = json!({ "topic.kafka.nb/deletion-policy": "delete" });
    if deleting {
        metadata["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    }
    serde_json::from_value(json!({ "metadata": metadata, "data": { "partitions": "1" } })).unwrap()
}

fn metadata(name: &str, finalizers: &[&str]) -> Value {
    json!({
        "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "finalizers": finalizers,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    })
}

fn remove(scene: &Scene) {
    Index::<ConfigMap>::remove(scene.index.as_ref(), &ObjectKey::new("shop", "orders"));
}

/// A topic that somebody made.
async fn make(scene: &Scene) {
    let orders = NewTopic {
        name: "orders".parse().unwrap(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: None,
        placement: None,
        configs: Default::default(),
    };
    scene.cluster.create_topics(&[orders]).await.unwrap().remove(0).unwrap();
}

async fn topics(scene: &Scene) -> Vec<String> {
    scene.cluster.list_topics().await.unwrap()
}

fn without_brokers(scene: &Scene, looks: usize) {
    for _ in 0..looks {
        let error = ClusterError {
            trouble: Trouble::Unreachable,
            operation: "describe topics".to_owned(),
            message: "away".to_owned(),
        };
        scene.cluster.fail(Call::DescribeTopics, error);
    }
}

fn released(scene: &Scene) -> bool {
    scene.kubernetes.lock().unwrap().let_go.contains("/api/v1/namespaces/shop/configmaps/orders")
}

#[tokio::test(start_paused = true)]
async fn what_lost_its_label_while_nobody_led_is_let_go_by_the_next_leader() {
    let others = vec![
        metadata("somebodys", &[]),
        metadata("lost", &[FINALIZER]),
        metadata("held", &["other/finalizer"]),
        metadata("lost-too", &["other/finalizer", FINALIZER]),
    ];
    let scene = Scene::of(REST, "", Kubernetes { others, ..Kubernetes::default() });
    scene.asked().await;
    assert_eq!(scene.requests(), [""; 0], "it does not lead");
    scene.lead();
    pass(REST).await;
    let mut asked = scene.requests();
    asked.sort();
    let list = "GET /api/v1/configmaps";
    let patches = ["lost", "lost-too"].map(|name| format!("PATCH /api/v1/namespaces/shop/configmaps/{name}"));
    assert_eq!(asked, [list, list, list, list, &patches[0], &patches[1]], "each page once");
    for _ in 0..3 {
        pass(REST).await;
        assert_eq!(scene.requests(), [""; 0], "once in each leadership");
    }
}

#[tokio::test(start_paused = true)]
async fn what_lost_its_label_is_let_go_also_when_somebody_writes_to_it_meanwhile() {
    let patches = async |remade: bool| {
        let others = vec![metadata("lost", &[FINALIZER])];
        let kubernetes = Kubernetes { others, conflicts: 1, remade, ..Kubernetes::default() };
        let scene = Scene::of(NEVER, "", kubernetes);
        scene.lead();
        pass(REST).await;
        scene.requests().iter().filter(|request| request.starts_with("PATCH ")).count()
    };
    assert_eq!(patches(false).await, 2, "it is there, and tried again");
    assert_eq!(patches(true).await, 1, "it was made anew, and has nothing to do with us");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_never_seen_is_not_deleted_by_its_name() {
    let scene = Scene::of(NEVER, "orders shop  \n", Kubernetes::default());
    make(&scene).await;
    scene.index.apply(orders(true));
    scene.lead();
    pass(REST).await;
    assert_eq!(topics(&scene).await, ["orders"]);
    assert!(released(&scene));
    assert_eq!(scene.kubernetes.lock().unwrap().events, ["TopicReplaced"]);
}

#[tokio::test(start_paused = true)]
async fn the_deletion_of_a_topic_that_was_never_seen_is_not_remembered() {
    let scene = Scene::of(NEVER, "orders shop  \n", Kubernetes { ending: true, ..Kubernetes::default() });
    make(&scene).await;
    scene.index.apply(orders(true));
    without_brokers(&scene, 1);
    scene.lead();
    pass(REST).await;
    let events = scene.kubernetes.lock().unwrap().events.clone();
    assert!(events.contains(&"TopicReplaced".to_owned()), "{events:?}");
    assert!(released(&scene));
    remove(&scene);
    pass(REST).await;
    assert_eq!(topics(&scene).await, ["orders"]);
    assert!(!scene.ledger.text().contains("deletion"), "{}", scene.ledger.text());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_takes_its_time_to_end_costs_no_more_looks_and_no_deletion() {
    let scene = Scene::of(NEVER, "", Kubernetes { ending: true, ..Kubernetes::default() });
    scene.lead();
    scene.index.apply(orders(false));
    pass(REST).await;
    scene.users.0.send_replace(vec!["Deployment elsewhere/reader".to_owned()]);
    scene.index.apply(orders(true));
    let before = scene.passes();
    pass(REST).await;
    let passes = scene.passes() - before;
    assert!(passes <= 15, "{passes} passes in {REST:?}");
    assert!(scene.ledger.text().contains("deletion"), "{}", scene.ledger.text());
    remove(&scene);
    pass(REST).await;
    assert_eq!(topics(&scene).await, ["orders"], "it is in use");
    scene.users.0.send_replace(Vec::new());
    pass(REST).await;
    assert_eq!(topics(&scene).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_goes_also_when_its_object_is_missed_before_it_is_known_to_be_gone() {
    let scene = Scene::of(NEVER, "", Kubernetes { read_only: true, ..Kubernetes::default() });
    scene.lead();
    scene.index.apply(orders(false));
    pass(REST).await;
    assert_eq!(topics(&scene).await, ["orders"]);
    scene.kubernetes.lock().unwrap().silent = true;
    remove(&scene);
    // Meanwhile the topic is looked at, and nobody declares it.
    pass(4 * REST).await;
    assert_eq!(topics(&scene).await, ["orders"], "its object may have lost its label alone");
    scene.kubernetes.lock().unwrap().silent = false;
    pass(4 * REST).await;
    assert_eq!(topics(&scene).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_the_brokers_refuse_is_told_and_holds_nothing_up() {
    let scene = Scene::start(NEVER);
    scene.index.apply(orders(false));
    pass(REST).await;
    assert!(!released(&scene));
    let refused = ItemError::of(ItemError::TOPIC_AUTHORIZATION_FAILED, None);
    scene.cluster.refuse(Call::DeleteTopics, "orders", Some(refused));
    scene.index.apply(orders(true));
    pass(REST).await;
    assert!(released(&scene));
    let events = scene.kubernetes.lock().unwrap().events.clone();
    assert_eq!(events, ["TopicDeletionRefused"]);
    remove(&scene);
    pass(60 * REST).await;
    assert_eq!(scene.cluster.calls()[&Call::DeleteTopics], 1, "it would be refused again");
    assert_eq!(topics(&scene).await, ["orders"]);
    let remembered = scene.ledger.text();
    assert!(remembered.contains("orders shop") && !remembered.contains("deletion"), "{remembered}");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_the_brokers_are_too_busy_for_is_told_and_tried_again_until_it_is_done() {
    let scene = Scene::start(NEVER);
    scene.index.apply(orders(false));
    pass(REST).await;
    let busy = ItemError::of(ItemError::THROTTLING_QUOTA_EXCEEDED, None);
    scene.cluster.refuse(Call::DeleteTopics, "orders", Some(busy));
    scene.index.apply(orders(true));
    pass(REST).await;
    let events = scene.kubernetes.lock().unwrap().events.clone();
    assert_eq!(events, ["KafkaBusy"]);
    let tries = scene.cluster.calls()[&Call::DeleteTopics];
    assert!((2..=10).contains(&tries), "{tries} tries in {REST:?}");
    assert_eq!(topics(&scene).await, ["orders"]);
    assert!(!released(&scene));
    scene.cluster.refuse(Call::DeleteTopics, "orders", None);
    pass(2 * REST).await;
    assert_eq!(topics(&scene).await, [""; 0]);
    assert!(released(&scene));
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_topic_is_protected_by_now_waits_for_no_brokers() {
    let scene = Scene::of(NEVER, "orders shop  id=some\n", Kubernetes::default());
    scene.protect("ord*");
    scene.index.apply(orders(true));
    without_brokers(&scene, 1_000);
    scene.lead();
    pass(REST).await;
    assert!(released(&scene));
    assert_eq!(scene.kubernetes.lock().unwrap().events, [""; 0], "nothing is waited for");
}

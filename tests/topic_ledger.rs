//! What the ledger remembers of topics, and what becomes of them when it cannot.

#![allow(clippy::unwrap_used, clippy::panic)]

mod topic_scene;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tokio::time::sleep;
use topic_scene::{Kubernetes, REST, Scene};
use topicops::{
    ObjectKey,
    controller::Index,
    kafka::{Call, Cluster, ClusterError, ConfigKeys, NewTopic, Trouble},
    topic::{TopicObjectKey, TopicPolicy, limits::TopicRules},
};
use topicops_contract::{Status, TopicName};

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
    sleep(REST).await;
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
    sleep(REST).await;
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
    sleep(REST).await;
    assert_eq!(
        partitions(&scene).await,
        [Some(1), None],
        "what has a line is kept, and what has none is not touched"
    );
    let told = status(&scene, "orders-1");
    assert!(told.reason == "NotRemembered" && told.message.contains("exceeded quota"), "{told:?}");
    scene.ledger.full.store(false, Ordering::Relaxed);
    sleep(REST * 10).await;
    assert_eq!(partitions(&scene).await, [Some(1), Some(1)], "once there is a page, all are kept");
}

#[tokio::test(start_paused = true)]
async fn topics_that_stay_when_nobody_declares_them_go_on_counting_in_the_totals() {
    let limited = |scene: &Scene| {
        let rules = "{ defaults: { partitions: 1 }, limits: { total-partitions: { max: 4 } } }";
        let rules = Arc::new(TopicRules::parse(rules).unwrap());
        scene.index.govern(TopicPolicy { rules, ..TopicPolicy::default() });
    };
    let first = Scene::start(NEVER);
    limited(&first);
    first.index.apply(orders(0, "3"));
    sleep(REST).await;
    assert_eq!(partitions(&first).await, [Some(3), None]);
    // All at once: nobody has looked in between.
    Index::<ConfigMap>::remove(first.index.as_ref(), &ObjectKey::new("shop", "orders-0"));
    first.index.apply(orders(1, "2"));
    sleep(REST).await;
    assert_eq!(partitions(&first).await, [Some(3), None], "3 of 4 are there");
    let told = status(&first, "orders-1");
    assert_eq!(told.reason, "NamespaceQuotaExceeded");
    assert!(told.message.contains("nobody declares orders-0 any more"), "{told:?}");

    // Another leader knows it from the ledger, before it asks the brokers.
    let remembered = first.ledger.text();
    assert!(remembered.contains("left=3/"), "{remembered}");
    let second = Scene::of(Duration::from_secs(1_000), &remembered, Kubernetes::default());
    limited(&second);
    second.index.apply(orders(1, "2"));
    second.lead();
    sleep(REST).await;
    assert_eq!(partitions(&second).await, [None, None]);
    assert!(status(&second, "orders-1").message.contains("nobody declares orders-0 any more"));
    // There it is gone from the brokers: the next look at everything finds out, and there is room at once.
    sleep(Duration::from_secs(2_000)).await;
    assert_eq!(partitions(&second).await, [None, Some(2)]);
}

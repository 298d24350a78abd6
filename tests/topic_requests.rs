//! How often the brokers, the ledger and Kubernetes are asked for how much work: what makes topicops fast, without a clock.

#![allow(clippy::unwrap_used, clippy::panic)]

mod paused_time;
mod topic_scene;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use paused_time::pass;
use serde_json::json;
use topic_scene::{Kubernetes, REST, Scene};
use topicops::{
    controller::Index,
    kafka::{Call, Cluster, ConfigChange, ConfigKeys, ConsumingGroup, NewTopic},
    moves::RebalanceRequest,
    topic::{PlanContext, TopicPolicy},
};
use topicops_contract::{DriftPolicy, TopicName};

const TOPICS: usize = 1_000;

fn declare(scene: &Scene, retention: &str) {
    declare_so_many(scene, TOPICS, retention);
}

fn declare_so_many(scene: &Scene, topics: usize, retention: &str) {
    for n in 0..topics {
        scene.index.apply(config_map(n, retention));
    }
}

fn config_map(n: usize, retention: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("orders-{n}"),
            "namespace": "shop",
            "uid": format!("uid-{n}"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "config": "kafka-topic" },
        },
        "data": { "partitions": "1", "replication-factor": "1", "retention": retention },
    }))
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_new_topics_are_one_look_one_creation_and_two_writes_of_the_ledger() {
    let scene = Scene::start(Duration::from_secs(100_000));
    scene.asked().await;
    declare(&scene, "1h");
    let (calls, ledger, kubernetes) = scene.asked().await;
    assert_eq!((calls[&Call::DescribeTopics], calls[&Call::CreateTopics]), (1, 1), "{calls:?}");
    assert!(
        !calls.contains_key(&Call::AlterConfigs) && !calls.contains_key(&Call::DeleteTopics),
        "{calls:?}"
    );
    assert_eq!(ledger, 2, "whose they are, before; what the brokers have, after");
    assert_eq!(kubernetes, TOPICS, "a status for each, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changed_settings_are_one_look_one_change_and_one_write_of_the_ledger() {
    let scene = Scene::start(Duration::from_secs(100_000));
    declare(&scene, "1h");
    scene.asked().await;
    declare(&scene, "2h");
    let (calls, ledger, kubernetes) = scene.asked().await;
    assert_eq!((calls[&Call::DescribeTopics], calls[&Call::AlterConfigs]), (1, 1), "{calls:?}");
    assert!(!calls.contains_key(&Call::CreateTopics), "{calls:?}");
    assert_eq!(ledger, 1, "what the brokers have");
    assert_eq!(kubernetes, TOPICS, "a status for each, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_new_topic_that_asks_for_more_brokers_than_there_are_is_refused_before_they_are_asked_to_make_it() {
    let scene = Scene::start(Duration::from_secs(100_000));
    for key in ["num.partitions", "default.replication.factor", "min.insync.replicas"] {
        scene.cluster.set_broker_default(key, "1");
    }
    let mut greedy = config_map(0, "1h");
    greedy.data.get_or_insert_default().insert("replication-factor".to_owned(), "4".to_owned());
    scene.index.apply(greedy);
    let (calls, ..) = scene.asked().await;
    assert!(!calls.contains_key(&Call::CreateTopics), "{calls:?}");
    assert!(scene.kubernetes.lock().unwrap().events.contains(&"TooFewBrokers".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn while_no_policy_could_be_read_nothing_is_made_or_changed_and_all_of_it_once_one_can() {
    let scene = Scene::start(Duration::from_secs(100_000));
    scene.index.apply(config_map(0, "1h"));
    scene.asked().await;
    scene.index.govern(TopicPolicy { unread: true, ..TopicPolicy::default() });
    scene.index.apply(config_map(0, "2h"));
    scene.index.apply(config_map(1, "2h"));
    let (calls, ..) = scene.asked().await;
    let writes = [Call::CreateTopics, Call::CreatePartitions, Call::AlterConfigs, Call::DeleteTopics];
    assert!(writes.iter().all(|call| !calls.contains_key(call)), "{calls:?}");
    assert!(scene.kubernetes.lock().unwrap().events.contains(&"PolicyUnread".to_owned()));
    scene.index.govern(TopicPolicy::default());
    let (calls, ..) = scene.asked().await;
    assert_eq!((calls[&Call::CreateTopics], calls[&Call::AlterConfigs]), (1, 1), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_look_at_what_nobody_changed_is_one_request_and_writes_nothing() {
    let scene = Scene::start(REST);
    declare(&scene, "1h");
    for _ in 0..3 {
        scene.asked().await;
    }
    let before = scene.passes();
    for _ in 0..9 {
        let before = scene.passes();
        let (calls, ledger, kubernetes) = scene.asked().await;
        let looks = calls.get(&Call::DescribeTopics).copied().unwrap_or(0);
        assert_eq!(looks, scene.passes() - before, "one for each pass: {calls:?}");
        let writes = [Call::CreateTopics, Call::CreatePartitions, Call::AlterConfigs, Call::DeleteTopics];
        assert!(writes.iter().all(|call| !calls.contains_key(call)), "{calls:?}");
        assert_eq!((ledger, kubernetes), (0, 0), "writes of the ledger, and requests to Kubernetes");
    }
    assert!(scene.passes() - before >= 8, "a pass about every {REST:?}");
}

#[tokio::test(start_paused = true)]
async fn a_look_at_more_topics_than_a_batch_has_is_one_request_for_each_batch_and_writes_nothing() {
    let resync = Duration::from_secs(1_000);
    let scene = Scene::start(resync);
    declare_so_many(&scene, 5_000, "1h");
    // Until what was just made is no reason any more to look again.
    pass(resync / 2).await;
    scene.asked().await;
    let before = scene.passes();
    // One look at everything comes due, whichever way its time was changed, and not another.
    pass(resync * 6 / 10).await;
    let (calls, ledger, kubernetes) = scene.asked().await;
    assert_eq!(calls, BTreeMap::from([(Call::DescribeTopics, 3)]), "2,000 topics at most in each");
    assert_eq!((scene.passes() - before, ledger, kubernetes), (3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn where_all_drift_is_reported_nothing_is_put_back_though_the_object_asks_for_it() {
    let context = |drift| PlanContext { drift, ..PlanContext::default() };
    for (drift, writes, event) in
        [(DriftPolicy::Report, None, "Drifted"), (DriftPolicy::Correct, Some(&1), "DriftCorrected")]
    {
        let scene = Scene::under(context(drift), REST, "", Kubernetes::default());
        scene.lead();
        let mut asks = config_map(0, "1h");
        asks.metadata.annotations = Some([("topic.kafka.nb/drift".to_owned(), "correct".to_owned())].into());
        scene.index.apply(asks);
        // By then it is nothing of its own that brokers may not show yet.
        pass(5 * REST).await;
        let set = BTreeMap::from([("retention.ms".to_owned(), "60000".to_owned())]);
        let by_hand = [("orders-0".parse().unwrap(), ConfigChange { set, unset: Vec::new() })];
        scene.cluster.alter_configs(&by_hand).await.unwrap().remove(0).unwrap();
        scene.cluster.forget_calls();
        let (calls, ..) = scene.asked().await;
        let (more, ..) = scene.asked().await;
        let all = calls.get(&Call::AlterConfigs).or(more.get(&Call::AlterConfigs));
        assert_eq!(all, writes, "{drift}: {calls:?} {more:?}");
        let events = scene.kubernetes.lock().unwrap().events.clone();
        assert!(events.contains(&event.to_owned()), "{drift}: {events:?}");
    }
}

/// As it is when it goes, and its topic with it.
fn deleting(mut topic: ConfigMap) -> ConfigMap {
    topic.metadata.annotations =
        Some([("topic.kafka.nb/deletion-policy".to_owned(), "delete".to_owned())].into());
    topic.metadata.finalizers = Some(vec!["topic.kafka.nb/topic".to_owned()]);
    topic.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-02T00:00:00Z")).unwrap();
    topic
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_workloads_with_a_look_every_five_seconds_and_ends_as_soon_as_they_are_gone() {
    let scene = Scene::start(Duration::from_secs(100_000));
    let topic = config_map(0, "1h");
    scene.index.apply(topic.clone());
    scene.asked().await;
    scene.users.0.send_replace(vec!["Deployment shop/orders".to_owned()]);
    scene.index.apply(deleting(topic));
    let (calls, ..) = scene.asked().await;
    assert!(!calls.contains_key(&Call::DeleteTopics), "{calls:?}");
    let looks = calls[&Call::ConsumingGroups];
    assert!((10..=13).contains(&looks), "{looks} looks in a minute: {calls:?}");

    // Between two looks, as far from both as may be.
    pass(Duration::from_millis(2_500)).await;
    scene.cluster.forget_calls();
    scene.users.0.send_replace(Vec::new());
    pass(Duration::from_millis(500)).await;
    let calls = scene.cluster.calls();
    assert_eq!(calls.get(&Call::DeleteTopics), Some(&1), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn workloads_that_come_and_go_hurry_no_deletion_that_waits_for_a_consumer_group() {
    let scene = Scene::start(Duration::from_secs(100_000));
    let topic = config_map(0, "1h");
    scene.index.apply(topic.clone());
    scene.asked().await;
    let group = ConsumingGroup { group: "g".to_owned(), topics: ["orders-0".to_owned()].into() };
    scene.cluster.set_consuming_groups(vec![group]);
    scene.index.apply(deleting(topic));
    scene.asked().await;
    for _ in 0..100 {
        scene.users.0.send_replace(Vec::new());
        pass(Duration::from_millis(100)).await;
    }
    let looks = scene.cluster.calls()[&Call::ConsumingGroups];
    assert!((1..=3).contains(&looks), "{looks} looks in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn what_is_made_right_after_a_broker_came_is_placed_with_it_in_mind() {
    let scene = Scene::start(Duration::from_secs(100_000));
    declare(&scene, "1h");
    pass(Duration::from_secs(10)).await;
    scene.cluster.add_broker(4, None);
    (TOPICS..TOPICS + 10).for_each(|n| scene.index.apply(config_map(n, "1h")));
    pass(Duration::from_secs(10)).await;
    let new: Vec<TopicName> = (TOPICS..TOPICS + 10).map(|n| format!("orders-{n}").parse().unwrap()).collect();
    for described in scene.cluster.describe_topics(&new, &ConfigKeys::Only(Default::default())).await.unwrap()
    {
        assert_eq!(described.unwrap().unwrap().replicas, [[4]], "it holds least");
    }
}

#[tokio::test(start_paused = true)]
async fn new_topics_and_new_partitions_are_made_where_they_are_to_stay() {
    let scene = Scene::start(Duration::from_secs(100_000));
    for (broker, rack) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "a"), (6, "b")] {
        scene.cluster.add_broker(broker, Some(rack));
    }
    // In each rack, one holds more than the others.
    let somebodys = NewTopic {
        name: "somebodys".parse().unwrap(),
        partitions: None,
        replication_factor: None,
        placement: Some(vec![vec![1, 3]; 20]),
        configs: BTreeMap::new(),
    };
    scene.cluster.create_topics(&[somebodys]).await.unwrap().remove(0).unwrap();
    let declare = async |n: usize, partitions: &str| {
        let mut wide = config_map(n, "1h");
        let data = wide.data.get_or_insert_default();
        data.insert("partitions".to_owned(), partitions.to_owned());
        data.insert("replication-factor".to_owned(), "2".to_owned());
        scene.index.apply(wide);
        pass(Duration::from_secs(5)).await;
        placed(&scene, n).await
    };
    let created = declare(0, "1").await;
    assert_eq!(created.len(), 1);
    spread(&created, &[1, 3]);
    let grown = declare(0, "2").await;
    assert_eq!((grown.len(), &grown[..1]), (2, &created[..]));
    spread(&grown, &[1, 3]);
    let used: BTreeSet<i32> = grown.iter().flatten().copied().collect();
    assert_eq!(used, [2, 4, 5, 6].into(), "each holds one of the topic, before any holds another");

    // By the same token 1 and 3 were next.
    let drain = RebalanceRequest { id: "one".to_owned(), drain: [1].into(), ..RebalanceRequest::default() };
    scene.desk.request(Some(drain));
    let grown_more = declare(0, "3").await;
    assert_eq!((grown_more.len(), &grown_more[..2]), (3, &grown[..]));
    spread(&grown_more, &[1]);
    assert!(grown_more[2].contains(&3), "{grown_more:?}");
    let new = declare(1, "10").await;
    assert_eq!(new.len(), 10);
    spread(&new, &[1]);
}

/// The replicas of the topic of a ConfigMap, partition by partition.
async fn placed(scene: &Scene, n: usize) -> Vec<Vec<i32>> {
    let name: TopicName = format!("orders-{n}").parse().unwrap();
    let described = scene.cluster.describe_topics(&[name], &ConfigKeys::Only(BTreeSet::new())).await.unwrap();
    described.into_iter().next().unwrap().unwrap().unwrap().replicas
}

/// Every partition has one replica in rack `a` and one in rack `b`, and none on these brokers.
fn spread(placed: &[Vec<i32>], without: &[i32]) {
    for replicas in placed {
        let in_a = replicas.iter().filter(|broker| [1, 2, 5].contains(broker)).count();
        assert_eq!((replicas.len(), in_a), (2, 1), "{placed:?}");
        assert!(replicas.iter().all(|broker| !without.contains(broker)), "{without:?} in {placed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_waits_for_brokers_is_made_soon_after_they_have_come() {
    let scene = Scene::start(Duration::from_secs(100_000));
    for (key, value) in
        [("num.partitions", "1"), ("default.replication.factor", "1"), ("min.insync.replicas", "1")]
    {
        scene.cluster.set_broker_default(key, value);
    }
    let mut wide = config_map(0, "1h");
    wide.data.as_mut().unwrap().insert("replication-factor".to_owned(), "4".to_owned());
    scene.index.apply(wide);
    scene.asked().await;
    assert!(scene.cluster.list_topics().await.unwrap().is_empty());
    scene.cluster.add_broker(4, None);
    pass(Duration::from_secs(61)).await;
    assert_eq!(scene.cluster.list_topics().await.unwrap(), ["orders-0"]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_asks_to_be_in_sync_costs_no_question_about_brokers() {
    let scene = Scene::start(Duration::from_secs(20));
    let mut declares = config_map(0, "1h");
    declares.data.as_mut().unwrap().insert("properties".to_owned(), "min.insync.replicas=1".to_owned());
    scene.index.apply(declares);
    scene.index.apply(config_map(1, "1h"));
    scene.asked().await;
    let set = BTreeMap::from([("min.insync.replicas".to_owned(), "1".to_owned())]);
    let change = ConfigChange { set, unset: Vec::new() };
    scene.cluster.alter_configs(&[("orders-1".parse().unwrap(), change)]).await.unwrap().remove(0).unwrap();
    pass(Duration::from_secs(400)).await;
    scene.cluster.forget_calls();
    let before = scene.passes();
    let (calls, ..) = scene.asked().await;
    assert_eq!(calls, BTreeMap::from([(Call::DescribeTopics, scene.passes() - before)]));
}

#[tokio::test(start_paused = true)]
async fn a_refused_duplicate_does_not_have_the_owners_min_insync_replicas_taken_away() {
    let scene = Scene::start(Duration::from_secs(100_000));
    for (key, value) in
        [("num.partitions", "1"), ("default.replication.factor", "1"), ("min.insync.replicas", "2")]
    {
        scene.cluster.set_broker_default(key, value);
    }
    let mut owner = config_map(0, "1h");
    owner.data.as_mut().unwrap().insert("properties".to_owned(), "min.insync.replicas=1".to_owned());
    scene.index.apply(owner.clone());
    scene.asked().await;
    let mut other = owner;
    other.metadata.namespace = Some("rival".to_owned());
    other.metadata.uid = Some("uid-of-rival".to_owned());
    scene.index.apply(other);
    scene.asked().await;
    scene.index.apply(config_map(0, "1h"));
    scene.asked().await;
    let orders: TopicName = "orders-0".parse().unwrap();
    let found = scene.cluster.describe_topics(&[orders], &ConfigKeys::All).await.unwrap().remove(0);
    let found = found.unwrap().unwrap().configs;
    assert_eq!(found.get("min.insync.replicas").map(String::as_str), Some("1"), "{found:?}");
}

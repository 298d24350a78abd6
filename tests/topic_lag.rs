//! Brokers that show a change of ours later than they acknowledge it, and somebody's hand meanwhile: who of both is taken for
//! the other.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "topic_lag/ids.rs"]
mod ids;
mod paused_time;
mod topic_scene;
#[path = "topic_lag/unseen.rs"]
mod unseen;
#[path = "topic_lag/whose.rs"]
mod whose;

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use paused_time::pass;
use serde_json::json;
use topic_scene::{Kubernetes, Scene};
use topicops::{
    controller::Index,
    kafka::{Call, Cluster, ConfigChange, ConfigKeys, ItemError, NewPartitions},
    topic::TopicObjectKey,
};

/// No look at everything: what happens has a reason of its own.
const NEVER: Duration = Duration::from_secs(100_000);
const SECONDS: Duration = Duration::from_secs(1);

/// A ConfigMap `shop/orders` with one partition and one replica.
fn orders(data: &[(&str, &str)], annotations: &[(&str, &str)]) -> ConfigMap {
    let mut declared = BTreeMap::from([("partitions", "1"), ("replication-factor", "1")]);
    declared.extend(data.iter().copied());
    let annotations = annotations.iter().map(|(key, value)| (format!("topic.kafka.nb/{key}"), *value));
    serde_json::from_value(json!({
        "metadata": {
            "name": "orders", "namespace": "shop", "uid": "uid", "labels": { "config": "kafka-topic" },
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": annotations.collect::<BTreeMap<_, _>>(),
        },
        "data": declared,
    }))
    .unwrap()
}

fn kept_for(retention: &str) -> ConfigMap {
    orders(&[("retention", retention)], &[])
}

fn going(mut config_map: ConfigMap) -> ConfigMap {
    let metadata = &mut config_map.metadata;
    metadata.finalizers = Some(vec!["topic.kafka.nb/topic".to_owned()]);
    metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-02T00:00:00Z")).unwrap();
    config_map
}

async fn declared(config_map: ConfigMap) -> Scene {
    let scene = Scene::start(NEVER);
    scene.index.apply(config_map);
    scene.asked().await;
    scene.kubernetes.lock().unwrap().events.clear();
    scene
}

async fn by_hand(scene: &Scene, key: &str, value: &str) {
    let set = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let change = ConfigChange { set, unset: Vec::new() };
    scene.cluster.alter_configs(&[("orders".parse().unwrap(), change)]).await.unwrap().remove(0).unwrap();
}

async fn on_brokers(scene: &Scene, key: &str) -> Option<String> {
    let topic = ["orders".parse().unwrap()];
    let described = scene.cluster.describe_topics(&topic, &ConfigKeys::All).await.unwrap().remove(0);
    described.unwrap().unwrap().configs.remove(key)
}

fn reason(scene: &Scene) -> String {
    let key = TopicObjectKey::config_map("shop", "orders");
    scene.index.object(&key).unwrap().status.map(|status| status.reason).unwrap_or_default()
}

fn events(scene: &Scene) -> Vec<String> {
    scene.kubernetes.lock().unwrap().events.clone()
}

/// Settings changed and partitions added since the last call.
fn sent(scene: &Scene) -> [usize; 2] {
    let calls = scene.cluster.calls();
    scene.cluster.forget_calls();
    [Call::AlterConfigs, Call::CreatePartitions].map(|call| calls.get(&call).copied().unwrap_or(0))
}

#[tokio::test(start_paused = true)]
async fn brokers_that_show_a_change_late_are_waited_for_and_nobody_is_told_that_somebody_changed_it() {
    // Everything is looked at again and again meanwhile.
    let scene = Scene::start(20 * SECONDS);
    scene.index.apply(kept_for("1h"));
    scene.asked().await;
    scene.kubernetes.lock().unwrap().events.clear();
    scene.cluster.freeze_reads();
    scene.index.apply(orders(&[("retention", "2h"), ("partitions", "3")], &[]));
    pass(60 * SECONDS).await;
    assert_eq!(sent(&scene), [1, 1]);
    scene.cluster.thaw_reads();
    pass(600 * SECONDS).await;
    assert_eq!(sent(&scene), [0, 0]);
    assert_eq!(reason(&scene), "InSync");
    assert!(!events(&scene).contains(&"DriftCorrected".to_owned()), "{:?}", events(&scene));

    by_hand(&scene, "retention.ms", "3600000").await;
    pass(60 * SECONDS).await;
    assert!(events(&scene).contains(&"DriftCorrected".to_owned()), "{:?}", events(&scene));
}

#[tokio::test(start_paused = true)]
async fn somebodys_hand_is_told_also_while_brokers_may_show_a_change_late() {
    let scene = Scene::start(20 * SECONDS);
    scene.index.apply(kept_for("1h"));
    scene.asked().await;
    scene.index.apply(kept_for("2h"));
    pass(6 * SECONDS).await;
    by_hand(&scene, "retention.ms", "777").await;
    pass(60 * SECONDS).await;
    assert!(events(&scene).contains(&"DriftCorrected".to_owned()), "{:?}", events(&scene));
}

#[tokio::test(start_paused = true)]
async fn whoever_sets_again_and_again_what_was_put_back_is_noticed_at_each_look() {
    let scene = Scene::start(20 * SECONDS);
    scene.index.apply(kept_for("2h"));
    scene.asked().await;
    for _ in 0..5 {
        by_hand(&scene, "retention.ms", "3600000").await;
        pass(40 * SECONDS).await;
        assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("7200000"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_brokers_do_not_show_for_five_minutes_is_made_again_and_not_before() {
    let scene = Scene::start(20 * SECONDS);
    scene.index.apply(kept_for("1h"));
    scene.asked().await;
    scene.cluster.freeze_reads();
    scene.index.apply(kept_for("2h"));
    pass(290 * SECONDS).await;
    assert_eq!(sent(&scene), [1, 0]);
    pass(60 * SECONDS).await;
    let [again, _] = sent(&scene);
    assert!(again > 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_is_put_back_by_hand_and_noticed_within_five_minutes_without_another_reason() {
    let scene = declared(kept_for("1h")).await;
    scene.index.apply(kept_for("2h"));
    pass(10 * SECONDS).await;
    by_hand(&scene, "retention.ms", "3600000").await;
    scene.index.apply(orders(&[("retention", "2h"), ("consumers", "billing/*")], &[]));
    pass(20 * SECONDS).await;
    assert_eq!(
        on_brokers(&scene, "retention.ms").await.as_deref(),
        Some("3600000"),
        "it may be a lagging broker"
    );
    pass(300 * SECONDS).await;
    assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("7200000"));
    assert_eq!(events(&scene), ["DriftCorrected"]);
}

#[tokio::test(start_paused = true)]
async fn an_author_who_takes_his_change_back_before_brokers_show_it_has_what_he_declares() {
    for annotations in [&[][..], &[("drift", "report")][..]] {
        let with = |data: &[(&str, &str)]| orders(data, annotations);
        let scene = declared(with(&[("retention", "1h")])).await;
        for changed in [&[("retention", "2h")][..], &[][..]] {
            scene.cluster.freeze_reads();
            scene.index.apply(with(changed));
            pass(20 * SECONDS).await;
            scene.index.apply(with(&[("retention", "1h")]));
            pass(20 * SECONDS).await;
            scene.cluster.thaw_reads();
            pass(600 * SECONDS).await;
            assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("3600000"), "{changed:?}");
            assert_eq!((reason(&scene).as_str(), events(&scene)), ("InSync", Vec::new()), "{changed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_while_brokers_lag_is_made_once() {
    let scene = declared(kept_for("1h")).await;
    scene.cluster.freeze_reads();
    scene.index.apply(kept_for("2h"));
    pass(2 * SECONDS).await;
    sent(&scene);
    scene.index.apply(orders(&[("retention", "2h"), ("properties", "segment.ms=3600000")], &[]));
    pass(250 * SECONDS).await;
    assert_eq!(sent(&scene), [1, 0]);
    scene.cluster.thaw_reads();
    assert_eq!(on_brokers(&scene, "segment.ms").await.as_deref(), Some("3600000"));
}

#[tokio::test(start_paused = true)]
async fn neither_what_is_refused_nor_a_move_that_waits_keeps_somebodys_hand_from_being_noticed() {
    for other in [("partitions", "5"), ("replication-factor", "2")] {
        let scene = Scene::start(300 * SECONDS);
        for key in ["num.partitions", "default.replication.factor", "min.insync.replicas"] {
            scene.cluster.set_broker_default(key, "1");
        }
        scene.index.apply(kept_for("1h"));
        scene.asked().await;
        scene.index.apply(kept_for("2h"));
        pass(SECONDS).await;
        by_hand(&scene, "retention.ms", "3600000").await;
        const POLICY_VIOLATION: i16 = 44;
        scene.cluster.refuse(
            Call::CreatePartitions,
            "orders",
            Some(ItemError::of(POLICY_VIOLATION, Some("policy"))),
        );
        scene.index.apply(orders(&[("retention", "2h"), other], &[]));
        pass(1_200 * SECONDS).await;
        let now = on_brokers(&scene, "retention.ms").await;
        assert_eq!(now.as_deref(), Some("7200000"), "{other:?}: {}", reason(&scene));
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_while_it_is_paused_ends_no_waiting_for_brokers() {
    let scene = declared(kept_for("1h")).await;
    scene.cluster.freeze_reads();
    scene.index.apply(kept_for("2h"));
    pass(2 * SECONDS).await;
    scene.index.apply(orders(&[("retention", "2h")], &[("paused", "true")]));
    pass(2 * SECONDS).await;
    scene.index.apply(kept_for("2h"));
    pass(30 * SECONDS).await;
    assert_eq!(events(&scene), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_has_to_be_read_again_is_no_reason_to_forget_what_was_changed() {
    let scene = declared(kept_for("1h")).await;
    scene.cluster.freeze_reads();
    scene.index.apply(kept_for("2h"));
    pass(10 * SECONDS).await;
    scene.ledger.lost_answer.store(true, Ordering::Relaxed);
    scene.index.apply(orders(&[("retention", "2h"), ("properties", "segment.ms=3600000")], &[]));
    pass(30 * SECONDS).await;
    assert_eq!(events(&scene), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn of_an_edit_that_was_made_in_part_what_was_made_counts() {
    let scene = declared(kept_for("1h")).await;
    scene.index.apply(kept_for("2h"));
    pass(10 * SECONDS).await;
    const POLICY_VIOLATION: i16 = 44;
    let refusal = ItemError::of(POLICY_VIOLATION, Some("policy"));
    scene.cluster.refuse(Call::CreatePartitions, "orders", Some(refusal));
    scene.index.apply(orders(&[("retention", "1h"), ("partitions", "5")], &[]));
    pass(10 * SECONDS).await;
    assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("3600000"));
    scene.index.apply(kept_for("2h"));
    pass(10 * SECONDS).await;
    assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("7200000"));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_was_made_in_part_is_its_authors_to_take_back_and_is_not_made_again_meanwhile() {
    for annotations in [&[][..], &[("drift", "report")][..]] {
        let scene = Scene::start(20 * SECONDS);
        scene.index.apply(orders(&[("retention", "1h")], annotations));
        scene.asked().await;
        scene.kubernetes.lock().unwrap().events.clear();
        const POLICY_VIOLATION: i16 = 44;
        let refusal = ItemError::of(POLICY_VIOLATION, Some("policy"));
        scene.cluster.refuse(Call::CreatePartitions, "orders", Some(refusal));
        scene.index.apply(orders(&[("retention", "2h"), ("partitions", "5")], annotations));
        pass(10 * SECONDS).await;
        sent(&scene);
        pass(100 * SECONDS).await;
        assert_eq!(sent(&scene)[0], 0, "what was acknowledged is not sent again");
        scene.index.apply(orders(&[("retention", "1h")], annotations));
        pass(60 * SECONDS).await;
        assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("3600000"), "{annotations:?}");
        assert_eq!(reason(&scene), "InSync");
        assert!(!events(&scene).contains(&"DriftCorrected".to_owned()), "{:?}", events(&scene));
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_its_author_takes_back_under_a_new_leader_is_taken_back_on_brokers_that_do_not_show_it_yet()
 {
    for annotations in [&[][..], &[("drift", "report")][..]] {
        let with = |data: &[(&str, &str)]| orders(data, annotations);
        for back in [&[("retention", "1h")][..], &[]] {
            let scene = Scene::start(20 * SECONDS);
            scene.index.apply(with(back));
            scene.asked().await;
            let before = on_brokers(&scene, "retention.ms").await;
            scene.kubernetes.lock().unwrap().events.clear();
            scene.cluster.freeze_reads();
            scene.index.apply(with(&[("retention", "2h")]));
            pass(10 * SECONDS).await;
            scene.follow();
            pass(SECONDS).await;
            scene.index.apply(with(back));
            scene.lead();
            pass(20 * SECONDS).await;
            scene.cluster.thaw_reads();
            assert_eq!(on_brokers(&scene, "retention.ms").await, before, "{annotations:?} {back:?}");
            pass(600 * SECONDS).await;
            assert_eq!(
                (reason(&scene).as_str(), events(&scene)),
                ("InSync", Vec::new()),
                "{annotations:?} {back:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_refused_for_good_leaves_no_doubt_about_the_one_before() {
    let scene = declared(kept_for("1h")).await;
    scene.cluster.freeze_reads();
    scene.index.apply(kept_for("2h"));
    pass(10 * SECONDS).await;
    const POLICY_VIOLATION: i16 = 44;
    scene.cluster.refuse(Call::AlterConfigs, "orders", Some(ItemError::of(POLICY_VIOLATION, Some("policy"))));
    scene.index.apply(kept_for("3h"));
    pass(10 * SECONDS).await;
    scene.cluster.refuse(Call::AlterConfigs, "orders", None);
    scene.kubernetes.lock().unwrap().events.clear();
    scene.index.apply(kept_for("2h"));
    pass(30 * SECONDS).await;
    assert_eq!((reason(&scene).as_str(), events(&scene)), ("InSync", Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_beside_it_does_not_hide_somebodys_hand_for_longer() {
    let scene = declared(kept_for("1h")).await;
    scene.index.apply(kept_for("2h"));
    pass(10 * SECONDS).await;
    by_hand(&scene, "retention.ms", "3600000").await;
    const POLICY_VIOLATION: i16 = 44;
    let refusal = ItemError::of(POLICY_VIOLATION, Some("policy"));
    scene.cluster.refuse(Call::CreatePartitions, "orders", Some(refusal));
    scene.index.apply(orders(&[("retention", "2h"), ("partitions", "5")], &[]));
    pass(310 * SECONDS).await;
    assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("7200000"));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_waits_for_brokers_to_show_partitions_claims_nothing_and_takes_no_wish_back() {
    let scene = Scene::start(NEVER);
    for key in ["num.partitions", "default.replication.factor", "min.insync.replicas"] {
        scene.cluster.set_broker_default(key, "1");
    }
    let wanted = [("replication-factor", "2"), ("partitions", "3")];
    scene.index.apply(orders(&[], &[]));
    scene.asked().await;
    scene.cluster.freeze_reads();
    scene.index.apply(orders(&wanted, &[]));
    pass(10 * SECONDS).await;
    assert_eq!(sent(&scene), [0, 1]);
    let told = async || tokio::time::timeout(SECONDS, scene.desk.changed.notified()).await.is_ok();
    assert!(told().await, "its replicas are to be moved");
    assert!(!told().await);
    let edited = [wanted[0], wanted[1], ("properties", "segment.ms=3600000")];
    scene.index.apply(orders(&edited, &[]));
    pass(10 * SECONDS).await;
    assert!(!told().await, "they are not to be moved any more");
    assert!(!scene.ledger.text().contains("segment.ms"), "{}", scene.ledger.text());
    scene.cluster.thaw_reads();
    pass(61 * SECONDS).await;
    assert_eq!(on_brokers(&scene, "segment.ms").await.as_deref(), Some("3600000"));
    assert!(scene.ledger.text().contains("segment.ms"), "{}", scene.ledger.text());
}

#[tokio::test(start_paused = true)]
async fn partitions_that_somebody_added_hold_up_no_edit() {
    let scene = declared(kept_for("1h")).await;
    let more =
        NewPartitions { topic: "orders".parse().unwrap(), total: 3.try_into().unwrap(), placement: None };
    scene.cluster.create_partitions(&[more]).await.unwrap().remove(0).unwrap();
    for retention in ["2h", "3h"] {
        scene.index.apply(kept_for(retention));
        pass(SECONDS).await;
    }
    assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("10800000"));
    pass(61 * SECONDS).await;
    assert_eq!(reason(&scene), "Drifted");
}

//! Topics of which it is not known for certain whose they are, or which of several they are, because brokers lag and answers
//! got lost.

use topicops::{
    controller::topics::LedgerStore,
    kafka::{ClusterError, DoomedTopic, NewTopic, Trouble},
};

use super::*;

pub(super) fn with() -> ConfigMap {
    orders(&[("consumers", "billing/*")], &[("deletion-policy", "delete")])
}

/// An object of the same name that lives elsewhere.
pub(super) fn of(namespace: &str, mut config_map: ConfigMap) -> ConfigMap {
    config_map.metadata.namespace = Some(namespace.to_owned());
    config_map.metadata.uid = Some(namespace.to_owned());
    config_map
}

pub(super) fn removed(scene: &Scene) {
    Index::<ConfigMap>::remove(scene.index.as_ref(), &topicops::ObjectKey::new("shop", "orders"));
}

pub(super) fn released(scene: &Scene) -> bool {
    scene.requests().iter().any(|request| request == "PATCH /api/v1/namespaces/shop/configmaps/orders")
}

pub(super) async fn topics(scene: &Scene) -> Vec<String> {
    scene.cluster.thaw_reads();
    scene.cluster.list_topics().await.unwrap()
}

fn no_answer_to(scene: &Scene, call: Call) {
    let error = ClusterError {
        trouble: Trouble::Unreachable,
        operation: format!("{call:?}"),
        message: "no answer".to_owned(),
    };
    scene.cluster.fail(call, error);
}

/// Somebody makes the topic; its id.
pub(super) async fn made_by_hand(scene: &Scene) -> String {
    let topic = NewTopic {
        name: "orders".parse().unwrap(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: None,
        placement: None,
        configs: BTreeMap::new(),
    };
    scene.cluster.create_topics(&[topic]).await.unwrap().remove(0).unwrap().id
}

/// The topic was asked for a moment ago, and nothing was looked at since.
pub(super) async fn until_made(scene: &Scene) {
    scene.cluster.forget_calls();
    for _ in 0..1_000 {
        if scene.cluster.calls().contains_key(&Call::CreateTopics) {
            return;
        }
        pass(SECONDS / 1_000).await;
    }
    panic!("it was not made: {:?}", scene.cluster.calls());
}

pub(super) async fn deleted_by_hand(scene: &Scene) {
    let topic = DoomedTopic { name: "orders".parse().unwrap(), id: None };
    scene.cluster.delete_topics(&[topic]).await.unwrap().remove(0).unwrap();
}

/// Brokers show a topic from before another one of its name, which is shop's; that one's id.
pub(super) async fn behind_another(scene: &Scene) -> String {
    made_by_hand(scene).await;
    scene.cluster.freeze_reads();
    deleted_by_hand(scene).await;
    let id = made_by_hand(scene).await;
    scene.ledger.write("0", None, format!("orders shop  id={id}\n")).await.unwrap();
    id
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_no_broker_shows_is_no_free_name_for_another_namespace() {
    let scene = Scene::start(NEVER);
    scene.asked().await;
    scene.cluster.freeze_reads();
    scene.index.apply(orders(&[], &[]));
    pass(10 * SECONDS).await;
    removed(&scene);
    pass(2 * SECONDS).await;
    no_answer_to(&scene, Call::CreateTopics);
    scene.index.apply(of("evil", orders(&[("consumers", "billing/*")], &[])));
    pass(60 * SECONDS).await;
    assert!(scene.ledger.text().starts_with("orders shop "), "{}", scene.ledger.text());
    scene.cluster.thaw_reads();
    pass(61 * SECONDS).await;
    assert!(scene.ledger.text().starts_with("orders shop "), "{}", scene.ledger.text());
    assert!(!format!("{:?}", scene.grants.borrow()).contains("billing"));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_free_goes_to_another_namespace_while_the_one_before_is_remembered() {
    let scene = declared(orders(&[], &[])).await;
    removed(&scene);
    pass(2 * SECONDS).await;
    deleted_by_hand(&scene).await;
    scene.index.apply(of("other", orders(&[], &[])));
    pass(10 * SECONDS).await;
    assert!(scene.ledger.text().starts_with("orders other "), "{}", scene.ledger.text());
    assert_eq!(topics(&scene).await, ["orders"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_made_although_nobody_heard_of_it_stays_its_namespaces_when_its_object_goes() {
    let scene = Scene::start(NEVER);
    let other = |retention| {
        let mut other = orders(&[("retention", retention)], &[]);
        other.metadata.name = Some("other".to_owned());
        of("shop", other)
    };
    scene.index.apply(other("1h"));
    scene.asked().await;
    pass(400 * SECONDS).await;
    scene.cluster.freeze_reads();
    // The requests of a pass end together: that of the other topic takes the answer about this one with it.
    no_answer_to(&scene, Call::AlterConfigs);
    scene.index.apply(other("2h"));
    scene.index.apply(with());
    pass(20 * SECONDS).await;
    scene.requests();
    scene.index.apply(going(with()));
    pass(10 * SECONDS).await;
    assert!(released(&scene), "it is not let go");
    assert!(events(&scene).contains(&"TopicReplaced".to_owned()), "{:?}", events(&scene));
    removed(&scene);
    pass(10 * SECONDS).await;
    scene.cluster.thaw_reads();
    pass(400 * SECONDS).await;
    assert_eq!(topics(&scene).await, ["orders", "other"]);
    assert!(scene.ledger.text().contains("orders shop "), "{}", scene.ledger.text());
}

#[tokio::test(start_paused = true)]
async fn what_no_broker_shows_for_minutes_keeps_its_users_and_waits_for_them_while_it_is_there() {
    let scene = Scene::start(NEVER);
    scene.asked().await;
    scene.cluster.freeze_reads();
    scene.index.apply(with());
    pass(400 * SECONDS).await;
    scene.users.0.send_replace(vec!["Deployment billing/reader".to_owned()]);
    scene.index.apply(going(with()));
    pass(20 * SECONDS).await;
    assert_eq!(reason(&scene), "InUse");
    assert!(format!("{:?}", scene.grants.borrow()).contains("billing"));
    scene.users.0.send_replace(Vec::new());
    pass(10 * SECONDS).await;
    assert_eq!(topics(&scene).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_older_topic_of_the_name_on_a_broker_that_lags_saves_no_topic_from_its_deletion() {
    let scene = Scene::of(NEVER, "", Kubernetes::default());
    behind_another(&scene).await;
    scene.index.apply(going(with()));
    scene.lead();
    pass(10 * SECONDS).await;
    assert!(released(&scene), "it is not let go");
    assert!(!events(&scene).contains(&"TopicReplaced".to_owned()), "{:?}", events(&scene));
    assert_eq!(topics(&scene).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_made_in_its_place_stays_and_is_told_under_a_new_leader() {
    let scene = Scene::of(NEVER, "orders shop  id=some\n", Kubernetes::default());
    made_by_hand(&scene).await;
    scene.index.apply(going(with()));
    scene.lead();
    pass(10 * SECONDS).await;
    assert!(released(&scene), "it is not let go");
    assert!(events(&scene).contains(&"TopicReplaced".to_owned()), "{:?}", events(&scene));
    assert_eq!(topics(&scene).await, ["orders"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_goes_with_its_object_although_its_id_could_not_be_written_down() {
    for finalizer in [false, true] {
        let scene = Scene::of(NEVER, "", Kubernetes { read_only: !finalizer, ..Kubernetes::default() });
        scene.lead();
        scene.asked().await;
        scene.cluster.freeze_reads();
        // The claim is written, and what was made of it is not.
        *scene.ledger.lost_after.lock().unwrap() = Some(1);
        scene.index.apply(with());
        until_made(&scene).await;
        assert!(!scene.ledger.text().contains("id="), "{}", scene.ledger.text());
        if finalizer {
            scene.index.apply(going(with()));
        } else {
            removed(&scene);
        }
        pass(10 * SECONDS).await;
        assert_eq!(topics(&scene).await, [""; 0], "finalizer: {finalizer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_that_is_shown_an_older_topic_of_the_name_calls_nothing_made_anew() {
    let scene = Scene::of(NEVER, "", Kubernetes::default());
    let id = behind_another(&scene).await;
    scene.index.apply(with());
    scene.lead();
    pass(60 * SECONDS).await;
    assert_eq!(reason(&scene), "LookingAgain");
    assert!(scene.ledger.text().contains(&id), "{}", scene.ledger.text());
    scene.cluster.thaw_reads();
    pass(61 * SECONDS).await;
    assert_eq!(reason(&scene), "InSync");
    assert!(!events(&scene).contains(&"TopicRemade".to_owned()), "{:?}", events(&scene));
}

#[tokio::test(start_paused = true)]
async fn what_was_made_in_place_of_one_that_somebody_deleted_goes_with_its_object_although_its_id_was_not_noted()
 {
    let scene = declared(with()).await;
    deleted_by_hand(&scene).await;
    scene.cluster.freeze_reads();
    *scene.ledger.lost_after.lock().unwrap() = Some(1);
    let edited = orders(&[("retention", "1h")], &[("deletion-policy", "delete")]);
    scene.index.apply(edited.clone());
    pass(5 * SECONDS).await;
    scene.index.apply(going(edited));
    pass(10 * SECONDS).await;
    assert_eq!(topics(&scene).await, [""; 0]);
}

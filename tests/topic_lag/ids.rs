//! Which of several topics of a name is meant, where some are gone and brokers that lag show them still.

use topicops::controller::topics::LedgerStore;

use super::{
    whose::{behind_another, deleted_by_hand, made_by_hand, of, released, removed, topics, until_made, with},
    *,
};

fn reported(data: &[(&str, &str)]) -> ConfigMap {
    orders(data, &[("drift", "report")])
}

fn told_remade(scene: &Scene) -> usize {
    events(scene).iter().filter(|event| *event == "TopicRemade").count()
}

fn message(scene: &Scene) -> String {
    let key = TopicObjectKey::config_map("shop", "orders");
    scene.index.object(&key).unwrap().status.map(|status| status.message).unwrap_or_default()
}

/// Kafka's id of what is there.
async fn id(scene: &Scene) -> String {
    let topic = ["orders".parse().unwrap()];
    let described = scene.cluster.describe_topics(&topic, &ConfigKeys::All).await.unwrap().remove(0);
    described.unwrap().unwrap().id
}

/// Somebody deletes the topic, and another broker shows it yet: [`MemoryCluster::freeze_reads_again`] asks that one.
async fn deleted_behind_a_broker(scene: &Scene) {
    scene.cluster.freeze_reads();
    deleted_by_hand(scene).await;
    scene.cluster.thaw_reads();
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_made_anew_is_told_once_whatever_a_broker_that_lags_shows_afterwards() {
    let scene = declared(kept_for("1h")).await;
    pass(400 * SECONDS).await;
    deleted_behind_a_broker(&scene).await;
    let now = made_by_hand(&scene).await;
    scene.index.apply(kept_for("2h"));
    pass(10 * SECONDS).await;
    assert!(scene.ledger.text().contains(&now), "{}", scene.ledger.text());
    scene.cluster.freeze_reads_again();
    scene.index.apply(kept_for("3h"));
    pass(60 * SECONDS).await;
    assert_eq!(reason(&scene), "DeletionInProgress");
    assert!(scene.ledger.text().contains(&now), "{}", scene.ledger.text());
    scene.cluster.thaw_reads();
    pass(61 * SECONDS).await;
    assert_eq!((reason(&scene).as_str(), told_remade(&scene)), ("InSync", 1));
    assert_eq!(on_brokers(&scene, "retention.ms").await.as_deref(), Some("10800000"));
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_since_counts_for_more_than_what_was_made_here_before() {
    let scene = declared(orders(&[], &[])).await;
    removed(&scene);
    pass(2 * SECONDS).await;
    deleted_behind_a_broker(&scene).await;
    let now = made_by_hand(&scene).await;
    let goes_with_it = |retention| orders(&[("retention", retention)], &[("deletion-policy", "delete")]);
    for retention in ["1h", "2h"] {
        scene.index.apply(goes_with_it(retention));
        pass(10 * SECONDS).await;
        assert_eq!(reason(&scene), "InSync", "{retention}");
        assert!(scene.ledger.text().contains(&now), "{retention}: {}", scene.ledger.text());
    }
    scene.cluster.freeze_reads_again();
    scene.index.apply(goes_with_it("3h"));
    pass(20 * SECONDS).await;
    assert_eq!(reason(&scene), "LookingAgain", "what was made here before is shown by a broker that lags");
    assert!(scene.ledger.text().contains(&now), "{}", scene.ledger.text());
    scene.cluster.thaw_reads();
    pass(61 * SECONDS).await;
    assert_eq!((reason(&scene).as_str(), told_remade(&scene)), ("InSync", 0));
    scene.index.apply(going(goes_with_it("3h")));
    pass(10 * SECONDS).await;
    assert_eq!(topics(&scene).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_older_topic_of_the_name_is_not_taken_for_one_that_was_made_and_not_written_down() {
    let scene = Scene::start(NEVER);
    scene.asked().await;
    made_by_hand(&scene).await;
    deleted_behind_a_broker(&scene).await;
    // The claim is written, and what was made of it is not.
    *scene.ledger.lost_after.lock().unwrap() = Some(1);
    scene.index.apply(with());
    until_made(&scene).await;
    let made = id(&scene).await;
    scene.cluster.freeze_reads_again();
    pass(20 * SECONDS).await;
    assert_eq!(reason(&scene), "LookingAgain");
    scene.cluster.thaw_reads();
    pass(61 * SECONDS).await;
    assert_eq!((reason(&scene).as_str(), told_remade(&scene)), ("InSync", 0));
    assert!(scene.ledger.text().contains(&made), "{}", scene.ledger.text());
}

#[tokio::test(start_paused = true)]
async fn what_was_made_and_not_written_down_is_as_gone_as_what_the_ledger_knows_once_somebody_deletes_it() {
    let scene = declared(orders(&[], &[])).await;
    scene.cluster.freeze_reads();
    deleted_by_hand(&scene).await;
    scene.cluster.thaw_reads();
    scene.cluster.freeze_reads();
    *scene.ledger.lost_after.lock().unwrap() = Some(1);
    scene.index.apply(kept_for("1h"));
    pass(20 * SECONDS).await;
    scene.cluster.thaw_reads();
    deleted_behind_a_broker(&scene).await;
    scene.index.apply(reported(&[("retention", "1h")]));
    pass(20 * SECONDS).await;
    assert_eq!(reason(&scene), "Drifted");
    scene.cluster.freeze_reads_again();
    scene.index.apply(reported(&[("retention", "2h")]));
    pass(20 * SECONDS).await;
    assert_eq!(reason(&scene), "DeletionInProgress");
}

#[tokio::test(start_paused = true)]
async fn the_controllers_word_that_a_topic_is_gone_lets_its_object_go_at_once_whoever_named_it() {
    let scene = declared(with()).await;
    deleted_by_hand(&scene).await;
    scene.users.0.send_replace(vec!["Deployment billing/reader".to_owned()]);
    scene.requests();
    scene.index.apply(going(with()));
    pass(2 * SECONDS).await;
    assert_ne!(reason(&scene), "InUse");
    assert!(released(&scene), "it is not let go");
    assert_eq!(scene.ledger.text(), "");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_users_learns_that_they_may_use_another_topic_of_the_name() {
    let scene = declared(with()).await;
    scene.users.0.send_replace(vec!["Deployment billing/reader".to_owned()]);
    scene.index.apply(going(with()));
    pass(6 * SECONDS).await;
    assert_eq!(reason(&scene), "InUse");
    assert!(!message(&scene).contains("another topic"), "{}", message(&scene));
    deleted_by_hand(&scene).await;
    made_by_hand(&scene).await;
    pass(6 * SECONDS).await;
    assert_eq!(reason(&scene), "InUse");
    assert!(message(&scene).contains("another topic of that name"), "{}", message(&scene));
    scene.users.0.send_replace(Vec::new());
    pass(10 * SECONDS).await;
    assert_eq!(topics(&scene).await, ["orders"], "somebody made it");
}

#[tokio::test(start_paused = true)]
async fn an_author_learns_why_nobody_can_tell_whether_a_topic_is_there() {
    let scene = declared(reported(&[])).await;
    let denied = ItemError::of(ItemError::TOPIC_AUTHORIZATION_FAILED, None);
    scene.cluster.refuse(Call::CreatePartitions, "orders", Some(denied));
    deleted_by_hand(&scene).await;
    scene.index.apply(reported(&[("consumers", "billing/*")]));
    pass(20 * SECONDS).await;
    assert_eq!(reason(&scene), "KafkaRefused");
    let said = "Kafka refused to tell whether the topic is there: TOPIC_AUTHORIZATION_FAILED";
    assert!(message(&scene).starts_with(said), "{}", message(&scene));
    scene.cluster.refuse(Call::CreatePartitions, "orders", None);
    pass(61 * SECONDS).await;
    assert_eq!(reason(&scene), "Drifted");
    // A new leader is not sure yet.
    pass(300 * SECONDS).await;
    scene.cluster.forget_calls();
    pass(1_000 * SECONDS).await;
    assert_eq!(scene.cluster.calls(), BTreeMap::new(), "what is known is not asked again");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_and_nobodys_is_forgotten_without_another_reason_though_a_broker_shows_it_yet() {
    let scene = declared(reported(&[])).await;
    deleted_behind_a_broker(&scene).await;
    scene.index.apply(reported(&[("consumers", "billing/*")]));
    pass(10 * SECONDS).await;
    assert_eq!(reason(&scene), "Drifted");
    scene.cluster.freeze_reads_again();
    removed(&scene);
    pass(10 * SECONDS).await;
    assert!(scene.ledger.text().starts_with("orders shop "), "{}", scene.ledger.text());
    scene.cluster.thaw_reads();
    scene.cluster.forget_calls();
    pass(700 * SECONDS).await;
    assert_eq!(scene.ledger.text(), "");
    let calls = scene.cluster.calls();
    assert!(calls.values().all(|count| *count <= 2), "{calls:?}");
    scene.cluster.forget_calls();
    pass(1_000 * SECONDS).await;
    assert_eq!(scene.cluster.calls(), BTreeMap::new(), "it is forgotten");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_may_not_have_the_topic_calls_no_deletion_off() {
    let scene = Scene::of(NEVER, "", Kubernetes::default());
    let id = behind_another(&scene).await;
    let due = format!("orders shop  id={id},deletion=unused,deletion-id={id}\n");
    scene.ledger.write("0", None, due).await.unwrap();
    scene.index.apply(of("evil", orders(&[], &[])));
    scene.lead();
    pass(10 * SECONDS).await;
    assert_eq!(topics(&scene).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_gone_is_made_anew_for_an_object_that_is_deleted_and_applied_again_at_once() {
    let scene = declared(reported(&[])).await;
    scene.index.apply(of("evil", reported(&[])));
    deleted_by_hand(&scene).await;
    scene.index.apply(reported(&[("consumers", "billing/*")]));
    pass(20 * SECONDS).await;
    assert_eq!(reason(&scene), "Drifted");
    // As `kubectl replace --force` does it: nothing is looked at in between.
    let again = |mut object: ConfigMap| {
        let name = topicops::ObjectKey::new(object.metadata.namespace.as_ref().unwrap(), "orders");
        Index::<ConfigMap>::remove(scene.index.as_ref(), &name);
        object.metadata.uid = Some("anew".to_owned());
        scene.index.apply(object);
    };
    again(of("evil", reported(&[])));
    pass(10 * SECONDS).await;
    assert_eq!(topics(&scene).await, [""; 0], "that one has no say");
    Index::<ConfigMap>::remove(scene.index.as_ref(), &topicops::ObjectKey::new("evil", "orders"));
    pass(10 * SECONDS).await;
    assert_eq!(reason(&scene), "Drifted");
    again(reported(&[]));
    pass(10 * SECONDS).await;
    assert_eq!(topics(&scene).await, ["orders"]);
    assert_eq!(reason(&scene), "InSync");
}

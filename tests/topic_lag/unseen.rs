//! Topics that brokers do not show yet, or still: whose they are, who may use them, what goes with its object.

use topicops::kafka::DoomedTopic;

use super::*;

fn lets_billing_in(scene: &Scene) -> bool {
    format!("{:?}", scene.grants.borrow()).contains("billing")
}

fn removed(scene: &Scene) {
    Index::<ConfigMap>::remove(scene.index.as_ref(), &topicops::ObjectKey::new("shop", "orders"));
}

/// What is read of the ledger from now on is not what is thought to be there: it has to be read again.
fn reads_its_ledger_again(scene: &Scene) {
    scene.ledger.lost_answer.store(true, Ordering::Relaxed);
    let mut other = orders(&[], &[]);
    other.metadata.name = Some("other".to_owned());
    other.metadata.uid = Some("other".to_owned());
    scene.index.apply(other);
}

#[tokio::test(start_paused = true)]
async fn whom_the_author_lets_in_no_longer_is_out_at_once_whatever_the_brokers_show() {
    let scene = declared(orders(&[("retention", "1h"), ("consumers", "billing/*")], &[])).await;
    scene.cluster.freeze_reads();
    scene.index.apply(orders(&[("retention", "2h"), ("partitions", "3"), ("consumers", "billing/*")], &[]));
    pass(20 * SECONDS).await;
    assert!(lets_billing_in(&scene));
    scene.index.apply(orders(&[("retention", "2h"), ("partitions", "3")], &[]));
    pass(2 * SECONDS).await;
    assert!(!lets_billing_in(&scene));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_that_does_not_see_a_new_topic_yet_shuts_nobody_out_and_does_not_call_it_deleted() {
    for annotations in [&[][..], &[("drift", "report")][..]] {
        let scene = Scene::start(NEVER);
        scene.asked().await;
        scene.cluster.freeze_reads();
        scene.index.apply(orders(&[("consumers", "billing/*")], annotations));
        pass(2 * SECONDS).await;
        scene.follow();
        pass(2 * SECONDS).await;
        scene.lead();
        pass(20 * SECONDS).await;
        assert!(lets_billing_in(&scene), "{annotations:?}");
        assert_eq!(reason(&scene), "LookingAgain", "{annotations:?}");
        scene.cluster.thaw_reads();
        pass(61 * SECONDS).await;
        assert_eq!(reason(&scene), "InSync", "{annotations:?}");
        assert!(!events(&scene).iter().any(|event| event.starts_with("Drift")), "{:?}", events(&scene));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_to_go_with_its_object_is_deleted_also_while_no_broker_shows_it() {
    let scene = Scene::start(NEVER);
    scene.asked().await;
    scene.cluster.freeze_reads();
    let with = orders(&[], &[("deletion-policy", "delete")]);
    scene.index.apply(with.clone());
    pass(90 * SECONDS).await;
    scene.users.0.send_replace(vec!["Deployment elsewhere/reader".to_owned()]);
    scene.requests();
    scene.index.apply(going(with));
    pass(100 * SECONDS).await;
    assert_eq!(reason(&scene), "InUse");
    scene.requests();
    scene.users.0.send_replace(Vec::new());
    pass(10 * SECONDS).await;
    assert!(scene.requests().iter().any(|request| request.starts_with("PATCH")), "it is not let go");
    scene.cluster.thaw_reads();
    assert_eq!(scene.cluster.list_topics().await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_is_not_found_again_on_a_broker_that_lags_for_minutes() {
    let with = orders(&[], &[("deletion-policy", "delete")]);
    let scene = declared(with.clone()).await;
    scene.cluster.freeze_reads();
    scene.index.apply(going(with.clone()));
    pass(2 * SECONDS).await;
    Index::<ConfigMap>::remove(scene.index.as_ref(), &topicops::ObjectKey::new("shop", "orders"));
    scene.index.apply(with);
    pass(200 * SECONDS).await;
    assert_eq!(reason(&scene), "DeletionInProgress");
    scene.cluster.thaw_reads();
    pass(61 * SECONDS).await;
    assert_eq!((reason(&scene).as_str(), scene.cluster.list_topics().await.unwrap().len()), ("InSync", 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_made_anew_under_a_name_has_no_part_in_what_was_changed_before() {
    let scene = Scene::start(20 * SECONDS);
    let with = |retention| orders(&[("retention", retention)], &[("deletion-policy", "delete")]);
    scene.index.apply(with("1h"));
    scene.asked().await;
    scene.index.apply(with("2h"));
    pass(10 * SECONDS).await;
    scene.index.apply(going(with("2h")));
    pass(10 * SECONDS).await;
    Index::<ConfigMap>::remove(scene.index.as_ref(), &topicops::ObjectKey::new("shop", "orders"));
    pass(10 * SECONDS).await;
    scene.kubernetes.lock().unwrap().events.clear();
    sent(&scene);
    scene.index.apply(with("1h"));
    pass(120 * SECONDS).await;
    assert_eq!((sent(&scene), events(&scene)), ([0, 0], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_ends_does_not_wait_for_brokers_to_show_what_is_to_go_with_it() {
    let scene = Scene::of(NEVER, "", Kubernetes { ending: true, ..Kubernetes::default() });
    scene.lead();
    scene.asked().await;
    scene.cluster.freeze_reads();
    let with = orders(&[], &[("deletion-policy", "delete")]);
    scene.index.apply(with.clone());
    pass(20 * SECONDS).await;
    scene.requests();
    scene.index.apply(going(with));
    pass(10 * SECONDS).await;
    assert!(scene.requests().iter().any(|request| request.starts_with("PATCH")), "it is not let go");
    Index::<ConfigMap>::remove(scene.index.as_ref(), &topicops::ObjectKey::new("shop", "orders"));
    scene.cluster.thaw_reads();
    pass(120 * SECONDS).await;
    assert_eq!(scene.cluster.list_topics().await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_may_use_a_new_topic_is_its_authors_word_while_no_broker_shows_it() {
    for annotations in [&[][..], &[("drift", "report")][..]] {
        let scene = Scene::start(NEVER);
        scene.asked().await;
        scene.cluster.freeze_reads();
        scene.index.apply(orders(&[("consumers", "billing/*")], annotations));
        pass(10 * SECONDS).await;
        assert!(lets_billing_in(&scene), "{annotations:?}");
        reads_its_ledger_again(&scene);
        for second in 0..40 {
            pass(SECONDS).await;
            assert!(lets_billing_in(&scene), "{annotations:?}: not after {second} s");
        }
        scene.index.apply(orders(&[], annotations));
        pass(2 * SECONDS).await;
        assert!(!lets_billing_in(&scene), "{annotations:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_use_a_topic_stays_so_while_its_deletion_waits_and_no_broker_shows_it() {
    let scene = Scene::start(NEVER);
    scene.asked().await;
    scene.cluster.freeze_reads();
    let with = orders(&[("consumers", "billing/*")], &[("deletion-policy", "delete")]);
    scene.index.apply(with.clone());
    pass(10 * SECONDS).await;
    scene.users.0.send_replace(vec!["Deployment billing/reader".to_owned()]);
    scene.index.apply(going(with));
    pass(10 * SECONDS).await;
    assert_eq!(reason(&scene), "InUse");
    assert!(lets_billing_in(&scene));
}

#[tokio::test(start_paused = true)]
async fn what_stays_by_its_authors_word_stays_also_when_its_namespace_ends_before_brokers_show_it() {
    let paused = [("deletion-policy", "delete"), ("paused", "true")];
    for (before, annotations) in [
        ([("deletion-policy", "retain")], &[][..]),
        ([("deletion-policy", "delete")], &[("deletion-policy", "retain")][..]),
        ([("deletion-policy", "delete")], &paused[..]),
    ] {
        let scene = Scene::of(NEVER, "", Kubernetes { ending: true, ..Kubernetes::default() });
        scene.lead();
        scene.asked().await;
        scene.cluster.freeze_reads();
        scene.index.apply(orders(&[], &before));
        pass(20 * SECONDS).await;
        scene.index.apply(going(orders(&[], annotations)));
        pass(10 * SECONDS).await;
        removed(&scene);
        pass(2 * SECONDS).await;
        scene.cluster.thaw_reads();
        pass(400 * SECONDS).await;
        assert_eq!(scene.cluster.list_topics().await.unwrap(), ["orders"], "{annotations:?}");
        assert!(scene.ledger.text().starts_with("orders shop "), "{annotations:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_that_is_not_shown_a_topic_deletes_it_with_its_object_all_the_same() {
    let with = orders(&[], &[("deletion-policy", "delete")]);
    // Its object waits, or its namespace cannot wait: then the ledger knows that it is to go.
    for ending in [false, true] {
        let scene = Scene::of(NEVER, "", Kubernetes { ending, ..Kubernetes::default() });
        scene.lead();
        scene.asked().await;
        scene.cluster.freeze_reads();
        scene.index.apply(with.clone());
        pass(10 * SECONDS).await;
        if ending {
            scene.users.0.send_replace(vec!["Deployment elsewhere/reader".to_owned()]);
            scene.index.apply(going(with.clone()));
            pass(10 * SECONDS).await;
            removed(&scene);
            pass(2 * SECONDS).await;
            assert!(scene.ledger.text().contains("deletion"), "{}", scene.ledger.text());
        }
        scene.follow();
        pass(SECONDS).await;
        scene.lead();
        pass(5 * SECONDS).await;
        if ending {
            scene.users.0.send_replace(Vec::new());
        } else {
            scene.index.apply(going(with.clone()));
        }
        pass(10 * SECONDS).await;
        scene.cluster.thaw_reads();
        assert_eq!(scene.cluster.list_topics().await.unwrap(), [""; 0], "ending: {ending}");
        pass(10 * SECONDS).await;
        assert_eq!(scene.ledger.text(), "", "ending: {ending}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_forgets_whose_a_topic_is_only_when_brokers_cannot_lag_any_more() {
    let scene = Scene::of(NEVER, "orders shop  id=some\n", Kubernetes::default());
    scene.lead();
    pass(290 * SECONDS).await;
    assert!(scene.ledger.text().starts_with("orders shop "));
    pass(100 * SECONDS).await;
    assert_eq!(scene.ledger.text(), "");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_for_certain_has_no_users_that_its_object_waits_for() {
    let scene = declared(orders(&[], &[("deletion-policy", "delete"), ("drift", "report")])).await;
    pass(300 * SECONDS).await;
    let topic = DoomedTopic { name: "orders".parse().unwrap(), id: None };
    scene.cluster.delete_topics(&[topic]).await.unwrap().remove(0).unwrap();
    scene.users.0.send_replace(vec!["Deployment elsewhere/reader".to_owned()]);
    scene.requests();
    scene.index.apply(going(orders(&[], &[("deletion-policy", "delete"), ("drift", "report")])));
    pass(2 * SECONDS).await;
    assert!(scene.requests().iter().any(|request| request.starts_with("PATCH")), "it is not let go");
    assert_eq!(scene.ledger.text(), "");
}

#[tokio::test(start_paused = true)]
async fn what_brokers_do_not_show_is_called_deleted_only_when_it_is() {
    let with = |data: &[(&str, &str)]| orders(data, &[("drift", "report")]);
    let scene = Scene::start(NEVER);
    pass(400 * SECONDS).await;
    scene.cluster.freeze_reads();
    scene.index.apply(with(&[]));
    pass(40 * SECONDS).await;
    scene.index.apply(with(&[("consumers", "billing/*")]));
    pass(10 * SECONDS).await;
    assert_eq!(reason(&scene), "LookingAgain");
    let topic = DoomedTopic { name: "orders".parse().unwrap(), id: None };
    scene.cluster.delete_topics(&[topic]).await.unwrap().remove(0).unwrap();
    pass(61 * SECONDS).await;
    assert_eq!(reason(&scene), "Drifted");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_went_is_not_forgotten_when_the_ledger_is_read_again() {
    let scene = Scene::of(NEVER, "", Kubernetes { read_only: true, ..Kubernetes::default() });
    scene.lead();
    scene.asked().await;
    scene.index.apply(orders(&[], &[("deletion-policy", "delete")]));
    pass(400 * SECONDS).await;
    scene.kubernetes.lock().unwrap().silent = true;
    removed(&scene);
    pass(3 * SECONDS).await;
    reads_its_ledger_again(&scene);
    pass(3 * SECONDS).await;
    scene.kubernetes.lock().unwrap().silent = false;
    pass(400 * SECONDS).await;
    assert_eq!(scene.cluster.list_topics().await.unwrap(), ["other"]);
}

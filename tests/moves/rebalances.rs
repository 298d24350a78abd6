//! Rebalances: what is drained, called off, done in parts.

use topicops::{
    moves::{MoveState, TakenRequest},
    topic::TopicPolicy,
};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_rebalance_drains_a_broker_and_tells_when_it_is_done_and_is_not_taken_twice() {
    let bed = Bed::new().await;
    bed.desk.note(&bed.topic, Standing::Owned, None);
    let request = RebalanceRequest { id: "one".to_owned(), drain: [1].into(), ..RebalanceRequest::default() };
    bed.desk.request(Some(request));
    let (task, _leads) = bed.start();
    bed.rest().await;
    pass(Duration::from_secs(20)).await;
    let replicas = bed.replicas().await;
    assert!(replicas.iter().flatten().all(|broker| *broker != 1), "{replicas:?}");
    assert_eq!(bed.store.told().map(|status| status.state), Some(RebalanceState::Done));
    assert_eq!(bed.desk.draining(), [1].into());
    task.abort();
    let writes = bed.store.0.lock().unwrap().writes;
    bed.cluster.forget_calls();
    let (_task, _leads) = bed.start();
    pass(Duration::from_secs(600)).await;
    assert_eq!(bed.store.0.lock().unwrap().writes, writes, "it was done already");
    assert!(
        bed.cluster.calls().is_empty(),
        "nothing is asked while nothing is to be done: {:?}",
        bed.cluster.calls()
    );
}

#[tokio::test(start_paused = true)]
async fn topics_that_nobody_declares_and_paused_ones_stay_unless_they_are_asked_for() {
    let bed = Bed::new().await;
    let before = bed.replicas().await;
    let request = |id: &str, include_undeclared| {
        Some(RebalanceRequest {
            id: id.to_owned(),
            drain: [1].into(),
            include_undeclared,
            ..RebalanceRequest::default()
        })
    };
    bed.desk.request(request("one", false));
    let (_task, _leads) = bed.start();
    pass(Duration::from_secs(30)).await;
    assert_eq!(bed.replicas().await, before);
    let told = bed.store.told().unwrap();
    assert!(told.remarks.contains("2 partitions of topics that nobody declares"), "{told:?}");
    bed.desk.note(&bed.topic, Standing::Paused, None);
    bed.desk.request(request("two", true));
    pass(Duration::from_secs(30)).await;
    assert_eq!(bed.replicas().await, before, "paused");
    bed.desk.note(&bed.topic, Standing::Unowned, None);
    bed.desk.request(request("three", true));
    pass(Duration::from_secs(60)).await;
    assert!(bed.replicas().await.iter().flatten().all(|broker| *broker != 1));
    bed.desk.request(Some(RebalanceRequest {
        id: "four".to_owned(),
        drain: [9].into(),
        ..RebalanceRequest::default()
    }));
    pass(Duration::from_secs(30)).await;
    let told = bed.store.told().unwrap();
    assert!(
        told.state == RebalanceState::Refused && told.message.contains("there is no such broker"),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_called_off_before_a_new_leader_has_looked_is_called_off_with_kafka() {
    let limited = RebalanceRequest { topics: Some(NamePattern::read("none*")), ..drain("two", 3) };
    for instead in [Some(called_off("two")), Some(limited), None] {
        let bed = Bed::new().await;
        let (before, throttles) = (bed.replicas().await, bed.throttles().await);
        bed.cluster.hold_moves();
        bed.desk.note(&bed.topic, Standing::Owned, None);
        bed.desk.request(Some(drain("one", 1)));
        let (task, _leads) = bed.start();
        bed.begun().await;
        task.abort();
        bed.desk.forget();
        bed.desk.note_whole();
        bed.desk.note(&bed.topic, Standing::Owned, None);
        bed.desk.request(instead.clone());
        let (_task, _leads) = bed.start();
        bed.rest_throttled().await;
        pass(Duration::from_secs(20)).await;
        assert_eq!(bed.replicas().await, before, "{instead:?}");
        assert_eq!(bed.throttles().await, throttles, "{instead:?}");
        let told = bed.store.told().unwrap();
        let state = if instead.as_ref().is_some_and(|request| request.cancel) {
            RebalanceState::Cancelled
        } else if instead.is_some() {
            RebalanceState::Done
        } else {
            continue;
        };
        assert_eq!(told.state, state, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_factor_set_back_before_a_new_leader_has_looked_is_called_off_with_kafka() {
    let bed = Bed::new().await;
    let (before, throttles) = (bed.replicas().await, bed.throttles().await);
    bed.cluster.hold_moves();
    bed.wish(3);
    let (task, _leads) = bed.start();
    bed.begun().await;
    task.abort();
    bed.desk.forget();
    bed.desk.note_whole();
    bed.wish(1);
    let (_task, _leads) = bed.start();
    bed.rest_throttled().await;
    assert_eq!(bed.replicas().await, before);
    assert_eq!(bed.throttles().await, throttles);
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_called_off_while_it_moves_leaves_replicas_and_throttles_as_they_were() {
    let bed = Bed::new().await;
    let (before, throttles) = (bed.replicas().await, bed.throttles().await);
    bed.cluster.hold_moves();
    bed.desk.note(&bed.topic, Standing::Owned, None);
    bed.desk.request(Some(drain("one", 1)));
    let (_task, _leads) = bed.start();
    bed.begun().await;
    bed.desk.request(Some(called_off("two")));
    bed.rest_throttled().await;
    pass(Duration::from_secs(20)).await;
    assert_eq!(bed.replicas().await, before);
    assert_eq!(bed.throttles().await, throttles);
    let told = bed.store.told().unwrap();
    assert_eq!((told.id.as_str(), told.state), ("two", RebalanceState::Cancelled));
    assert!(bed.desk.draining().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_that_no_config_map_would_hold_is_done_in_parts_and_told_as_one() {
    let (bed, names) = Bed::with_many().await;
    names.iter().for_each(|name| bed.desk.note(name, Standing::Owned, None));
    bed.desk.note(&bed.topic, Standing::Owned, None);
    bed.desk.request(Some(drain("one", 1)));
    let (_task, _leads) = bed.start();
    let mut parts = BTreeSet::new();
    for _ in 0..LONG * 10 {
        pass(Duration::from_millis(100)).await;
        let told = bed.store.told();
        let Some(told) = told.filter(|told| told.state != RebalanceState::Waiting) else { continue };
        // Those of them, and those of the bed that were there before or make it even.
        assert!((2_602..=2_603).contains(&told.partitions), "{told:?}");
        if told.state == RebalanceState::Done {
            assert_eq!(told.message, format!("{} partitions moved", told.partitions));
            break;
        }
        parts.insert(told.partitions_left);
    }
    assert_eq!(bed.store.told().map(|told| told.state), Some(RebalanceState::Done), "{parts:?}");
    let replicas = bed.all_replicas(&names).await;
    assert!(replicas.iter().flatten().all(|broker| *broker != 1));
    let moved = bed.metrics.moved_partitions.get_or_create(&StateLabel { state: "moved" }).get();
    assert_eq!(Some(moved), bed.store.told().map(|told| told.partitions as u64));
}

#[tokio::test(start_paused = true)]
async fn how_long_it_takes_is_told_of_topics_under_way_and_not_of_those_whose_turn_has_not_come() {
    let bed = Bed::new().await;
    let waiting: TopicName = "waits".parse().unwrap();
    let new = NewTopic {
        name: waiting.clone(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: Some(1.try_into().unwrap()),
        placement: Some(vec![vec![1]]),
        configs: BTreeMap::new(),
    };
    bed.cluster.create_topics(&[new]).await.unwrap().remove(0).unwrap();
    bed.cluster.set_size(TopicPartition { topic: waiting.clone(), partition: 0 }, BYTES);
    bed.cluster.hold_moves();
    bed.wish(2);
    bed.desk.note(&waiting, Standing::Owned, Some(2));
    let (_task, _leads) = bed.start();
    bed.begun().await;
    pass(Duration::from_secs(12)).await;
    let moving = bed.desk.moving();
    let said = |topic: &TopicName| moving[topic].said.clone().unwrap().1;
    assert!(said(&bed.topic).contains("about "), "{}", said(&bed.topic));
    assert_eq!(
        said(&waiting),
        "replication factor 1 to 2: 0 of 1 partitions moved, 2.9 MiB left to copy",
        "what waits says the same as long as it waits"
    );
    assert!(!moving[&waiting].rebalance);
}

#[tokio::test(start_paused = true)]
async fn to_ask_again_for_the_same_lets_it_go_on_with_the_throttle_that_is_asked_for_now() {
    let bed = Bed::new().await;
    let before = bed.throttles().await;
    bed.cluster.hold_moves();
    bed.desk.note(&bed.topic, Standing::Owned, None);
    bed.desk.request(Some(drain("one", 1)));
    let (_task, _leads) = bed.start();
    bed.begun().await;
    let moving = bed.cluster.list_reassignments().await.unwrap();
    let rate = |all: &BTreeMap<String, String>| {
        let rates = all.iter().filter(|(key, _)| key.contains("follower") && key.ends_with(".rate"));
        rates.map(|(_, value)| value.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(rate(&bed.throttles().await), ["1000000".to_owned()].into());
    bed.desk.request(Some(RebalanceRequest { throttle: Some(7_000_000), ..drain("two", 1) }));
    pass(Duration::from_secs(20)).await;
    assert_eq!(bed.cluster.list_reassignments().await.unwrap(), moving, "nothing went back");
    assert_eq!(rate(&bed.throttles().await), ["7000000".to_owned()].into());
    let told = bed.store.told().unwrap();
    assert_eq!((told.id.as_str(), told.state), ("two", RebalanceState::Moving));
    bed.desk.request(Some(RebalanceRequest { throttle: Some(0), ..drain("three", 1) }));
    pass(Duration::from_secs(20)).await;
    assert_eq!(bed.cluster.list_reassignments().await.unwrap(), moving);
    assert_eq!(bed.throttles().await, before, "as fast as it can, in the midst of a batch");
    bed.cluster.finish_moves();
    bed.rest().await;
    pass(Duration::from_secs(20)).await;
    let told = bed.store.told().unwrap();
    assert_eq!((told.id.as_str(), told.state), ("three", RebalanceState::Done));
    assert_eq!(bed.metrics.moved_partitions.get_or_create(&StateLabel { state: "cancelled" }).get(), 0);
}

#[test]
fn what_an_earlier_topicops_put_off_is_planned_again() {
    let mut state = MoveState::new();
    state.request = Some(TakenRequest::empty(drain("one", 1)));
    let mut old: serde_json::Value = serde_json::from_str(&state.to_text().unwrap()).unwrap();
    let taken = old["request"].as_object_mut().unwrap();
    taken.remove("later");
    taken.insert("more".to_owned(), true.into());
    assert_eq!(MoveState::take_over(&old.to_string()).unwrap().request.unwrap().later, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_that_is_asked_for_while_no_policy_can_be_read_waits_for_it() {
    let bed = Bed::new().await;
    bed.index.govern(TopicPolicy { unread: true, ..TopicPolicy::default() });
    bed.desk.note(&bed.topic, Standing::Paused, None);
    let request = RebalanceRequest { id: "one".to_owned(), drain: [1].into(), ..RebalanceRequest::default() };
    bed.desk.request(Some(request));
    let (_task, _leads) = bed.start();
    let before = bed.replicas().await;
    pass(Duration::from_secs(60)).await;
    assert_eq!(bed.replicas().await, before);
    let told = bed.store.told().map(|status| status.state);
    assert!(told.is_none_or(|state| state == RebalanceState::Waiting), "{told:?}");

    bed.index.govern(TopicPolicy::default());
    bed.desk.note(&bed.topic, Standing::Owned, None);
    pass(Duration::from_secs(10)).await;
    bed.rest().await;
    pass(Duration::from_secs(20)).await;
    let replicas = bed.replicas().await;
    assert!(replicas.iter().flatten().all(|broker| *broker != 1), "{replicas:?}");
    assert_eq!(bed.store.told().map(|status| status.state), Some(RebalanceState::Done));
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_that_waits_for_a_broker_that_is_gone_says_how_to_go_on_and_so_it_does() {
    let (bed, held) = with_a_lost_broker().await;
    bed.desk.note(&held, Standing::Owned, None);
    bed.desk.request(Some(drain("one", 1)));
    let (_task, _leads) = bed.start();
    pass(Duration::from_secs(30)).await;
    let told = bed.store.told().unwrap();
    let way_out = "held: partition 0 waits for broker 3, which is away; should it be gone for good, run topicops rebalance --drain 3";
    assert!(told.state == RebalanceState::Moving && told.message.contains(way_out), "{told:?}");

    bed.desk.request(Some(drain("two", 3)));
    bed.until_done("two").await;
    let replicas = bed.all_replicas(std::slice::from_ref(&held)).await;
    assert!(replicas[0].len() == 2 && !replicas[0].contains(&3), "{replicas:?}");
}

#[tokio::test(start_paused = true)]
async fn a_factor_that_waits_for_a_broker_that_is_gone_says_how_to_go_on_and_so_it_does() {
    let (bed, held) = with_a_lost_broker().await;
    let wish = |factor| bed.desk.note(&held, Standing::Owned, Some(factor));
    wish(3);
    let (_task, _leads) = bed.start();
    pass(Duration::from_secs(30)).await;
    let moving = bed.desk.moving();
    let said = moving[&held].said.clone().unwrap().1;
    let way_out =
        "should it be gone for good, set the replication factor back and run topicops rebalance --drain 3";
    assert!(
        said.contains("partition 0 waits for broker 3, which is away") && said.contains(way_out),
        "{said}"
    );

    wish(2);
    pass(Duration::from_secs(10)).await;
    bed.desk.request(Some(drain("one", 3)));
    bed.until_done("one").await;
    let replicas = bed.all_replicas(std::slice::from_ref(&held)).await;
    assert!(replicas[0].len() == 2 && !replicas[0].contains(&3), "{replicas:?}");
    wish(3);
    for _ in 0..LONG {
        pass(Duration::from_secs(1)).await;
        let replicas: BTreeSet<i32> =
            bed.all_replicas(std::slice::from_ref(&held)).await.remove(0).into_iter().collect();
        if replicas == [1, 2, 4].into() {
            return;
        }
    }
    panic!("{:?}", bed.all_replicas(&[held]).await);
}

/// A topic that is held by a broker which is gone, and by one that is not.
async fn with_a_lost_broker() -> (Bed, TopicName) {
    let bed = Bed::new().await;
    let held: TopicName = "held".parse().unwrap();
    let new = NewTopic {
        name: held.clone(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: Some(2.try_into().unwrap()),
        placement: Some(vec![vec![3, 1]]),
        configs: BTreeMap::new(),
    };
    bed.cluster.create_topics(&[new]).await.unwrap().remove(0).unwrap();
    bed.cluster.lose_broker(3);
    (bed, held)
}

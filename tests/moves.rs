//! The mover on a cluster in memory: crashes at each write of its state, throttles and moves of others, calls that fail.

#![allow(clippy::unwrap_used, clippy::panic)]

mod moves_bed;
mod paused_time;
#[path = "moves/rebalances.rs"]
mod rebalances;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use paused_time::pass;
use topicops::{
    controller::moves::{MoveDesk, Standing},
    kafka::{Call, Cluster, ClusterError, ItemError, NewTopic, TopicPartition, Trouble},
    metrics::StateLabel,
    moves::{RebalanceRequest, RebalanceState, Side},
};
use topicops_contract::{NamePattern, TopicName};

use moves_bed::*;

#[tokio::test(start_paused = true)]
async fn whatever_write_it_dies_at_the_replicas_arrive_and_only_our_throttles_go() {
    let mut deaths = 0;
    for nth in 0.. {
        for after in [false, true] {
            let bed = Bed::new().await;
            let before = bed.throttles().await;
            bed.wish(3);
            bed.store.0.lock().unwrap().dies = Some((nth, after));
            let (task, _leads) = bed.start();
            bed.rest().await;
            task.abort();
            let died = bed.store.is_dead();
            if died {
                deaths += 1;
                bed.store.revive();
                bed.desk.forget();
                bed.desk.note_whole();
                bed.wish(3);
                let (task, _leads) = bed.start();
                bed.rest().await;
                task.abort();
            }
            let replicas = bed.replicas().await;
            assert!(replicas.iter().all(|one| one.len() == 3), "write {nth}: {replicas:?}");
            assert_eq!(bed.throttles().await, before, "write {nth}");
            if !died {
                assert!(deaths > 8, "only {deaths} writes");
                return;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_moves_is_throttled_and_a_rate_of_somebody_else_is_left_and_used() {
    let bed = Bed::new().await;
    bed.wish(2);
    let (_task, _leads) = bed.start();
    let mut seen = BTreeMap::new();
    for _ in 0..LONG {
        pass(Duration::from_millis(500)).await;
        if !bed.cluster.list_reassignments().await.unwrap().is_empty() {
            seen = bed.throttles().await;
            break;
        }
    }
    assert_eq!(seen["1 leader.replication.throttled.rate"], "2000000");
    // Those that move and what somebody else had listed, and nothing more.
    let listed = bed.cluster.list_reassignments().await.unwrap();
    let mut wanted = [BTreeSet::from(["2:9".to_owned()]), BTreeSet::new()];
    let mut rates = BTreeSet::from(["1 leader.replication.throttled.rate".to_owned()]);
    for one in &listed {
        let number = one.partition.partition;
        let from = one.replicas.iter().filter(|broker| !one.adding.contains(broker));
        for (side, brokers) in
            [(Side::Leader, from.collect::<Vec<_>>()), (Side::Follower, one.adding.iter().collect())]
        {
            wanted[side.index()].extend(brokers.iter().map(|broker| format!("{number}:{broker}")));
            rates.extend(brokers.iter().map(|broker| format!("{broker} {}", side.rate_key())));
        }
    }
    for side in Side::BOTH {
        let list: BTreeSet<String> = seen[side.list_key()].split(',').map(str::to_owned).collect();
        assert_eq!(list, wanted[side.index()], "{listed:?}");
    }
    let set = seen.iter().filter(|(key, _)| key.ends_with(".rate"));
    assert_eq!(set.clone().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>(), rates);
    assert_eq!(set.filter(|(_, value)| **value != RATE.to_string()).count(), 1, "{seen:?}");
    bed.rest().await;
}

#[tokio::test(start_paused = true)]
async fn where_a_rate_holds_for_all_brokers_it_is_used_and_none_of_ours_is_set_or_taken_away() {
    for inherited in [&[Side::Leader][..], &Side::BOTH] {
        let bed = Bed::new().await;
        inherited.iter().for_each(|side| bed.cluster.set_broker_default(side.rate_key(), "500000"));
        let before = bed.throttles().await;
        bed.cluster.forget_calls();
        bed.cluster.hold_moves();
        bed.wish(2);
        let (_task, _leads) = bed.start();
        bed.begun().await;
        let seen = bed.throttles().await;
        for side in Side::BOTH {
            assert!(seen.contains_key(side.list_key()), "it copies unthrottled: {seen:?}");
            let rates = |all: &BTreeMap<String, String>| {
                let of_side = all.iter().filter(|(key, _)| key.ends_with(side.rate_key()));
                of_side.map(|(key, rate)| (key.clone(), rate.clone())).collect::<BTreeMap<_, _>>()
            };
            assert_eq!(rates(&seen) == rates(&before), inherited.contains(&side), "{inherited:?}: {seen:?}");
        }
        bed.cluster.finish_moves();
        bed.rest_again_with(2).await;
        assert_eq!(bed.throttles().await, before, "{inherited:?}");
        let altered = bed.cluster.calls().contains_key(&Call::AlterBrokerConfigs);
        assert_eq!(altered, inherited.len() == 1, "{inherited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_others_move_something_nothing_begins() {
    let bed = Bed::new().await;
    bed.cluster.hold_moves();
    let theirs = TopicPartition { topic: bed.topic.clone(), partition: 0 };
    bed.cluster.alter_reassignments(&[(theirs.clone(), Some(vec![3]))]).await.unwrap().remove(0).unwrap();
    bed.wish(2);
    let (_task, _leads) = bed.start();
    pass(Duration::from_secs(60)).await;
    let listed = bed.cluster.list_reassignments().await.unwrap();
    assert_eq!(listed.iter().map(|one| &one.partition).collect::<Vec<_>>(), [&theirs]);
    assert!(bed.desk.is_held_up(&bed.topic), "its status tells whom it waits for");
    let disks = bed.cluster.calls().get(&Call::DescribeLogDirs).copied().unwrap_or(0);
    assert_eq!(disks, 0, "nothing is looked at for a plan that cannot be made yet");
    bed.cluster.finish_moves();
    bed.rest().await;
    assert!(!bed.desk.is_held_up(&bed.topic));
    let replicas = bed.replicas().await;
    assert!(replicas.iter().all(|one| one.len() == 2) && replicas[0].contains(&3), "{replicas:?}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_somebody_sends_elsewhere_is_left_to_him_until_he_is_done() {
    let bed = Bed::new().await;
    bed.cluster.hold_moves();
    bed.wish(2);
    let (_task, _leads) = bed.start();
    pass(Duration::from_secs(5)).await;
    let ours = bed.cluster.list_reassignments().await.unwrap().remove(0);
    let elsewhere: Vec<i32> = (1..=4).filter(|broker| !ours.replicas.contains(broker)).take(1).collect();
    let change = (ours.partition.clone(), Some(elsewhere.clone()));
    bed.cluster.alter_reassignments(&[change]).await.unwrap().remove(0).unwrap();
    for _ in 0..60 {
        pass(Duration::from_secs(1)).await;
        let listed = bed.cluster.list_reassignments().await.unwrap();
        let now = listed.iter().find(|one| one.partition == ours.partition).unwrap();
        assert_eq!(now.target(), elsewhere);
    }
    bed.cluster.finish_moves();
    bed.wish(2);
    for _ in 0..LONG {
        pass(Duration::from_secs(1)).await;
        if bed.store.idle() && bed.replicas().await.iter().all(|one| one.len() == 2) {
            return;
        }
        bed.wish(2);
    }
    panic!("never planned anew: {:?}", bed.replicas().await);
}

#[tokio::test(start_paused = true)]
async fn two_movers_with_states_of_their_own_take_turns_and_never_cross() {
    let bed = Bed::new().await;
    let other: TopicName = "others".parse().unwrap();
    let new = NewTopic {
        name: other.clone(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: Some(1.try_into().unwrap()),
        placement: Some(vec![vec![4]]),
        configs: BTreeMap::new(),
    };
    bed.cluster.create_topics(&[new]).await.unwrap().remove(0).unwrap();
    bed.cluster.set_size(TopicPartition { topic: other.clone(), partition: 0 }, BYTES);
    let before = bed.throttles().await;
    let (second_store, second_desk) = (Arc::new(MemoryStore::default()), Arc::new(MoveDesk::default()));
    bed.wish(3);
    let (_one, _leads) = bed.start();
    pass(Duration::from_secs(3)).await;
    second_desk.note_whole();
    second_desk.note(&other, Standing::Owned, Some(2));
    let (_two, _also_leads) = bed.start_with(Arc::clone(&second_store), Arc::clone(&second_desk));
    for _ in 0..LONG {
        pass(Duration::from_secs(1)).await;
        let listed = bed.cluster.list_reassignments().await.unwrap();
        let names: BTreeSet<_> = listed.iter().map(|one| &one.partition.topic).collect();
        assert!(names.len() < 2, "both move at once: {listed:?}");
        if bed.store.idle() && second_store.idle() {
            break;
        }
    }
    assert!(bed.store.idle() && second_store.idle());
    assert_eq!(bed.throttles().await, before);
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_are_made_again() {
    for call in [
        Call::AlterReassignments,
        Call::AlterBrokerConfigs,
        Call::AlterConfigs,
        Call::ListReassignments,
        Call::DescribeBrokerConfigs,
        Call::ElectPreferredLeaders,
    ] {
        let bed = Bed::new().await;
        let before = bed.throttles().await;
        let error = ClusterError {
            trouble: Trouble::Unreachable,
            operation: "a call".to_owned(),
            message: "gone".to_owned(),
        };
        bed.cluster.fail(call, error.clone());
        bed.cluster.fail(call, error);
        bed.wish(3);
        let (_task, _leads) = bed.start();
        bed.rest_again().await;
        assert!(bed.replicas().await.iter().all(|one| one.len() == 3), "{call:?}");
        assert_eq!(bed.throttles().await, before, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttle_that_brokers_refuse_is_tried_less_and_less_often_and_nothing_moves_without_it() {
    let bed = Bed::new().await;
    let refuse = |error: Option<ItemError>| {
        for broker in ["1", "2", "3", "4"] {
            bed.cluster.refuse(Call::AlterBrokerConfigs, broker, error.clone());
        }
    };
    refuse(Some(ItemError::of(ItemError::INVALID_REQUEST, None)));
    bed.wish(3);
    let (_task, _leads) = bed.start();
    pass(Duration::from_secs(60)).await;
    let tries = bed.cluster.calls()[&Call::AlterBrokerConfigs];
    assert!((4..=12).contains(&tries), "{tries} tries in a minute");
    assert!(bed.cluster.list_reassignments().await.unwrap().is_empty(), "it moves unthrottled");
    refuse(None);
    bed.rest_again().await;
}

#[tokio::test(start_paused = true)]
async fn a_wish_taken_back_calls_the_move_off_with_the_replicas_in_their_old_order() {
    let bed = Bed::new().await;
    let (before, throttles) = (bed.replicas().await, bed.throttles().await);
    bed.cluster.hold_moves();
    bed.wish(3);
    let (_task, _leads) = bed.start();
    pass(Duration::from_secs(5)).await;
    assert!(!bed.cluster.list_reassignments().await.unwrap().is_empty());
    bed.wish(1);
    bed.rest().await;
    assert_eq!(bed.replicas().await, before);
    assert_eq!(bed.throttles().await, throttles);
}

#[tokio::test(start_paused = true)]
async fn more_replication_factors_than_a_config_map_would_hold_are_changed_in_parts() {
    let (bed, names) = Bed::with_many().await;
    names.iter().for_each(|name| bed.desk.note(name, Standing::Owned, Some(2)));
    let (_task, _leads) = bed.start();
    for _ in 0..LONG {
        pass(Duration::from_secs(1)).await;
        if bed.store.idle() && bed.all_replicas(&names).await.iter().all(|replicas| replicas.len() == 2) {
            return;
        }
    }
    let changed = bed.all_replicas(&names).await.iter().filter(|replicas| replicas.len() == 2).count();
    panic!("{changed} of {} were changed", names.len());
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_what_moves_how_much_is_left_and_how_it_ended() {
    let bed = Bed::new().await;
    bed.cluster.hold_moves();
    bed.wish(2);
    let (_task, _leads) = bed.start();
    bed.begun().await;
    pass(Duration::from_secs(12)).await;
    let moving = |state| bed.metrics.moving_partitions.get_or_create(&StateLabel { state }).get();
    let ended = |state| bed.metrics.moved_partitions.get_or_create(&StateLabel { state }).get();
    assert_eq!((moving("moving"), moving("waiting"), moving("yielded")), (2, 1, 0));
    assert_eq!(bed.metrics.move_bytes_left.get(), 3 * i64::try_from(BYTES).unwrap());
    let copying: BTreeSet<i32> =
        bed.cluster.list_reassignments().await.unwrap().iter().flat_map(|one| one.adding.clone()).collect();
    let rate = RATE * copying.len() as u64;
    assert_eq!(bed.metrics.move_seconds_left.get(), i64::try_from((3 * BYTES).div_ceil(rate)).unwrap());
    let throttles = bed.throttles().await;
    // A list for leaders and one for followers, and the rates but for that of somebody else.
    let rates = throttles.values().filter(|value| **value == RATE.to_string()).count();
    assert_eq!(bed.metrics.move_throttles.get(), i64::try_from(2 + rates).unwrap(), "{throttles:?}");
    assert_eq!((ended("moved"), ended("cancelled"), ended("replaced")), (0, 0, 0));

    bed.wish(1);
    bed.rest().await;
    pass(Duration::from_secs(12)).await;
    assert_eq!((ended("moved"), ended("cancelled")), (0, 3));
    assert_eq!((moving("moving"), moving("waiting")), (0, 0));
    assert_eq!((bed.metrics.move_bytes_left.get(), bed.metrics.move_throttles.get()), (0, 0));
    bed.cluster.finish_moves();
    bed.wish(2);
    bed.rest_again_with(2).await;
    assert_eq!((ended("moved"), ended("cancelled"), ended("replaced")), (3, 3, 0));
}

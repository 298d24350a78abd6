//! Replicas: where they are placed, how they move, and who leads.
use std::collections::BTreeMap;

use topicops::kafka::{
    Cluster, ConfigChange, ConfigKeys, NewPartitions, NewTopic, Reassignment, TopicDescription,
    TopicPartition,
};
use topicops_contract::TopicName;

use super::{Records, numbers, topics::described};
use crate::kafka_support::eventually;

const MIB: u64 = 1024 * 1024;

fn name(prefix: &str, rest: &str) -> TopicName {
    format!("{prefix}.{rest}").parse().unwrap()
}

fn placed(name: &TopicName, placement: &[&[i32]]) -> NewTopic {
    NewTopic {
        name: name.clone(),
        partitions: Some(i32::try_from(placement.len()).unwrap().try_into().unwrap()),
        replication_factor: Some(i16::try_from(placement[0].len()).unwrap().try_into().unwrap()),
        placement: Some(placement.iter().map(|replicas| replicas.to_vec()).collect()),
        configs: BTreeMap::new(),
    }
}

async fn create(cluster: &dyn Cluster, topic: &NewTopic) {
    cluster.create_topics(std::slice::from_ref(topic)).await.unwrap().remove(0).unwrap();
    described(cluster, &topic.name, |seen| seen.leaders.iter().all(Option::is_some)).await;
}

fn part(topic: &TopicName, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition }
}

async fn move_to(cluster: &dyn Cluster, partition: &TopicPartition, target: &[i32]) {
    let change = (partition.clone(), Some(target.to_vec()));
    cluster.alter_reassignments(&[change]).await.unwrap().remove(0).unwrap();
}

/// The topic once its first partition has these replicas, all of them in sync, and nothing moves.
async fn at_rest(cluster: &dyn Cluster, topic: &TopicName, replicas: &[i32]) -> TopicDescription {
    eventually("the end of the move", || async {
        let moving = cluster.list_reassignments().await.unwrap();
        let moving = moving.iter().filter(|one| one.partition.topic == *topic).count();
        if moving == 0 { Ok(()) } else { Err(format!("{moving} moving")) }
    })
    .await;
    described(cluster, topic, |seen| {
        let mut in_sync = seen.in_sync[0].clone();
        let mut wanted = replicas.to_vec();
        in_sync.sort_unstable();
        wanted.sort_unstable();
        seen.replicas[0] == replicas && in_sync == wanted
    })
    .await
}

pub(crate) async fn a_placement_is_taken_as_given(cluster: &dyn Cluster, prefix: &str) {
    let topic = name(prefix, "placed");
    let made =
        cluster.create_topics(&[placed(&topic, &[&[2, 1], &[3, 2]])]).await.unwrap().remove(0).unwrap();
    assert_eq!((made.partitions, made.replication_factor), (Some(2), Some(2)));
    let added = NewPartitions {
        topic: topic.clone(),
        total: 4.try_into().unwrap(),
        placement: Some(vec![vec![1, 3], vec![3, 1]]),
    };
    assert_eq!(numbers(&cluster.create_partitions(&[added]).await.unwrap()), [0]);
    let whole = |seen: &TopicDescription| seen.partitions() == 4 && seen.leaders.iter().all(Option::is_some);
    let seen = described(cluster, &topic, whole).await;
    assert_eq!(seen.replicas, [[2, 1], [3, 2], [1, 3], [3, 1]]);
    assert_eq!(seen.leaders, [Some(2), Some(3), Some(1), Some(3)]);
    let mut in_sync = seen.in_sync;
    in_sync.iter_mut().for_each(|brokers| brokers.sort_unstable());
    assert_eq!(in_sync, [[1, 2], [2, 3], [1, 3], [1, 3]]);
}

pub(crate) async fn placements_that_cannot_be_are_refused(cluster: &dyn Cluster, prefix: &str) {
    let bad: [&[&[i32]]; 4] = [&[&[1, 99]], &[&[1, 1]], &[&[1, 2], &[3]], &[&[1], &[]]];
    let topics: Vec<NewTopic> =
        (0..).zip(bad).map(|(n, bad)| placed(&name(prefix, &format!("misplaced-{n}")), bad)).collect();
    let outcomes = cluster.create_topics(&topics).await.unwrap();
    assert_eq!(numbers(&outcomes), [39; 4], "{outcomes:?}");

    let topic = name(prefix, "misgrown");
    create(cluster, &placed(&topic, &[&[1, 2]])).await;
    for bad in [vec![vec![1, 2]], vec![vec![1, 2], vec![3]], vec![vec![1, 2], vec![1, 99]]] {
        let placement = Some(bad.clone());
        let added = NewPartitions { topic: topic.clone(), total: 3.try_into().unwrap(), placement };
        assert_eq!(numbers(&cluster.create_partitions(&[added]).await.unwrap()), [39], "{bad:?}");
    }
    let seen = described(cluster, &topic, |_| true).await;
    assert_eq!(seen.replicas, [[1, 2]]);
}

pub(crate) async fn replicas_come_and_go(cluster: &dyn Cluster, prefix: &str) {
    let topic = name(prefix, "factor");
    create(cluster, &placed(&topic, &[&[1], &[2]])).await;
    let first = part(&topic, 0);
    move_to(cluster, &first, &[1, 2, 3]).await;
    let seen = at_rest(cluster, &topic, &[1, 2, 3]).await;
    assert_eq!(seen.replicas[1], [2], "its neighbour stays");
    move_to(cluster, &first, &[3]).await;
    let seen = at_rest(cluster, &topic, &[3]).await;
    assert_eq!(seen.leaders[0], Some(3), "the leader that went is replaced");
}

pub(crate) async fn moves_that_cannot_be_are_refused_in_their_place(cluster: &dyn Cluster, prefix: &str) {
    let (topic, absent) = (name(prefix, "stays-put"), name(prefix, "nowhere"));
    create(cluster, &placed(&topic, &[&[1, 2], &[2, 3]])).await;
    let outcomes = cluster
        .alter_reassignments(&[
            (part(&absent, 0), Some(vec![1])),
            (part(&topic, 1), Some(vec![3, 2])),
            (part(&topic, 7), Some(vec![1])),
            (part(&topic, 0), Some(vec![1, 99])),
        ])
        .await
        .unwrap();
    assert_eq!(numbers(&outcomes), [3, 0, 3, 39], "{outcomes:?}");
    for bad in [vec![1, 1], vec![]] {
        let change = (part(&topic, 0), Some(bad.clone()));
        assert_eq!(numbers(&cluster.alter_reassignments(&[change]).await.unwrap()), [39], "{bad:?}");
    }
    let calls_off = [(part(&topic, 0), None), (part(&absent, 0), None)];
    assert_eq!(numbers(&cluster.alter_reassignments(&calls_off).await.unwrap()), [0, 3]);
    at_rest(cluster, &topic, &[1, 2]).await;
    // A reordered list is not a move that could be waited for, and a broker shows it when it has heard of it.
    described(cluster, &topic, |seen| seen.replicas[1] == [3, 2]).await;
}

async fn set_rate(cluster: &dyn Cluster, rate: Option<u64>) {
    let change = |broker: i32, key: &str| match rate {
        Some(rate) => (
            broker,
            ConfigChange { set: BTreeMap::from([(key.to_owned(), rate.to_string())]), unset: Vec::new() },
        ),
        None => (broker, ConfigChange { set: BTreeMap::new(), unset: vec![key.to_owned()] }),
    };
    let changes =
        [change(1, "leader.replication.throttled.rate"), change(3, "follower.replication.throttled.rate")];
    assert_eq!(numbers(&cluster.alter_broker_configs(&changes).await.unwrap()), [0, 0]);
    let rate = rate.map(|rate| rate.to_string());
    eventually("the rates", || async {
        let seen = cluster.describe_broker_configs(&[1, 3], &ConfigKeys::All).await.unwrap();
        let shows =
            |at: usize, key: &str| seen[at].as_ref().is_ok_and(|one| one.own.get(key) == rate.as_ref());
        let right =
            shows(0, "leader.replication.throttled.rate") && shows(1, "follower.replication.throttled.rate");
        let own: Vec<_> = seen.iter().map(|one| one.as_ref().map(|one| &one.own)).collect();
        if right { Ok(()) } else { Err(format!("{own:?}")) }
    })
    .await;
}

pub(crate) async fn a_throttled_move_shows_is_called_off_and_ends_without_its_throttle(
    cluster: &dyn Cluster,
    prefix: &str,
    records: &impl Records,
) {
    let topic = name(prefix, "moves");
    let first = part(&topic, 0);
    create(cluster, &placed(&topic, &[&[1, 2]])).await;
    records.fill(&first, 8 * MIB).await;
    let throttled = BTreeMap::from([
        ("leader.replication.throttled.replicas".to_owned(), "0:1,0:2".to_owned()),
        ("follower.replication.throttled.replicas".to_owned(), "0:3".to_owned()),
    ]);
    let throttle = ConfigChange { set: throttled.clone(), unset: Vec::new() };
    assert_eq!(numbers(&cluster.alter_configs(&[(topic.clone(), throttle)]).await.unwrap()), [0]);
    described(cluster, &topic, |seen| seen.configs == throttled).await;
    set_rate(cluster, Some(1)).await;

    let under_way = Reassignment {
        partition: first.clone(),
        replicas: vec![3, 2, 1],
        adding: vec![3],
        removing: vec![1],
    };
    assert_eq!(under_way.target(), [3, 2]);
    for called_off in [true, false] {
        move_to(cluster, &first, &[3, 2]).await;
        let shown = || async {
            let all = cluster.list_reassignments().await.unwrap();
            all.into_iter().find(|one| one.partition == first)
        };
        eventually("the move", || async {
            match shown().await {
                Some(one) if one == under_way => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let seen = described(cluster, &topic, |seen| seen.replicas[0] == [3, 2, 1]).await;
        assert!(!seen.in_sync[0].contains(&3), "it has not caught up: {seen:?}");
        assert_eq!(shown().await, Some(under_way.clone()), "a byte a second moves nothing");
        if called_off {
            assert_eq!(numbers(&cluster.alter_reassignments(&[(first.clone(), None)]).await.unwrap()), [0]);
            let seen = at_rest(cluster, &topic, &[2, 1]).await;
            assert_eq!(seen.leaders[0], Some(1), "who leads did not change");
        }
    }
    set_rate(cluster, None).await;
    let seen = at_rest(cluster, &topic, &[3, 2]).await;
    assert!(seen.leaders[0].is_some_and(|leader| leader != 1), "{seen:?}");
}

pub(crate) async fn the_first_replica_is_elected(cluster: &dyn Cluster, prefix: &str) {
    let topic = name(prefix, "led");
    create(cluster, &placed(&topic, &[&[1, 2], &[2, 3]])).await;
    move_to(cluster, &part(&topic, 0), &[2, 1]).await;
    let seen = at_rest(cluster, &topic, &[2, 1]).await;
    assert_eq!(seen.leaders[0], Some(1), "another order alone makes no other leader");
    let elected = [part(&name(prefix, "nobody"), 0), part(&topic, 1), part(&topic, 0)];
    // The second partition has its preferred leader, and that is no error; the second time both have.
    for _ in 0..2 {
        assert_eq!(numbers(&cluster.elect_preferred_leaders(&elected).await.unwrap()), [3, 0, 0]);
        described(cluster, &topic, |seen| seen.leaders == [Some(2), Some(2)]).await;
    }
}

pub(crate) async fn disks_tell_their_size_and_what_is_on_them(
    cluster: &dyn Cluster,
    prefix: &str,
    records: &impl Records,
) {
    let topic = name(prefix, "weighed");
    let (first, second) = (part(&topic, 0), part(&topic, 1));
    create(cluster, &placed(&topic, &[&[1, 3], &[2, 3]])).await;
    records.fill(&second, 2 * MIB).await;
    let sizes = eventually("the sizes", || async {
        let disks = cluster.describe_log_dirs().await.unwrap();
        if !disks.keys().eq(&[1, 2, 3]) || disks.values().any(Result::is_err) {
            return Err(format!("{disks:?}"));
        }
        let mut sizes = Vec::new();
        for disks in disks.into_values() {
            let disks = disks.unwrap();
            let (total, usable) = (disks.total_bytes().unwrap(), disks.usable_bytes().unwrap());
            assert!(0 < usable && usable <= total, "{usable} of {total}");
            assert!(disks.dirs.iter().all(|dir| !dir.path.is_empty() && dir.error.is_none()));
            sizes.push((disks.size_of(&first), disks.size_of(&second)));
        }
        let full = |size: Option<u64>| size.is_some_and(|bytes| bytes >= 2 * MIB);
        let begun = sizes[0].0.is_some() && sizes[2].0.is_some();
        if begun && full(sizes[1].1) && full(sizes[2].1) { Ok(sizes) } else { Err(format!("{sizes:?}")) }
    })
    .await;
    let at = [(sizes[0].0, sizes[0].1), (sizes[1].0, None), (sizes[2].0, None)];
    assert_eq!(at, [(Some(0), None), (None, None), (Some(0), None)], "who holds what: {sizes:?}");
}

pub(crate) async fn a_brokers_own_settings_come_and_go(cluster: &dyn Cluster, _: &str) {
    const RATE: &str = "leader.replication.throttled.rate";
    let keys = ConfigKeys::Only([RATE.to_owned()].into());
    let set = |broker: i32, key: &str, value: &str| {
        let set = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        (broker, ConfigChange { set, unset: Vec::new() })
    };
    let unset = (2, ConfigChange { set: BTreeMap::new(), unset: vec![RATE.to_owned()] });
    for (change, rate) in
        [(set(2, RATE, "123456789"), Some("123456789")), (unset.clone(), None), (unset, None)]
    {
        assert_eq!(numbers(&cluster.alter_broker_configs(&[change]).await.unwrap()), [0]);
        eventually("the rate", || async {
            let seen = cluster.describe_broker_configs(&[2, 99], &keys).await.unwrap();
            let away = seen[1].as_ref().unwrap_err();
            assert!(away.is(8) && away.retriable && away.message.contains("99"), "{away:?}");
            let seen = seen[0].as_ref().unwrap();
            let shown = |settings: &BTreeMap<String, String>| settings.get(RATE).cloned();
            let (own, effective) = (shown(&seen.own), shown(&seen.effective));
            let right = own.as_deref() == rate && (rate.is_none() || effective.as_deref() == rate);
            if right { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
    let refused = [set(99, RATE, "1"), set(2, RATE, "fast"), set(2, "broker.id", "7")];
    let outcomes = cluster.alter_broker_configs(&refused).await.unwrap();
    assert_eq!(numbers(&outcomes[..1]), [8]);
    assert!(outcomes[1..].iter().all(Result::is_err), "{outcomes:?}");
    assert!(outcomes[1..].iter().flat_map(|one| one.as_ref().err()).all(|error| !error.retriable));
    // All keys, and those of the properties file count where the broker has none of its own.
    let all = cluster.describe_broker_configs(&[1], &ConfigKeys::All).await.unwrap().remove(0).unwrap();
    assert!(all.own.is_empty() || !all.own.contains_key("num.partitions"), "{:?}", all.own);
    assert_eq!(all.effective.get("num.partitions").map(String::as_str), Some("1"));
}

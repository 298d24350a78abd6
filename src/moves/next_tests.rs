use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    kafka::TopicDescription,
    moves::{BrokerRates, SeenThrottles, TopicMove},
};

const LIMITS: BatchLimits = BatchLimits { partitions: 10, per_broker: 10, throttle: 1_000_000 };

fn topic() -> TopicName {
    "orders".parse().unwrap()
}

fn partition() -> TopicPartition {
    TopicPartition { topic: topic(), partition: 0 }
}

/// Three brokers, of which `replicas` hold the one partition, all in sync but for those of `behind`.
fn seen(replicas: &[i32], behind: &[i32]) -> Observed {
    let in_sync = replicas.iter().copied().filter(|broker| !behind.contains(broker)).collect::<Vec<_>>();
    let described = TopicDescription {
        id: "id".to_owned(),
        replicas: vec![replicas.to_vec()],
        leaders: vec![in_sync.first().copied()],
        in_sync: vec![in_sync],
        configs: BTreeMap::new(),
        inherited: BTreeMap::new(),
    };
    Observed {
        topics: BTreeMap::from([(topic(), Some(described))]),
        brokers: BTreeSet::from([1, 2, 3]),
        min_in_sync: Some(1),
        throttles: Some(SeenThrottles {
            brokers: (1..=3).map(|broker| (broker, BrokerRates::default())).collect(),
            topics: BTreeMap::from([(topic(), [None, None])]),
        }),
        ..Observed::default()
    }
}

fn state(from: &[i32], to: &[i32]) -> MoveState {
    let moves = BTreeMap::from([(0, PartitionMove::waiting(from.to_vec(), to.to_vec(), 10))]);
    let factor = |brokers: &[i32]| i16::try_from(brokers.len()).unwrap();
    let goal = Goal::ReplicationFactor { from: factor(from), to: factor(to) };
    let mut state = MoveState::new();
    state.topics.insert(topic(), TopicMove::new("id".to_owned(), goal, moves));
    state
}

#[test]
fn replicas_are_not_taken_away_while_it_is_unknown_how_many_have_to_stay_in_sync() {
    let before = state(&[1, 2, 3], &[1, 2]);
    let mut observed = seen(&[1, 2, 3], &[2]);
    observed.min_in_sync = None;
    let step = next(&before, &observed, LIMITS);
    assert_eq!(step.act, Act::Nothing);
    assert!(step.obstacles[&partition()].contains("min.insync.replicas"), "{:?}", step.obstacles);
    observed.min_in_sync = Some(2);
    assert_eq!(next(&before, &observed, LIMITS).act, Act::Nothing, "broker 2 is out of sync");
    let all_in_sync = Observed { min_in_sync: Some(2), ..seen(&[1, 2, 3], &[]) };
    assert_eq!(next(&before, &all_in_sync, LIMITS).act, Act::Submit(vec![(partition(), vec![1, 2])]));
}

#[test]
fn a_move_that_was_prepared_is_not_submitted_when_replicas_fell_behind_meanwhile() {
    let mut before = state(&[1, 2, 3], &[1, 2]);
    before.get_mut(&partition()).unwrap().phase = Phase::Starting;
    let observed = Observed { min_in_sync: Some(2), ..seen(&[1, 2, 3], &[2]) };
    let step = next(&before, &observed, LIMITS);
    assert_eq!(step.act, Act::Nothing);
    assert_eq!(step.state.get(&partition()).unwrap().phase, Phase::Waiting);
}

#[test]
fn what_somebody_moved_meanwhile_is_given_up_and_not_put_where_it_was_planned_to_go() {
    let step = next(&state(&[1], &[1, 2]), &seen(&[3], &[]), LIMITS);
    assert_eq!(step.act, Act::Nothing);
    assert!(step.state.topics.is_empty(), "{:?}", step.state);
}

#[test]
fn another_topic_of_that_name_is_not_moved() {
    let mut before = state(&[1], &[1, 2]);
    before.topics.get_mut(&topic()).unwrap().topic_id = "another".to_owned();
    let step = next(&before, &seen(&[1], &[]), LIMITS);
    assert_eq!(step.act, Act::Nothing);
    assert_eq!(step.news, [News::Gone { topic: topic() }]);
}

#[test]
fn a_list_of_throttled_replicas_that_could_not_be_read_is_not_written() {
    let before = state(&[1], &[1, 2]);
    let mut observed = seen(&[1], &[]);
    let Act::Throttle(change) = next(&before, &observed, LIMITS).act else { panic!("no throttle is set") };
    assert_eq!((change.brokers.len(), change.topics.len()), (2, 1));
    observed.throttles.as_mut().unwrap().topics.clear();
    let Act::Throttle(change) = next(&before, &observed, LIMITS).act else { panic!("no throttle is set") };
    assert!(change.topics.is_empty(), "{change:?}");
}

#[test]
fn a_plan_keeps_to_as_many_partitions_as_there_is_room_for() {
    let moves = (0..10).map(|partition| (partition, PartitionMove::waiting(vec![1], vec![1, 2], 1)));
    let goal = Goal::ReplicationFactor { from: 1, to: 2 };
    let mut moves = TopicMove::new("id".to_owned(), goal, moves.collect());
    moves.keep_first(3);
    assert_eq!((moves.planned, moves.partitions.keys().copied().collect::<Vec<_>>()), (3, vec![0, 1, 2]));
}

#[test]
fn nothing_is_copied_by_a_broker_whose_throttles_could_not_be_read() {
    let before = state(&[1], &[1, 2]);
    for silent in [1, 2] {
        let mut observed = seen(&[1], &[]);
        observed.throttles.as_mut().unwrap().brokers.remove(&silent);
        let step = next(&before, &observed, LIMITS);
        assert_eq!(step.act, Act::Nothing);
        let why = &step.obstacles[&partition()];
        assert!(why.contains(&format!("broker {silent} does not tell")), "{why}");
        let unthrottled = next(&before, &observed, BatchLimits { throttle: 0, ..LIMITS });
        assert!(matches!(unthrottled.act, Act::Submit(_)), "{:?}", unthrottled.act);
    }
    let mut observed = seen(&[1, 3], &[]);
    observed.throttles.as_mut().unwrap().brokers.remove(&1);
    let away = Observed { brokers: BTreeSet::from([2, 3]), ..observed };
    let step = next(&state(&[1, 3], &[3, 2]), &away, LIMITS);
    assert!(matches!(step.act, Act::Throttle(_)), "one that is away copies nothing: {:?}", step);
}

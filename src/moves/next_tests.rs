use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    kafka::TopicDescription,
    moves::{BrokerRates, Room, SeenThrottles, TopicMove},
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

#[test]
fn a_batch_of_whatever_size_leaves_room_for_the_notes_of_its_throttles() {
    let limits = BatchLimits { partitions: 100_000, per_broker: 100_000, throttle: 1_000_000 };
    let mut before = MoveState::new();
    let mut observed = seen(&[1], &[]);
    let described = observed.topics[&topic()].clone();
    let mut room = Room::ALL;
    for number in 0..5_000 {
        let name: TopicName = format!("{}-{number:04}", "n".repeat(195)).parse().unwrap();
        let moves = BTreeMap::from([(0, PartitionMove::waiting(vec![1], vec![2], 10))]);
        let goal = Goal::Rebalance { id: "one".to_owned(), factor: 1 };
        let mut moves = TopicMove::new("id".to_owned(), goal, moves);
        if room.fit(&name, &mut moves) {
            before.topics.insert(name.clone(), moves);
            observed.topics.insert(name.clone(), described.clone());
            observed.throttles.as_mut().unwrap().topics.insert(name, [None, None]);
        }
    }
    let planned = before.to_text().unwrap().len();
    assert!((650_000..=700_000).contains(&planned), "{planned}");
    let step = next(&before, &observed, limits);
    let Act::Throttle(change) = &step.act else { panic!("{:?}", step.act) };
    assert!(change.topics.len() > 300, "{}", change.topics.len());
    let text = step.state.to_text().unwrap();
    assert!(text.len() < 950_000, "{}", text.len());
}

#[test]
fn what_was_called_off_is_counted_by_partitions_and_what_had_arrived_is_not_among_it() {
    let partition = |number| TopicPartition { topic: topic(), partition: number };
    let moves = (0..3).map(|number| (number, PartitionMove::waiting(vec![1], vec![1, 2], 10)));
    let goal = Goal::ReplicationFactor { from: 1, to: 2 };
    let mut before = MoveState::new();
    before.topics.insert(topic(), TopicMove::new("id".to_owned(), goal.clone(), moves.collect()));
    let mut observed = seen(&[1], &[]);
    let described = observed.topics.get_mut(&topic()).unwrap().as_mut().unwrap();
    (described.replicas, described.leaders) = (vec![vec![1, 2], vec![1], vec![1]], vec![Some(1); 3]);
    described.in_sync = described.replicas.clone();
    for number in [0, 1] {
        before.get_mut(&partition(number)).unwrap().phase = Phase::Submitted;
    }
    before.cancel(&topic());
    let step = next(&before, &observed, LIMITS);
    assert_eq!(step.news, [News::Cancelled { topic: topic(), goal, partitions: 2, moved: 1 }]);
}

#[test]
fn a_topic_of_which_one_partition_was_given_up_tells_of_those_that_moved() {
    let partition = |number| TopicPartition { topic: topic(), partition: number };
    let moves = (0..3).map(|number| (number, PartitionMove::waiting(vec![1], vec![1, 2], 10)));
    let goal = Goal::ReplicationFactor { from: 1, to: 2 };
    let mut before = MoveState::new();
    before.topics.insert(topic(), TopicMove::new("id".to_owned(), goal.clone(), moves.collect()));
    before.give_up(&partition(1));
    let mut observed = seen(&[1], &[]);
    let described = observed.topics.get_mut(&topic()).unwrap().as_mut().unwrap();
    (described.replicas, described.leaders) = (vec![vec![1, 2], vec![1], vec![1, 2]], vec![Some(1); 3]);
    described.in_sync = described.replicas.clone();
    let step = next(&before, &observed, LIMITS);
    assert_eq!(step.news, [News::Moved { topic: topic(), goal, partitions: 2, abandoned: 1 }]);
}

#[test]
fn a_topic_whose_leaders_had_to_be_elected_is_told_of_once_they_are() {
    let mut observed = seen(&[1, 2], &[]);
    let described = observed.topics.get_mut(&topic()).unwrap().as_mut().unwrap();
    described.leaders = vec![Some(2)];
    let step = next(&state(&[2, 1], &[1, 2]), &observed, LIMITS);
    assert_eq!((step.act, step.news), (Act::Elect(vec![partition()]), vec![]));
    let step = next(&step.after.unwrap(), &observed, LIMITS);
    assert!(matches!(&step.news[..], [News::Moved { partitions: 1, .. }]), "{:?}", step.news);
    assert!(step.state.topics.is_empty());
}

#[test]
fn that_a_topic_begins_is_told_once() {
    let before = state(&[1], &[1, 2]);
    let unthrottled = BatchLimits { throttle: 0, ..LIMITS };
    let step = next(&before, &seen(&[1], &[]), unthrottled);
    assert!(matches!(step.act, Act::Submit(_)), "{:?}", step.act);
    assert!(matches!(&step.news[..], [News::Begun { .. }]), "{:?}", step.news);
    let again = MoveState::take_over(&step.state.to_text().unwrap()).unwrap();
    let step = next(&again, &seen(&[1], &[]), unthrottled);
    assert!(matches!(step.act, Act::Submit(_)), "{:?}", step.act);
    assert!(step.news.is_empty(), "{:?}", step.news);
}

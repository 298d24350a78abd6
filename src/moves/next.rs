use std::collections::BTreeMap;

use topicops_contract::TopicName;

use super::{
    BatchLimits, Goal, MoveState, Observed, PartitionMove, Phase, ThrottleChange,
    batch::{choose, foreign, obstacle},
    move_state::same_brokers,
    throttles::Needed,
};
use crate::kafka::{Reassignment, TopicDescription, TopicPartition};

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// To be remembered before anything is done.
    pub state: MoveState,
    pub act: Act,
    /// To be remembered once it is done.
    pub after: Option<MoveState>,
    /// What authors and administrators are told.
    pub news: Vec<News>,
    /// Moves of others: nothing is begun while there are any.
    pub foreign: Vec<Reassignment>,
    /// Why partitions wait that could be moved otherwise.
    pub obstacles: BTreeMap<TopicPartition, String>,
    /// Moves under way whose brokers are away.
    pub stuck: BTreeMap<TopicPartition, Vec<i32>>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Time has to pass.
    Nothing,
    /// The throttles have to be looked at first.
    Look,
    Throttle(ThrottleChange),
    Submit(Vec<(TopicPartition, Vec<i32>)>),
    Cancel(Vec<TopicPartition>),
    Unthrottle(ThrottleChange),
    Elect(Vec<TopicPartition>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Kafka is asked for the first time to move something of a topic.
    Begun { topic: TopicName, goal: Goal },
    /// So many partitions of a topic are where they should be; the others were given up.
    Moved { topic: TopicName, goal: Goal, partitions: usize, abandoned: usize },
    /// A topic's moves were called off: so many partitions are where they were, and some had arrived before.
    Cancelled { topic: TopicName, goal: Goal, partitions: usize, moved: usize },
    /// Somebody else moves a partition of ours elsewhere.
    Replaced { partition: TopicPartition, to: Vec<i32> },
    /// Somebody else called off a move of ours.
    CalledOff { partition: TopicPartition },
    /// The topic is gone.
    Gone { topic: TopicName },
}

/// Says what comes next.
///
/// Nothing is begun while moves of others are under way. What is begun goes in batches, and the next batch when the former is
/// done: the throttles are noted and set, and seen to be set, before Kafka is asked to move; they are taken away when the batch
/// is done, and their note after that.
pub fn next(before: &MoveState, seen: &Observed, limits: BatchLimits) -> Step {
    let mut look = Looking { state: before.clone(), news: Vec::new() };
    look.forget_gone(seen);
    look.settle(seen);
    let Looking { mut state, mut news } = look;

    let foreign: Vec<Reassignment> = foreign(&state, seen).into_iter().cloned().collect();
    let stuck = stuck(&state, seen);
    // What was begun and not yet asked of Kafka is looked at once more: its brokers may have changed since.
    for (partition, one) in state.partitions_mut() {
        if one.phase == Phase::Starting && obstacle(&partition, one, seen, limits).is_some() {
            one.phase = Phase::Waiting;
        }
    }
    let (mut chosen, obstacles) = choose(&state, seen, limits);
    if !foreign.is_empty() {
        chosen.clear();
        each(&mut state, |one| one.phase == Phase::Starting, |one| one.phase = Phase::Waiting);
    }
    let step = |state: MoveState, act: Act, after: Option<MoveState>, news: Vec<News>| Step {
        state,
        act,
        after,
        news,
        foreign: foreign.clone(),
        obstacles: obstacles
            .iter()
            .map(|(partition, why)| {
                let goal = before.topics.get(&partition.topic).map(|moves| &moves.goal);
                (partition.clone(), why.message(partition, goal))
            })
            .collect(),
        stuck: stuck.clone(),
    };

    let listed =
        |partition: &TopicPartition| seen.reassignments.iter().any(|one| one.partition == *partition);
    let doomed: Vec<TopicPartition> = state
        .partitions()
        .filter(|(partition, one)| one.phase == Phase::Cancelling && listed(partition))
        .map(|(partition, _)| partition)
        .collect();
    if !doomed.is_empty() {
        return step(state, Act::Cancel(doomed), None, news);
    }

    let mut needed = Needed::default();
    for (partition, one) in state.partitions() {
        if one.is_under_way() || chosen.contains(&partition) {
            needed.add(&partition, one);
        }
    }
    let batch_over =
        state.partitions().all(|(partition, one)| !one.is_under_way() || stuck.contains_key(&partition));
    // Also in the midst of a batch, when it is to be as fast as it can from now on.
    let unthrottled = limits.throttle == 0;
    if unthrottled {
        needed = Needed::default();
    }
    if (batch_over || unthrottled) && state.throttles.exceed(&needed) {
        let Some(throttles) = &seen.throttles else { return step(state, Act::Look, None, news) };
        let (left, change) = state.throttles.remove(&needed, throttles);
        let mut after = state.clone();
        after.throttles = left;
        if !change.is_empty() {
            return step(state, Act::Unthrottle(change), Some(after), news);
        }
        state = after;
    }
    if batch_over {
        let led_by_another = |partition: &TopicPartition, one: &PartitionMove| {
            let leader = seen.leader(partition);
            leader.is_some() && leader != one.to.first().copied()
        };
        let done: Vec<(TopicPartition, PartitionMove)> = state
            .partitions()
            .filter(|(_, one)| one.phase == Phase::Done)
            .map(|(partition, one)| (partition, one.clone()))
            .collect();
        let to_elect: Vec<TopicPartition> = done
            .iter()
            .filter(|(partition, one)| led_by_another(partition, one))
            .map(|(partition, _)| partition.clone())
            .collect();
        let mut after = state.clone();
        done.iter().for_each(|(partition, _)| after.remove(partition));
        if !to_elect.is_empty() {
            // Topics that have nothing left then are told of by the next look.
            return step(state, Act::Elect(to_elect), Some(after), news);
        }
        news.extend(finish(&mut after));
        state = after;
    }

    let starting: Vec<(TopicPartition, Vec<i32>)> = state
        .partitions()
        .filter(|(partition, one)| one.phase == Phase::Starting || chosen.contains(partition))
        .map(|(partition, one)| (partition, one.to.clone()))
        .collect();
    let throttled = limits.throttle > 0 && needed != Needed::default();
    match &seen.throttles {
        Some(throttles) if throttled => {
            let (noted, change) = state.throttles.set(&needed, throttles, limits.throttle);
            state.throttles = noted;
            if !change.is_empty() {
                each_named(&mut state, &starting, |one| one.phase = Phase::Starting);
                return step(state, Act::Throttle(change), None, news);
            }
        }
        None if throttled && !starting.is_empty() => return step(state, Act::Look, None, news),
        _ => {}
    }
    if starting.is_empty() {
        return step(state, Act::Nothing, None, news);
    }
    each_named(&mut state, &starting, |one| one.phase = Phase::Submitted);
    news.extend(begin(&mut state));
    step(state, Act::Submit(starting), None, news)
}

/// Marks topics of which something was submitted for the first time, and tells of them.
fn begin(state: &mut MoveState) -> Vec<News> {
    let mut news = Vec::new();
    for (topic, moves) in &mut state.topics {
        if !moves.begun && moves.partitions.values().any(|one| one.phase == Phase::Submitted) {
            moves.begun = true;
            news.push(News::Begun { topic: topic.clone(), goal: moves.goal.clone() });
        }
    }
    news
}

/// Takes out topics that have no moves left, and tells of them.
pub(super) fn finish(state: &mut MoveState) -> Vec<News> {
    let over = |moves: &super::TopicMove| moves.partitions.is_empty();
    let ended = state.topics.iter().filter(|(_, moves)| over(moves));
    let news = ended.filter_map(|(topic, moves)| {
        let (topic, goal, moved) = (topic.clone(), moves.goal.clone(), moves.moved());
        match (moves.cancelled, moved) {
            (true, _) => Some(News::Cancelled { topic, goal, partitions: moves.called_off, moved }),
            // That they were given up was told when it happened.
            (false, 0) => None,
            (false, _) => Some(News::Moved { topic, goal, partitions: moved, abandoned: moves.abandoned }),
        }
    });
    let news = news.collect();
    state.topics.retain(|_, moves| !over(moves));
    news
}

struct Looking {
    state: MoveState,
    news: Vec<News>,
}

impl Looking {
    fn forget_gone(&mut self, seen: &Observed) {
        let moves = &self.state.topics;
        let is_another = |(topic, now): &(&TopicName, &Option<TopicDescription>)| {
            let planned = moves.get(*topic).map_or("", |moves| moves.topic_id.as_str());
            now.as_ref().is_none_or(|now| !planned.is_empty() && now.id != planned)
        };
        let gone: Vec<TopicName> =
            seen.topics.iter().filter(is_another).map(|(topic, _)| topic.clone()).collect();
        for topic in &gone {
            self.state.throttles.forget(topic);
            if self.state.topics.remove(topic).is_some() {
                self.news.push(News::Gone { topic: topic.clone() });
            }
        }
    }

    /// Brings every move's phase up to what the brokers show.
    fn settle(&mut self, seen: &Observed) {
        let listed: BTreeMap<&TopicPartition, &Reassignment> =
            seen.reassignments.iter().map(|one| (&one.partition, one)).collect();
        let (mut given_up, mut put_back) = (Vec::new(), Vec::new());
        for (partition, one) in self.state.partitions_mut() {
            let listed = listed.get(&partition).map(|listed| listed.target());
            let ours = listed.as_ref().is_some_and(|target| same_brokers(target, &one.to));
            let now = seen.replicas(&partition);
            let at = |brokers: &[i32]| now.is_some_and(|now| same_brokers(now, brokers));
            let lost = seen.lost.contains(&partition);
            let replaced = |to: Vec<i32>| News::Replaced { partition: partition.clone(), to };
            match (one.phase, listed) {
                (Phase::Done, _) | (Phase::Yielded, Some(_)) => {}
                (Phase::Yielded, None) => given_up.push((partition, true)),
                (Phase::Waiting | Phase::Starting, Some(_)) if ours => one.phase = Phase::Submitted,
                // Another's; it is waited for.
                (Phase::Waiting, Some(_)) => {}
                (Phase::Starting, Some(_)) => one.phase = Phase::Waiting,
                (Phase::Waiting | Phase::Starting, None) => {
                    if now == Some(one.to.as_slice()) {
                        one.phase = Phase::Done;
                    } else if now.is_some() && !at(&one.from) && !at(&one.to) {
                        // Somebody moved it meanwhile: what was planned from elsewhere is planned anew.
                        given_up.push((partition, true));
                    }
                }
                (Phase::Submitted | Phase::Cancelling, Some(_)) if ours => {}
                (Phase::Submitted | Phase::Cancelling, Some(to)) => {
                    one.phase = Phase::Yielded;
                    self.news.push(replaced(to));
                }
                (Phase::Submitted, None) if at(&one.to) => one.phase = Phase::Done,
                (Phase::Submitted, None) if lost => {
                    self.news.push(News::CalledOff { partition: partition.clone() });
                    given_up.push((partition, true));
                }
                (Phase::Cancelling, None) if now == Some(one.from.as_slice()) => {
                    given_up.push((partition, false));
                }
                (Phase::Cancelling, None) if at(&one.from) => {
                    // Kafka puts back who held it, and not in their old order: that is a move without anything to copy.
                    let now = now.unwrap_or_default().to_vec();
                    *one = PartitionMove::waiting(now, one.from.clone(), 0);
                    put_back.push(partition);
                }
                (Phase::Cancelling, None) if at(&one.to) => one.phase = Phase::Done,
                (Phase::Cancelling, None) if lost => given_up.push((partition, false)),
                // Metadata lags.
                (Phase::Submitted | Phase::Cancelling, None) => {}
            }
        }
        for (partition, abandoned) in &given_up {
            match abandoned {
                true => self.state.give_up(partition),
                false => {
                    self.state.remove(partition);
                    self.state.count_called_off(partition);
                }
            }
        }
        put_back.iter().for_each(|partition| self.state.count_called_off(partition));
    }
}

fn stuck(state: &MoveState, seen: &Observed) -> BTreeMap<TopicPartition, Vec<i32>> {
    let under_way = state.partitions().filter(|(_, one)| one.phase == Phase::Submitted);
    let away = under_way.map(|(partition, one)| {
        (partition, one.adding().filter(|broker| !seen.brokers.contains(broker)).collect::<Vec<_>>())
    });
    away.filter(|(_, brokers)| !brokers.is_empty()).collect()
}

fn each(state: &mut MoveState, which: impl Fn(&PartitionMove) -> bool, change: impl Fn(&mut PartitionMove)) {
    state.partitions_mut().map(|(_, one)| one).filter(|one| which(one)).for_each(change);
}

fn each_named(
    state: &mut MoveState,
    named: &[(TopicPartition, Vec<i32>)],
    change: impl Fn(&mut PartitionMove),
) {
    let named: std::collections::BTreeSet<&TopicPartition> =
        named.iter().map(|(partition, _)| partition).collect();
    state
        .partitions_mut()
        .filter(|(partition, _)| named.contains(partition))
        .for_each(|(_, one)| change(one));
}

#[cfg(test)]
#[path = "next_tests.rs"]
mod tests;

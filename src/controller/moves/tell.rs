//! A word to authors and administrators: statuses, Events, metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use topicops_contract::TopicName;
use tracing::{info, warn};

use super::{
    Mover, Moving,
    mover::{Seen, Shown, Work},
};
use crate::{
    Reason,
    kafka::Reassignment,
    metrics::StateLabel,
    moves::{
        Goal, MoveState, News, Pace, Phase, Progress, RebalanceState, RebalanceStatus, Step, TakenRequest,
        duration, size,
    },
};

/// Numbers change all the time; they are told this often.
const NUMBERS: Duration = Duration::from_secs(10);

/// What was told, and what is waited for.
#[derive(Default)]
pub(super) struct Telling {
    at: Option<Instant>,
    /// What was said last, without its numbers.
    gist: BTreeMap<TopicName, (Option<Reason>, usize)>,
    status: Option<RebalanceStatus>,
    /// A rebalance waits for the moves of others.
    pub(super) waits: bool,
    /// Topics whose replication factor is to change, and that somebody else moves now.
    pub(super) others: BTreeSet<TopicName>,
}

impl Mover {
    /// Tells the news of a step, and gives what else it showed.
    pub(super) fn notice(&self, work: &mut Work, step: &Step) -> Shown {
        for news in &step.news {
            self.announce(work, &step.state, news);
        }
        let foreign = step.foreign.iter().map(foreign).collect();
        (foreign, step.obstacles.clone(), step.stuck.clone())
    }

    fn announce(&self, work: &mut Work, state: &MoveState, news: &News) {
        let moved = |outcome: &'static str, count: usize| {
            let counter = self.metrics.moved_partitions.get_or_create(&StateLabel { state: outcome });
            counter.inc_by(count as u64);
        };
        match news {
            News::Begun { topic, goal } => {
                let pace = self.pace(work, state);
                let progress = Progress::of_topic(state, topic, &BTreeMap::new(), pace);
                let mut note = match goal {
                    Goal::ReplicationFactor { from, to } => format!("replication factor {from} to {to}"),
                    Goal::Rebalance { .. } => "rebalancing".to_owned(),
                };
                note.push_str(&format!(
                    ": {} partitions, {} to copy",
                    progress.left,
                    size(progress.bytes_left)
                ));
                if let Some(seconds) = progress.seconds_left {
                    note.push_str(&format!(", about {}", duration(seconds)));
                }
                info!(%topic, "{note}");
                self.say(topic, Reason::MoveBegun, &note);
            }
            News::Moved { topic, goal, partitions, abandoned } => {
                moved("moved", *partitions);
                let mut note = match goal {
                    Goal::ReplicationFactor { from, to } if *abandoned == 0 => {
                        format!(
                            "the replication factor is {to} now, it was {from}: {partitions} partitions changed"
                        )
                    }
                    Goal::ReplicationFactor { from, to } => {
                        format!("replication factor {from} to {to}: {partitions} partitions changed")
                    }
                    Goal::Rebalance { .. } => format!("rebalanced: {partitions} partitions moved"),
                };
                if *abandoned > 0 {
                    note.push_str(&format!(", {abandoned} were given up"));
                }
                info!(%topic, "{note}");
                self.say(topic, Reason::Moved, &note);
            }
            News::Cancelled { topic, goal, partitions, moved: arrived } => {
                moved("cancelled", *partitions);
                moved("moved", *arrived);
                let mut note = match goal {
                    Goal::ReplicationFactor { from, to } => {
                        format!("the change of the replication factor from {from} to {to} was called off")
                    }
                    Goal::Rebalance { .. } => "the rebalance was called off".to_owned(),
                };
                note.push_str(&format!(": {partitions} partitions are where they were"));
                if *arrived > 0 {
                    note.push_str(&format!(", {arrived} were moved before"));
                }
                info!(%topic, "{note}");
                self.say(topic, Reason::MoveCancelled, &note);
            }
            News::Replaced { partition, to } => {
                moved("replaced", 1);
                let note = format!(
                    "somebody else moves partition {} to {to:?}; topicops gives way",
                    partition.partition
                );
                warn!(%partition, "{note}");
                // Whoever rebalances reads it in the status of that.
                let goal = state.topics.get(&partition.topic).map(|moves| &moves.goal);
                if !matches!(goal, Some(Goal::Rebalance { .. })) {
                    self.say(&partition.topic, Reason::WaitingForAnotherMove, &note);
                }
            }
            News::CalledOff { partition } => {
                moved("replaced", 1);
                let note = format!("somebody else called off the move of partition {}", partition.partition);
                warn!(%partition, "{note}");
                work.hold(&partition.topic);
                self.say(&partition.topic, Reason::MoveCancelled, &note);
            }
            News::Gone { topic } => info!(%topic, "the topic is gone, and its moves with it"),
        }
    }

    /// An Event on the topic's ConfigMap, if there is one.
    fn say(&self, topic: &TopicName, reason: Reason, note: &str) {
        if let Some(reference) = self.index.owner_reference(topic) {
            self.reporter.say(reference, reason, note);
        }
    }

    /// Shows how far everything is, to the topic controller and in the request's status; numbers now and then only.
    pub(super) async fn show(&self, work: &mut Work, seen: Option<Seen<'_>>) {
        let pace = self.pace(work, &work.state);
        let (foreign, obstacles, stuck) = seen.map(|(_, shown)| shown).unwrap_or_default();
        let mut moving: BTreeMap<TopicName, Moving> = BTreeMap::new();
        for (topic, moves) in &work.state.topics {
            let progress = Progress::of_topic(&work.state, topic, &work.copied, pace);
            let of_topic = |partition: &&crate::kafka::TopicPartition| partition.topic == *topic;
            let stuck = stuck.iter().find(|(partition, _)| of_topic(partition));
            let obstacle = obstacles.iter().find(|(partition, _)| of_topic(partition));
            let rebalance = matches!(moves.goal, Goal::Rebalance { .. });
            let said = if moves.cancelled {
                Some((Reason::Moving, "its move is being called off".to_owned()))
            } else if let Some((partition, brokers)) = stuck {
                let message = format!(
                    "partition {} cannot be copied to {brokers:?}, which is away; it goes on when that is back; {}",
                    partition.partition,
                    progress.message()
                );
                Some((Reason::MoveStuck, message))
            } else if let Some(foreign) = foreign.first().filter(|_| progress.moving == 0 && !rebalance) {
                Some((
                    Reason::WaitingForAnotherMove,
                    format!("{foreign}; topicops begins when that has ended"),
                ))
            } else if progress.moving > 0 || !rebalance {
                let mut message = match &moves.goal {
                    Goal::ReplicationFactor { from, to } => format!("replication factor {from} to {to}: "),
                    Goal::Rebalance { .. } => "rebalancing: ".to_owned(),
                };
                message.push_str(&progress.message());
                for remark in obstacle.map(|(_, why)| why).into_iter().chain(&work.trouble) {
                    message.push_str("; ");
                    message.push_str(remark);
                }
                Some((Reason::Moving, message))
            } else {
                None
            };
            moving.insert(topic.clone(), Moving { factor: moves.goal.factor(), rebalance, said });
        }
        let others = std::mem::take(&mut work.telling.others);
        let gist: BTreeMap<_, _> = moving
            .iter()
            .map(|(topic, one)| {
                let left = work.state.topics.get(topic).map_or(0, |moves| moves.partitions.len());
                (topic.clone(), (one.said.as_ref().map(|(reason, _)| *reason), left))
            })
            .collect();
        let waits = std::mem::take(&mut work.telling.waits);
        let rebalanced = |topic: &TopicName| {
            let moves = work.state.topics.get(topic);
            moves.is_some_and(|moves| matches!(moves.goal, Goal::Rebalance { .. }) && !moves.cancelled)
        };
        let stuck = stuck.iter().find(|(partition, _)| rebalanced(&partition.topic));
        let stuck = stuck.map(|(partition, brokers)| {
            format!(
                "{partition} cannot be copied to {brokers:?}, which is away; it goes on when that is back"
            )
        });
        let obstacle = obstacles.iter().find(|(partition, _)| rebalanced(&partition.topic));
        let hindrance =
            stuck.or_else(|| obstacle.map(|(partition, why)| format!("{}: {why}", partition.topic)));
        let status = self.rebalance_status(work, pace, (&foreign, hindrance), waits);
        let turn = |status: &Option<RebalanceStatus>| {
            status.as_ref().map(|status| (status.id.clone(), status.state))
        };
        let due = work.telling.at.is_none_or(|at| at.elapsed() >= NUMBERS);
        let held_up = self.desk.is_held_up_otherwise(&others);
        if due || held_up || gist != work.telling.gist || turn(&status) != turn(&work.telling.status) {
            work.telling.at = Some(Instant::now());
            work.telling.gist = gist;
            let changed = self.desk.show(moving, others);
            self.index.mark(&changed);
            self.set_metrics(work, pace);
            self.tell_requester(work, status).await;
        }
    }

    /// As fast as the last looks showed or, before there is anything to see, as the throttle lets the brokers that copy.
    fn pace(&self, work: &Work, state: &MoveState) -> Pace {
        let throttled = || {
            let throttle = self.limits_of(work).throttle;
            let copying = |all: bool| -> BTreeSet<i32> {
                let moves = state.partitions().filter(|(_, one)| all || one.is_under_way());
                moves.flat_map(|(_, one)| one.adding().collect::<Vec<_>>()).collect()
            };
            let now = copying(false);
            let brokers = if now.is_empty() { copying(true) } else { now };
            (throttle > 0).then(|| throttle.saturating_mul(brokers.len() as u64))
        };
        Pace::new(state, &work.copied, work.pace.or_else(throttled))
    }

    async fn tell_requester(&self, work: &mut Work, status: Option<RebalanceStatus>) {
        let Some(status) = status.filter(|status| work.telling.status.as_ref() != Some(status)) else {
            return;
        };
        match self.store.tell(&status).await {
            Ok(()) => work.telling.status = Some(status),
            Err(error) => warn!(error = crate::chain(&error), "how the rebalance stands could not be told"),
        }
    }

    fn rebalance_status(
        &self,
        work: &Work,
        pace: Pace,
        (foreign, hindrance): (&[String], Option<String>),
        waits: bool,
    ) -> Option<RebalanceStatus> {
        let request = self.desk.requested()??;
        let of = |id: &str, state, message: String| RebalanceStatus {
            id: id.to_owned(),
            state,
            message,
            ..RebalanceStatus::default()
        };
        if let Some((id, message)) = work.refused.as_ref().filter(|(id, _)| *id == request.id) {
            return Some(of(id, RebalanceState::Refused, message.clone()));
        }
        let taken = work.state.request.as_ref().filter(|taken| taken.request.id == request.id);
        let Some(taken) = taken else {
            let message = if waits {
                "other moves are under way; topicops plans when they have ended"
            } else {
                "not planned yet"
            };
            return Some(of(&request.id, RebalanceState::Waiting, message.to_owned()));
        };
        let progress = Progress::of_rebalance(&work.state, &work.copied, pace);
        let moving = work.state.is_rebalancing();
        let state = match (request.cancel, moving || taken.later > 0) {
            (_, true) => RebalanceState::Moving,
            (true, false) => RebalanceState::Cancelled,
            (false, false) => RebalanceState::Done,
        };
        let message = match state {
            RebalanceState::Moving if request.cancel => "what is under way is called off".to_owned(),
            RebalanceState::Moving => match foreign.first().filter(|_| progress.moving == 0) {
                Some(foreign) => format!("{foreign}; topicops waits for the end"),
                None => {
                    let parts = [Some(progress.message()), hindrance, work.trouble.clone()];
                    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
                }
            },
            RebalanceState::Done => done(taken),
            _ => String::new(),
        };
        Some(RebalanceStatus {
            id: request.id,
            state,
            message,
            partitions: taken.planned + taken.later,
            partitions_left: progress.left,
            bytes_left: progress.bytes_left,
            seconds_left: progress.seconds_left,
            remarks: taken.remarks.clone(),
        })
    }

    fn set_metrics(&self, work: &Work, pace: Pace) {
        let progress = Progress::of_all(&work.state, &work.copied, pace);
        let mut counts = BTreeMap::from([("waiting", 0), ("moving", 0), ("yielded", 0)]);
        for (_, one) in work.state.partitions() {
            let state = match one.phase {
                Phase::Waiting | Phase::Starting => "waiting",
                Phase::Submitted | Phase::Cancelling => "moving",
                Phase::Yielded => "yielded",
                Phase::Done => continue,
            };
            *counts.entry(state).or_default() += 1;
        }
        for (state, count) in counts {
            self.metrics.moving_partitions.get_or_create(&StateLabel { state }).set(count);
        }
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.move_bytes_left.set(gauge(progress.bytes_left));
        self.metrics.move_seconds_left.set(gauge(progress.seconds_left.unwrap_or(0)));
        self.metrics.move_throttles.set(gauge(work.state.throttles.count() as u64));
    }

    pub(super) fn clear_metrics(&self) {
        self.metrics.moving_partitions.clear();
        self.metrics.move_bytes_left.set(0);
        self.metrics.move_seconds_left.set(0);
        self.metrics.move_throttles.set(0);
    }
}

fn done(taken: &TakenRequest) -> String {
    match (taken.planned, taken.abandoned) {
        (0, _) => "nothing was to be moved".to_owned(),
        (planned, 0) => format!("{planned} partitions moved"),
        (planned, abandoned) => {
            format!(
                "{} partitions moved; {abandoned} were given up: rebalance again",
                planned - abandoned.min(planned)
            )
        }
    }
}

fn foreign(listed: &Reassignment) -> String {
    format!("somebody else moves partition {} to {:?}", listed.partition, listed.target())
}

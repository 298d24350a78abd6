use std::collections::BTreeMap;

use topicops_contract::TopicName;

use super::{Goal, MoveState, PartitionMove, Phase, TopicMove};
use crate::kafka::TopicPartition;

/// How far moves are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Partitions that were to be moved.
    pub planned: usize,
    /// Partitions that are not done.
    pub left: usize,
    pub moving: usize,
    pub bytes: u64,
    pub bytes_left: u64,
    /// At the pace of the last looks, or, before there is one, of the throttle. `None`: not known.
    pub seconds_left: Option<u64>,
}

/// How fast everything together goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per second; `None`: not known.
    rate: Option<u64>,
    /// What is left to copy of all that is under way: it shares the rate.
    under_way: u64,
}

impl Pace {
    pub fn new(state: &MoveState, copied: &BTreeMap<TopicPartition, u64>, rate: Option<u64>) -> Self {
        let under_way = state.partitions().filter(|(_, one)| one.is_under_way());
        let left = under_way.map(|(partition, one)| left(&partition, one, copied));
        Self { rate: rate.filter(|rate| *rate > 0), under_way: left.fold(0, u64::saturating_add) }
    }
}

fn left(partition: &TopicPartition, one: &PartitionMove, copied: &BTreeMap<TopicPartition, u64>) -> u64 {
    one.to_copy().saturating_sub(copied.get(partition).copied().unwrap_or(0))
}

impl Progress {
    /// Of one topic; `copied`: what those to come have of each partition, all together. How long it takes is told only once
    /// its turn has come.
    pub fn of_topic(
        state: &MoveState,
        topic: &TopicName,
        copied: &BTreeMap<TopicPartition, u64>,
        pace: Pace,
    ) -> Self {
        let moves = state.topics.get(topic).map(|moves| (topic, moves));
        let progress = Self::of(moves.into_iter(), copied, pace);
        Self { seconds_left: progress.seconds_left.filter(|_| progress.moving > 0), ..progress }
    }

    /// Of all that a rebalance moves, also by later plans.
    pub fn of_rebalance(state: &MoveState, copied: &BTreeMap<TopicPartition, u64>, pace: Pace) -> Self {
        let moves = state.topics.iter().filter(|(_, moves)| matches!(moves.goal, Goal::Rebalance { .. }));
        let mut progress = Self::of(moves, copied, pace);
        if let Some(taken) = &state.request {
            progress.planned = taken.planned + taken.later;
            progress.left += taken.later;
            progress.bytes_left = progress.bytes_left.saturating_add(taken.bytes_later);
            let later = pace.rate.map(|rate| taken.bytes_later.div_ceil(rate));
            progress.seconds_left =
                progress.seconds_left.zip(later).map(|(now, later)| now.saturating_add(later));
        }
        progress
    }

    pub fn of_all(state: &MoveState, copied: &BTreeMap<TopicPartition, u64>, pace: Pace) -> Self {
        Self::of(state.topics.iter(), copied, pace)
    }

    fn of<'a>(
        moves: impl Iterator<Item = (&'a TopicName, &'a TopicMove)>,
        copied: &BTreeMap<TopicPartition, u64>,
        pace: Pace,
    ) -> Self {
        let mut progress = Self::default();
        // Of what is told of here and has not begun.
        let mut waiting: u64 = 0;
        for (topic, moves) in moves {
            progress.planned += moves.planned;
            for (partition, one) in &moves.partitions {
                if one.phase == Phase::Done {
                    continue;
                }
                let partition = TopicPartition { topic: topic.clone(), partition: *partition };
                let left = left(&partition, one, copied);
                if !one.is_under_way() {
                    waiting = waiting.saturating_add(left);
                }
                progress.left += 1;
                progress.moving += usize::from(one.is_under_way());
                progress.bytes = progress.bytes.saturating_add(one.to_copy());
                progress.bytes_left = progress.bytes_left.saturating_add(left);
            }
        }
        let ahead = waiting.saturating_add(if progress.left > 0 { pace.under_way } else { 0 });
        progress.seconds_left = pace.rate.map(|rate| ahead.div_ceil(rate));
        progress
    }

    /// "3 of 12 partitions moved, 1.2 GiB left, about 4 min".
    pub fn message(&self) -> String {
        let mut text = format!(
            "{} of {} partitions moved, {} left to copy",
            self.planned.saturating_sub(self.left),
            self.planned,
            size(self.bytes_left)
        );
        if let Some(seconds) = self.seconds_left.filter(|_| self.bytes_left > 0) {
            text.push_str(", about ");
            text.push_str(&duration(seconds));
        }
        text
    }
}

/// Bytes, for people.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = None;
    #[allow(clippy::cast_precision_loss)]
    let mut number = bytes as f64;
    for next in units {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = Some(next);
    }
    match unit {
        None => format!("{bytes} bytes"),
        Some(unit) => format!("{number:.1} {unit}"),
    }
}

/// Seconds, for people.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..=89 => format!("{seconds} s"),
        90..=5399 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

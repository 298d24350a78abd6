use std::collections::BTreeMap;

use topicops_contract::TopicName;

use super::{Goal, MoveState, Phase, TopicMove};
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

impl Progress {
    /// Of one topic; `copied`: what those to come have of each partition, all together. `pace`: bytes per second.
    pub fn of_topic(
        state: &MoveState,
        topic: &TopicName,
        copied: &BTreeMap<TopicPartition, u64>,
        pace: Option<u64>,
    ) -> Self {
        let moves = state.topics.get(topic).map(|moves| (topic, moves));
        Self::of(moves.into_iter(), copied, pace)
    }

    /// Of all that a rebalance moves.
    pub fn of_rebalance(
        state: &MoveState,
        copied: &BTreeMap<TopicPartition, u64>,
        pace: Option<u64>,
    ) -> Self {
        let moves = state.topics.iter().filter(|(_, moves)| matches!(moves.goal, Goal::Rebalance { .. }));
        Self::of(moves, copied, pace)
    }

    pub fn of_all(state: &MoveState, copied: &BTreeMap<TopicPartition, u64>, pace: Option<u64>) -> Self {
        Self::of(state.topics.iter(), copied, pace)
    }

    fn of<'a>(
        moves: impl Iterator<Item = (&'a TopicName, &'a TopicMove)>,
        copied: &BTreeMap<TopicPartition, u64>,
        pace: Option<u64>,
    ) -> Self {
        let mut progress = Self::default();
        for (topic, moves) in moves {
            progress.planned += moves.planned;
            for (partition, one) in &moves.partitions {
                if one.phase == Phase::Done {
                    continue;
                }
                let partition = TopicPartition { topic: topic.clone(), partition: *partition };
                let here = copied.get(&partition).copied().unwrap_or(0);
                progress.left += 1;
                progress.moving += usize::from(one.is_under_way());
                progress.bytes = progress.bytes.saturating_add(one.to_copy());
                progress.bytes_left = progress.bytes_left.saturating_add(one.to_copy().saturating_sub(here));
            }
        }
        progress.seconds_left = pace.filter(|pace| *pace > 0).map(|pace| progress.bytes_left.div_ceil(pace));
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

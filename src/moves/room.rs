use serde::Serialize;
use topicops_contract::TopicName;

use super::{MoveState, PartitionMove, TopicMove};

/// How much more can be remembered of moves: all of it has to fit one ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Room(usize);

impl Room {
    /// Of the bytes that a ConfigMap holds (1 MiB), what moves may take: throttles, and what becomes of moves, come to it.
    pub const ALL: Self = Self(700_000);
    /// Less is not worth another look at the whole cluster.
    const WORTH: usize = Self::ALL.0 / 10;

    pub fn beside(state: &MoveState) -> Self {
        Self(Self::ALL.0.saturating_sub(length(state)))
    }

    /// Whether there is enough of it to plan a rebalance.
    pub fn is_ample(self) -> bool {
        self.0 >= Self::ALL.0 / 2
    }

    /// Whether there is more of it now than there was, so that to plan is worth it again.
    pub fn outgrew(self, before: Self) -> bool {
        self.0 >= before.0.saturating_add(Self::WORTH)
    }

    /// Takes room for one more partition; `topic`: its topic as well, without its partitions. Whether there was enough.
    pub(crate) fn take(&mut self, topic: Option<(&TopicName, &TopicMove)>, one: &PartitionMove) -> bool {
        let head = topic.map_or(0, |(name, moves)| name.as_str().len() + length(moves) + "\"\":,".len());
        let needed = head + length(one) + "\"2147483647\":,".len();
        match self.0.checked_sub(needed) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }

    /// Keeps of a topic's moves those that find room; the others are left to a later plan. Whether all do.
    pub fn fit(&mut self, topic: &TopicName, moves: &mut TopicMove) -> bool {
        let partitions = std::mem::take(&mut moves.partitions);
        let all = partitions.len();
        let mut head = Some(moves.clone());
        for (partition, one) in partitions {
            if !self.take(head.take().as_ref().map(|head| (topic, head)), &one) {
                break;
            }
            moves.partitions.insert(partition, one);
        }
        moves.planned = moves.partitions.len();
        moves.planned == all
    }
}

fn length(what: &impl Serialize) -> usize {
    serde_json::to_vec(what).map_or(usize::MAX, |text| text.len())
}

use super::state::{State, refused};
use crate::kafka::{Item, ItemError, Reassignment, TopicPartition};

/// A reassignment under way.
#[derive(Clone)]
pub(super) struct Move {
    /// Who held the partition before.
    original: Vec<i32>,
    target: Vec<i32>,
    /// Bytes that those to come have by now.
    copied: u64,
}

impl Move {
    fn adding(&self) -> impl Iterator<Item = i32> {
        self.target.iter().copied().filter(|broker| !self.original.contains(broker))
    }

    fn removing(&self) -> impl Iterator<Item = i32> {
        self.original.iter().copied().filter(|broker| !self.target.contains(broker))
    }
}

impl State {
    pub(super) fn reassignments(&self) -> Vec<Reassignment> {
        let moves = self.moves.iter().map(|(partition, running)| Reassignment {
            partition: partition.clone(),
            replicas: running.target.iter().copied().chain(running.removing()).collect(),
            adding: running.adding().collect(),
            removing: running.removing().collect(),
        });
        moves.collect()
    }

    pub(super) fn reassign(&mut self, partition: &TopicPartition, target: Option<&Vec<i32>>) -> Item<()> {
        let Some(current) = self.replicas_of(partition) else {
            let text = format!("Unable to find a partition {partition}.");
            return refused(ItemError::UNKNOWN_TOPIC_OR_PARTITION, text);
        };
        let under_way = self.moves.remove(partition);
        let original = under_way.as_ref().map_or(current, |running| running.original.clone());
        let Some(target) = target else {
            return match under_way {
                Some(running) => {
                    // As brokers do: those that were to stay come first now.
                    let kept = running.target.iter().copied().filter(|broker| original.contains(broker));
                    let replicas = kept.chain(running.removing()).collect();
                    self.settle(partition, replicas);
                    Ok(())
                }
                None => refused(ItemError::NO_REASSIGNMENT_IN_PROGRESS, "No partition reassignment found."),
            };
        };
        if let Err(error) = self.check_placement(target, None) {
            self.moves.extend(under_way.map(|running| (partition.clone(), running)));
            return Err(error);
        }
        let running = Move { original, target: target.clone(), copied: 0 };
        if running.adding().next().is_none() {
            self.settle(partition, target.clone());
        } else {
            let replicas = target.iter().copied().chain(running.removing()).collect();
            self.place_replicas(partition, replicas);
            self.moves.insert(partition.clone(), running);
            self.advance(partition, 0);
        }
        Ok(())
    }

    /// A second passes: moves copy as much as their throttles allow.
    pub(super) fn tick(&mut self) {
        let moving: Vec<TopicPartition> = self.moves.keys().cloned().collect();
        for partition in moving {
            self.advance(&partition, 1);
        }
    }

    pub(super) fn finish_moves(&mut self) {
        for (partition, running) in std::mem::take(&mut self.moves) {
            self.settle(&partition, running.target);
        }
    }

    fn advance(&mut self, partition: &TopicPartition, seconds: u64) {
        let bytes = self.sizes.get(partition).copied().unwrap_or(0);
        let rate = self.rate(partition);
        let held = self.moves_held;
        let Some(running) = self.moves.get_mut(partition) else { return };
        if held {
            return;
        }
        running.copied = match rate {
            Some(rate) => bytes.min(running.copied.saturating_add(rate.saturating_mul(seconds))),
            None => bytes,
        };
        if running.copied == bytes {
            let target = running.target.clone();
            self.moves.remove(partition);
            self.settle(partition, target);
        }
    }

    /// How many bytes per second this partition's move may copy; `None` without a throttle.
    fn rate(&self, partition: &TopicPartition) -> Option<u64> {
        let topic = self.topics.get(partition.topic.as_str())?;
        let running = self.moves.get(partition)?;
        let leader = self.index(partition).and_then(|index| topic.leaders.get(index).copied().flatten());
        let side = |side: &str, broker: i32| {
            let throttled = topic.configs.get(&format!("{side}.replication.throttled.replicas"))?;
            let pair = format!("{}:{broker}", partition.partition);
            let covered = throttled == "*" || throttled.split(',').any(|part| part.trim() == pair);
            let settings = self.broker_configs.get(&broker).filter(|_| covered)?;
            settings.get(&format!("{side}.replication.throttled.rate"))?.parse::<u64>().ok()
        };
        let sending = leader.and_then(|leader| side("leader", leader));
        running.adding().filter_map(|broker| side("follower", broker)).chain(sending).min()
    }

    /// How much of a partition a broker has on its disk.
    pub(super) fn bytes_at(&self, partition: &TopicPartition, broker: i32) -> u64 {
        let bytes = self.sizes.get(partition).copied().unwrap_or(0);
        match self.moves.get(partition) {
            Some(running) if running.adding().any(|adding| adding == broker) => running.copied,
            _ => bytes,
        }
    }

    pub(super) fn elect(&mut self, partition: &TopicPartition) -> Item<()> {
        let index = self.index(partition);
        let topic = self.topics.get_mut(partition.topic.as_str());
        let (Some(topic), Some(index)) = (topic, index) else {
            let text = format!("No such topic as {}", partition.topic);
            return refused(ItemError::UNKNOWN_TOPIC_OR_PARTITION, text);
        };
        let preferred = topic.replicas[index].first().copied();
        if preferred.is_some_and(|broker| !topic.in_sync[index].contains(&broker)) {
            return refused(
                ItemError::PREFERRED_LEADER_NOT_AVAILABLE,
                "The preferred leader is not available.",
            );
        }
        topic.leaders[index] = preferred;
        Ok(())
    }

    fn index(&self, partition: &TopicPartition) -> Option<usize> {
        let topic = self.topics.get(partition.topic.as_str())?;
        usize::try_from(partition.partition).ok().filter(|index| *index < topic.replicas.len())
    }

    fn replicas_of(&self, partition: &TopicPartition) -> Option<Vec<i32>> {
        let index = self.index(partition)?;
        Some(self.topics.get(partition.topic.as_str())?.replicas[index].clone())
    }

    fn place_replicas(&mut self, partition: &TopicPartition, replicas: Vec<i32>) {
        let index = self.index(partition);
        if let (Some(topic), Some(index)) = (self.topics.get_mut(partition.topic.as_str()), index) {
            topic.replicas[index] = replicas;
        }
    }

    /// These replicas, all in sync whose brokers live; the leader stays where it is, if it may.
    fn settle(&mut self, partition: &TopicPartition, replicas: Vec<i32>) {
        let index = self.index(partition);
        let lives = |replica: &i32| self.brokers.iter().any(|(broker, _)| broker == replica);
        let in_sync: Vec<i32> = replicas.iter().copied().filter(lives).collect();
        if let (Some(topic), Some(index)) = (self.topics.get_mut(partition.topic.as_str()), index) {
            let stays = topic.leaders[index].filter(|leader| in_sync.contains(leader));
            topic.leaders[index] = stays.or_else(|| in_sync.first().copied());
            topic.in_sync[index] = in_sync;
            topic.replicas[index] = replicas;
        }
    }
}

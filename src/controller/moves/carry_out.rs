//! Doing what comes next, and remembering it first.

use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::TopicName;
use tracing::{info, warn};

use super::{
    Mover,
    mover::{MoveError, Work},
};
use crate::{
    fail_point::fail_point,
    kafka::{ClusterError, ConfigChange, Item, ItemError, TopicPartition},
    metrics::OperationLabel,
    moves::{Act, MoveState, Phase, Step, ThrottleChange},
};

impl Mover {
    /// Writes the state, if it is another than before.
    pub(super) async fn remember(&self, work: &mut Work, state: MoveState) -> Result<(), MoveError> {
        if state != work.state || (work.version.is_none() && !state.is_idle()) {
            work.version = Some(self.store.write(&state, work.version.as_deref()).await?);
            work.state = state;
        }
        Ok(())
    }

    /// Remembers what a step says, does it, and remembers what it came to.
    pub(super) async fn carry_out(&self, work: &mut Work, step: Step) -> Result<(), MoveError> {
        self.remember(work, step.state).await?;
        let mut after = step.after;
        match step.act {
            Act::Nothing => {
                if work.state.is_idle() {
                    fail_point!("moves/end-noted");
                }
            }
            Act::Look => {}
            Act::Throttle(change) => {
                fail_point!("moves/throttles-noted");
                self.set_throttles(work, change).await?;
            }
            Act::Submit(moves) => {
                fail_point!("moves/submission-noted");
                self.submit(work, moves).await?;
                fail_point!("moves/submitted");
            }
            Act::Cancel(partitions) => {
                fail_point!("moves/cancellation-noted");
                self.call_off(work, &partitions).await?;
                fail_point!("moves/cancelled");
            }
            Act::Unthrottle(change) => {
                fail_point!("moves/batch-done");
                let (brokers, topics) = self.take_throttles_away(work, change).await?;
                if let Some(after) = &mut after {
                    after.throttles.keep_failed(&work.state.throttles, &brokers, &topics);
                }
            }
            Act::Elect(partitions) => {
                fail_point!("moves/elections-due");
                self.elect(&partitions).await?;
                fail_point!("moves/leaders-elected");
            }
        }
        if let Some(after) = after {
            self.remember(work, after).await?;
            fail_point!("moves/outcome-noted");
        }
        Ok(())
    }

    async fn set_throttles(&self, work: &mut Work, change: ThrottleChange) -> Result<(), ClusterError> {
        let (_, of_brokers) = self.alter_brokers(&change.brokers).await?;
        fail_point!("moves/brokers-throttled");
        let (_, of_topics) = self.alter_topics(&change.topics).await?;
        fail_point!("moves/topics-throttled");
        work.trouble(of_brokers.or(of_topics));
        Ok(())
    }

    /// The brokers and topics that could not be changed.
    async fn take_throttles_away(
        &self,
        work: &mut Work,
        change: ThrottleChange,
    ) -> Result<(BTreeSet<i32>, BTreeSet<TopicName>), ClusterError> {
        let (brokers, of_brokers) = self.alter_brokers(&change.brokers).await?;
        fail_point!("moves/brokers-unthrottled");
        let (topics, of_topics) = self.alter_topics(&change.topics).await?;
        fail_point!("moves/throttles-removed");
        work.trouble(of_brokers.or(of_topics));
        Ok((brokers, topics))
    }

    /// The brokers that could not be changed, and why.
    async fn alter_brokers(
        &self,
        changes: &[(i32, ConfigChange)],
    ) -> Result<(BTreeSet<i32>, Option<String>), ClusterError> {
        let answers = self.cluster.alter_broker_configs(changes).await?;
        let (mut failed, mut trouble) = (BTreeSet::new(), None);
        for ((broker, _), answer) in changes.iter().zip(answers) {
            match answer {
                Ok(()) => self.count("alter_configs"),
                Err(error) => {
                    failed.insert(*broker);
                    trouble = Some(format!("the throttle of broker {broker} cannot be changed: {error}"));
                }
            }
        }
        Ok((failed, trouble))
    }

    /// The topics that could not be changed, and why.
    async fn alter_topics(
        &self,
        changes: &[(TopicName, ConfigChange)],
    ) -> Result<(BTreeSet<TopicName>, Option<String>), ClusterError> {
        let answers = self.cluster.alter_configs(changes).await?;
        let (mut failed, mut trouble) = (BTreeSet::new(), None);
        for ((topic, _), answer) in changes.iter().zip(answers) {
            match answer {
                Ok(()) => self.count("alter_configs"),
                Err(error) if error.is(ItemError::UNKNOWN_TOPIC_OR_PARTITION) => {}
                Err(error) => {
                    failed.insert(topic.clone());
                    trouble = Some(format!("the throttle of topic {topic} cannot be changed: {error}"));
                }
            }
        }
        Ok((failed, trouble))
    }

    async fn submit(&self, work: &mut Work, moves: Vec<(TopicPartition, Vec<i32>)>) -> Result<(), MoveError> {
        let asked: Vec<_> = moves.into_iter().map(|(partition, to)| (partition, Some(to))).collect();
        let answers = match self.cluster.alter_reassignments(&asked).await {
            Ok(answers) => answers,
            Err(error) => {
                // Whether they began is not known: the next look tells.
                let mut state = work.state.clone();
                state.again(asked.iter().map(|(partition, _)| partition), Phase::Starting);
                work.state = state;
                return Err(error.into());
            }
        };
        let mut again = Vec::new();
        let mut later = None;
        let mut refused: BTreeMap<TopicPartition, ItemError> = BTreeMap::new();
        for ((partition, to), answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    self.count("alter_reassignments");
                    info!(%partition, to = ?to.unwrap_or_default(), "moving a partition");
                }
                Err(error) if error.retriable => {
                    later = Some(format!("Kafka cannot move {partition} now: {error}"));
                    again.push(partition);
                }
                Err(error) => {
                    refused.insert(partition, error);
                }
            }
        }
        work.trouble(
            refused
                .iter()
                .next()
                .map(|(partition, error)| format!("Kafka refused to move {partition}: {error}"))
                .or(later),
        );
        if !again.is_empty() || !refused.is_empty() {
            let mut state = work.state.clone();
            state.again(again.iter(), Phase::Waiting);
            for partition in refused.keys() {
                state.give_up(partition);
                work.hold(&partition.topic);
            }
            self.remember(work, state).await?;
        }
        Ok(())
    }

    async fn call_off(&self, work: &mut Work, partitions: &[TopicPartition]) -> Result<(), ClusterError> {
        let asked: Vec<_> = partitions.iter().map(|partition| (partition.clone(), None)).collect();
        let answers: Vec<Item<()>> = self.cluster.alter_reassignments(&asked).await?;
        let failed = answers
            .into_iter()
            .zip(partitions)
            .find_map(|(answer, partition)| Some((answer.err()?, partition)));
        work.trouble(
            failed.map(|(error, partition)| format!("the move of {partition} cannot be called off: {error}")),
        );
        Ok(())
    }

    async fn elect(&self, partitions: &[TopicPartition]) -> Result<(), ClusterError> {
        let answers = self.cluster.elect_preferred_leaders(partitions).await?;
        for (partition, answer) in partitions.iter().zip(answers) {
            match answer {
                Ok(()) => self.count("elect_leaders"),
                // Kafka tries it again by itself, unless told not to (auto.leader.rebalance.enable).
                Err(error) => warn!(%partition, %error, "its preferred leader could not be elected"),
            }
        }
        Ok(())
    }

    fn count(&self, operation: &'static str) {
        self.metrics.changes.get_or_create(&OperationLabel { operation }).inc();
    }
}

impl MoveState {
    /// These have to be begun again.
    fn again<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>, from: Phase) {
        for partition in partitions {
            if let Some(one) = self.get_mut(partition).filter(|one| one.phase == Phase::Submitted) {
                one.phase = from;
            }
        }
    }
}

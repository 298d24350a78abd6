//! What is on the brokers, for the totals of namespaces: only the replica that leads knows whose it is.

use std::sync::Arc;

use tokio::time::Instant;
use topicops_contract::TopicName;

use super::{
    TopicController,
    execute::Answers,
    lag::may_be_there,
    own_changes::LONGEST_LAG,
    topic_controller::{BATCH, Tenure},
};
use crate::{
    kafka::{ClusterError, ConfigKeys, TopicDescription},
    topic::{Extent, RETENTION_BYTES, Step, TopicPlan},
};

impl TopicController {
    /// What the ledger remembers counts, and nothing else, until the brokers are asked. What nobody declares and was never
    /// measured is looked at.
    pub(super) fn recall_stock(&self, tenure: &Tenure) {
        let held = || tenure.ledger.topics().filter_map(|topic| Some((topic, tenure.ledger.get(topic)?)));
        self.index
            .hold_only(held().map(|(topic, holding)| {
                (topic.clone(), Some((holding.namespace.clone(), holding.extent())))
            }));
        let unmeasured =
            held().filter(|(topic, held)| held.left.is_none() && !tenure.unseen.contains(*topic));
        self.index.mark(unmeasured.map(|(topic, _)| topic));
    }

    /// Asks what is there of all topics that count in totals, before anything is weighed by them: of topics that were made
    /// by defaults, adopted or changed by hand the ledger tells too little. Once for each leadership and policy.
    ///
    /// # Errors
    /// No broker answers.
    pub(super) async fn take_stock(&self, tenure: &mut Tenure) -> Result<(), ClusterError> {
        let rules = self.index.policy().rules;
        if tenure.stocked.as_ref().is_some_and(|under| Arc::ptr_eq(under, &rules)) {
            return Ok(());
        }
        let counts = |topic: &&TopicName| {
            // What was made or deleted a moment ago the brokers may not know yet.
            !tenure.own_changes.made(topic)
                && !tenure.deleted.contains_key(*topic)
                && tenure.ledger.get(topic).is_some_and(|held| rules.of(&held.namespace).has_totals())
        };
        let counted: Vec<TopicName> = tenure.ledger.topics().filter(counts).cloned().collect();
        let keys = ConfigKeys::Only([RETENTION_BYTES.to_owned()].into());
        for batch in counted.chunks(BATCH) {
            let described = self.cluster.describe_topics(batch, &keys).await?;
            let mut unsure = Vec::new();
            let found = batch.iter().zip(described).filter_map(|(topic, answer)| {
                // One that the brokers will not describe counts as it is remembered.
                let observed = answer.ok()?;
                // Nor may a new leader conclude from what is not shown yet.
                if observed.is_none() && may_be_there(tenure, topic, Instant::now()) {
                    unsure.push(topic.clone());
                    return None;
                }
                Some((topic.clone(), observed.map(|observed| self.extent_of(topic, &observed))))
            });
            self.note_extents(tenure, found.collect());
            for topic in unsure {
                tenure.retries.at_latest(topic, tenure.begun + LONGEST_LAG);
            }
        }
        tenure.stocked = Some(rules);
        Ok(())
    }

    fn extent_of(&self, topic: &TopicName, observed: &TopicDescription) -> Extent {
        let mut extent = Extent::of(observed);
        // Replicas that come and those that go are both there for a while.
        if let Some(moving) = self.desk.moving().get(topic) {
            extent.replication_factor = moving.factor;
        }
        extent
    }

    pub(super) fn extent(
        &self,
        plan: &TopicPlan,
        answers: &Answers,
        observed: Option<&TopicDescription>,
    ) -> Option<Extent> {
        let Some(observed) = observed else {
            return plan.steps.iter().find_map(|step| match step {
                Step::Create(topic) if answers.created.is_some() => Some(Extent::of_new(topic)),
                _ => None,
            });
        };
        let extent = self.extent_of(&plan.topic, observed);
        Some(if answers.failures.is_empty() { extent.after(&plan.steps) } else { extent })
    }

    pub(super) fn note_extents(&self, tenure: &Tenure, extents: Vec<(TopicName, Option<Extent>)>) {
        self.index.hold(extents.into_iter().map(|(topic, extent)| {
            let holder = tenure.ledger.get(&topic).map(|holding| holding.namespace.clone());
            (topic, holder.zip(extent))
        }));
    }
}

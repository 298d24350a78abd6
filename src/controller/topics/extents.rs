//! What is on the brokers, for the totals of namespaces: only the replica that leads knows whose it is.

use topicops_contract::TopicName;

use super::{TopicController, execute::Answers, topic_controller::Tenure};
use crate::{
    kafka::TopicDescription,
    topic::{Extent, Step, TopicPlan},
};

impl TopicController {
    /// What the ledger remembers counts until the brokers are asked. What nobody declares and was never measured is looked
    /// at.
    pub(super) fn take_stock(&self, tenure: &Tenure) {
        let held = || tenure.ledger.topics().filter_map(|topic| Some((topic, tenure.ledger.get(topic)?)));
        self.index
            .hold(held().map(|(topic, holding)| {
                (topic.clone(), Some((holding.namespace.clone(), holding.extent())))
            }));
        let unmeasured =
            held().filter(|(topic, held)| held.left.is_none() && !tenure.unseen.contains(*topic));
        self.index.mark(unmeasured.map(|(topic, _)| topic));
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
        let mut extent = Extent::of(observed);
        // Replicas that come and those that go are both there for a while.
        if let Some(moving) = self.desk.moving().get(&plan.topic) {
            extent.replication_factor = moving.factor;
        }
        Some(if answers.failures.is_empty() { extent.after(&plan.steps) } else { extent })
    }

    pub(super) fn note_extents(&self, tenure: &Tenure, extents: Vec<(TopicName, Option<Extent>)>) {
        self.index.hold(extents.into_iter().map(|(topic, extent)| {
            let holder = tenure.ledger.get(&topic).map(|holding| holding.namespace.clone());
            (topic, holder.zip(extent))
        }));
    }
}

//! Carrying plans out: one request per kind of change. Decides nothing.

use std::collections::BTreeMap;

use topicops_contract::TopicName;
use tracing::info;

use super::{TopicController, own_changes::Acknowledged, pass::grant_of};
use crate::{
    fail_point::fail_point,
    kafka::{ClusterError, ConfigChange, CreatedTopic, DoomedTopic, ItemError, NewPartitions, NewTopic},
    metrics::OperationLabel,
    topic::{Step, TopicGrant, TopicPlan},
};

/// What the brokers answered for one topic's steps.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) created: Option<CreatedTopic>,
    pub(super) failures: Vec<(String, ItemError)>,
    pub(super) in_use: Vec<String>,
    /// Whether some of those are workloads: of them one hears when they go.
    pub(super) used_by_workloads: bool,
    pub(super) deleted: bool,
    /// Of the deletion, that there was no such topic any more.
    pub(super) was_gone: bool,
    pub(super) grown: bool,
    pub(super) configured: bool,
    /// Its settings were refused, and nothing of them was done.
    pub(super) config_refused: bool,
    /// The brokers will not delete it, and trying again would change nothing.
    pub(super) deletion_refused: Option<ItemError>,
    /// It is there, or has grown, already: by somebody else's hand since we looked, or behind lagging metadata.
    pub(super) lagging: bool,
    /// The brokers show another topic of its name than the one that is to be deleted.
    pub(super) shows_another: bool,
    /// The brokers are not those any more that its replicas were to go to.
    pub(super) misplaced: bool,
}

impl Answers {
    pub(super) fn acknowledged(&self) -> Acknowledged {
        let created = self.created.as_ref().map(|topic| topic.id.clone());
        Acknowledged { created, grown: self.grown, configured: self.configured, refused: self.config_refused }
    }

    /// Whether trying again would change nothing.
    pub(super) fn is_final(&self) -> bool {
        !self.lagging && self.in_use.is_empty() && self.failures.iter().all(|(_, error)| !error.retriable)
    }

    /// Whether a creation that failed may have made the topic all the same: the controller carries out what it was asked for
    /// also when its answer came too late, or from a broker that was the controller until then.
    pub(super) fn may_be_made(&self) -> bool {
        let may = |error: &ItemError| error.retriable && !error.is(ItemError::THROTTLING_QUOTA_EXCEEDED);
        !self.lagging && self.failures.iter().any(|(_, error)| may(error))
    }
}

impl TopicController {
    /// One request per kind of change, all at the same time: no two of them concern the same topic, but for growth and
    /// settings, which do not touch each other.
    pub(super) async fn execute(&self, plans: &[TopicPlan]) -> Result<Vec<Answers>, ClusterError> {
        let mut creates: Vec<(usize, NewTopic)> = Vec::new();
        let mut grows: Vec<(usize, NewPartitions)> = Vec::new();
        let mut changes: Vec<(usize, (TopicName, ConfigChange))> = Vec::new();
        let mut deletes: Vec<(usize, bool, &str)> = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            for step in &plan.steps {
                match step {
                    Step::Create(topic) => creates.push((index, topic.clone())),
                    Step::Grow(more) => grows.push((index, more.clone())),
                    // The mover's: it takes its time.
                    Step::ChangeFactor(_) => {}
                    Step::Configure(change) => changes.push((index, (plan.topic.clone(), change.clone()))),
                    Step::Delete { force, id } => deletes.push((index, *force, id)),
                }
            }
        }
        let mut answers: Vec<Answers> = plans.iter().map(|_| Answers::default()).collect();
        let deletes = self.unused(plans, deletes, &mut answers).await;

        let (create_at, creates): (Vec<_>, Vec<_>) = creates.into_iter().unzip();
        let (grow_at, grows): (Vec<_>, Vec<_>) = grows.into_iter().unzip();
        let (change_at, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let doomed = deletes
            .iter()
            .map(|(index, id)| DoomedTopic { name: plans[*index].topic.clone(), id: Some((*id).to_owned()) });
        let doomed: Vec<DoomedTopic> = doomed.collect();
        let create = async {
            let answers = self.cluster.create_topics(&creates).await;
            if !creates.is_empty() {
                fail_point!("topics/created");
            }
            answers
        };
        let grow = async {
            let answers = self.cluster.create_partitions(&grows).await;
            if !grows.is_empty() {
                fail_point!("topics/grown");
            }
            answers
        };
        let configure = async {
            let answers = self.cluster.alter_configs(&changes).await;
            if !changes.is_empty() {
                fail_point!("topics/configured");
            }
            answers
        };
        let delete = async {
            let answers = self.cluster.delete_topics(&doomed).await;
            if !doomed.is_empty() {
                fail_point!("topics/deleted");
            }
            answers
        };
        let (created, grown, changed, deleted) = tokio::try_join!(create, grow, configure, delete)?;

        for (index, result) in create_at.into_iter().zip(created) {
            match result {
                Ok(topic) => {
                    self.count("create_topics");
                    let (object, topic_name) = by_and_of(&plans[index]);
                    let (partitions, factor) = (topic.partitions, topic.replication_factor);
                    info!(topic = %topic_name, object, partitions, factor, id = topic.id, "created a topic");
                    answers[index].created = Some(topic);
                }
                Err(error) if error.is(ItemError::TOPIC_ALREADY_EXISTS) => {
                    answers[index].lagging = true;
                }
                Err(error) if error.is(ItemError::INVALID_REPLICA_ASSIGNMENT) => {
                    (answers[index].lagging, answers[index].misplaced) = (true, true);
                }
                Err(error) => answers[index].failures.push(("create the topic".to_owned(), error)),
            }
        }
        for ((index, more), result) in grow_at.into_iter().zip(&grows).zip(grown) {
            match result {
                Ok(()) => {
                    self.count("create_partitions");
                    let (object, topic) = by_and_of(&plans[index]);
                    info!(%topic, object, partitions = %more.total, "gave a topic more partitions");
                    answers[index].grown = true;
                }
                Err(error) if error.is(ItemError::INVALID_PARTITIONS) => answers[index].lagging = true,
                Err(error) if error.is(ItemError::INVALID_REPLICA_ASSIGNMENT) => {
                    (answers[index].lagging, answers[index].misplaced) = (true, true);
                }
                Err(error) => {
                    let what = format!("grow the topic to {} partitions", more.total);
                    answers[index].failures.push((what, error));
                }
            }
        }
        for ((index, (_, change)), result) in change_at.into_iter().zip(&changes).zip(changed) {
            match result {
                Ok(()) => {
                    self.count("alter_configs");
                    let (object, topic) = by_and_of(&plans[index]);
                    info!(%topic, object, set = ?change.set, unset = ?change.unset, "changed a topic's settings");
                    answers[index].configured = true;
                }
                Err(error) if error.is(ItemError::UNKNOWN_TOPIC_OR_PARTITION) => {
                    answers[index].lagging = true;
                }
                Err(error) => {
                    answers[index].config_refused =
                        !error.retriable && !error.is(ItemError::UNKNOWN_SERVER_ERROR);
                    answers[index].failures.push(("change the topic's configuration".to_owned(), error));
                }
            }
        }
        for ((index, _), result) in deletes.into_iter().zip(deleted) {
            match result {
                Ok(()) => {
                    self.count("delete_topics");
                    info!(topic = %plans[index].topic, "deleted a topic, as its owner's deletion policy says");
                    answers[index].deleted = true;
                }
                Err(error)
                    if error.is(ItemError::UNKNOWN_TOPIC_OR_PARTITION)
                        || error.is(ItemError::UNKNOWN_TOPIC_ID) =>
                {
                    (answers[index].deleted, answers[index].was_gone) = (true, true);
                }
                Err(error) if error.retriable => {
                    answers[index].failures.push(("delete the topic".to_owned(), error));
                }
                Err(error) => answers[index].deletion_refused = Some(error),
            }
        }
        Ok(answers)
    }

    /// Those deletions that nobody's use stands against.
    async fn unused<'a>(
        &self,
        plans: &[TopicPlan],
        deletes: Vec<(usize, bool, &'a str)>,
        answers: &mut [Answers],
    ) -> Vec<(usize, &'a str)> {
        if deletes.iter().all(|(_, force, _)| *force) {
            return deletes.into_iter().map(|(index, _, id)| (index, id)).collect();
        }
        let (groups, unknown) = match self.cluster.consuming_groups().await {
            Ok(groups) => (groups, None),
            // One broker that cannot be asked must not hold up what needs no such answer.
            Err(error) => {
                (Vec::new(), Some(format!("consumer groups that cannot be asked for now ({error})")))
            }
        };
        let mut consumers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for group in &groups {
            for topic in &group.topics {
                consumers.entry(topic).or_default().push(&group.group);
            }
        }
        let mut unused = Vec::new();
        for (index, force, id) in deletes {
            let topic = &plans[index].topic;
            let users = asked_for(&plans[index]).map(|grant| self.users.users_of(topic, &grant, self.open));
            let mut users: Vec<String> = users.unwrap_or_default();
            let by_workloads = !users.is_empty();
            users.extend(unknown.clone());
            let groups = consumers.get(topic.as_str()).into_iter().flatten();
            users.extend(groups.map(|group| format!("consumer group {group}")));
            if force || users.is_empty() {
                unused.push((index, id));
            } else {
                answers[index].in_use = users;
                answers[index].used_by_workloads = by_workloads;
            }
        }
        unused
    }

    fn count(&self, operation: &'static str) {
        self.metrics.changes.get_or_create(&OperationLabel { operation }).inc();
    }
}

/// Whose declaration a plan carries out, and of which topic: what is done on brokers is logged with both.
fn by_and_of(plan: &TopicPlan) -> (Option<String>, &TopicName) {
    (plan.owner.as_ref().map(|owner| owner.object.to_string()), &plan.topic)
}

/// Whom the object lets in, or let in when it went, that asks for the deletion.
pub(super) fn asked_for(plan: &TopicPlan) -> Option<TopicGrant> {
    if let Some(owner) = &plan.owner {
        return Some(grant_of(owner));
    }
    let holding = plan.holding.as_ref()?;
    holding.deletion.as_ref().map(|deletion| deletion.grant(&holding.namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST_TIMED_OUT: i16 = 7;
    const NOT_CONTROLLER: i16 = 41;

    #[test]
    fn only_a_creation_that_may_have_happened_keeps_its_claim() {
        let failed = |number| Answers {
            failures: vec![("create the topic".to_owned(), ItemError::of(number, None))],
            ..Answers::default()
        };
        for number in [REQUEST_TIMED_OUT, NOT_CONTROLLER] {
            assert!(failed(number).may_be_made(), "error {number}");
        }
        let never = [ItemError::INVALID_PARTITIONS, ItemError::INVALID_REPLICA_ASSIGNMENT];
        for number in never.into_iter().chain([ItemError::THROTTLING_QUOTA_EXCEEDED]) {
            assert!(!failed(number).may_be_made(), "error {number}");
        }
        let somebodys = Answers { lagging: true, ..Answers::default() };
        assert!(!somebodys.may_be_made(), "a topic that was there already is not claimed");
    }
}

//! A word to the authors: status annotations, Events, finalizers.

use topicops_contract::{DeletionPolicy, State, Status, TopicName, TopicObjectKind};
use tracing::{debug, info, warn};

use super::{Outcome, StatusUpdate, TopicController, execute::Answers, topic_controller::Tenure};
use crate::{
    Reason, Told,
    kafka::{ClusterError, TopicDescription},
    topic::{Refusal, Step, TopicObjectKey, TopicPlan},
};

impl TopicController {
    pub(super) fn report_plan(
        &self,
        plan: &TopicPlan,
        answers: &Answers,
        observed: Option<&TopicDescription>,
    ) {
        for (declaration, refusal) in &plan.refused {
            let outcome = Outcome::of(refusal, declaration.object.kind);
            self.report(&declaration.object, &outcome, None, None);
        }
        let Some(owner) = &plan.owner else {
            for refusal in &plan.refusals {
                // There is no object any more that could bear an Event.
                let why = refusal.message(TopicObjectKind::ConfigMap);
                info!(reason = %refusal.reason(), why, "a deletion that was remembered is not carried out");
            }
            if let Some(error) = &answers.deletion_refused {
                let namespace = plan.holding.as_ref().map_or("", |holding| holding.namespace.as_str());
                warn!(topic = %plan.topic, namespace, %error, "the brokers refuse a deletion that was remembered; the topic stays");
            }
            return;
        };
        // Paused means that the topic stays, not that its owner cannot go.
        if let Some(error) = &answers.deletion_refused {
            let outcome = Outcome::not_deleted(plan, error);
            self.tell(&owner.object, outcome.reason, &outcome.message);
            self.release(&owner.object);
            return;
        }
        if owner.deleting && (answers.deleted || plan.deletes().is_none()) {
            if let Some(outcome) = Outcome::refused(&plan.refusals, owner.object.kind) {
                self.tell(&owner.object, outcome.reason, &outcome.message);
            }
            self.release(&owner.object);
            return;
        }
        let outcome = if let Some((doing, error)) = answers.failures.first() {
            Outcome::kafka(doing, error)
        } else if answers.lagging {
            Outcome::pending(
                Reason::LookingAgain,
                "the brokers' metadata changed since it was read; looking at it again",
            )
        } else if !answers.in_use.is_empty() {
            let users = answers.in_use.clone();
            let another = "the brokers show another topic of that name, which may be the one that is used";
            let another: Vec<String> =
                answers.shows_another.then(|| another.to_owned()).into_iter().collect();
            let refusal = Refusal::InUse { topic: plan.topic.clone(), users };
            Outcome::of(&refusal, owner.object.kind).and(&another)
        } else if owner.manifest.paused {
            Outcome::paused(owner.object.kind)
        } else if plan.held_back && !owner.problems.is_empty() {
            Outcome::invalid(&owner.problems)
        } else {
            let first = Outcome::refused(&plan.refusals, owner.object.kind).or_else(|| self.moving(plan));
            let rest = [Outcome::drifted(&plan.drifted), Outcome::stepping(&plan.stepping)];
            let all = first.into_iter().chain(rest.into_iter().flatten());
            let outcome = all.reduce(|first, next| first.with(&next)).unwrap_or_else(Outcome::in_sync);
            outcome.and(&plan.notices).and(&self.rebalancing(plan))
        };
        let grown = plan.steps.iter().find_map(|step| match step {
            Step::Grow(more) if answers.failures.is_empty() => Some(more.total.get()),
            _ => None,
        });
        let created = answers.created.as_ref();
        let found = Found {
            topic_id: created
                .map(|topic| topic.id.clone())
                .or_else(|| observed.map(|topic| topic.id.clone())),
            partitions: grown
                .or_else(|| observed.map(TopicDescription::partitions))
                .or_else(|| created.and_then(|topic| topic.partitions)),
            replication_factor: observed
                .map(TopicDescription::replication_factor)
                .or_else(|| created.and_then(|topic| topic.replication_factor)),
        };
        let finalizer = owner.manifest.deletion_policy == DeletionPolicy::Delete;
        self.report(&owner.object, &outcome, Some(found), Some(finalizer));
    }

    /// How far a rebalance of the topic is: for its author that is no state of its own.
    fn rebalancing(&self, plan: &TopicPlan) -> Vec<String> {
        let moving = self.desk.moving();
        let moving = moving.get(&plan.topic).filter(|moving| moving.rebalance);
        moving.and_then(|moving| moving.said.clone()).map(|(_, message)| message).into_iter().collect()
    }

    /// How far the topic's replicas are on their way to another replication factor, if they are.
    fn moving(&self, plan: &TopicPlan) -> Option<Outcome> {
        let moving = self.desk.moving();
        let moving = moving.get(&plan.topic).filter(|moving| !moving.rebalance);
        let said = moving.and_then(|moving| moving.said.clone());
        let about_to = || {
            let factor = plan.changes_factor()?;
            Some(if self.desk.is_held_up(&plan.topic) {
                let message = format!(
                    "somebody else moves its partitions; topicops changes the replication factor to {factor} when that has ended"
                );
                (Reason::WaitingForAnotherMove, message)
            } else {
                let message = format!("its replicas are about to be moved to replication factor {factor}");
                (Reason::Moving, message)
            })
        };
        let (reason, message) = said.or_else(about_to)?;
        Some(Outcome::pending(reason, message))
    }

    /// The brokers did not answer: authors learn that it is not what they wrote that keeps a topic waiting. What was well
    /// before stays so; it was, when it was last looked at.
    pub(super) fn report_outage(&self, tenure: &Tenure, topics: &[TopicName], error: &ClusterError) {
        let outcome =
            Outcome::pending(Reason::KafkaUnavailable, format!("the brokers cannot be asked now: {error}"));
        for going in self.waiting_for_brokers(tenure, topics) {
            self.report(&going.object, &Outcome::waits_for_brokers(going.object.kind, error), None, None);
        }
        for topic in topics {
            for declaration in self.index.declarations(topic).iter().filter(|one| !one.deleting) {
                let known = self.index.object(&declaration.object).is_some_and(|object| {
                    object.status.as_ref().is_some_and(|status| status.hash == object.hash)
                });
                if !known {
                    self.report(&declaration.object, &outcome, None, None);
                }
            }
        }
    }

    pub(super) fn report_nameless(&self, key: &TopicObjectKey) {
        let Some(object) = self.index.object(key) else { return };
        if object.deleting {
            self.release(key);
        } else {
            self.report(key, &Outcome::invalid(&object.problems), None, None);
        }
    }

    /// Writes the status and tells the author what is wrong. `finalizer`: `None` leaves it as it is.
    pub(super) fn report(
        &self,
        key: &TopicObjectKey,
        outcome: &Outcome,
        found: Option<Found>,
        finalizer: Option<bool>,
    ) {
        let Some(object) = self.index.object(key) else { return };
        let found = found.unwrap_or_default();
        debug!(object = %key, reason = %outcome.reason, message = outcome.message, "status");
        // A refused object that goes has nothing to wait for.
        if object.deleting && outcome.state == State::Refused && finalizer.is_none() {
            self.release(key);
            return;
        }
        let reference = key.reference(&object.uid);
        match outcome.reason.told() {
            Told::Quietly => self.reporter.forget(&object.uid),
            Told::Normal | Told::Warning => self.reporter.say(reference, outcome.reason, &outcome.message),
        }
        // The condition of a KafkaTopic has a time of its own only when its status changes.
        let unchanged = |before: &&Status| match key.kind {
            TopicObjectKind::ConfigMap => before.state == outcome.state,
            TopicObjectKind::KafkaTopic => before.state.ready() == outcome.state.ready(),
        };
        let since = object.status.as_ref().filter(unchanged).map(|before| before.time.clone());
        let status = Status {
            state: outcome.state,
            reason: outcome.reason.to_string(),
            message: shorten(&outcome.message),
            hash: object.hash.clone(),
            topic_id: found.topic_id,
            partitions: found.partitions,
            replication_factor: found.replication_factor,
            time: since.unwrap_or_else(now_rfc3339),
        };
        // Kubernetes refuses new finalizers on what is being deleted.
        let finalizer = finalizer.unwrap_or(object.finalizer) && (object.finalizer || !object.deleting);
        self.statuses.update(StatusUpdate {
            key: key.clone(),
            uid: object.uid,
            status: Some(status),
            finalizer,
        });
    }

    pub(super) fn release(&self, key: &TopicObjectKey) {
        if let Some(object) = self.index.object(key) {
            let update = StatusUpdate { key: key.clone(), uid: object.uid, status: None, finalizer: false };
            self.statuses.update(update);
        }
    }
}

#[derive(Default)]
pub(super) struct Found {
    topic_id: Option<String>,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
}

/// Some refusals quote what somebody else wrote; an annotation has to have room for it beside everything else.
const MESSAGE: usize = 8 * 1024;

fn shorten(message: &str) -> String {
    match message.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

fn now_rfc3339() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

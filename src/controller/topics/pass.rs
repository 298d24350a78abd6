//! One batch of topics: look, plan, remember, carry out, report.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use topicops_contract::TopicName;
use tracing::debug;

use super::{
    LedgerError, LeftOut, Outcome, TopicController,
    execute::asked_for,
    lag::{hides_what_goes, may_be_there},
    own_changes::LONGEST_LAG,
    planning::Planned,
    topic_controller::{PARTING, PassError, Tenure},
};
use crate::{
    Reason,
    fail_point::fail_point,
    kafka::{ConfigKeys, Item, TopicDescription},
    topic::{Declaration, Drift, Holding, RETENTION_BYTES, Refusal, Step, TopicGrant, TopicPlan},
};

/// How soon it is looked again at what may only seem to be somebody's hand.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Consumer groups tell nobody when they end: while a deletion waits, all of them are asked for, for all that wait at once.
const USERS_ASKED_EVERY: Duration = Duration::from_secs(5);

impl TopicController {
    /// One batch of topics, from a look at the brokers to a word to their authors. Some may be left out because they could
    /// not be remembered.
    pub(super) async fn pass(
        &self,
        tenure: &mut Tenure,
        topics: &[TopicName],
    ) -> Result<Option<LedgerError>, PassError> {
        let now = Instant::now();
        tenure.deleted.retain(|_, ids| {
            ids.retain(|(_, at)| now.duration_since(*at) < LONGEST_LAG);
            !ids.is_empty()
        });
        tenure.own_changes.forget_old(now);
        for topic in topics {
            if let Some(id) = tenure.ledger.get(topic).and_then(|held| held.applied.topic_id.as_ref()) {
                tenure.own_changes.note_known(topic, id);
            }
        }
        if tenure.departed.is_empty() {
            tenure.undeclared.retain(|_, (_, at)| now.duration_since(*at) < PARTING);
        }
        self.release_undisputed(tenure, topics);
        let declared: Vec<_> = topics.iter().map(|topic| (topic, self.index.declarations(topic))).collect();
        let asked: Vec<TopicName> = declared
            .iter()
            .filter(|(topic, declarations)| !declarations.is_empty() || tenure.ledger.get(topic).is_some())
            .map(|(topic, _)| (*topic).clone())
            .collect();
        self.take_stock(tenure).await?;
        let context = self.index.under_policy(&self.context);
        // What a manifest leaves to a default has to be compared as well.
        let mut keys: BTreeSet<String> = context.policy.rules.default_configs().map(str::to_owned).collect();
        for (topic, declarations) in &declared {
            keys.extend(declarations.iter().flat_map(|one| one.manifest.config_keys().map(str::to_owned)));
            keys.extend(
                tenure.ledger.get(topic).into_iter().flat_map(|holding| holding.keys.iter().cloned()),
            );
            keys.extend(tenure.own_changes.config_keys(topic).map(str::to_owned));
        }
        let counts = |one: &Declaration| context.policy.rules.of(&one.object.namespace).has_totals();
        if declared.iter().any(|(_, all)| all.is_empty() || all.iter().any(counts)) {
            // What is there of a topic counts in its namespace's totals, whoever declares what.
            keys.insert(RETENTION_BYTES.to_owned());
        }
        let described = self.cluster.describe_topics(&asked, &ConfigKeys::Only(keys)).await?;
        let looked = now.elapsed();
        let mut observed: BTreeMap<&TopicName, Item<_>> = asked.iter().zip(described).collect();

        let (mut looked_at, mut hidden) = (Vec::new(), BTreeSet::new());
        let (mut late, mut held_up): (BTreeMap<TopicName, Instant>, Vec<Declaration>) = Default::default();
        for (topic, declarations) in declared {
            let description = match observed.remove(topic) {
                None => None,
                Some(Ok(description)) => description,
                Some(Err(error)) => {
                    let outcome = Outcome::kafka("describe the topic", &error);
                    for one in &declarations {
                        self.report(&one.object, &outcome, None, None);
                    }
                    tenure.retries.failed(topic.clone(), now);
                    tenure.unseen.remove(topic);
                    keep_grant(tenure, topic, &declarations);
                    continue;
                }
            };
            let shown = description.is_some();
            let description = description
                .filter(|found| !hides_what_goes(tenure, topic, &declarations, &context, found, now));
            if shown && description.is_none() {
                hidden.insert(topic.clone());
            }
            let is_gone = |found: &TopicDescription| tenure.is_deleted(topic, &found.id);
            // Where nobody declares it, what is known to be gone is as good as not shown.
            let mut description = description.filter(|found| !(declarations.is_empty() && is_gone(found)));
            if description.as_ref().is_some_and(is_gone) {
                let outcome = Outcome::pending(
                    Reason::DeletionInProgress,
                    "the topic of this name is still being deleted",
                );
                for one in &declarations {
                    self.report(&one.object, &outcome, None, None);
                }
                tenure.retries.failed(topic.clone(), now);
                keep_grant(tenure, topic, &declarations);
                continue;
            }
            if let Some(found) = &mut description {
                let until = tenure.own_changes.bring_up_to_date(topic, found, now);
                late.extend(until.map(|until| (topic.clone(), until)));
            }
            looked_at.push((topic.clone(), declarations, description));
        }
        let context = self.with_brokers(tenure, context, &mut looked_at).await?;
        let planned = self.plan_all(tenure, &looked_at, context, now).await?;
        let Planned { mut plans, unsettled, there, gone } = planned;
        let mut descriptions: BTreeMap<TopicName, Option<TopicDescription>> =
            looked_at.into_iter().map(|(topic, _, description)| (topic, description)).collect();
        self.place(tenure, &mut plans, &descriptions).await;

        fail_point!("topics/planned");
        let mut held: BTreeMap<TopicName, Holding> = BTreeMap::new();
        for plan in &plans {
            held.extend(tenure.ledger.get(&plan.topic).map(|holding| (plan.topic.clone(), holding.clone())));
        }
        let before = plans.iter().map(|plan| (plan.topic.clone(), plan.holding.clone()));
        let mut left_out = tenure.ledger.record(self.store.as_ref(), before.collect::<Vec<_>>()).await?;
        if let Some(left_out) = &left_out {
            plans.retain(|plan| !left_out.topics.contains(&plan.topic));
            self.tell_left_out(tenure, left_out);
        }
        fail_point!("topics/holdings-written");
        let remembered = now.elapsed();
        plans.iter().for_each(|plan| tenure.own_changes.doubt(plan));
        let answers = self.execute(&plans).await?;
        let done = now.elapsed();
        fail_point!("topics/executed");

        let mut after = Vec::new();
        let (mut told, mut extents) = (Vec::new(), Vec::new());
        for (plan, mut answers) in plans.iter().zip(answers) {
            let held = held.remove(&plan.topic);
            let is_known = plan.owner.as_ref().is_some_and(|owner| is_known_of(held.as_ref(), owner));
            answers.shows_another = hidden.contains(&plan.topic);
            answers.lagging |= unsettled.contains(&plan.topic);
            let untold = there.get(&plan.topic).cloned().flatten();
            answers
                .failures
                .extend(untold.map(|error| ("tell whether the topic is there".to_owned(), error)));
            if let Some(id) = plan.deletes().filter(|_| answers.was_gone && answers.shows_another) {
                // What is shown is no older one: it is looked at as it is.
                tenure.note_deleted(&plan.topic, id, now);
                (answers.deleted, answers.lagging) = (false, true);
            }
            let description = descriptions.remove(&plan.topic).flatten();
            let is_there = description.is_some() || there.contains_key(&plan.topic);
            let may_come = is_there || may_be_there(tenure, &plan.topic, now);
            let may_be_there = may_come && !gone.contains(&plan.topic);
            if !may_be_there && !answers.in_use.is_empty() {
                // What is gone nobody uses.
                (answers.deleted, answers.used_by_workloads) = (true, false);
                answers.in_use.clear();
            }
            let in_order = answers.failures.is_empty()
                && answers.in_use.is_empty()
                && answers.deletion_refused.is_none()
                && !answers.lagging;
            if let (None, Some(id)) = (&plan.owner, known_id(plan.holding.as_ref())) {
                tenure.undeclared.insert(plan.topic.clone(), (id, now));
            }
            tenure.own_changes.note(plan, answers.acknowledged(), description.as_ref(), Instant::now());
            if !answers.lagging {
                self.tell_drift(tenure, plan, in_order);
                // What is shown from now on is another.
                let mut lost = Vec::new();
                if plan.drifted.contains(&Drift::Missing) {
                    tenure.own_changes.forget(&plan.topic);
                    lost.extend([held.as_ref(), plan.holding_after.as_ref()]);
                } else if plan.remade && in_order {
                    lost.push(held.as_ref());
                }
                for id in lost.into_iter().filter_map(known_id) {
                    tenure.note_deleted(&plan.topic, &id, now);
                }
            }
            if in_order {
                let waits_for_brokers = |refusal: &Refusal| {
                    matches!(refusal, Refusal::TooFewBrokers { .. } | Refusal::DiskSizeUnknown { .. })
                };
                if plan.refusals.iter().any(waits_for_brokers) {
                    // Brokers that come back, with their disks, tell nobody.
                    tenure.retries.failed(plan.topic.clone(), now);
                } else {
                    tenure.retries.succeeded(&plan.topic);
                }
                self.wake_for(tenure, plan, true);
                // A topic that is gone and that nobody declares is forgotten: its name is free.
                let unwanted = plan.owner.is_none() && plan.refused.is_empty();
                let forget = unwanted && !may_be_there && !tenure.deleted.contains_key(&plan.topic);
                let mut holding = plan.holding_after.clone().filter(|_| !forget);
                let claimed = plan.holding.as_ref().filter(|_| may_come && plan.deletes().is_none());
                if let (None, Some(claimed)) = (&holding, claimed) {
                    // It may have been made although nobody heard of it, or be made yet: then it must be known whose it is.
                    holding = Some(Holding { deletion: None, ..claimed.clone() });
                    if let Some(owner) = plan.owner.as_ref().filter(|_| there.contains_key(&plan.topic)) {
                        let refusal = Refusal::NeverSeen { topic: plan.topic.clone() };
                        self.tell(&owner.object, refusal.reason(), &refusal.message(owner.object.kind));
                    }
                }
                let not_seen = description.is_none() && answers.created.is_none();
                if not_seen && (unwanted || may_be_there) && holding.is_some() {
                    tenure.retries.at_latest(plan.topic.clone(), now + LONGEST_LAG);
                }
                if let (Some(holding), Some(created)) = (&mut holding, &answers.created) {
                    holding.applied.topic_id = Some(created.id.clone());
                }
                after.push((plan.topic.clone(), holding));
            } else if answers.deletion_refused.is_some() {
                tenure.retries.succeeded(&plan.topic);
                // The topic stays, and stays whose it is.
                after.push((plan.topic.clone(), held.map(|held| Holding { deletion: None, ..held })));
            } else {
                if !answers.in_use.is_empty() {
                    tenure.retries.at(plan.topic.clone(), now + USERS_ASKED_EVERY);
                } else if answers.is_final() {
                    // The same request would get the same answer: it waits for an edit, or for the next look at everything.
                    tenure.retries.succeeded(&plan.topic);
                    if !answers.config_refused {
                        self.wake_for(tenure, plan, false);
                    }
                } else {
                    tenure.retries.failed(plan.topic.clone(), now);
                }
                if plan.creates() && !answers.may_be_made() {
                    // What was not made is not claimed: whoever makes the topic now, it is not ours. Nor is what an earlier
                    // attempt may have made, once it is refused for good: it would be there by now.
                    let stays = |held: &Holding| answers.lagging || held.applied.topic_id.is_some();
                    // Whoever declares it wants it: a deletion from before was called off.
                    let wanted = |held: Holding| Holding { deletion: None, left: None, ..held };
                    after.push((plan.topic.clone(), held.filter(stays).map(wanted)));
                } else if let Some(holding) = applied_in_part(plan, &answers) {
                    after.push((plan.topic.clone(), Some(holding)));
                }
            }
            if let Some(until) = late.get(&plan.topic) {
                // Then it is somebody's hand if it is there still.
                tenure.retries.at_latest(plan.topic.clone(), *until);
            } else if !plan.drifted.is_empty() && now.duration_since(tenure.begun) < LONGEST_LAG {
                // What was changed before this leadership is not known here: a broker that lags may look so.
                tenure.retries.at_latest(plan.topic.clone(), now + LOOK_AGAIN);
            }
            if answers.deleted && !plan.refused.is_empty() {
                // Its name is free for those who were refused it.
                tenure.retries.failed(plan.topic.clone(), now);
            }
            match asked_for(plan).filter(|_| answers.used_by_workloads) {
                Some(grant) => tenure.in_use.insert(plan.topic.clone(), grant),
                None => tenure.in_use.remove(&plan.topic),
            };
            let waits = plan.deletes().is_some() && !answers.deleted && answers.deletion_refused.is_none();
            if waits {
                held_up.extend(plan.owner.clone());
            }
            if let Some(gone) = plan.deletes().filter(|_| answers.deleted) {
                tenure.own_changes.forget(&plan.topic);
                tenure.note_deleted(&plan.topic, gone, now);
            }
            let exists = (description.is_some() || answers.created.is_some()) && !answers.deleted;
            // Whom the owner of a topic that is known lets in is his word alone, whatever the brokers show and however its deletion
            // waits. Of any other, a look at metadata that does not show it tells nothing: what was granted stays so.
            if exists || is_known || !answers.lagging {
                let owner = plan
                    .owner
                    .as_ref()
                    .filter(|owner| (exists || is_known) && !answers.deleted && (!owner.deleting || waits));
                tenure.grants.set(&plan.topic, owner.map(grant_of));
            }
            if answers.misplaced {
                tenure.placing.forget();
            }
            if description.is_some() || !may_be_there || answers.created.is_some() || answers.deleted {
                let extent = self.extent(plan, &answers, description.as_ref()).filter(|_| exists);
                extents.push((plan.topic.clone(), extent));
            }
            if !unsettled.contains(&plan.topic) {
                self.note_at_desk(plan, exists);
            }
            told.push((plan, answers, description));
        }
        if let Some(more) = tenure.ledger.record(self.store.as_ref(), after).await? {
            // What was done is not: it is done again, and does nothing.
            told.retain(|(plan, ..)| !more.topics.contains(&plan.topic));
            self.tell_left_out(tenure, &more);
            left_out = Some(more);
        }
        fail_point!("topics/recorded");
        self.note_extents(tenure, extents);
        // A finalizer promises a deletion, and that takes the id that was just recorded.
        for (plan, answers, description) in &told {
            self.report_plan(plan, answers, description.as_ref());
        }
        self.give_up_waiting(tenure, &held_up).await?;
        self.publish(tenure, topics);
        let ended = now.elapsed();
        debug!(
            topics = topics.len(),
            ?looked,
            ?remembered,
            ?done,
            ?ended,
            "a pass, and when its steps ended"
        );
        Ok(left_out.map(|left_out| left_out.why))
    }

    /// Of topics that could not be remembered. They keep their grants.
    fn tell_left_out(&self, tenure: &mut Tenure, left_out: &LeftOut) {
        let message = format!(
            "what topicops is to remember of the topic could not be written down: {}; it is tried again",
            crate::chain(&left_out.why)
        );
        let outcome = Outcome::pending(Reason::NotRemembered, message);
        for topic in &left_out.topics {
            let declarations = self.index.declarations(topic);
            for one in declarations.iter().filter(|one| !one.deleting) {
                self.report(&one.object, &outcome, None, None);
            }
            tenure.retries.failed(topic.clone(), Instant::now());
            keep_grant(tenure, topic, &declarations);
        }
    }

    pub(super) fn publish(&self, tenure: &mut Tenure, topics: &[TopicName]) {
        for topic in topics {
            tenure.unseen.remove(topic);
            let holder = tenure.ledger.get(topic).map(|holding| holding.namespace.as_str());
            tenure.grants.hold(topic, holder);
        }
        tenure.grants.protect(self.index.with_grants(|grants| Arc::clone(grants.protected())));
        if !tenure.unseen.is_empty() {
            return;
        }
        if *self.grants.borrow().as_ref() != tenure.grants {
            self.grants.send_replace(Arc::new(tenure.grants.clone()));
        }
        self.granted.send_if_modified(|granted| !std::mem::replace(granted, true));
        self.desk.note_whole();
    }
}

/// What is to be remembered where some steps were acknowledged and another was not: what was set is nobody else's hand.
fn applied_in_part(plan: &TopicPlan, answers: &super::execute::Answers) -> Option<Holding> {
    if !answers.grown && !answers.configured {
        return None;
    }
    let (mut holding, after) = (plan.holding.clone()?, plan.holding_after.as_ref()?);
    for step in &plan.steps {
        match step {
            Step::Grow(_) if answers.grown => holding.applied.partitions = after.applied.partitions,
            Step::Configure(configs) if answers.configured => {
                for key in configs.set.keys().chain(&configs.unset) {
                    match after.applied.config(key) {
                        Some(value) => holding.applied.set(key, value),
                        None => holding.applied.forget(key),
                    }
                }
            }
            _ => {}
        }
    }
    Some(holding)
}

fn known_id(holding: Option<&Holding>) -> Option<String> {
    holding.and_then(|holding| holding.applied.topic_id.clone())
}

/// Whether the topic was made or seen for the namespace of its owner.
fn is_known_of(held: Option<&Holding>, owner: &Declaration) -> bool {
    held.is_some_and(|held| held.namespace == owner.object.namespace && held.applied.topic_id.is_some())
}

/// A topic that cannot be looked at keeps its grant, as its object has it by now; when none is known yet, that of its holder's.
fn keep_grant(tenure: &mut Tenure, topic: &TopicName, declarations: &[Declaration]) {
    let granted = tenure.grants.owner(topic.as_str()).map(|grant| &grant.owner);
    let holder = tenure.ledger.get(topic).map(|holding| holding.namespace.as_str());
    let owner = match granted {
        Some(owner) => declarations.iter().find(|one| one.object == *owner),
        None => declarations
            .iter()
            .filter(|one| !one.deleting && Some(one.object.namespace.as_str()) == holder)
            .min_by_key(|one| one.seniority()),
    };
    if let Some(grant) = owner.map(grant_of) {
        tenure.grants.set(topic, Some(grant));
    }
}

/// Whom the object that owns a topic lets in.
pub fn grant_of(owner: &Declaration) -> TopicGrant {
    TopicGrant {
        owner: owner.object.clone(),
        consumers: owner.manifest.consumers.clone(),
        producers: owner.manifest.producers.clone(),
    }
}

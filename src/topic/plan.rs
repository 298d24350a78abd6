use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::{DeletionPolicy, DriftPolicy, PartitionCount, ReplicationFactor, TopicName};

use super::{
    Applied, Declaration, Drift, Extent, Holding, Ownership, PlanContext, Refusal, RetentionStepping,
    TopicPolicy,
    config_merge::ConfigMerge,
    disk_share::{RETENTION_BYTES, Replicas},
    limits::{Field, Judgement},
    replica_guard::{MIN_IN_SYNC, TakenAway, against_factor, against_least, is_early, taken_away},
    stepped_cut::SteppedCut,
};
use crate::kafka::{ConfigChange, NewPartitions, NewTopic, TopicDescription};

/// One thing to do with one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Create(NewTopic),
    Grow(NewPartitions),
    /// Its replicas are to be moved so that each partition has so many; that takes its time.
    ChangeFactor(ReplicationFactor),
    Configure(ConfigChange),
    /// When nobody uses it, or its author said to force it.
    Delete {
        force: bool,
        /// Kafka's id of the topic that is meant: one that is made in its place meanwhile is not.
        id: String,
    },
}

/// What is to be done about one topic, and what is not and why. Nothing is left to decide for whoever carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    pub topic: TopicName,
    /// The object that owns the topic.
    pub owner: Option<Declaration>,
    /// Its author wants nothing touched, or something has to be mended first: what he wrote, or the policy file.
    pub held_back: bool,
    /// What has to be remembered before the steps are carried out. `None`: nothing is known or claimed.
    pub holding: Option<Holding>,
    /// What has to be remembered once they are: without what was unset. `None`: forget the topic.
    pub holding_after: Option<Holding>,
    pub steps: Vec<Step>,
    /// What the owner declares and is not done.
    pub refusals: Vec<Refusal>,
    /// What limits changed, or would have otherwise, of what is done.
    pub notices: Vec<String>,
    /// What somebody changed on the brokers and the steps put back.
    pub corrected: Vec<Drift>,
    /// What somebody changed on the brokers and is left so.
    pub drifted: Vec<Drift>,
    /// Large cuts in retention that are under way.
    pub stepping: Vec<RetentionStepping>,
    /// More has to be known of the brokers: the plan is to be made again with [`PlanContext::storage`].
    pub wants_storage: bool,
    /// The rest can be planned once this is carried out: the topic is to be looked at again at once.
    pub again: bool,
    /// Somebody deleted the topic and made it anew.
    pub remade: bool,
    /// Objects that declare the topic and do not own it.
    pub refused: Vec<(Declaration, Refusal)>,
}

impl TopicPlan {
    /// Plans one topic from what is declared, what the brokers have, what is remembered, and what counts for all topics.
    ///
    /// A pure function: the controller, the CLI and the tests use this one.
    pub fn of(
        topic: &TopicName,
        declarations: &[Declaration],
        observed: Option<&TopicDescription>,
        holding: Option<&Holding>,
        context: &PlanContext,
    ) -> Self {
        // A name is not free before what is to be deleted under it is, whether the brokers that were asked show it or not.
        let due = |holding: &Holding| holding.deletion.as_ref().is_some_and(|due| due.topic_id.is_some());
        let exists = observed.is_some() || holding.is_some_and(due);
        let settled = Ownership::settle(topic, declarations, holding, exists, &context.policy);
        let mut plan = Self {
            topic: topic.clone(),
            owner: settled.owner.cloned(),
            held_back: false,
            holding: holding.cloned(),
            holding_after: holding.cloned(),
            steps: Vec::new(),
            refusals: Vec::new(),
            notices: Vec::new(),
            corrected: Vec::new(),
            drifted: Vec::new(),
            stepping: Vec::new(),
            wants_storage: false,
            again: false,
            remade: false,
            refused: settled.refused.into_iter().map(|(one, refusal)| (one.clone(), refusal)).collect(),
        };
        let Some(owner) = settled.owner else {
            if context.policy.protects(topic).is_none() {
                plan.carry_on_deleting(observed);
            } else if let Some(holding) = &mut plan.holding_after {
                // It would come true when the protection ends, and nobody would expect it then.
                holding.deletion = None;
            }
            // Nobody declares it: whoever does so next means what he says, whatever was declared before.
            if let Some(holding) = plan.holding_after.as_mut().filter(|_| declarations.is_empty()) {
                holding.applied = Applied::default();
                holding.left = observed.map(Extent::of).or(holding.left);
            }
            return plan;
        };
        // Whoever declares it wants it, whatever was wanted before. An object that is to take it along and is not waited for stays
        // for a while after that was remembered.
        let wished = &owner.manifest;
        let goes = owner.deleting && wished.deletion_policy == DeletionPolicy::Delete && !wished.paused;
        for holding in [&mut plan.holding, &mut plan.holding_after].into_iter().flatten() {
            holding.left = None;
            holding.deletion = holding.deletion.take().filter(|_| goes);
            if let Some(observed) = observed.filter(|_| !owner.deleting && held_for(owner, holding)) {
                // Only the topic that was seen while it was declared may be deleted later, whatever becomes of its steps.
                holding.applied.topic_id.get_or_insert_with(|| observed.id.clone());
            }
        }
        let manifest = &owner.manifest;
        if manifest.paused || (!owner.problems.is_empty() && !owner.deleting) {
            plan.held_back = true;
            return plan;
        }
        match (owner.deleting, manifest.deletion_policy, observed) {
            (true, DeletionPolicy::Delete, observed) => {
                let known = applied_by(owner, holding).topic_id;
                plan.delete(observed, known.as_deref(), manifest.force_delete);
            }
            // The topic stays; a mistaken policy is read as retain.
            (true, DeletionPolicy::Retain, _) => {}
            (false, ..) if context.policy.unread => {
                plan.held_back = true;
                plan.refusals.push(Refusal::PolicyUnread);
            }
            (false, _, observed) => {
                let over = context.over_quota.get(&owner.object).map_or(&[][..], Vec::as_slice);
                let mut judged = context.policy.judge(&owner.object.namespace, manifest).with_quota(over);
                if let Some(observed) = observed {
                    let existing = observed.partitions();
                    let has = |declared: PartitionCount| existing >= declared.get();
                    // The flag bounds what is made and what grows, and says nothing of what is there.
                    judged.refused.retain(|found| !found.by_flag || !manifest.partitions.is_some_and(has));
                }
                plan.refusals.extend(judged.refused.iter().cloned().map(Refusal::Limit));
                plan.notices.extend(judged.notices(owner.object.kind));
                let drift = context.drift.and(manifest.drift.unwrap_or_default());
                match observed {
                    Some(observed) => plan.converge(owner, &judged, observed, holding, drift, context),
                    None if judged.refused.is_empty() => plan.create(owner, &judged, holding, drift, context),
                    None => {}
                }
            }
        }
        plan
    }

    /// Whether `going`, which is being deleted, takes nothing with it, whatever the brokers have: then it needs no broker to go.
    pub fn leaves_topic(
        going: &Declaration,
        declarations: &[Declaration],
        holding: Option<&Holding>,
        policy: &TopicPolicy,
    ) -> bool {
        let manifest = &going.manifest;
        if manifest.paused || manifest.deletion_policy == DeletionPolicy::Retain {
            return true;
        }
        let settled = Ownership::settle(&manifest.topic, declarations, holding, true, policy);
        settled.owner.is_none_or(|owner| owner.object != going.object)
    }

    /// Kafka's id of the topic that is to be deleted, if one is.
    pub fn deletes(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Delete { id, .. } => Some(id.as_str()),
            _ => None,
        })
    }

    /// Deletes the topic that is known, and none that somebody made in its place. Where no broker that was asked shows any, one of
    /// them may not know it yet: their controller does.
    fn delete(&mut self, observed: Option<&TopicDescription>, known: Option<&str>, force: bool) {
        let topic = self.topic.clone();
        match (known, observed) {
            (Some(id), observed) if observed.is_none_or(|observed| observed.id == id) => {
                self.steps.push(Step::Delete { force, id: id.to_owned() });
                self.holding_after = None;
            }
            (Some(_), _) => self.refusals.push(Refusal::Replaced { topic }),
            (None, Some(_)) => self.refusals.push(Refusal::NeverSeen { topic }),
            (None, None) => self.holding_after = None,
        }
    }

    /// What was asked for by an object that is gone.
    fn carry_on_deleting(&mut self, observed: Option<&TopicDescription>) {
        let Some(deletion) = self.holding.as_ref().and_then(|holding| holding.deletion.clone()) else {
            return;
        };
        if let Some(after) = &mut self.holding_after {
            after.deletion = None;
        }
        self.delete(observed, deletion.topic_id.as_deref(), deletion.force);
    }

    pub fn creates(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Create(_)))
    }

    /// The replication factor that the topic's replicas are to be moved to.
    pub fn changes_factor(&self) -> Option<ReplicationFactor> {
        self.steps.iter().find_map(|step| match step {
            Step::ChangeFactor(factor) => Some(*factor),
            _ => None,
        })
    }

    fn create(
        &mut self,
        owner: &Declaration,
        judged: &Judgement,
        holding: Option<&Holding>,
        drift: DriftPolicy,
        context: &PlanContext,
    ) {
        let manifest = &judged.manifest;
        let lost = applied_by(owner, holding).topic_id;
        if lost.is_some() {
            if drift == DriftPolicy::Report {
                self.drifted.push(Drift::Missing);
                return;
            }
            self.corrected.push(Drift::Missing);
        }
        let mut configs = manifest.configs.clone();
        let count = |(partitions, factor): (PartitionCount, ReplicationFactor)| {
            u64::try_from(i64::from(partitions.get()) * i64::from(factor.get())).unwrap_or(0)
        };
        let to_come = Replicas::ToCome(manifest.partitions.zip(manifest.replication_factor).map(count));
        self.share_of_disk(owner, judged, to_come, (&Applied::default(), context), &mut configs);
        if self.wants_storage {
            return;
        }
        // Without the bound that its author wants, it could fill the disks.
        let unbounded =
            |refusal: &Refusal| matches!(refusal, Refusal::Limit(_) | Refusal::DiskSizeUnknown { .. });
        if self.refusals.iter().any(unbounded) {
            self.corrected.clear();
            return;
        }
        let factor = manifest.replication_factor;
        if let Some(refusal) = factor.and_then(|factor| against_factor(factor, &[&configs], context.brokers))
        {
            self.refusals.push(refusal);
            self.corrected.clear();
            return;
        }
        let namespace = owner.object.namespace.clone();
        let keys: BTreeSet<String> = configs.keys().cloned().collect();
        // Until the topic is made, nothing was applied to it but its loss.
        let before = Applied { topic_id: lost, ..Applied::default() };
        self.holding = Some(Holding {
            namespace: namespace.clone(),
            keys: keys.clone(),
            applied: before,
            deletion: None,
            left: None,
        });
        let mut applied = Applied {
            partitions: partitions(owner, judged).map(PartitionCount::get),
            replication_factor: replication_factor(owner, judged).map(ReplicationFactor::get),
            ..Applied::default()
        };
        applied.disk_share = manifest.retention_disk_share.filter(|_| keys.contains(RETENTION_BYTES));
        configs.iter().for_each(|(key, value)| applied.set(key, value));
        self.holding_after = Some(Holding { namespace, keys, applied, deletion: None, left: None });
        self.steps.push(Step::Create(NewTopic {
            name: self.topic.clone(),
            partitions: manifest.partitions,
            replication_factor: manifest.replication_factor,
            placement: None,
            configs,
        }));
    }

    fn converge(
        &mut self,
        owner: &Declaration,
        judged: &Judgement,
        observed: &TopicDescription,
        holding: Option<&Holding>,
        drift: DriftPolicy,
        context: &PlanContext,
    ) {
        let manifest = &judged.manifest;
        let mut before = applied_by(owner, holding);
        let mut applied = before.clone();
        self.remade = before.topic_id.as_ref().is_some_and(|id| *id != observed.id);
        applied.topic_id = Some(observed.id.clone());
        // As above, for one that was not held until now.
        before.topic_id.get_or_insert_with(|| observed.id.clone());
        self.count_partitions(owner, judged, observed, drift, &mut applied);
        self.count_replicas(owner, judged, observed, (drift, context), &mut applied);
        before.replication_factor = before.replication_factor.and(applied.replication_factor);

        // What another namespace declared before is nobody's now: the new owner never gave it up.
        let held = holding.filter(|holding| held_for(owner, holding));
        let held = held.map(|holding| &holding.keys);
        let share = manifest.retention_disk_share;
        // A default fills in what nobody has said: what somebody set on the topic itself counts for more.
        let is_anothers = |key: &String| {
            !owner.manifest.configs.contains_key(key)
                && observed.configs.contains_key(key)
                && !held.is_some_and(|held| held.contains(key))
        };
        let mut declared: BTreeMap<String, String> = manifest
            .configs
            .iter()
            .filter(|(key, _)| !judged.withholds_config(key) && !is_anothers(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let placed = Replicas::Placed(&observed.replicas);
        self.share_of_disk(owner, judged, placed, (&before, context), &mut declared);
        let goal = self.changes_factor().map(ReplicationFactor::get);
        let goal = goal.or_else(|| context.moving.get(&self.topic).copied());
        let factor = goal.unwrap_or_else(|| observed.replication_factor());
        if let Some(refusal) = against_least(factor, &declared, &observed.configs) {
            declared.remove(MIN_IN_SYNC);
            self.refusals.push(refusal);
        } else if goal.is_some() && is_early(&declared, observed) {
            // Until the replicas to come are in sync, nobody could write with it: it is set when they are there.
            declared.remove(MIN_IN_SYNC);
        }
        if share.is_none() || declared.contains_key(RETENTION_BYTES) {
            applied.disk_share = share;
        }
        let declares = |key: &str| {
            manifest.configs.contains_key(key)
                || (share.is_some() && key == RETENTION_BYTES)
                || judged.withholds_config(key)
        };
        // What is withheld, or not known yet, stays as it is, and stays ours if it was.
        let (mut kept, mut gone): (Vec<&String>, Vec<&String>) = held
            .into_iter()
            .flatten()
            .filter(|key| !declared.contains_key(*key))
            .partition(|key| declares(key));
        if let Some(at) = gone.iter().position(|key| *key == MIN_IN_SYNC) {
            match taken_away(factor, observed, context.brokers) {
                TakenAway::Fine => {}
                TakenAway::Early => kept.push(gone.remove(at)),
                TakenAway::Refused(refusal) => {
                    kept.push(gone.remove(at));
                    self.refusals.push(refusal);
                }
            }
        }
        let mut merge = ConfigMerge::of(&declared, gone, &observed.configs, drift, &mut applied);
        let cut = SteppedCut::limit(&mut merge.change, &self.topic, observed, context, &before, &mut applied);
        self.wants_storage |= cut.wants_storage;
        self.stepping = cut.stepping;
        if cut.stepped {
            before.stepped_at = Some(context.now);
        }
        let waits = |drift: &Drift| matches!(drift, Drift::Config { key, .. } if cut.waiting.contains(key));
        self.corrected.extend(merge.corrected.into_iter().filter(|drift| !waits(drift)));
        self.drifted.extend(merge.drifted);
        let namespace = owner.object.namespace.clone();
        let declared: BTreeSet<String> =
            declared.into_keys().chain(kept.into_iter().cloned()).chain(cut.kept).collect();
        let mut both = declared.clone();
        both.extend(merge.change.unset.iter().cloned());
        self.holding = Some(Holding {
            namespace: namespace.clone(),
            keys: both,
            applied: before,
            deletion: None,
            left: None,
        });
        self.holding_after = Some(Holding { namespace, keys: declared, applied, deletion: None, left: None });
        if !merge.change.is_empty() {
            self.steps.push(Step::Configure(merge.change));
        }
    }

    fn count_partitions(
        &mut self,
        owner: &Declaration,
        judged: &Judgement,
        observed: &TopicDescription,
        drift: DriftPolicy,
        applied: &mut Applied,
    ) {
        let found = observed.partitions();
        let wanted = partitions(owner, judged);
        let Some(count) = wanted.filter(|count| count.get() != found) else {
            applied.partitions = wanted.map(PartitionCount::get);
            return;
        };
        let declared = count.get();
        let changed = Drift::Partitions { declared, found };
        match (applied.partitions == Some(declared), declared > found) {
            // Kafka cannot take them away again, whatever the policy.
            (true, false) => self.drifted.push(changed),
            (true, true) if drift == DriftPolicy::Report => self.drifted.push(changed),
            (false, false) => {
                let asked = owner.manifest.partitions.map_or(declared, PartitionCount::get);
                if asked < found {
                    self.refusals.push(Refusal::FewerPartitions { declared: asked, existing: found });
                }
            }
            (_, true) if judged.withholds(&Field::Partitions) => {}
            (by_hand, true) => {
                self.corrected.extend(by_hand.then_some(changed));
                let topic = self.topic.clone();
                self.steps.push(Step::Grow(NewPartitions { topic, total: count, placement: None }));
                applied.partitions = Some(declared);
            }
        }
    }

    fn count_replicas(
        &mut self,
        owner: &Declaration,
        judged: &Judgement,
        observed: &TopicDescription,
        (drift, context): (DriftPolicy, &PlanContext),
        applied: &mut Applied,
    ) {
        let Some(factor) = replication_factor(owner, judged) else {
            applied.replication_factor = None;
            return;
        };
        let declared = factor.get();
        if owner.manifest.replication_factor != Some(factor) {
            // What a limit makes of the number counts for new topics: no replica is taken from one that has it.
            return;
        }
        let goal = context.moving.get(&self.topic);
        let has_it = |replicas: &Vec<i32>| i16::try_from(replicas.len()) == Ok(declared);
        match goal {
            // Meanwhile the brokers show those to come and those to go.
            Some(goal) if *goal == declared => return,
            Some(_) => {}
            None if observed.replicas.iter().all(has_it) => {
                applied.replication_factor = Some(declared);
                return;
            }
            None => {}
        }
        let found = observed.replication_factor();
        let by_hand = goal.is_none() && applied.replication_factor == Some(declared);
        let changed = Drift::ReplicationFactor { declared, found };
        if by_hand && drift == DriftPolicy::Report {
            self.drifted.push(changed);
        } else if !judged.withholds(&Field::ReplicationFactor) {
            let configs = [&judged.manifest.configs, &observed.configs];
            match against_factor(factor, &configs, context.brokers) {
                Some(refusal) => self.refusals.push(refusal),
                None => {
                    if by_hand {
                        self.corrected.push(changed);
                    } else {
                        // Until it has arrived, and is declared still, what the brokers have is nobody's hand.
                        applied.replication_factor = None;
                    }
                    self.steps.push(Step::ChangeFactor(factor));
                }
            }
        }
    }
}

fn held_for(owner: &Declaration, holding: &Holding) -> bool {
    holding.namespace == owner.object.namespace
}

/// What was applied for the namespace that owns the topic: what was for another is nothing that this one declared.
fn applied_by(owner: &Declaration, holding: Option<&Holding>) -> Applied {
    let own = holding.filter(|holding| held_for(owner, holding));
    own.map(|holding| holding.applied.clone()).unwrap_or_default()
}

/// How many partitions the author asks for, as far as limits let him. Defaults of numbers are for new topics: a later
/// change of them moves nothing.
fn partitions(owner: &Declaration, judged: &Judgement) -> Option<PartitionCount> {
    owner.manifest.partitions.and(judged.manifest.partitions)
}

fn replication_factor(owner: &Declaration, judged: &Judgement) -> Option<ReplicationFactor> {
    owner.manifest.replication_factor.and(judged.manifest.replication_factor)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

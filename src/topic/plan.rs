use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::{DeletionPolicy, PartitionCount, ReplicationFactor, TopicConfig, TopicName};

use super::{
    Declaration, Holding, Ownership, PlanContext, Refusal,
    limits::{Field, Judgement},
};
use crate::kafka::{ConfigChange, NewPartitions, NewTopic, TopicDescription};

/// With fewer replicas than this says, nobody could write with `acks=all`.
pub const MIN_IN_SYNC: &str = "min.insync.replicas";

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
    },
}

/// What is to be done about one topic, and what is not and why. Nothing is left to decide for whoever carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    pub topic: TopicName,
    /// The object that owns the topic.
    pub owner: Option<Declaration>,
    /// Its author wants nothing touched, or wrote something that has to be mended first.
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
        let settled = Ownership::settle(topic, declarations, holding, observed.is_some(), &context.policy);
        let mut plan = Self {
            topic: topic.clone(),
            owner: settled.owner.cloned(),
            held_back: false,
            holding: holding.cloned(),
            holding_after: holding.cloned(),
            steps: Vec::new(),
            refusals: Vec::new(),
            notices: Vec::new(),
            refused: settled.refused.into_iter().map(|(one, refusal)| (one.clone(), refusal)).collect(),
        };
        let Some(owner) = settled.owner else { return plan };
        let manifest = &owner.manifest;
        if manifest.paused || (!owner.problems.is_empty() && !owner.deleting) {
            plan.held_back = true;
            return plan;
        }
        match (owner.deleting, manifest.deletion_policy, observed) {
            (true, DeletionPolicy::Delete, Some(_)) => {
                plan.steps.push(Step::Delete { force: manifest.force_delete });
                plan.holding_after = None;
            }
            (true, DeletionPolicy::Delete, None) => plan.holding_after = None,
            // The topic stays; a mistaken policy is read as retain.
            (true, DeletionPolicy::Retain, _) => {}
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
                match observed {
                    Some(observed) => plan.converge(owner, &judged, observed, holding, context),
                    None if judged.refused.is_empty() => plan.create(owner, &judged),
                    None => {}
                }
            }
        }
        plan
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

    fn create(&mut self, owner: &Declaration, judged: &Judgement) {
        let manifest = &judged.manifest;
        let keys = manifest.configs.keys().cloned().collect();
        self.remember(Holding { namespace: owner.object.namespace.clone(), keys });
        self.refuse_disk_share(owner);
        self.steps.push(Step::Create(NewTopic {
            name: self.topic.clone(),
            partitions: manifest.partitions,
            replication_factor: manifest.replication_factor,
            placement: None,
            configs: manifest.configs.clone(),
        }));
    }

    fn converge(
        &mut self,
        owner: &Declaration,
        judged: &Judgement,
        observed: &TopicDescription,
        holding: Option<&Holding>,
        context: &PlanContext,
    ) {
        let manifest = &judged.manifest;
        let existing = observed.partitions();
        // Defaults of numbers are for new topics: a later change of them moves nothing.
        if let (Some(declared), Some(wanted)) = (owner.manifest.partitions, manifest.partitions) {
            if wanted.get() > existing && !judged.withholds(&Field::Partitions) {
                let topic = self.topic.clone();
                self.steps.push(Step::Grow(NewPartitions { topic, total: wanted, placement: None }));
            }
            if declared.get() < existing && wanted.get() < existing {
                self.refusals.push(Refusal::FewerPartitions { declared: declared.get(), existing });
            }
        }
        self.change_factor(owner, judged, observed, context);
        self.refuse_disk_share(owner);

        let declared_before = holding.map(|holding| &holding.keys);
        let gone =
            |key: &&String| !manifest.configs.contains_key(*key) && observed.configs.contains_key(*key);
        let change = ConfigChange {
            set: manifest
                .configs
                .iter()
                .filter(|(key, value)| {
                    !judged.withholds_config(key)
                        && !observed.configs.get(*key).is_some_and(|now| TopicConfig::same(key, now, value))
                })
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            unset: declared_before.into_iter().flatten().filter(gone).cloned().collect(),
        };
        let namespace = owner.object.namespace.clone();
        // What is withheld stays as it is, and stays ours if it was.
        let ours = |key: &&String| {
            !judged.withholds_config(key) || declared_before.is_some_and(|before| before.contains(*key))
        };
        let declared: BTreeSet<String> = manifest.configs.keys().filter(ours).cloned().collect();
        let mut both = declared.clone();
        both.extend(change.unset.iter().cloned());
        self.holding = Some(Holding { namespace: namespace.clone(), keys: both });
        self.holding_after = Some(Holding { namespace, keys: declared });
        if !change.is_empty() {
            self.steps.push(Step::Configure(change));
        }
    }

    fn change_factor(
        &mut self,
        owner: &Declaration,
        judged: &Judgement,
        observed: &TopicDescription,
        context: &PlanContext,
    ) {
        let manifest = &judged.manifest;
        // Defaults of numbers are for new topics.
        let wanted = owner.manifest.replication_factor.and(manifest.replication_factor);
        let Some(declared) = wanted.filter(|_| !judged.withholds(&Field::ReplicationFactor)) else { return };
        let factor = usize::try_from(declared.get()).unwrap_or(0);
        let reached = match context.moving.get(&self.topic) {
            // Meanwhile the brokers show those to come and those to go.
            Some(goal) => *goal == declared.get(),
            None => observed.replicas.iter().all(|replicas| replicas.len() == factor),
        };
        if reached {
            return;
        }
        let own = |configs: &BTreeMap<String, String>| configs.get(MIN_IN_SYNC)?.parse::<usize>().ok();
        let of_brokers = context.brokers.map(|brokers| brokers.min_in_sync);
        let least = own(&manifest.configs).or_else(|| own(&observed.configs)).or(of_brokers);
        match (context.brokers, least) {
            (Some(brokers), _) if factor > brokers.count => {
                let brokers = brokers.count;
                self.refusals.push(Refusal::TooFewBrokers { declared: declared.get(), brokers });
            }
            (_, Some(least)) if factor < least => {
                self.refusals.push(Refusal::BelowMinInsyncReplicas { declared: declared.get(), least });
            }
            _ => self.steps.push(Step::ChangeFactor(declared)),
        }
    }

    fn remember(&mut self, holding: Holding) {
        self.holding = Some(holding.clone());
        self.holding_after = Some(holding);
    }

    fn refuse_disk_share(&mut self, owner: &Declaration) {
        if let Some(share) = owner.manifest.retention_disk_share {
            self.refusals.push(Refusal::RetentionDiskShare { share: share.to_string() });
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

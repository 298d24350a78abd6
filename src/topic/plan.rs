use topicops_contract::{DeletionPolicy, PartitionCount, TopicConfig, TopicName};

use super::{Declaration, Holding, Ownership, PlanContext, Refusal, TopicPolicy};
use crate::kafka::{ConfigChange, NewTopic, TopicDescription};

/// One thing to do with one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Create(NewTopic),
    /// To a total of so many partitions.
    Grow(PartitionCount),
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
            (false, _, Some(observed)) => plan.converge(owner, observed, holding, context),
            (false, _, None) => match too_many(owner, &context.policy) {
                Some(refusal) => plan.refusals.push(refusal),
                None => plan.create(owner),
            },
        }
        plan
    }

    pub fn creates(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Create(_)))
    }

    fn create(&mut self, owner: &Declaration) {
        let manifest = &owner.manifest;
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
        observed: &TopicDescription,
        holding: Option<&Holding>,
        context: &PlanContext,
    ) {
        let manifest = &owner.manifest;
        let existing = observed.partitions();
        match manifest.partitions {
            Some(declared) if declared.get() > existing => match too_many(owner, &context.policy) {
                Some(refusal) => self.refusals.push(refusal),
                None => self.steps.push(Step::Grow(declared)),
            },
            Some(declared) if declared.get() < existing => {
                self.refusals.push(Refusal::FewerPartitions { declared: declared.get(), existing });
            }
            _ => {}
        }
        let existing = observed.replication_factor();
        match manifest.replication_factor {
            Some(declared) if declared.get() != existing => {
                self.refusals.push(Refusal::ReplicationFactorChange { declared: declared.get(), existing });
            }
            _ => {}
        }
        self.refuse_disk_share(owner);

        let declared_before = holding.map(|holding| &holding.keys);
        let gone =
            |key: &&String| !manifest.configs.contains_key(*key) && observed.configs.contains_key(*key);
        let change = ConfigChange {
            set: manifest
                .configs
                .iter()
                .filter(|(key, value)| {
                    !observed.configs.get(*key).is_some_and(|now| TopicConfig::same(key, now, value))
                })
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            unset: declared_before.into_iter().flatten().filter(gone).cloned().collect(),
        };
        let namespace = owner.object.namespace.clone();
        let declared: std::collections::BTreeSet<String> = manifest.configs.keys().cloned().collect();
        let mut both = declared.clone();
        both.extend(change.unset.iter().cloned());
        self.holding = Some(Holding { namespace: namespace.clone(), keys: both });
        self.holding_after = Some(Holding { namespace, keys: declared });
        if !change.is_empty() {
            self.steps.push(Step::Configure(change));
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

fn too_many(owner: &Declaration, policy: &TopicPolicy) -> Option<Refusal> {
    let declared = owner.manifest.partitions?.get();
    let most = policy.max_partitions.filter(|most| declared > *most)?;
    Some(Refusal::TooManyPartitions { declared, most })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

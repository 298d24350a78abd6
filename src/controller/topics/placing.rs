//! Where the replicas of new topics and partitions go, and which are to be moved.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use topicops_contract::{PartitionCount, ReplicationFactor, TopicName};
use tracing::warn;

use super::{TopicController, topic_controller::Tenure};
use crate::{
    controller::moves::{BrokerDefaults, Standing, Survey},
    kafka::{Cluster, ClusterError, ConfigKeys, TopicDescription},
    placement::{Layout, place_added, place_new},
    topic::{BrokerFacts, Declaration, MIN_IN_SYNC, Ownership, PlanContext, Step, TopicPlan},
};

/// How the brokers stand, kept as long as it is good for: own creations are counted in, those of others are found again after a
/// while, and nothing is asked for where nothing is created.
#[derive(Debug, Default)]
pub(super) struct Placing {
    view: Option<View>,
}

#[derive(Debug)]
struct View {
    at: Instant,
    brokers: BTreeSet<i32>,
    draining: BTreeSet<i32>,
    /// `None`: there is one broker, and nothing to choose.
    layout: Option<Layout>,
    defaults: Option<BrokerDefaults>,
}

/// A view of this age is taken anew.
const OLD: Duration = Duration::from_secs(60);

impl Placing {
    /// The brokers are others than was thought.
    pub(super) fn forget(&mut self) {
        self.view = None;
    }

    async fn refresh(&mut self, cluster: &dyn Cluster, draining: BTreeSet<i32>) -> Result<(), ClusterError> {
        // Always: whatever is placed on a broker that has just gone has one replica less from its first day.
        let brokers: BTreeSet<i32> =
            cluster.describe_cluster().await?.brokers.iter().map(|(broker, _)| *broker).collect();
        let good =
            |view: &View| view.at.elapsed() < OLD && view.draining == draining && view.brokers == brokers;
        if self.view.as_ref().is_some_and(good) {
            return Ok(());
        }
        let (layout, defaults) = if brokers.len() < 2 {
            (None, None)
        } else {
            let survey = Survey::take(cluster, &draining).await?;
            let asked: Vec<i32> = brokers.iter().copied().collect();
            (Some(survey.layout), BrokerDefaults::read(cluster, &asked).await?)
        };
        self.view = Some(View { at: Instant::now(), brokers, draining, layout, defaults });
        Ok(())
    }

    /// Gives a step its placement; the brokers choose where there is none to be found: they then say why they cannot either.
    fn place(&mut self, step: &mut Step, existing: Option<&TopicDescription>) {
        let Some(View { layout: Some(layout), defaults, .. }) = &mut self.view else { return };
        match (step, existing) {
            (Step::Create(topic), _) => {
                let of_brokers =
                    |number: Option<i32>| number.and_then(|number| PartitionCount::try_from(number).ok());
                let factor =
                    defaults.and_then(|all| ReplicationFactor::try_from(all.replication_factor).ok());
                let partitions = topic.partitions.or_else(|| of_brokers(defaults.map(|all| all.partitions)));
                if let (Some(partitions), Some(factor)) = (partitions, topic.replication_factor.or(factor))
                    && let Ok(placement) = place_new(layout, partitions, factor)
                {
                    (topic.partitions, topic.replication_factor) = (Some(partitions), Some(factor));
                    topic.placement = Some(placement);
                }
            }
            (Step::Grow(more), Some(existing)) => {
                let factor = ReplicationFactor::try_from(existing.replication_factor()).ok();
                let added = PartitionCount::try_from(more.total.get() - existing.partitions()).ok();
                if let (Some(added), Some(factor)) = (added, factor) {
                    more.placement = place_added(layout, &existing.replicas, added, factor).ok();
                }
            }
            _ => {}
        }
    }
}

impl TopicController {
    /// What all plans of a pass depend on. Only when a replication factor differs, or a topic is to be made with one, the brokers
    /// are asked for more.
    pub(super) async fn with_brokers(
        &self,
        tenure: &Tenure,
        mut context: PlanContext,
        looked_at: &mut [(TopicName, Vec<Declaration>, Option<TopicDescription>)],
    ) -> Result<PlanContext, ClusterError> {
        let has_factor = |one: &Declaration| {
            !one.deleting
                && context
                    .policy
                    .judge(&one.object.namespace, &one.manifest)
                    .manifest
                    .replication_factor
                    .is_some()
        };
        let creates = looked_at
            .iter()
            .any(|(_, declarations, observed)| observed.is_none() && declarations.iter().any(has_factor));
        let moving = self.desk.moving();
        let differs =
            |(topic, declarations, observed): &(TopicName, Vec<Declaration>, Option<TopicDescription>)| {
                let Some(observed) = observed else { return false };
                let is_declared = |one: &Declaration| {
                    one.manifest.replication_factor.is_some_and(|declared| match moving.get(topic) {
                        Some(moving) => moving.factor != declared.get(),
                        None => {
                            observed.replicas.iter().any(|all| i16::try_from(all.len()) != Ok(declared.get()))
                        }
                    })
                };
                // What the brokers' own setting is counts when the topic's is taken away.
                let gives_up_least = || {
                    let held = tenure.ledger.get(topic).filter(|held| held.keys.contains(MIN_IN_SYNC));
                    let Some(held) = held else { return false };
                    let policy = &context.policy;
                    let settled = Ownership::settle(topic, declarations, Some(held), true, policy);
                    settled.owner.is_some_and(|owner| {
                        let judged = policy.judge(&owner.object.namespace, &owner.manifest);
                        !judged.manifest.configs.contains_key(MIN_IN_SYNC)
                    })
                };
                declarations.iter().any(is_declared) || gives_up_least()
            };
        let (names, mut described): (Vec<TopicName>, Vec<&mut TopicDescription>) = looked_at
            .iter_mut()
            .filter(|one| differs(one))
            .filter_map(|(topic, _, observed)| Some((topic.clone(), observed.as_mut()?)))
            .unzip();
        context.moving = moving.iter().map(|(topic, moving)| (topic.clone(), moving.factor)).collect();
        if names.is_empty() && !creates {
            return Ok(context);
        }
        let keys = ConfigKeys::Only(BTreeSet::from([MIN_IN_SYNC.to_owned()]));
        let their_own = async {
            if names.is_empty() {
                return Ok(Vec::new());
            }
            self.cluster.describe_topics(&names, &keys).await
        };
        let (told, cluster) = tokio::try_join!(their_own, self.cluster.describe_cluster())?;
        for ((name, known), told) in names.iter().zip(&mut described).zip(told) {
            if let Ok(Some(told)) = told {
                known.configs.extend(told.configs);
                tenure.own_changes.bring_up_to_date(name, known, Instant::now());
            }
        }
        let brokers: Vec<i32> = cluster.brokers.iter().map(|(broker, _)| *broker).collect();
        let defaults = BrokerDefaults::read(self.cluster.as_ref(), &brokers).await?;
        context.brokers =
            defaults.map(|defaults| BrokerFacts { count: brokers.len(), min_in_sync: defaults.min_in_sync });
        Ok(context)
    }

    /// Gives new topics and partitions their places.
    pub(super) async fn place(
        &self,
        tenure: &mut Tenure,
        plans: &mut [TopicPlan],
        observed: &BTreeMap<TopicName, Option<TopicDescription>>,
    ) {
        let needs_place = |step: &Step| matches!(step, Step::Create(_) | Step::Grow(_));
        if !plans.iter().any(|plan| plan.steps.iter().any(needs_place)) {
            return;
        }
        if let Err(error) = tenure.placing.refresh(self.cluster.as_ref(), self.desk.draining()).await {
            warn!(
                error = crate::chain(&error),
                "where replicas are is not known; the brokers choose where new ones go"
            );
            return;
        }
        for plan in plans {
            let existing = observed.get(&plan.topic).and_then(Option::as_ref);
            plan.steps.iter_mut().for_each(|step| tenure.placing.place(step, existing));
        }
    }

    /// Tells the mover whose topic it is, and what is wanted of it.
    pub(super) fn note_at_desk(&self, plan: &TopicPlan, exists: bool) {
        let standing = match &plan.owner {
            Some(owner) if exists && !owner.deleting => {
                if plan.held_back {
                    Standing::Paused
                } else {
                    Standing::Owned
                }
            }
            _ => Standing::Unowned,
        };
        self.desk.note(&plan.topic, standing, plan.changes_factor().map(ReplicationFactor::get));
    }
}

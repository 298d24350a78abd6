//! Plans of one batch, and the few questions about brokers that some of them cannot do without.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use topicops_contract::{DriftPolicy, PartitionCount, TopicName};
use tracing::warn;

use super::{
    TopicController,
    departures::going,
    lag::{goes_by, may_be_there},
    own_changes::LONGEST_LAG,
    topic_controller::Tenure,
};
use crate::{
    kafka::{Cluster, ClusterError, ConfigKeys, Item, ItemError, NewPartitions, TopicDescription, Trouble},
    topic::{Declaration, Drift, Holding, PlanContext, StorageFacts, TopicPlan},
};

/// What a pass saw of one topic: what declares it, and what the brokers have.
type Look = (TopicName, Vec<Declaration>, Option<TopicDescription>);

/// What a pass is to do.
pub(super) struct Planned {
    pub(super) plans: Vec<TopicPlan>,
    /// Those topics of which nothing was concluded that brokers may not know yet.
    pub(super) unsettled: BTreeSet<TopicName>,
    /// What the brokers that were asked do not show and their controller did not call gone; where that leaves something undone,
    /// why it will not tell.
    pub(super) there: BTreeMap<TopicName, Option<ItemError>>,
    /// What it called gone.
    pub(super) gone: BTreeSet<TopicName>,
}

impl TopicController {
    /// The plans of a pass.
    pub(super) async fn plan_all(
        &self,
        tenure: &Tenure,
        looks: &[Look],
        context: PlanContext,
        now: Instant,
    ) -> Result<Planned, ClusterError> {
        let mut context = PlanContext { now: unix_seconds(), ..context };
        let mut unsettled = BTreeSet::new();
        let mut plans: Vec<TopicPlan> =
            looks.iter().map(|look| plan(tenure, look, &context, &mut unsettled)).collect();
        if plans.iter().any(|one| one.wants_storage) {
            // Asked anew each time: a topic that was small a moment ago may not be cut at once now.
            context.storage = Some(Arc::new(ask_storage(self.cluster.as_ref()).await?));
            for (look, one) in looks.iter().zip(&mut plans).filter(|(_, one)| one.wants_storage) {
                *one = plan(tenure, look, &context, &mut unsettled);
            }
        }
        let hangs_on_it = |((topic, _, observed), plan): &(&Look, &TopicPlan)| {
            observed.is_none() && !unsettled.contains(topic) && hangs_on_absence(tenure, plan, now)
        };
        let asked = looks.iter().zip(&plans).filter(hangs_on_it).map(|(_, plan)| plan.topic.clone());
        let mut gone: BTreeSet<TopicName> = asked.collect();
        let mut there = self.not_gone(&gone).await;
        gone.retain(|topic| !there.contains_key(topic));
        for plan in &mut plans {
            let Some(untold) = there.get_mut(&plan.topic) else { continue };
            if plan.creates() {
                // The name is not free.
                plan.steps.clear();
                plan.holding = tenure.ledger.get(&plan.topic).cloned();
                unsettled.insert(plan.topic.clone());
            } else if plan.drifted.contains(&Drift::Missing) {
                unsettled.insert(plan.topic.clone());
            } else {
                *untold = None;
            }
        }
        Ok(Planned { plans, unsettled, there, gone })
    }

    /// Those of these topics, which the brokers that were asked do not show, that are there all the same, or may be. The brokers'
    /// controller knows, and tells when it is asked for one partition: no topic has less, so nothing is ever done. With each, why
    /// it will not tell.
    async fn not_gone(&self, topics: &BTreeSet<TopicName>) -> BTreeMap<TopicName, Option<ItemError>> {
        // Nothing is concluded without its word, and the others do not wait for it.
        let unknown = || topics.iter().map(|topic| (topic.clone(), None)).collect();
        let Ok(total) = PartitionCount::try_from(1) else { return unknown() };
        let asked = topics.iter().map(|topic| NewPartitions { topic: topic.clone(), total, placement: None });
        let Ok(answers) = self.cluster.create_partitions(&asked.collect::<Vec<_>>()).await else {
            return unknown();
        };
        let says_nothing = |error: &ItemError| !error.retriable && !error.is(ItemError::INVALID_PARTITIONS);
        let there = |answer: Item<()>| match answer {
            Err(error) if error.is(ItemError::UNKNOWN_TOPIC_OR_PARTITION) => None,
            answer => Some(answer.err().filter(says_nothing)),
        };
        let answers = topics.iter().zip(answers);
        answers.filter_map(|(topic, answer)| Some((topic.clone(), there(answer)?))).collect()
    }

    /// A topic whose plan goes on later is looked at again then; `carried_out`: and that at once what could not be planned before.
    pub(super) fn wake_for(&self, tenure: &mut Tenure, plan: &TopicPlan, carried_out: bool) {
        let now = Instant::now();
        if plan.again && carried_out {
            tenure.retries.at_latest(plan.topic.clone(), now + AGAIN);
        }
        if let Some(next) = plan.stepping.iter().map(|step| step.next_at).min() {
            let wait = next.saturating_sub(unix_seconds()).clamp(0, self.context.steps.interval.max(0));
            let wait = Duration::from_secs(u64::try_from(wait).unwrap_or(0));
            // At once would be in a loop, should the clock stand still.
            tenure.retries.at_latest(plan.topic.clone(), now + wait.max(AGAIN));
        }
    }
}

/// Whether more than a look at brokers that may lag has to tell that a topic is not there, because somebody would lose it.
fn hangs_on_absence(tenure: &Tenure, plan: &TopicPlan, now: Instant) -> bool {
    if !plan.creates() {
        let ends = plan.holding_after.is_none() || !may_be_there(tenure, &plan.topic, now);
        return plan.holding.is_some() && ends || plan.drifted.contains(&Drift::Missing);
    }
    let held = tenure.ledger.get(&plan.topic).zip(plan.owner.as_ref());
    held.is_some_and(|(held, owner)| held.namespace != owner.object.namespace)
}

/// What was made here, where its id could not be written down: it goes by that, and is not taken for somebody's who made it anew.
fn learned(
    tenure: &Tenure,
    topic: &TopicName,
    declarations: &[Declaration],
    context: &PlanContext,
) -> Option<Holding> {
    let held = tenure.ledger.get(topic)?;
    let id = goes_by(tenure, topic, held).filter(|id| held.applied.topic_id.as_deref() != Some(id))?;
    // Where nothing is known on purpose, whoever declares it means what he says, whatever was made before.
    let is_noted = tenure.own_changes.unnoted_id(topic).is_none();
    if is_noted && going(declarations, Some(held), &context.policy).is_empty() {
        return None;
    }
    let mut held = held.clone();
    held.applied.topic_id = Some(id.to_owned());
    Some(held)
}

/// Long enough for the brokers to know what was just made.
const AGAIN: Duration = Duration::from_millis(500);

fn plan(
    tenure: &Tenure,
    (topic, declarations, observed): &Look,
    context: &PlanContext,
    unsettled: &mut BTreeSet<TopicName>,
) -> TopicPlan {
    let learned = learned(tenure, topic, declarations, context);
    let held = learned.as_ref().or(tenure.ledger.get(topic));
    unsettled.remove(topic);
    let plan_in =
        |context: &PlanContext| TopicPlan::of(topic, declarations, observed.as_ref(), held, context);
    let mut plan = plan_in(context);
    if let Some(holding) = plan.holding.as_mut().filter(|_| learned.is_some()) {
        // A ledger that is full, and so does not have it, must not hold a deletion up.
        let written = tenure.ledger.get(topic);
        holding.applied.topic_id = written.and_then(|held| held.applied.topic_id.clone());
    }
    let by_hand = !plan.corrected.is_empty() || !plan.drifted.is_empty() || plan.remade;
    let known = held.and_then(|held| held.applied.topic_id.as_ref());
    // A new leader knows neither what was made before it led nor what brokers lag behind.
    let may_be_older = plan.remade
        && tenure.begun.elapsed() < LONGEST_LAG
        && !known.is_some_and(|id| tenure.is_deleted(topic, id));
    if !by_hand || !may_be_older && !tenure.own_changes.explain(&plan, observed.as_ref(), Instant::now()) {
        return plan;
    }
    // Our own change may be what this broker does not know yet: nothing is concluded from that.
    unsettled.insert(topic.clone());
    let lacks = |one: &Drift| matches!(one, Drift::Partitions { declared, found } if found < declared);
    let of_another = plan.remade || plan.corrected.iter().chain(&plan.drifted).any(lacks);
    let mut plan = plan_in(&PlanContext { drift: DriftPolicy::Report, ..context.clone() });
    if of_another {
        // What depends on their number, or is of another topic, would be wrong, too; what is not done is not claimed either.
        plan.steps.clear();
        let called_off = plan.holding.take().map(|wanted| (wanted.deletion, wanted.left));
        plan.holding = held.cloned().map(|held| match called_off {
            Some((deletion, left)) => Holding { deletion, left, ..held },
            None => held,
        });
    }
    plan
}

/// Asks what [`StorageFacts`] hold. Brokers that answer and do not tell are a fact, too.
///
/// # Errors
/// No broker answers.
pub async fn ask_storage(cluster: &dyn Cluster) -> Result<StorageFacts, ClusterError> {
    let disks = match cluster.describe_log_dirs().await {
        Ok(disks) => disks,
        Err(error) if error.trouble == Trouble::Unreachable => return Err(error),
        Err(error) => {
            warn!(error = crate::chain(&error), "the brokers' disks cannot be asked for");
            return Ok(StorageFacts::unknown(error.to_string()));
        }
    };
    let facts = StorageFacts::of(&disks);
    let any: Vec<i32> = disks.keys().take(1).copied().collect();
    let keys = ConfigKeys::Only(StorageFacts::default_keys().map(str::to_owned).collect());
    match cluster.describe_broker_configs(&any, &keys).await {
        Ok(answers) => Ok(match answers.into_iter().next() {
            Some(Ok(settings)) => facts.with_defaults(&settings),
            // Kafka's own defaults have to do.
            Some(Err(_)) | None => facts,
        }),
        Err(error) if error.trouble == Trouble::Unreachable => Err(error),
        Err(_) => Ok(facts),
    }
}

fn unix_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

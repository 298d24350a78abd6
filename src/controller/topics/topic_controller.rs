use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use topicops_contract::{DeletionPolicy, PartitionCount, State, Status, TopicName};
use tracing::{debug, info, warn};

use super::{Ledger, LedgerError, LedgerStore, Outcome, Retries, StatusUpdate, StatusWriter, TopicIndex};
use crate::{
    ObjectKey,
    controller::{Reporter, health::Health},
    kafka::{
        Cluster, ClusterError, ConfigChange, ConfigKeys, CreatedTopic, Item, ItemError, NewTopic,
        TopicDescription,
    },
    metrics::{Metrics, OperationLabel, PassLabel},
    topic::{Declaration, Refusal, Step, TopicGrant, TopicGrants, TopicPlan, TopicPolicy},
};

/// Who among the annotated workloads names a topic.
pub trait TopicUsers: Send + Sync + 'static {
    fn users_of(&self, topic: &TopicName) -> Vec<String>;
}

/// The loop that keeps topics as declared, on the replica that leads.
#[allow(missing_debug_implementations)]
pub struct TopicController {
    pub cluster: Arc<dyn Cluster>,
    pub store: Arc<dyn LedgerStore>,
    pub index: Arc<TopicIndex>,
    pub users: Arc<dyn TopicUsers>,
    pub statuses: StatusWriter,
    pub reporter: Reporter,
    pub health: Health,
    pub metrics: Metrics,
    pub policy: TopicPolicy,
    /// Published only when whole: a topic that is missing for a moment would cost its users their access for that moment.
    pub grants: watch::Sender<Arc<TopicGrants>>,
    /// Whether [`TopicController::grants`] are those of this leadership, and whole.
    pub granted: watch::Sender<bool>,
    /// Everything is looked at again after about this long.
    pub resync: Duration,
}

/// Long enough for the ConfigMaps of one `kubectl apply` to come together, too short to be noticed.
const LINGER: Duration = Duration::from_millis(25);
/// Topics a pass takes at most: bounds its requests and how long a new change waits behind it.
const BATCH: usize = 2_000;
/// Brokers may show a deleted topic, or not show a new one, for as long as their metadata lags.
const LAG: Duration = Duration::from_secs(60);

/// What one leadership knows.
struct Tenure {
    ledger: Ledger,
    grants: TopicGrants,
    /// Topics that were declared when this leadership began and were not looked at yet.
    unseen: BTreeSet<TopicName>,
    retries: Retries<TopicName>,
    /// Topics whose creation or deletion the brokers acknowledged, and when.
    recent: BTreeMap<TopicName, (Recent, Instant)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recent {
    Created,
    Deleted,
}

/// What failed a whole pass; nothing is lost, the topics are looked at again.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Kafka(#[from] ClusterError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What the brokers answered for one topic's steps.
#[derive(Default)]
struct Answers {
    created: Option<CreatedTopic>,
    failures: Vec<(String, ItemError)>,
    in_use: Vec<String>,
    deleted: bool,
    creating: bool,
    /// It is there, or has grown, already: by somebody else's hand since we looked, or behind lagging metadata.
    lagging: bool,
}

impl TopicController {
    /// Works while this replica leads, for ever.
    pub async fn run(self, mut leading: watch::Receiver<bool>) {
        loop {
            if leading.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            tokio::select! {
                () = self.lead() => {}
                result = leading.wait_for(|leads| !leads) => {
                    if result.is_err() {
                        return;
                    }
                    info!("no longer leading: topics are left to another replica");
                }
            }
        }
    }

    async fn lead(&self) {
        let mut backoff = Backoff::default();
        loop {
            let ledger = loop {
                match Ledger::load(self.store.as_ref()).await {
                    Ok(ledger) => break ledger,
                    Err(error) => {
                        let message = crate::chain(&error);
                        warn!(error = message, "cannot start to keep topics; trying again");
                        self.health.set_ledger(Err(message));
                        backoff.wait().await;
                    }
                }
            };
            self.health.set_ledger(Ok(()));
            self.granted.send_replace(false);
            let mut tenure = Tenure {
                ledger,
                grants: TopicGrants::default(),
                unseen: self.index.topics(),
                retries: Retries::default(),
                recent: BTreeMap::new(),
            };
            self.index.mark_all();
            self.publish(&mut tenure, &[]);
            // Ends only when the ledger has to be loaded again.
            self.passes(&mut tenure, &mut backoff).await;
        }
    }

    async fn passes(&self, tenure: &mut Tenure, backoff: &mut Backoff) {
        let mut resync = Instant::now() + self.jittered_resync();
        loop {
            let retry = tenure.retries.next().unwrap_or(resync).min(resync);
            if !self.index.has_dirty() {
                tokio::select! {
                    () = self.index.changed.notified() => sleep(LINGER).await,
                    () = sleep_until(retry) => {}
                }
            }
            let now = Instant::now();
            if now >= resync {
                resync = now + self.jittered_resync();
                self.index.mark_all();
                self.index.mark(tenure.ledger.topics());
            }
            self.index.mark(&tenure.retries.take_due(now));
            let (topics, nameless) = self.index.take_dirty(BATCH);
            for key in &nameless {
                self.report_nameless(key);
            }
            if topics.is_empty() {
                self.index.dealt_with();
                continue;
            }
            let started = Instant::now();
            let result = self.pass(tenure, &topics).await;
            self.count_pass(started, &result);
            match result {
                Ok(()) => {
                    backoff.reset();
                    self.index.dealt_with();
                }
                Err(error) => {
                    warn!(
                        topics = topics.len(),
                        error = crate::chain(&error),
                        "a pass over topics failed; trying again"
                    );
                    self.index.mark(&topics);
                    if matches!(error, PassError::Ledger(_)) {
                        backoff.wait().await;
                        return;
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    fn jittered_resync(&self) -> Duration {
        let mut byte = [0; 1];
        // Without randomness the replicas of many clusters would look at once; that is all it is for.
        let _ = aws_lc_rs::rand::fill(&mut byte);
        self.resync.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
    }

    fn count_pass(&self, started: Instant, result: &Result<(), PassError>) {
        let label = PassLabel { pass: "topics" };
        self.metrics.passes.get_or_create(&label).inc();
        self.metrics.pass_seconds.get_or_create(&label).observe(started.elapsed().as_secs_f64());
        match result {
            Ok(()) => {
                self.health.kafka_answered();
                self.health.set_ledger(Ok(()));
                #[allow(clippy::cast_precision_loss)]
                let now = jiff::Timestamp::now().as_millisecond() as f64 / 1_000.0;
                self.metrics.last_success_seconds.get_or_create(&label).set(now);
            }
            Err(PassError::Kafka(error)) => self.health.kafka_failed(error),
            Err(PassError::Ledger(error)) => self.health.set_ledger(Err(crate::chain(error))),
        }
    }

    /// One batch of topics, from a look at the brokers to a word to their authors.
    async fn pass(&self, tenure: &mut Tenure, topics: &[TopicName]) -> Result<(), PassError> {
        let now = Instant::now();
        tenure.recent.retain(|_, (_, at)| now.duration_since(*at) < LAG);
        let declared: Vec<_> = topics.iter().map(|topic| (topic, self.index.declarations(topic))).collect();
        let asked: Vec<TopicName> = declared
            .iter()
            .filter(|(topic, declarations)| !declarations.is_empty() || tenure.ledger.get(topic).is_some())
            .map(|(topic, _)| (*topic).clone())
            .collect();
        let mut keys = BTreeSet::new();
        for (topic, declarations) in &declared {
            keys.extend(declarations.iter().flat_map(|one| one.manifest.configs.keys().cloned()));
            keys.extend(
                tenure.ledger.get(topic).into_iter().flat_map(|holding| holding.keys.iter().cloned()),
            );
        }
        let described = self.cluster.describe_topics(&asked, &ConfigKeys::Only(keys)).await?;
        let mut observed: BTreeMap<&TopicName, Item<_>> = asked.iter().zip(described).collect();

        let mut plans = Vec::new();
        let mut descriptions = BTreeMap::new();
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
            let description = match description {
                Some(_) if tenure.recent.get(topic).is_some_and(|(what, _)| *what == Recent::Deleted) => {
                    if !declarations.is_empty() {
                        let outcome = Outcome::pending(
                            "DeletionInProgress",
                            "the topic of this name is still being deleted",
                        );
                        for one in &declarations {
                            self.report(&one.object, &outcome, None, None);
                        }
                        tenure.retries.failed(topic.clone(), now);
                    }
                    continue;
                }
                description => description,
            };
            let plan = TopicPlan::of(
                topic,
                &declarations,
                description.as_ref(),
                tenure.ledger.get(topic),
                &self.policy,
            );
            descriptions.insert(topic.clone(), description);
            plans.push(plan);
        }

        let unclaimed: BTreeSet<TopicName> = plans
            .iter()
            .filter(|plan| tenure.ledger.get(&plan.topic).is_none())
            .map(|plan| plan.topic.clone())
            .collect();
        let before = plans.iter().map(|plan| (plan.topic.clone(), plan.holding.clone()));
        tenure.ledger.record(self.store.as_ref(), before.collect::<Vec<_>>()).await?;
        let answers = self.execute(&plans).await?;

        let mut after = Vec::new();
        for (plan, answers) in plans.iter().zip(answers) {
            let description = descriptions.remove(&plan.topic).flatten();
            let in_order = answers.failures.is_empty() && answers.in_use.is_empty() && !answers.lagging;
            if in_order {
                tenure.retries.succeeded(&plan.topic);
                // A topic that is gone and that nobody declares is forgotten: its name is free.
                let new = answers.created.is_some() || tenure.recent.contains_key(&plan.topic);
                let unwanted = plan.owner.is_none() && plan.refused.is_empty();
                let forget = description.is_none() && unwanted && !new;
                after.push((plan.topic.clone(), plan.holding_after.clone().filter(|_| !forget)));
            } else {
                tenure.retries.failed(plan.topic.clone(), now);
                if answers.lagging && answers.creating && unclaimed.contains(&plan.topic) {
                    // Somebody else made it a moment before us: it is not ours to claim.
                    after.push((plan.topic.clone(), None));
                }
            }
            if answers.deleted {
                tenure.recent.insert(plan.topic.clone(), (Recent::Deleted, now));
            } else if answers.created.is_some() {
                tenure.recent.insert(plan.topic.clone(), (Recent::Created, now));
            }
            let exists = (description.is_some() || answers.created.is_some()) && !answers.deleted;
            let owner = plan.owner.as_ref().filter(|owner| exists && !owner.deleting);
            tenure.grants.set(&plan.topic, owner.map(grant_of));
            self.report_plan(plan, &answers, description.as_ref());
        }
        tenure.ledger.record(self.store.as_ref(), after).await?;
        self.publish(tenure, topics);
        Ok(())
    }

    fn publish(&self, tenure: &mut Tenure, topics: &[TopicName]) {
        for topic in topics {
            tenure.unseen.remove(topic);
        }
        if !tenure.unseen.is_empty() {
            return;
        }
        if *self.grants.borrow().as_ref() != tenure.grants {
            self.grants.send_replace(Arc::new(tenure.grants.clone()));
        }
        self.granted.send_if_modified(|granted| !std::mem::replace(granted, true));
    }

    /// One request per kind of change, all at the same time: no two of them concern the same topic, but for growth and
    /// settings, which do not touch each other.
    async fn execute(&self, plans: &[TopicPlan]) -> Result<Vec<Answers>, ClusterError> {
        let mut creates: Vec<(usize, NewTopic)> = Vec::new();
        let mut grows: Vec<(usize, (TopicName, PartitionCount))> = Vec::new();
        let mut changes: Vec<(usize, (TopicName, ConfigChange))> = Vec::new();
        let mut deletes: Vec<(usize, bool)> = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            for step in &plan.steps {
                match step {
                    Step::Create(topic) => creates.push((index, topic.clone())),
                    Step::Grow(count) => grows.push((index, (plan.topic.clone(), *count))),
                    Step::Configure(change) => changes.push((index, (plan.topic.clone(), change.clone()))),
                    Step::Delete { force } => deletes.push((index, *force)),
                }
            }
        }
        let mut answers: Vec<Answers> = plans.iter().map(|_| Answers::default()).collect();
        let deletes = self.unused(plans, deletes, &mut answers).await?;

        let (create_at, creates): (Vec<_>, Vec<_>) = creates.into_iter().unzip();
        let (grow_at, grows): (Vec<_>, Vec<_>) = grows.into_iter().unzip();
        let (change_at, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let doomed: Vec<TopicName> = deletes.iter().map(|index| plans[*index].topic.clone()).collect();
        let (created, grown, changed, deleted) = tokio::try_join!(
            self.cluster.create_topics(&creates),
            self.cluster.create_partitions(&grows),
            self.cluster.alter_configs(&changes),
            self.cluster.delete_topics(&doomed),
        )?;

        for (index, result) in create_at.into_iter().zip(created) {
            match result {
                Ok(topic) => {
                    self.count("create_topics");
                    answers[index].created = Some(topic);
                }
                Err(error) if error.is(ItemError::TOPIC_ALREADY_EXISTS) => {
                    answers[index].creating = true;
                    answers[index].lagging = true;
                }
                Err(error) => answers[index].failures.push(("create the topic".to_owned(), error)),
            }
        }
        for ((index, (_, count)), result) in grow_at.into_iter().zip(&grows).zip(grown) {
            match result {
                Ok(()) => self.count("create_partitions"),
                Err(error) if error.is(ItemError::INVALID_PARTITIONS) => answers[index].lagging = true,
                Err(error) => {
                    answers[index].failures.push((format!("grow the topic to {count} partitions"), error))
                }
            }
        }
        for (index, result) in change_at.into_iter().zip(changed) {
            match result {
                Ok(()) => self.count("alter_configs"),
                Err(error) => {
                    answers[index].failures.push(("change the topic's configuration".to_owned(), error))
                }
            }
        }
        for (index, result) in deletes.into_iter().zip(deleted) {
            match result {
                Ok(()) => {
                    self.count("delete_topics");
                    info!(topic = %plans[index].topic, "deleted a topic, as its ConfigMap's deletion policy says");
                    answers[index].deleted = true;
                }
                Err(error) if error.is(ItemError::UNKNOWN_TOPIC_OR_PARTITION) => {
                    answers[index].deleted = true
                }
                Err(error) => answers[index].failures.push(("delete the topic".to_owned(), error)),
            }
        }
        Ok(answers)
    }

    /// Those deletions that nobody's use stands against.
    async fn unused(
        &self,
        plans: &[TopicPlan],
        deletes: Vec<(usize, bool)>,
        answers: &mut [Answers],
    ) -> Result<Vec<usize>, ClusterError> {
        if deletes.iter().all(|(_, force)| *force) {
            return Ok(deletes.into_iter().map(|(index, _)| index).collect());
        }
        let groups = self.cluster.consuming_groups().await?;
        let mut consumers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for group in &groups {
            for topic in &group.topics {
                consumers.entry(topic).or_default().push(&group.group);
            }
        }
        let mut unused = Vec::new();
        for (index, force) in deletes {
            let topic = &plans[index].topic;
            let mut users = self.users.users_of(topic);
            let groups = consumers.get(topic.as_str()).into_iter().flatten();
            users.extend(groups.map(|group| format!("consumer group {group}")));
            if force || users.is_empty() {
                unused.push(index);
            } else {
                answers[index].in_use = users;
            }
        }
        Ok(unused)
    }

    fn count(&self, operation: &'static str) {
        self.metrics.changes.get_or_create(&OperationLabel { operation }).inc();
    }

    fn report_plan(&self, plan: &TopicPlan, answers: &Answers, observed: Option<&TopicDescription>) {
        for (declaration, refusal) in &plan.refused {
            let outcome = Outcome::refused(std::slice::from_ref(refusal));
            self.report(&declaration.object, &outcome, None, None);
        }
        let Some(owner) = &plan.owner else { return };
        if owner.deleting && !plan.held_back && (answers.deleted || !has_delete(plan)) {
            self.release(&owner.object);
            return;
        }
        let outcome = if let Some((doing, error)) = answers.failures.first() {
            Outcome::kafka(doing, error)
        } else if answers.lagging {
            Outcome::pending(
                "LookingAgain",
                "the brokers' metadata changed since it was read; looking at it again",
            )
        } else if !answers.in_use.is_empty() {
            let users = answers.in_use.clone();
            Outcome::refused(&[Refusal::InUse { topic: plan.topic.clone(), users }])
        } else if owner.manifest.paused {
            Outcome::paused()
        } else if plan.held_back {
            Outcome::invalid(&owner.problems)
        } else if !plan.refusals.is_empty() {
            Outcome::refused(&plan.refusals)
        } else {
            Outcome::in_sync()
        };
        let grown = plan.steps.iter().find_map(|step| match step {
            Step::Grow(count) if answers.failures.is_empty() => Some(count.get()),
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

    fn report_nameless(&self, key: &ObjectKey) {
        let Some(object) = self.index.object(key) else { return };
        if object.deleting {
            self.release(key);
        } else {
            self.report(key, &Outcome::invalid(&object.problems), None, None);
        }
    }

    /// Writes the status and tells the author what is wrong. `finalizer`: `None` leaves it as it is.
    fn report(&self, key: &ObjectKey, outcome: &Outcome, found: Option<Found>, finalizer: Option<bool>) {
        let Some(object) = self.index.object(key) else { return };
        let found = found.unwrap_or_default();
        debug!(object = %key, reason = outcome.reason, message = outcome.message, "status");
        // A refused ConfigMap that goes has nothing to wait for.
        if object.deleting && outcome.state == State::Refused && finalizer.is_none() {
            self.release(key);
            return;
        }
        let reference = key.reference("v1", "ConfigMap", &object.uid);
        match outcome.state {
            State::Refused | State::Pending => {
                self.reporter.warn(reference, &outcome.reason, &outcome.message)
            }
            State::Ready | State::Paused => self.reporter.forget(&object.uid),
        }
        let status = Status {
            state: outcome.state,
            reason: outcome.reason.clone(),
            message: outcome.message.clone(),
            hash: object.hash.clone(),
            topic_id: found.topic_id,
            partitions: found.partitions,
            replication_factor: found.replication_factor,
            time: now_rfc3339(),
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

    fn release(&self, key: &ObjectKey) {
        if let Some(object) = self.index.object(key) {
            let update = StatusUpdate { key: key.clone(), uid: object.uid, status: None, finalizer: false };
            self.statuses.update(update);
        }
    }
}

/// A topic that the brokers will not describe keeps its grant; when none is known yet, that of its holder's ConfigMap.
fn keep_grant(tenure: &mut Tenure, topic: &TopicName, declarations: &[Declaration]) {
    if tenure.grants.owner(topic.as_str()).is_some() {
        return;
    }
    let holder = tenure.ledger.get(topic).map(|holding| holding.namespace.as_str());
    let held =
        declarations.iter().filter(|one| !one.deleting && Some(one.object.namespace.as_str()) == holder);
    if let Some(owner) = held.min_by_key(|one| one.seniority()) {
        tenure.grants.set(topic, Some(grant_of(owner)));
    }
}

fn grant_of(owner: &Declaration) -> TopicGrant {
    TopicGrant {
        namespace: owner.object.namespace.clone(),
        config_map: owner.object.name.clone(),
        consumers: owner.manifest.consumers.clone(),
        producers: owner.manifest.producers.clone(),
    }
}

#[derive(Default)]
struct Found {
    topic_id: Option<String>,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
}

fn has_delete(plan: &TopicPlan) -> bool {
    plan.steps.iter().any(|step| matches!(step, Step::Delete { .. }))
}

fn now_rfc3339() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How long to wait after a pass that failed as a whole: a quarter of a second at first, five at last, so that a broker that
/// is back is noticed soon.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn reset(&mut self) {
        self.failures = 0;
    }

    async fn wait(&mut self) {
        let wait =
            Duration::from_millis(250).saturating_mul(1 << self.failures.min(5)).min(Duration::from_secs(5));
        self.failures = self.failures.saturating_add(1);
        sleep(wait).await;
    }
}

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use topicops_contract::TopicName;
use tracing::warn;

use super::{
    Evidence, Gone, Ledger, LedgerError, LedgerStore, Placing, Retries, StatusWriter, TopicIndex,
    departures::{ASK_AGAIN, Endings},
    own_changes::OwnChanges,
};
use crate::{
    controller::{Reporter, health::Health, moves::MoveDesk, while_leading},
    kafka::{Cluster, ClusterError},
    metrics::{Metrics, PassLabel},
    topic::{Drift, PlanContext, TopicGrant, TopicGrants, limits::TopicRules},
};

/// Who among the annotated workloads uses a topic.
pub trait TopicUsers: Send + Sync + 'static {
    /// Those that name it and are let in: whoever is not has no say. `open`: everybody is let in.
    fn users_of(&self, topic: &TopicName, grant: &TopicGrant, open: bool) -> Vec<String>;

    /// Tells of changes in what workloads name.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The loop that keeps topics as declared, on the replica that leads.
#[allow(missing_debug_implementations)]
pub struct TopicController {
    pub cluster: Arc<dyn Cluster>,
    pub store: Arc<dyn LedgerStore>,
    pub index: Arc<TopicIndex>,
    pub users: Arc<dyn TopicUsers>,
    /// Whether every workload may use every topic.
    pub open: bool,
    pub evidence: Arc<dyn Evidence>,
    pub statuses: StatusWriter,
    pub reporter: Reporter,
    pub health: Health,
    pub metrics: Metrics,
    pub context: PlanContext,
    /// Where moves of replicas are asked for.
    pub desk: Arc<MoveDesk>,
    /// Published only when whole: a topic that is missing for a moment would cost its users their access for that moment.
    pub grants: watch::Sender<Arc<TopicGrants>>,
    /// Whether [`TopicController::grants`] are those of this leadership, and whole.
    pub granted: watch::Sender<bool>,
    /// Everything is looked at again after about this long.
    pub resync: Duration,
}

/// Long enough for the ConfigMaps of one `kubectl apply` to come together, too short to be noticed.
const LINGER: Duration = Duration::from_millis(25);
/// The same right after a pass that took a crowd: more of it is on its way.
const LINGER_IN_A_CROWD: Duration = Duration::from_millis(100);
const CROWD: usize = 100;
/// How long changes are gathered at most while more of them come in. Brokers carry out one creation after the other, at more
/// than two milliseconds a partition, and show none before they are done with those before it: few large ones appear sooner
/// than many small ones.
const GATHER_AT_MOST: Duration = Duration::from_secs(1);
/// The part of `--resync` by which an interval may be shorter or longer.
const JITTER: f64 = 0.1;
/// Topics a pass takes at most: bounds its requests and how long a new change waits behind it.
pub(super) const BATCH: usize = 2_000;
/// It is known by then whether an object that is not watched any more is gone.
pub(super) const PARTING: Duration = Duration::from_secs(60);
/// What one leadership knows.
pub(super) struct Tenure {
    pub(super) ledger: Ledger,
    pub(super) grants: TopicGrants,
    /// Topics that were declared when this leadership began and were not looked at yet.
    pub(super) unseen: BTreeSet<TopicName>,
    pub(super) retries: Retries<TopicName>,
    /// Deletions that wait for workloads, and whom the object lets in that asks for each.
    pub(super) in_use: BTreeMap<TopicName, TopicGrant>,
    /// What differs may be a broker whose metadata lags.
    pub(super) own_changes: OwnChanges,
    /// When this leadership began.
    pub(super) begun: Instant,
    /// What was last told to be left as somebody changed it.
    pub(super) drifted: BTreeMap<TopicName, Vec<Drift>>,
    /// Kafka's ids of topics whose deletion the brokers acknowledged, and when: under the same name there may be others by now.
    pub(super) deleted: BTreeMap<TopicName, Vec<(String, Instant)>>,
    /// Kafka's ids of topics that nobody declares any more, and since when: an object may be seen to be missing before it is
    /// known whether it is gone and asked for a deletion.
    pub(super) undeclared: BTreeMap<TopicName, (String, Instant)>,
    /// Objects of which is not known yet whether they are gone.
    pub(super) departed: Vec<Gone>,
    pub(super) endings: Endings,
    pub(super) placing: Placing,
    /// The limits for whose totals it was asked what is there.
    pub(super) stocked: Option<Arc<TopicRules>>,
}

impl Tenure {
    /// Whether a topic is known to be gone for certain: by its id, because there may be another of its name.
    pub(super) fn is_deleted(&self, topic: &TopicName, id: &str) -> bool {
        self.deleted.get(topic).is_some_and(|ids| ids.iter().any(|(deleted, _)| deleted == id))
    }

    pub(super) fn note_deleted(&mut self, topic: &TopicName, id: &str, now: Instant) {
        let ids = self.deleted.entry(topic.clone()).or_default();
        ids.retain(|(deleted, _)| deleted != id);
        ids.push((id.to_owned(), now));
    }
}

/// What failed a whole pass; nothing is lost, the topics are looked at again.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    #[error(transparent)]
    Kafka(#[from] ClusterError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
impl TopicController {
    /// Works while this replica leads, for ever.
    pub async fn run(self, mut leading: watch::Receiver<bool>) {
        while while_leading(&mut leading, "topics", self.lead()).await {
            // What was granted here is another replica's to say from now on, until this one has looked at everything again.
            self.granted.send_replace(false);
            self.desk.forget();
            self.statuses.clear();
            self.index.lead(false);
            self.metrics.last_resync_seconds.set(0.0);
            self.metrics.next_resync_seconds.set(0.0);
        }
    }

    async fn lead(&self) {
        // From here on it is noted what loses its label; what lost it before is looked for.
        self.index.lead(true);
        tokio::join!(self.keep(), self.release_unlabelled());
    }

    async fn keep(&self) {
        let mut backoff = Backoff::default();
        let (mut own_changes, mut deleted, mut undeclared, mut departed) = Default::default();
        let begun = Instant::now();
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
                in_use: BTreeMap::new(),
                own_changes: std::mem::take(&mut own_changes),
                begun,
                drifted: BTreeMap::new(),
                deleted: std::mem::take(&mut deleted),
                undeclared: std::mem::take(&mut undeclared),
                departed: std::mem::take(&mut departed),
                endings: Endings::new(),
                placing: Placing::default(),
                stocked: None,
            };
            self.index.mark_all();
            self.index.mark(tenure.ledger.deletions());
            self.recall_stock(&tenure);
            // What is declared is looked at before anything is published.
            let others = tenure.ledger.topics().filter(|topic| !tenure.unseen.contains(*topic));
            let others: Vec<TopicName> = others.cloned().collect();
            self.publish(&mut tenure, &others);
            // Ends only when the ledger has to be loaded again.
            self.passes(&mut tenure, &mut backoff).await;
            // What brokers may not show yet does not depend on the ledger, nor does who went.
            Tenure { own_changes, deleted, undeclared, departed, .. } = tenure;
        }
    }

    async fn passes(&self, tenure: &mut Tenure, backoff: &mut Backoff) {
        let mut resync = self.next_resync();
        let mut users = self.users.changes();
        let mut linger = LINGER;
        loop {
            let mut retry = tenure.retries.next().unwrap_or(resync).min(resync);
            if !tenure.departed.is_empty() {
                retry = retry.min(Instant::now() + ASK_AGAIN);
            }
            if !self.index.has_dirty() {
                tokio::select! {
                    () = self.index.changed.notified() => {}
                    () = sleep_until(retry) => {}
                    Ok(()) = users.changed(), if !tenure.in_use.is_empty() => users.mark_changed(),
                }
            }
            if self.index.has_dirty() {
                self.gather(linger).await;
            }
            let now = Instant::now();
            if now >= resync {
                resync = self.next_resync();
                self.index.mark_all();
                self.index.mark(tenure.ledger.topics());
            }
            self.index.mark(&tenure.retries.take_due(now));
            if users.has_changed().unwrap_or(false) {
                users.mark_unchanged();
                self.index.mark(&self.no_longer_used(tenure));
            }
            let gone = self.index.take_gone();
            let not_lost: Vec<Gone> = gone.iter().chain(&tenure.departed).cloned().collect();
            if let Err(error) = self.see_off(tenure, gone).await {
                tenure.departed.clear();
                self.index.give_back(not_lost);
                self.ledger_failed(&error, backoff).await;
                return;
            }
            self.tell_renamed(tenure);
            let (topics, nameless) = self.index.take_dirty(BATCH);
            for key in &nameless {
                self.report_nameless(key);
            }
            if topics.is_empty() {
                self.index.dealt_with();
                continue;
            }
            self.metrics.pass_topics.observe(f64::from(u32::try_from(topics.len()).unwrap_or(u32::MAX)));
            linger = if topics.len() < CROWD { LINGER } else { LINGER_IN_A_CROWD };
            let started = Instant::now();
            let result = self.pass(tenure, &topics).await;
            self.count_pass(started, &result);
            self.metrics.deletions.set(i64::try_from(tenure.ledger.deletions().len()).unwrap_or(i64::MAX));
            match result {
                Ok(_) => {
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
                    if let PassError::Kafka(error) = &error {
                        self.report_outage(tenure, &topics, error);
                        let waiting = self.waiting_for_brokers(tenure, &topics);
                        if let Err(error) = self.give_up_waiting(tenure, &waiting).await {
                            self.ledger_failed(&error, backoff).await;
                            return;
                        }
                    }
                    if matches!(error, PassError::Ledger(_)) {
                        backoff.wait().await;
                        return;
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    /// Deletions that waited for users of which no workload is left.
    fn no_longer_used(&self, tenure: &Tenure) -> Vec<TopicName> {
        let free = |(topic, grant): &(&TopicName, &TopicGrant)| {
            self.users.users_of(topic, grant, self.open).is_empty()
        };
        tenure.in_use.iter().filter(free).map(|(topic, _)| topic.clone()).collect()
    }

    async fn ledger_failed(&self, error: &LedgerError, backoff: &mut Backoff) {
        let message = crate::chain(error);
        warn!(error = message, "what is to be deleted could not be remembered; trying again");
        self.health.set_ledger(Err(message));
        backoff.wait().await;
    }

    /// Waits until no more changes come in, or for as long as a change may reasonably wait: a crowd of them costs the brokers
    /// little more than one when it comes in one request.
    async fn gather(&self, linger: Duration) {
        let mut known = self.index.dirty();
        let since = Instant::now();
        while since.elapsed() < GATHER_AT_MOST {
            sleep(linger).await;
            let now = self.index.dirty();
            if now == known {
                break;
            }
            known = now;
        }
    }

    /// When everything is looked at again, of a look that begins now.
    fn next_resync(&self) -> Instant {
        let interval = self.jittered_resync();
        let now = unix_time();
        self.metrics.last_resync_seconds.set(now);
        self.metrics.next_resync_seconds.set(now + interval.as_secs_f64());
        Instant::now() + interval
    }

    fn jittered_resync(&self) -> Duration {
        let mut byte = [0; 1];
        // Without randomness the replicas of many clusters would look at once; that is all it is for.
        let _ = aws_lc_rs::rand::fill(&mut byte);
        self.resync.mul_f64(1.0 - JITTER + 2.0 * JITTER * f64::from(byte[0]) / 255.0)
    }

    fn count_pass(&self, started: Instant, result: &Result<Option<LedgerError>, PassError>) {
        let label = PassLabel { pass: "topics" };
        self.metrics.passes.get_or_create(&label).inc();
        self.metrics.pass_seconds.get_or_create(&label).observe(started.elapsed().as_secs_f64());
        match result {
            Ok(left_out) => {
                self.health.kafka_answered();
                if let Some(error) = left_out {
                    warn!(error = crate::chain(error), "some topics could not be remembered; trying again");
                }
                self.health.set_ledger(left_out.as_ref().map_or(Ok(()), |error| Err(crate::chain(error))));
                self.metrics.last_success_seconds.get_or_create(&label).set(unix_time());
            }
            Err(PassError::Kafka(error)) => self.health.kafka_failed(error),
            Err(PassError::Ledger(error)) => self.health.set_ledger(Err(crate::chain(error))),
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn unix_time() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1_000.0
}

/// How long to wait after a pass that failed as a whole: a quarter of a second at first, two at last, so that a broker that
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
            Duration::from_millis(250).saturating_mul(1 << self.failures.min(5)).min(Duration::from_secs(2));
        self.failures = self.failures.saturating_add(1);
        sleep(wait).await;
    }
}

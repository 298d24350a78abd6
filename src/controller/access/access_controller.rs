use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};
use topicops_contract::ClientEndpoint;
use tracing::warn;

use super::{
    AccessSettings, ClientEvents, ClientIndex, JobOwners, Rollouts, SecretIndex, SecretStore, VerifyQueue,
    Vouched, backoff::Backoff, looks::Looks, made_ahead::MadeAhead, pass::Pass, tenure::Tenure,
};
use crate::{
    controller::{health::Health, topics::TopicIndex, while_leading},
    kafka::{Cluster, ClusterError},
    metrics::{Metrics, PassLabel},
    topic::TopicGrants,
};

/// The loop that keeps every client's user, rules and Secret as asked for and granted, on the replica that leads.
#[allow(missing_debug_implementations)]
pub struct AccessController {
    pub cluster: Arc<dyn Cluster>,
    pub store: Arc<dyn SecretStore>,
    pub rollouts: Arc<dyn Rollouts>,
    pub jobs: Arc<dyn JobOwners>,
    pub clients: Arc<ClientIndex>,
    pub secrets: Arc<SecretIndex>,
    /// Whole: a topic that is missing for a moment would cost its users their rules for that moment.
    pub grants: watch::Receiver<Arc<TopicGrants>>,
    /// Waited for, a moment, before each pass: workloads often come together with their topics. Its policy limits quotas.
    pub topics: Arc<TopicIndex>,
    /// The listings that a plan rests on. While one of them is not complete, nothing is done: what was not listed yet
    /// would look as if nobody asked for it.
    pub ready: Vec<watch::Receiver<bool>>,
    /// How clients reach the brokers from now on; the settings say how they did until now.
    pub endpoints: watch::Receiver<Arc<ClientEndpoint>>,
    /// Whether that may be written to Secrets. Where it may not, those that are there stay as they are, and all else goes on.
    pub vouched: watch::Receiver<Vouched>,
    pub settings: AccessSettings,
    pub events: Arc<dyn ClientEvents>,
    pub health: Health,
    pub metrics: Metrics,
    /// Where new Secrets are handed on to be tried with a real client.
    pub verify: Option<VerifyQueue>,
    /// The time of day: how old credentials are is counted beyond the lives of processes.
    pub clock: Clock,
    pub limits: Arc<Limits>,
}

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What is done at the same time, over all passes.
#[derive(Debug)]
pub struct Limits {
    /// Requests to the API server.
    pub(super) kubernetes: Semaphore,
    /// Passwords being hashed: one per core.
    pub(super) hashing: Arc<Semaphore>,
    pub(super) made_ahead: MadeAhead,
    /// One round of questions about Jobs.
    pub(super) job_looks: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            kubernetes: Semaphore::new(KUBERNETES),
            hashing: Arc::new(Semaphore::new(cores)),
            made_ahead: MadeAhead::new(MADE_AHEAD),
            job_looks: Arc::new(Semaphore::new(1)),
        }
    }
}

const KUBERNETES: usize = 16;
/// Passwords made ahead: for what comes by the dozen, less than a second of one core after a start, some hundred bytes each.
const MADE_AHEAD: usize = 256;
/// Long enough for the workloads of one `kubectl apply` to come together, too short to be noticed.
const LINGER: Duration = Duration::from_millis(25);
/// How long topics that are being dealt with may hold up access: longer than the topics' own back-off after an outage, so that
/// a workload that came with its topics gets no Secret before they are there; but not for ever.
const TOPICS_FIRST: Duration = Duration::from_secs(4);
/// Passes that follow one another at once because each found something to do. More of them would mean that we disagree
/// with somebody; then every further pass waits a little.
const IN_A_ROW: u32 = 8;
const PAUSE: Duration = Duration::from_millis(500);

impl AccessController {
    /// Works while this replica leads, for ever.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>) {
        while while_leading(&mut leading, "access", self.lead()).await {
            // Whoever leads now tells.
            self.metrics.rotations_running.set(0);
            self.metrics.clients.clear();
        }
    }

    /// Ends only when the process does.
    async fn lead(&mut self) {
        let limits = Arc::clone(&self.limits);
        tokio::select! {
            () = self.passes() => {}
            never = limits.made_ahead.keep_full(&limits.hashing) => match never {},
        }
    }

    async fn passes(&mut self) {
        let tenure = Tenure::default();
        let mut looks = Looks::default();
        let mut clients = self.clients.changes();
        let mut secrets = self.secrets.changes();
        let mut policy = self.topics.policy_changes();
        let mut vouched = self.vouched.clone();
        let mut resync = Instant::now();
        let mut failures = 0;
        let mut in_a_row = 0;
        loop {
            for ready in &mut self.ready {
                if ready.wait_for(|complete| *complete).await.is_err() {
                    return;
                }
            }
            if vouched.wait_for(|vouched| *vouched != Vouched::Unknown).await.is_err() {
                return;
            }
            self.topics.settled(TOPICS_FIRST).await;
            clients.mark_unchanged();
            secrets.mark_unchanged();
            policy.mark_unchanged();
            let grants = Arc::clone(&self.grants.borrow_and_update());
            if self.take_endpoint() {
                // Secrets say so once the brokers were reached so: what is of no use to topicops itself reaches nobody.
                resync = Instant::now();
            }
            self.limits.made_ahead.want((self.settings.mechanism(), self.settings.iterations));
            if self.take_vouched() {
                // Who waited for that waits no more.
                tenure.lock().backoff = Backoff::default();
            }
            let now = Instant::now();
            let look = now >= resync;
            match self.counted_pass(&tenure, &grants, look, &mut looks).await {
                Ok(busy) => {
                    failures = 0;
                    if look {
                        resync = Instant::now() + self.jittered_resync();
                    }
                    in_a_row = if busy { in_a_row + 1 } else { 0 };
                    if busy && in_a_row < IN_A_ROW {
                        continue;
                    }
                    if busy {
                        sleep(PAUSE).await;
                        continue;
                    }
                }
                Err(error) => {
                    warn!(error = %error, "a pass over access failed; trying again");
                    // What became of the batch is unknown: the brokers are asked.
                    resync = now;
                    sleep(wait_after(failures)).await;
                    failures += 1;
                    continue;
                }
            }
            let open = loop {
                let next = {
                    let known = tenure.lock();
                    [known.backoff.next(), known.rotations.next(), self.clients.next_stray()]
                        .into_iter()
                        .flatten()
                        .fold(resync, Instant::min)
                };
                tokio::select! {
                    result = clients.changed() => break result.is_ok(),
                    result = secrets.changed() => break result.is_ok(),
                    result = policy.changed() => break result.is_ok(),
                    result = self.grants.changed() => break result.is_ok(),
                    result = self.endpoints.changed() => break result.is_ok(),
                    result = vouched.changed() => break result.is_ok(),
                    Some(look) = looks.next() => if self.looked(&tenure, look) {
                        break true;
                    },
                    () = sleep_until(next) => break true,
                }
            };
            if !open {
                return;
            }
            sleep(LINGER).await;
        }
    }

    /// Whether clients are to reach the brokers in another way than until now.
    fn take_endpoint(&mut self) -> bool {
        let endpoint = self.endpoints.borrow_and_update();
        if **endpoint == self.settings.endpoint {
            return false;
        }
        self.settings.endpoint = ClientEndpoint::clone(&endpoint);
        self.secrets.outdate();
        true
    }

    /// Whether Secrets may say something else of that from now on, or may not any more: they are judged anew.
    fn take_vouched(&mut self) -> bool {
        let is_news = self.vouched.has_changed().unwrap_or(false);
        if is_news {
            self.vouched.mark_unchanged();
            self.secrets.outdate();
        }
        is_news
    }

    /// Why no Secret is to be written.
    pub(super) fn doubt(&self) -> Option<Arc<str>> {
        match &*self.vouched.borrow() {
            Vouched::No(why) => Some(Arc::clone(why)),
            Vouched::Unknown | Vouched::Yes => None,
        }
    }

    async fn counted_pass(
        &self,
        tenure: &Tenure,
        grants: &TopicGrants,
        look: bool,
        looks: &mut Looks,
    ) -> Result<bool, ClusterError> {
        let started = Instant::now();
        let result = self.look_and_pass(tenure, grants, look, looks).await;
        let label = PassLabel { pass: "access" };
        self.metrics.passes.get_or_create(&label).inc();
        self.metrics.pass_seconds.get_or_create(&label).observe(started.elapsed().as_secs_f64());
        match &result {
            Ok(pass) => {
                if look || pass.asked_kafka {
                    self.health.kafka_answered();
                }
                #[allow(clippy::cast_precision_loss)]
                let now = Timestamp::now().as_millisecond() as f64 / 1_000.0;
                self.metrics.last_success_seconds.get_or_create(&label).set(now);
            }
            Err(error) => self.health.kafka_failed(error),
        }
        result.map(|pass| pass.busy)
    }

    async fn look_and_pass(
        &self,
        tenure: &Tenure,
        grants: &TopicGrants,
        look: bool,
        looks: &mut Looks,
    ) -> Result<Pass, ClusterError> {
        if look {
            self.look(tenure).await?;
        }
        self.pass(tenure, grants, looks).await
    }

    /// Asks the brokers what they have of ours.
    async fn look(&self, tenure: &Tenure) -> Result<(), ClusterError> {
        let prefix = self.settings.prefix();
        let (acls, users, quotas) = tokio::try_join!(
            self.cluster.describe_acls(&prefix),
            self.cluster.describe_scram_users(&prefix),
            self.cluster.describe_quotas(&prefix)
        )?;
        let mechanism = self.settings.mechanism();
        let mut can_log_in = (BTreeSet::new(), BTreeSet::new());
        for user in users.into_iter().filter(|user| self.settings.covers(&user.username)) {
            if user.credentials.iter().any(|(kind, _)| *kind != mechanism) {
                can_log_in.1.insert(user.username.clone());
            }
            if user.has(mechanism) {
                can_log_in.0.insert(user.username);
            }
        }
        let acls = acls.into_iter().filter(|acl| self.settings.covers(&acl.username)).collect();
        let quotas =
            quotas.into_iter().filter(|quota| self.settings.covers(&quota.target.username)).collect();
        tenure.lock().belief.described(can_log_in, acls, quotas, Instant::now());
        Ok(())
    }

    fn jittered_resync(&self) -> Duration {
        let mut byte = [0; 1];
        // Without randomness the operators of many clusters would look at once; that is all it is for.
        let _ = aws_lc_rs::rand::fill(&mut byte);
        self.settings.resync.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
    }
}

/// A quarter of a second at first, five seconds at last, so that brokers that are back are noticed soon.
fn wait_after(failures: u32) -> Duration {
    Duration::from_millis(250).saturating_mul(1 << failures.min(5)).min(Duration::from_secs(5))
}

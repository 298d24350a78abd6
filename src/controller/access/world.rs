//! A small world around the loop: brokers, Secrets and workloads that outlive the processes in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::pbkdf2;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use topicops_contract::{ClientEndpoint, OperatorId};

use super::{
    AccessController, AccessSettings, ClientIndex, Clock, Limits, SecretIndex, Vouched,
    made_ahead::MadeAhead,
    secret_meta,
    testing::{Death, Heard, Kept, MemoryJobs, MemoryRollouts, MemorySecrets, MortalCluster, Pods},
};
use crate::{
    ObjectKey,
    access::{
        Client, Decision, GrantsMode, Observed, RotationRules,
        testing::{Asking, at, grants},
    },
    controller::{Scope, health::Health, topics::TopicIndex},
    kafka::{Acl, Call, Cluster, MemoryCluster, NewTopic, Quota, ScramKeys, ScramMechanism},
    metrics::Metrics,
    topic::TopicGrants,
};

/// Everything that outlives a process.
pub(super) struct World {
    pub(super) cluster: MemoryCluster,
    pub(super) told: Arc<Mutex<BTreeMap<String, ScramKeys>>>,
    pub(super) kept: Arc<Mutex<Kept>>,
    pub(super) clients: Arc<ClientIndex>,
    pub(super) pods: Arc<Mutex<Pods>>,
    pub(super) heard: Arc<Heard>,
    pub(super) jobs: Arc<MemoryJobs>,
    /// For the policy in it.
    pub(super) topics: Arc<TopicIndex>,
    pub(super) health: Health,
    pub(super) grants: watch::Sender<Arc<TopicGrants>>,
    pub(super) ready: watch::Sender<bool>,
    /// How clients reach the brokers.
    pub(super) endpoint: watch::Sender<Arc<ClientEndpoint>>,
    pub(super) vouched: watch::Sender<Vouched>,
    /// What is looked after.
    pub(super) scope: Scope,
    /// How old credentials become.
    pub(super) rotate_after: Option<Duration>,
    /// Whether the Secrets' watch shows what is written.
    pub(super) watching: bool,
    began: (Timestamp, Instant),
}

/// One process; it dies with this.
pub(super) struct Process {
    task: JoinHandle<()>,
    pub(super) secrets: Arc<SecretIndex>,
    pub(super) metrics: Metrics,
    pub(super) leads: watch::Sender<bool>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    pub(super) async fn new(topics: &[(&str, &[&str])]) -> Self {
        let cluster = MemoryCluster::new(1);
        for (topic, _) in topics {
            let name = topic.split_once('/').unwrap().1.parse().unwrap();
            let topic = NewTopic {
                name,
                partitions: None,
                replication_factor: None,
                placement: None,
                configs: BTreeMap::new(),
            };
            assert!(cluster.create_topics(&[topic]).await.unwrap()[0].is_ok());
        }
        Self {
            cluster,
            told: Arc::default(),
            kept: Arc::default(),
            clients: Arc::default(),
            pods: Arc::default(),
            heard: Arc::default(),
            jobs: Arc::default(),
            topics: Arc::default(),
            health: Health::new(Metrics::with_registry().0),
            grants: watch::Sender::new(Arc::new(grants(topics))),
            ready: watch::Sender::new(true),
            endpoint: watch::Sender::new(Arc::new(ClientEndpoint {
                bootstrap_servers: "kafka:9093".to_owned(),
                security_protocol: "SASL_SSL".to_owned(),
                sasl_mechanism: "SCRAM-SHA-512".to_owned(),
                truststore_pem: None,
            })),
            vouched: watch::Sender::new(Vouched::Yes),
            scope: Scope::All,
            rotate_after: None,
            watching: true,
            began: (Timestamp::now(), Instant::now()),
        }
    }

    /// The time of day, which passes as the paused clock does.
    pub(super) fn time(&self) -> Timestamp {
        (self.clock())()
    }

    fn clock(&self) -> Clock {
        let (time, at) = self.began;
        Arc::new(move || time + at.elapsed())
    }

    pub(super) fn ask(&self, asking: &Asking) {
        self.clients.put(Client {
            workload: asking.workload.clone(),
            uid: format!("uid-{}", asking.workload),
            created: at(1),
            deleting: false,
            request: Ok(Some(Arc::new((**asking).clone()))),
        });
    }

    pub(super) fn start(&self, death: &Arc<Death>) -> Process {
        let secrets = Arc::new(SecretIndex::default());
        for secret in self.kept.lock().unwrap().secrets.values() {
            if secret_meta::is_labelled(&secret.metadata) {
                secrets.apply_meta(&secret.metadata);
            }
        }
        let metrics = Metrics::with_registry().0;
        let controller = AccessController {
            cluster: Arc::new(MortalCluster {
                death: Arc::clone(death),
                inner: self.cluster.clone(),
                told: Arc::clone(&self.told),
            }),
            store: Arc::new(MemorySecrets {
                death: Arc::clone(death),
                kept: Arc::clone(&self.kept),
                index: self.watching.then(|| Arc::clone(&secrets)),
            }),
            rollouts: Arc::new(MemoryRollouts { death: Arc::clone(death), pods: Arc::clone(&self.pods) }),
            jobs: Arc::clone(&self.jobs) as _,
            clients: Arc::clone(&self.clients),
            secrets: Arc::clone(&secrets),
            grants: self.grants.subscribe(),
            topics: Arc::clone(&self.topics),
            ready: vec![self.ready.subscribe()],
            endpoints: self.endpoint.subscribe(),
            vouched: self.vouched.subscribe(),
            settings: AccessSettings {
                operator: OperatorId::default(),
                mode: GrantsMode::Namespace,
                endpoint: ClientEndpoint::clone(&self.endpoint.borrow()),
                iterations: AccessSettings::DEFAULT_ITERATIONS,
                scope: self.scope.clone(),
                resync: AccessSettings::DEFAULT_RESYNC,
                rotate_after: self.rotate_after,
            },
            events: Arc::clone(&self.heard) as _,
            health: self.health.clone(),
            metrics: metrics.clone(),
            verify: None,
            clock: self.clock(),
            // Hashing so many would be most of what a test does.
            limits: Arc::new(Limits { made_ahead: MadeAhead::new(0), ..Limits::default() }),
        };
        let (leads, leading) = watch::channel(true);
        Process { task: tokio::spawn(controller.run(leading)), secrets, metrics, leads }
    }

    pub(super) fn run(&self) -> Process {
        self.start(&Death::never())
    }

    /// Waits, on the paused clock, until something holds.
    pub(super) async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let waiting = async {
            while !holds(self).await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(Duration::from_secs(900), waiting).await.is_err() {
            panic!("{what} never came: {} {:?}", self.state().await, self.heard.lines.lock().unwrap());
        }
    }

    pub(super) async fn settled(&self) {
        self.until("order", async |world| world.is_in_order().await).await;
    }

    pub(super) async fn state(&self) -> String {
        let users = self.cluster.describe_scram_users("").await.unwrap();
        let acls = self.cluster.describe_acls("").await.unwrap();
        let acls: Vec<String> = acls.iter().map(ToString::to_string).collect();
        let quotas = self.cluster.describe_quotas("").await.unwrap();
        format!(
            "{users:?} {acls:?} {quotas:?} {:?}",
            self.kept.lock().unwrap().secrets.keys().collect::<Vec<_>>()
        )
    }

    /// Whether users, rules and Secrets are exactly those that are asked for, and every Secret works.
    pub(super) async fn is_in_order(&self) -> bool {
        let (Ok(users), Ok(acls), Ok(quotas)) = (
            self.cluster.describe_scram_users("").await,
            self.cluster.describe_acls("").await,
            self.cluster.describe_quotas("").await,
        ) else {
            return false;
        };
        let users: BTreeSet<String> = users.into_iter().map(|user| user.username).collect();
        let index = SecretIndex::default();
        for secret in self.kept.lock().unwrap().secrets.values() {
            if secret_meta::is_labelled(&secret.metadata) {
                index.apply_meta(&secret.metadata);
            }
        }
        let observed = Observed { users: users.clone(), secrets: index.observed(), ..Observed::default() };
        let decisions = Decision::all(
            &self.clients.all(),
            &OperatorId::default(),
            &self.grants.borrow(),
            GrantsMode::Namespace,
            &self.topics.policy(),
            &observed,
            &RotationRules::default(),
        );
        let wanted: BTreeSet<Acl> =
            decisions.values().flat_map(|decision| decision.desired.acls.clone()).collect();
        let limits: BTreeSet<Quota> =
            decisions.values().flat_map(|decision| decision.desired.quotas.clone()).collect();
        let secrets: BTreeSet<ObjectKey> = self.kept.lock().unwrap().secrets.keys().cloned().collect();
        let keys: BTreeSet<ObjectKey> =
            decisions.values().filter_map(|decision| Some(decision.desired.secret.clone()?.key)).collect();
        users == decisions.keys().cloned().collect()
            && acls == wanted
            && quotas == limits
            && secrets == keys
            && keys.iter().all(|key| self.works(key))
    }

    /// Whether the brokers would let in whoever has this Secret.
    pub(super) fn works(&self, key: &ObjectKey) -> bool {
        let kept = self.kept.lock().unwrap();
        let Some(secret) = kept.secrets.get(key) else { return false };
        let data = secret.data.as_ref().unwrap();
        let username = String::from_utf8(data["username"].0.clone()).unwrap();
        let told = self.told.lock().unwrap();
        let Some(keys) = told.get(&username) else { return false };
        let iterations = NonZeroU32::new(u32::try_from(keys.iterations).unwrap()).unwrap();
        let algorithm = match keys.mechanism {
            ScramMechanism::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            ScramMechanism::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        pbkdf2::verify(algorithm, iterations, &keys.salt, &data["password"].0, &keys.salted_password).is_ok()
    }

    /// Other words about how clients reach the brokers.
    pub(super) fn reach(&self, change: impl FnOnce(&mut ClientEndpoint)) {
        self.endpoint.send_modify(|endpoint| change(Arc::make_mut(endpoint)));
    }

    /// One value in a Secret.
    pub(super) fn value(&self, secret: &str, key: &str) -> Option<String> {
        String::from_utf8(self.secret(secret)?.data?.remove(key)?.0).ok()
    }

    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.kept.lock().unwrap().secrets.get(&ObjectKey::new("shop", name)).cloned()
    }

    pub(super) fn password(&self, name: &str) -> Vec<u8> {
        self.secret(name).unwrap().data.unwrap()["password"].0.clone()
    }

    /// Writes and reads of Secrets so far.
    pub(super) fn asked(&self) -> (usize, usize) {
        let kept = self.kept.lock().unwrap();
        (kept.writes, kept.reads)
    }

    pub(super) fn count(&self, call: Call) -> usize {
        self.cluster.calls().get(&call).copied().unwrap_or_default()
    }
}

//! How often the brokers, the ledger and Kubernetes are asked for how much work: what makes topicops fast, without a clock.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{Json, Router, extract::Request};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};
use topicops::{
    controller::{
        Index, Reporter,
        health::Health,
        topics::{
            KubeEvidence, LedgerError, LedgerStore, Page, StatusWriter, TopicController, TopicIndex,
            TopicUsers,
        },
    },
    kafka::{Call, Cluster, ConfigKeys, MemoryCluster},
    metrics::{Metrics, PassLabel},
    topic::{PlanContext, TopicGrant, TopicGrants},
};
use topicops_contract::TopicName;

const TOPICS: usize = 1_000;
/// In the tests' own time, which passes at once while nothing is to be done.
const REST: Duration = Duration::from_secs(60);

/// A ledger that counts how often it is written.
#[derive(Default)]
struct CountingLedger {
    pages: Mutex<BTreeMap<String, (usize, String)>>,
    writes: AtomicUsize,
}

#[async_trait]
impl LedgerStore for CountingLedger {
    async fn load(&self) -> Result<Vec<Page>, LedgerError> {
        let pages = self.pages.lock().unwrap();
        let pages = pages.iter().map(|(name, (version, text))| Page {
            name: name.clone(),
            version: version.to_string(),
            text: text.clone(),
        });
        Ok(pages.collect())
    }

    async fn write(&self, name: &str, _: Option<&str>, text: String) -> Result<String, LedgerError> {
        let version = self.writes.fetch_add(1, Ordering::Relaxed);
        self.pages.lock().unwrap().insert(name.to_owned(), (version, text));
        Ok(version.to_string())
    }
}

/// The workloads that use every topic; nobody at first.
#[derive(Default)]
struct Users(watch::Sender<Vec<String>>);

impl TopicUsers for Users {
    fn users_of(&self, _: &TopicName, _: &TopicGrant, _: bool) -> Vec<String> {
        self.0.borrow().clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        let (revision, changes) = watch::channel(0);
        let mut users = self.0.subscribe();
        tokio::spawn(async move {
            while users.changed().await.is_ok() {
                revision.send_modify(|revision| *revision += 1);
            }
        });
        changes
    }
}

/// A controller that leads, with everything around it in memory.
struct Scene {
    cluster: MemoryCluster,
    ledger: Arc<CountingLedger>,
    index: Arc<TopicIndex>,
    metrics: Metrics,
    users: Arc<Users>,
    /// `METHOD path` of every request to Kubernetes.
    kubernetes: Arc<Mutex<Vec<String>>>,
    _leads: watch::Sender<bool>,
}

impl Scene {
    fn start(resync: Duration) -> Self {
        let (cluster, ledger) = (MemoryCluster::new(3), Arc::new(CountingLedger::default()));
        let (index, kubernetes) = (Arc::new(TopicIndex::default()), Arc::default());
        let (metrics, _) = Metrics::with_registry();
        let client = Client::new(api_server(&kubernetes), "default");
        let statuses = StatusWriter::new(client.clone(), Arc::clone(&index));
        let reporter = Reporter::new(client.clone(), None);
        let (leads, leading) = watch::channel(true);
        let users = Arc::new(Users::default());
        let controller = TopicController {
            cluster: Arc::new(cluster.clone()),
            store: Arc::clone(&ledger) as _,
            index: Arc::clone(&index),
            users: Arc::clone(&users) as _,
            open: false,
            evidence: Arc::new(KubeEvidence::new(client.clone())),
            statuses: statuses.clone(),
            reporter: reporter.clone(),
            health: Health::new(metrics.clone()),
            metrics: metrics.clone(),
            desk: Arc::default(),
            context: PlanContext::default(),
            grants: watch::channel(Arc::new(TopicGrants::default())).0,
            granted: watch::channel(false).0,
            resync,
        };
        tokio::spawn(statuses.run());
        tokio::spawn(reporter.run());
        tokio::spawn(controller.run(leading));
        Self { cluster, ledger, index, metrics, users, kubernetes, _leads: leads }
    }

    fn declare(&self, retention: &str) {
        for n in 0..TOPICS {
            self.index.apply(config_map(n, retention));
        }
    }

    /// What was asked for until everything rests, as counts: of the brokers, of the ledger, of Kubernetes.
    async fn asked(&self) -> (BTreeMap<Call, usize>, usize, usize) {
        sleep(REST).await;
        let calls = self.cluster.calls();
        self.cluster.forget_calls();
        let kubernetes = std::mem::take(&mut *self.kubernetes.lock().unwrap());
        (calls, self.ledger.writes.swap(0, Ordering::Relaxed), kubernetes.len())
    }

    fn passes(&self) -> usize {
        let passes = self.metrics.passes.get_or_create(&PassLabel { pass: "topics" }).get();
        usize::try_from(passes).unwrap()
    }
}

/// Takes everything that is written, and notes it.
fn api_server(requests: &Arc<Mutex<Vec<String>>>) -> Router {
    let requests = Arc::clone(requests);
    Router::new().fallback(move |request: Request| async move {
        requests.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        Json::<Value>(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": "any" },
        }))
    })
}

fn config_map(n: usize, retention: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("orders-{n}"),
            "namespace": "shop",
            "uid": format!("uid-{n}"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "config": "kafka-topic" },
        },
        "data": { "partitions": "1", "replication-factor": "1", "retention": retention },
    }))
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_new_topics_are_one_look_one_creation_and_two_writes_of_the_ledger() {
    let scene = Scene::start(Duration::from_secs(100_000));
    scene.asked().await;
    scene.declare("1h");
    let (calls, ledger, kubernetes) = scene.asked().await;
    assert_eq!((calls[&Call::DescribeTopics], calls[&Call::CreateTopics]), (1, 1), "{calls:?}");
    assert!(
        !calls.contains_key(&Call::AlterConfigs) && !calls.contains_key(&Call::DeleteTopics),
        "{calls:?}"
    );
    assert_eq!(ledger, 2, "whose they are, before; what the brokers have, after");
    assert_eq!(kubernetes, TOPICS, "a status for each, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changed_settings_are_one_look_one_change_and_one_write_of_the_ledger() {
    let scene = Scene::start(Duration::from_secs(100_000));
    scene.declare("1h");
    scene.asked().await;
    scene.declare("2h");
    let (calls, ledger, kubernetes) = scene.asked().await;
    assert_eq!((calls[&Call::DescribeTopics], calls[&Call::AlterConfigs]), (1, 1), "{calls:?}");
    assert!(!calls.contains_key(&Call::CreateTopics), "{calls:?}");
    assert_eq!(ledger, 1, "what the brokers have");
    assert_eq!(kubernetes, TOPICS, "a status for each, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_look_at_what_nobody_changed_is_one_request_and_writes_nothing() {
    let scene = Scene::start(REST);
    scene.declare("1h");
    for _ in 0..3 {
        scene.asked().await;
    }
    let before = scene.passes();
    for _ in 0..9 {
        let before = scene.passes();
        let (calls, ledger, kubernetes) = scene.asked().await;
        let looks = calls.get(&Call::DescribeTopics).copied().unwrap_or(0);
        assert_eq!(looks, scene.passes() - before, "one for each pass: {calls:?}");
        let writes = [Call::CreateTopics, Call::CreatePartitions, Call::AlterConfigs, Call::DeleteTopics];
        assert!(writes.iter().all(|call| !calls.contains_key(call)), "{calls:?}");
        assert_eq!((ledger, kubernetes), (0, 0), "writes of the ledger, and requests to Kubernetes");
    }
    assert!(scene.passes() - before >= 8, "a pass about every {REST:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_workloads_with_a_look_every_five_seconds_and_ends_as_soon_as_they_are_gone() {
    let scene = Scene::start(Duration::from_secs(100_000));
    let topic = config_map(0, "1h");
    scene.index.apply(topic.clone());
    scene.asked().await;
    scene.users.0.send_replace(vec!["Deployment shop/orders".to_owned()]);
    let mut deleting = topic;
    deleting.metadata.annotations =
        Some([("topic.kafka.nb/deletion-policy".to_owned(), "delete".to_owned())].into());
    deleting.metadata.finalizers = Some(vec!["topic.kafka.nb/topic".to_owned()]);
    deleting.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-02T00:00:00Z")).unwrap();
    scene.index.apply(deleting);
    let (calls, ..) = scene.asked().await;
    assert!(!calls.contains_key(&Call::DeleteTopics), "{calls:?}");
    let looks = calls[&Call::ConsumingGroups];
    assert!((10..=13).contains(&looks), "{looks} looks in a minute: {calls:?}");

    // Between two looks, as far from both as may be.
    sleep(Duration::from_millis(2_500)).await;
    scene.cluster.forget_calls();
    scene.users.0.send_replace(Vec::new());
    sleep(Duration::from_millis(500)).await;
    let calls = scene.cluster.calls();
    assert_eq!(calls.get(&Call::DeleteTopics), Some(&1), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_made_right_after_a_broker_came_is_placed_with_it_in_mind() {
    let scene = Scene::start(Duration::from_secs(100_000));
    scene.declare("1h");
    sleep(Duration::from_secs(10)).await;
    scene.cluster.add_broker(4, None);
    (TOPICS..TOPICS + 10).for_each(|n| scene.index.apply(config_map(n, "1h")));
    sleep(Duration::from_secs(10)).await;
    let new: Vec<TopicName> = (TOPICS..TOPICS + 10).map(|n| format!("orders-{n}").parse().unwrap()).collect();
    for described in scene.cluster.describe_topics(&new, &ConfigKeys::Only(Default::default())).await.unwrap()
    {
        assert_eq!(described.unwrap().unwrap().replicas, [[4]], "it holds least");
    }
}

//! A topic controller that leads, with everything around it in memory, and the tests' own time, which passes at once while
//! nothing is to be done.

// Not every test binary uses all of it.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Json, Router,
    body::to_bytes,
    extract::Request,
    http::{Method, StatusCode},
};
use kube::{Client, core::Status};
use serde_json::{Value, json};
use tokio::sync::watch;
use topicops::{
    controller::{
        Reporter, Scope,
        health::Health,
        moves::MoveDesk,
        topics::{
            KubeEvidence, LedgerError, LedgerStore, Page, StatusWriter, TopicController, TopicIndex,
            TopicUsers,
        },
    },
    kafka::{Call, MemoryCluster},
    metrics::{Metrics, PassLabel},
    topic::{PlanContext, TopicGrant, TopicGrants, TopicPolicy},
};
use topicops_contract::TopicName;

use crate::paused_time::pass;

/// Long enough for everything to come to rest.
pub const REST: Duration = Duration::from_secs(60);

/// A ledger that counts how often it is written.
#[derive(Default)]
pub struct CountingLedger {
    pages: Mutex<BTreeMap<String, (usize, String)>>,
    writes: AtomicUsize,
    /// New pages are refused.
    pub full: AtomicBool,
    /// The next write is carried out, and nobody learns of it.
    pub lost_answer: AtomicBool,
    /// The write after so many others is not carried out.
    pub lost_after: Mutex<Option<usize>>,
}

impl CountingLedger {
    pub fn text(&self) -> String {
        self.pages.lock().unwrap().values().map(|(_, text)| text.as_str()).collect()
    }
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

    async fn write(&self, name: &str, version: Option<&str>, text: String) -> Result<String, LedgerError> {
        if version.is_none() && self.full.load(Ordering::Relaxed) {
            let status = Status { code: 403, message: "exceeded quota".to_owned(), ..Status::default() };
            let source = Box::new(kube::Error::Api(Box::new(status)));
            return Err(LedgerError::Kubernetes { name: name.to_owned(), doing: "written", source });
        }
        let timed_out = || {
            let status = Status { code: 504, message: "timed out".to_owned(), ..Status::default() };
            let source = Box::new(kube::Error::Api(Box::new(status)));
            LedgerError::Kubernetes { name: name.to_owned(), doing: "written", source }
        };
        {
            let mut lost_after = self.lost_after.lock().unwrap();
            let left = lost_after.take();
            *lost_after = left.and_then(|left| left.checked_sub(1));
            if left == Some(0) {
                return Err(timed_out());
            }
        }
        let version = self.writes.fetch_add(1, Ordering::Relaxed);
        self.pages.lock().unwrap().insert(name.to_owned(), (version, text));
        if self.lost_answer.swap(false, Ordering::Relaxed) {
            return Err(timed_out());
        }
        Ok(version.to_string())
    }
}

/// The workloads that use every topic; nobody at first.
#[derive(Default)]
pub struct Users(pub watch::Sender<Vec<String>>);

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

/// What the API server is asked, and what it says.
#[derive(Default)]
pub struct Kubernetes {
    /// `METHOD path` of every request.
    pub requests: Vec<String>,
    /// The paths of objects that were last written without a finalizer.
    pub let_go: BTreeSet<String>,
    /// The reasons of the Events that were sent.
    pub events: Vec<String>,
    /// The metadata of ConfigMaps that are no topics; each is a page of its own.
    pub others: Vec<Value>,
    /// It answers no question about single objects.
    pub silent: bool,
    /// It takes no status and no finalizer.
    pub read_only: bool,
    /// So many statuses and finalizers are refused because somebody else wrote to the object meanwhile.
    pub conflicts: usize,
    /// Whatever is asked for by its name was deleted and made anew since it was listed.
    pub remade: bool,
    /// Every namespace is being deleted.
    pub ending: bool,
}

impl Kubernetes {
    fn answer(&mut self, method: &Method, path: &str, query: &str, body: Value) -> (StatusCode, Value) {
        self.requests.push(format!("{method} {path}"));
        let refused = |code: StatusCode| {
            let reason: String = code.canonical_reason().unwrap_or_default().split(' ').collect();
            (code, json!({ "kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16() }))
        };
        let mut metadata = json!({ "name": "any" });
        match (method, path) {
            (&Method::GET, "/api/v1/configmaps") => return (StatusCode::OK, self.page(query)),
            (&Method::GET, _) if self.silent => return refused(StatusCode::INTERNAL_SERVER_ERROR),
            (&Method::GET, _) if path.contains("/configmaps/") => match self.other(path) {
                Some(other) => metadata = other,
                None => return refused(StatusCode::NOT_FOUND),
            },
            (&Method::GET, _) if self.ending => metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            (&Method::PATCH, _) if self.conflicts > 0 => {
                self.conflicts -= 1;
                return refused(StatusCode::CONFLICT);
            }
            (&Method::PATCH, _) if self.read_only => return refused(StatusCode::FORBIDDEN),
            (&Method::POST, _) if path.ends_with("/events") => {
                self.events.push(body["reason"].as_str().unwrap_or_default().to_owned());
                return (StatusCode::CREATED, body);
            }
            (&Method::PATCH, _) if body["metadata"]["finalizers"].is_null() => {
                self.let_go.insert(path.to_owned());
            }
            (&Method::PATCH, _) => {
                self.let_go.remove(path);
            }
            _ => {}
        }
        let any =
            json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata });
        (StatusCode::OK, any)
    }

    /// The metadata of one of the [`Self::others`].
    fn other(&self, path: &str) -> Option<Value> {
        let name = path.rsplit('/').next()?;
        let mut found = self.others.iter().find(|other| other["name"] == name).cloned()?;
        if self.remade {
            found["uid"] = json!("another");
        }
        Some(found)
    }

    fn page(&self, query: &str) -> Value {
        assert!(
            query.contains("labelSelector=config%21%3Dkafka-topic") && query.contains("limit="),
            "{query}"
        );
        let begin =
            query.split('&').find_map(|part| part.strip_prefix("continue=")?.parse().ok()).unwrap_or(0);
        let items = self.others.iter().skip(begin).take(1).map(|metadata| json!({ "metadata": metadata }));
        let next = if begin + 1 < self.others.len() { (begin + 1).to_string() } else { String::new() };
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": { "resourceVersion": "1", "continue": next }, "items": items.collect::<Vec<_>>(),
        })
    }
}

pub struct Scene {
    pub cluster: MemoryCluster,
    pub ledger: Arc<CountingLedger>,
    pub index: Arc<TopicIndex>,
    pub users: Arc<Users>,
    pub kubernetes: Arc<Mutex<Kubernetes>>,
    /// What the mover is told.
    pub desk: Arc<MoveDesk>,
    /// Whom access is built for.
    pub grants: watch::Receiver<Arc<TopicGrants>>,
    metrics: Metrics,
    leads: watch::Sender<bool>,
}

impl Scene {
    /// With what is there before: a ledger, if it is not empty, and what Kubernetes says.
    pub fn of(resync: Duration, ledger: &str, kubernetes: Kubernetes) -> Self {
        Self::under(PlanContext::default(), resync, ledger, kubernetes)
    }

    /// The same under what the flags say.
    pub fn under(context: PlanContext, resync: Duration, ledger: &str, kubernetes: Kubernetes) -> Self {
        let (cluster, index) = (MemoryCluster::new(3), Arc::new(TopicIndex::default()));
        let pages = [("0".to_owned(), (0, ledger.to_owned()))].into_iter().filter(|_| !ledger.is_empty());
        let ledger = Arc::new(CountingLedger { pages: Mutex::new(pages.collect()), ..Default::default() });
        let kubernetes = Arc::new(Mutex::new(kubernetes));
        let (metrics, _) = Metrics::with_registry();
        let client = Client::new(api_server(&kubernetes), "default");
        let statuses = StatusWriter::new(client.clone(), Arc::clone(&index));
        let reporter = Reporter::new(client.clone(), None);
        let (leads, leading) = watch::channel(false);
        let (users, desk) = (Arc::new(Users::default()), Arc::new(MoveDesk::default()));
        let (grants_sent, grants) = watch::channel(Arc::new(TopicGrants::default()));
        let controller = TopicController {
            cluster: Arc::new(cluster.clone()),
            store: Arc::clone(&ledger) as _,
            index: Arc::clone(&index),
            users: Arc::clone(&users) as _,
            open: false,
            evidence: Arc::new(KubeEvidence::new(client.clone(), Scope::All)),
            statuses: statuses.clone(),
            reporter: reporter.clone(),
            health: Health::new(metrics.clone()),
            metrics: metrics.clone(),
            desk: Arc::clone(&desk),
            context,
            grants: grants_sent,
            granted: watch::channel(false).0,
            resync,
        };
        tokio::spawn(statuses.run());
        tokio::spawn(reporter.run());
        tokio::spawn(controller.run(leading));
        Self { cluster, ledger, index, users, kubernetes, desk, grants, metrics, leads }
    }

    /// One with nothing there, that leads from its beginning.
    pub fn start(resync: Duration) -> Self {
        let scene = Self::of(resync, "", Kubernetes::default());
        scene.lead();
        scene
    }

    pub fn follow(&self) {
        self.leads.send_replace(false);
    }

    pub fn lead(&self) {
        self.leads.send_replace(true);
    }

    pub fn protect(&self, pattern: &str) {
        let protected = vec![topicops_contract::NamePattern::read(pattern)];
        self.index.govern(TopicPolicy { protected, ..TopicPolicy::default() });
    }

    /// What was asked for until everything rests, as counts: of the brokers, of the ledger, of Kubernetes.
    pub async fn asked(&self) -> (BTreeMap<Call, usize>, usize, usize) {
        pass(REST).await;
        let calls = self.cluster.calls();
        self.cluster.forget_calls();
        (calls, self.ledger.writes.swap(0, Ordering::Relaxed), self.requests().len())
    }

    /// The requests to Kubernetes since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.kubernetes.lock().unwrap().requests)
    }

    pub fn passes(&self) -> usize {
        let passes = self.metrics.passes.get_or_create(&PassLabel { pass: "topics" }).get();
        usize::try_from(passes).unwrap()
    }
}

fn api_server(kubernetes: &Arc<Mutex<Kubernetes>>) -> Router {
    let kubernetes = Arc::clone(kubernetes);
    Router::new().fallback(move |request: Request| async move {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let (code, answer) = kubernetes.lock().unwrap().answer(&parts.method, path, query, body);
        (code, Json(answer))
    })
}

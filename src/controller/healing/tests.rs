//! What was admitted, and what comes of it, in paused time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use topicops_contract::{ClientRequest, Workload, WorkloadKind, keys};

use super::{Healer, Patched, StoredTemplate, Templates, Verdict};
use crate::{
    Reason,
    access::{Client, SecretContent},
    controller::access::{ClientEvents, ClientIndex, SecretIndex},
};

/// An API server with workloads, and the watch of them.
#[derive(Default)]
struct Cluster {
    objects: Mutex<BTreeMap<Workload, Value>>,
    clients: Arc<ClientIndex>,
    secrets: Arc<SecretIndex>,
    /// Workloads come without their Secrets.
    unprovided: bool,
    asked: Mutex<Vec<String>>,
    /// What patches are answered with instead.
    refuses: Mutex<Option<String>>,
    said: Mutex<Vec<String>>,
}

fn workload(kind: WorkloadKind, name: &str) -> Workload {
    Workload::new("shop", kind, name)
}

fn asking() -> BTreeMap<String, String> {
    [(keys::client::CONSUMES.to_owned(), "orders".to_owned())].into()
}

impl Cluster {
    /// As admitted without a webhook.
    fn put(&self, of: &Workload) {
        let pod = json!({ "containers": [{ "name": "app", "image": "registry.example/app:1" }] });
        let spec = match of.kind() {
            WorkloadKind::Pod => pod,
            WorkloadKind::CronJob => json!({ "jobTemplate": { "spec": { "template": { "spec": pod } } } }),
            _ => json!({ "template": { "spec": pod } }),
        };
        let mut objects = self.objects.lock().unwrap();
        let before = objects.get(of).map_or(0, |object| object["metadata"]["generation"].as_i64().unwrap());
        let object = json!({
            "metadata": {
                "name": of.name(), "namespace": of.namespace(), "uid": format!("uid-{}", of.name()),
                "generation": before + 1, "resourceVersion": (before + 1).to_string(),
                "labels": { keys::INJECT_LABEL: keys::INJECT_LABEL_VALUE }, "annotations": asking(),
            },
            "spec": spec,
        });
        objects.insert(of.clone(), object);
        drop(objects);
        self.tell(of);
    }

    /// What the watch does.
    fn tell(&self, of: &Workload) {
        let objects = self.objects.lock().unwrap();
        let metadata = &objects[of]["metadata"];
        let client = Client {
            workload: of.clone(),
            uid: metadata["uid"].as_str().unwrap().to_owned(),
            created: jiff::Timestamp::UNIX_EPOCH,
            deleting: false,
            request: Ok(ClientRequest::parse(of.clone(), &asking()).unwrap().map(Arc::new)),
        };
        let generation = metadata["generation"].as_i64().unwrap();
        if !self.unprovided {
            self.provide(&client);
        }
        self.clients.put_version(client, generation);
    }

    /// What the access controller does.
    fn provide(&self, client: &Client) {
        let name = client.workload.default_secret_name();
        let secret = json!({
            "name": name, "namespace": client.workload.namespace(), "uid": format!("uid-{name}"),
            "labels": { keys::CONFIG_LABEL: keys::CONFIG_LABEL_CREDENTIALS },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "any", "name": "any", "uid": client.uid }],
        });
        self.secrets.note(&serde_json::from_value(secret).unwrap(), SecretContent::Current);
    }

    fn is_injected(&self, of: &Workload) -> bool {
        let objects = self.objects.lock().unwrap();
        objects[of].to_string().contains(&format!("{}-kafka-credentials", of.name()))
    }

    fn stored(&self, of: &Workload) -> Option<StoredTemplate> {
        let objects = self.objects.lock().unwrap();
        let object = objects.get(of)?;
        Some(StoredTemplate {
            workload: of.clone(),
            uid: object["metadata"]["uid"].as_str().unwrap().to_owned(),
            resource_version: object["metadata"]["resourceVersion"].as_str().unwrap().to_owned(),
            json: object.to_string(),
        })
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }
}

#[async_trait]
impl Templates for Cluster {
    async fn read(&self, of: &Workload) -> Result<Option<StoredTemplate>, kube::Error> {
        self.asked.lock().unwrap().push(format!("read {of}"));
        Ok(self.stored(of))
    }

    async fn page(
        &self,
        kind: WorkloadKind,
        after: Option<String>,
    ) -> Result<(Vec<StoredTemplate>, Option<String>), kube::Error> {
        self.asked.lock().unwrap().push(format!("page of {kind} after {after:?}"));
        let all: Vec<Workload> = self.objects.lock().unwrap().keys().cloned().collect();
        let of_kind: Vec<_> =
            all.iter().filter(|one| one.kind() == kind).filter_map(|one| self.stored(one)).collect();
        let from: usize = after.map_or(0, |after| after.parse().unwrap());
        let page: Vec<_> = of_kind.iter().skip(from).take(10).cloned().collect();
        let next = (from + 10 < of_kind.len()).then(|| (from + 10).to_string());
        Ok((page, next))
    }

    async fn patch(&self, of: &Workload, operations: &Value) -> Result<Patched, kube::Error> {
        self.asked.lock().unwrap().push(format!("patch {of}"));
        if let Some(message) = self.refuses.lock().unwrap().clone() {
            let status =
                json!({ "status": "Failure", "message": message, "reason": "Forbidden", "code": 403 });
            return Err(kube::Error::Api(serde_json::from_value(status).unwrap()));
        }
        {
            let mut objects = self.objects.lock().unwrap();
            let object = objects.get_mut(of).unwrap();
            let before = object["metadata"]["resourceVersion"].clone();
            let patch: json_patch::Patch = serde_json::from_value(operations.clone()).unwrap();
            let mut changed = object.clone();
            json_patch::patch(&mut changed, &patch).unwrap();
            // As the API server does: a patch that names another version is a conflict.
            if changed["metadata"]["resourceVersion"] != before {
                return Ok(Patched::Overtaken);
            }
            *object = changed;
            let generation = object["metadata"]["generation"].as_i64().unwrap() + 1;
            object["metadata"]["generation"] = json!(generation);
            object["metadata"]["resourceVersion"] = json!(generation.to_string());
        }
        self.tell(of);
        Ok(Patched::Done)
    }
}

impl ClientEvents for Cluster {
    fn say(&self, client: &Client, reason: Reason, note: &str) {
        self.said.lock().unwrap().push(format!("{} {reason}: {note}", client.workload));
    }

    fn say_again(&self, client: &Client, reason: Reason, note: &str) {
        self.say(client, reason, note);
    }

    fn forget(&self, _uid: &str) {}
}

struct Leading {
    task: JoinHandle<()>,
    _leads: watch::Sender<bool>,
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lead(cluster: &Arc<Cluster>) -> Leading {
    let healer = Healer {
        templates: Arc::clone(cluster) as _,
        clients: Arc::clone(&cluster.clients),
        events: Arc::clone(cluster) as _,
        except: ["kube-system".to_owned()].into(),
        secrets: Arc::clone(&cluster.secrets),
        ready: vec![watch::channel(true).1],
    };
    let (leads, leading) = watch::channel(true);
    Leading { task: tokio::spawn(healer.run(leading)), _leads: leads }
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_admitted_without_the_webhook_is_healed_and_what_cannot_be_is_told() {
    let cluster = Arc::new(Cluster::default());
    for kind in WorkloadKind::ALL {
        cluster.put(&workload(kind, &kind.as_str().to_ascii_lowercase()));
    }
    let exempt = Workload::new("kube-system", WorkloadKind::Deployment, "dns");
    cluster.put(&exempt);
    let _leading = lead(&cluster);
    seconds(10).await;
    assert!(!cluster.is_injected(&exempt));
    let of = |kind: WorkloadKind| workload(kind, &kind.as_str().to_ascii_lowercase());
    for kind in WorkloadKind::ALL {
        assert_eq!(cluster.is_injected(&of(kind)), kind.is_mutable(), "{kind}");
    }
    let said: BTreeSet<String> =
        cluster.said().iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    let expected = [
        "CronJob shop/cronjob Injected",
        "DaemonSet shop/daemonset Injected",
        "Deployment shop/deployment Injected",
        "Job shop/job NotInjected",
        "Pod shop/pod NotInjected",
        "StatefulSet shop/statefulset Injected",
    ];
    assert_eq!(said, expected.map(str::to_owned).into());
    cluster.asked();
    seconds(100_000).await;
    assert!(cluster.asked().is_empty(), "nothing changed, and nothing is asked");
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_left_alone_until_its_own_secret_is_there() {
    let cluster = Arc::new(Cluster { unprovided: true, ..Cluster::default() });
    let (waiting, other) =
        (workload(WorkloadKind::Deployment, "app"), workload(WorkloadKind::Deployment, "b"));
    cluster.put(&waiting);
    let _leading = lead(&cluster);
    seconds(3_600).await;
    assert!(cluster.asked().is_empty() && !cluster.is_injected(&waiting));
    let client = |of: &Workload| cluster.clients.client(of).unwrap();
    // Another's Secret of that name is none.
    cluster.put(&other);
    cluster.provide(&Client { uid: "another".to_owned(), ..(*client(&other)).clone() });
    cluster.provide(&client(&waiting));
    seconds(60).await;
    assert!(cluster.is_injected(&waiting) && !cluster.is_injected(&other));
}

#[tokio::test(start_paused = true)]
async fn many_are_read_by_the_page_and_a_change_by_itself_and_a_new_leader_reads_them_once_more() {
    let cluster = Arc::new(Cluster::default());
    let all: Vec<Workload> =
        (0..200).map(|at| workload(WorkloadKind::Deployment, &format!("app-{at:03}"))).collect();
    all.iter().for_each(|one| cluster.put(one));
    let leading = lead(&cluster);
    seconds(60).await;
    assert!(all.iter().all(|one| cluster.is_injected(one)));
    let asked = cluster.asked();
    let pages = asked.iter().filter(|line| line.starts_with("page")).count();
    let reads = asked.iter().filter(|line| line.starts_with("read")).count();
    // Twenty pages to find them, and twenty to see that it stuck.
    assert_eq!((pages, reads), (40, 0), "{asked:?}");
    cluster.put(&all[7]);
    seconds(10).await;
    assert_eq!(cluster.asked(), ["read", "patch", "read"].map(|what| format!("{what} {}", all[7])));
    drop(leading);
    let _leading = lead(&cluster);
    seconds(60).await;
    let asked = cluster.asked();
    assert!(asked.len() == 20 && asked.iter().all(|line| line.starts_with("page")), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_the_credentials_out_again_is_met_a_few_times_and_then_once_an_hour() {
    let cluster = Arc::new(Cluster::default());
    let app = workload(WorkloadKind::Deployment, "app");
    cluster.put(&app);
    let _leading = lead(&cluster);
    let mut heals = 0;
    // Half a day of somebody who replaces it every ten seconds.
    for _ in 0..(12 * 360) {
        seconds(10).await;
        if cluster.is_injected(&app) {
            heals += 1;
            cluster.put(&app);
        }
    }
    assert!((12..=16).contains(&heals), "{heals} times");
    let said = cluster.said();
    assert!(
        said.iter().any(|line| line.contains("NotInjected: somebody takes the credentials out")),
        "{said:?}"
    );
    assert!(cluster.asked().len() < 100);
    // In the end they leave it, and in the morning it is as if nothing had been.
    seconds(20_000).await;
    assert!(cluster.is_injected(&app));
    cluster.put(&app);
    seconds(10).await;
    assert!(cluster.is_injected(&app));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_less_and_less_often_and_told() {
    let cluster = Arc::new(Cluster::default());
    let app = workload(WorkloadKind::Deployment, "app");
    cluster.put(&app);
    *cluster.refuses.lock().unwrap() = Some("a policy says no".to_owned());
    let _leading = lead(&cluster);
    seconds(3_600).await;
    let patches = cluster.asked().iter().filter(|line| line.starts_with("patch")).count();
    assert!((10..30).contains(&patches), "{patches} in an hour");
    assert!(
        cluster.said().iter().any(|line| line.contains("NotInjected") && line.contains("a policy says no"))
    );
    *cluster.refuses.lock().unwrap() = None;
    seconds(301).await;
    assert!(cluster.is_injected(&app));
}

#[test]
fn the_patch_is_for_the_version_that_was_read_and_no_other() {
    let cluster = Cluster::default();
    let app = workload(WorkloadKind::CronJob, "app");
    cluster.put(&app);
    let stored = cluster.stored(&app).unwrap();
    let Verdict::Heal(operations) = Verdict::of(&stored) else { panic!("it is not right") };
    assert_eq!(operations[0], json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": "1" }));
    assert!(operations[1]["path"].as_str().unwrap().starts_with("/spec/jobTemplate/spec/template/spec/"));
}

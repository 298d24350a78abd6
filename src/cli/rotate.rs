use std::{collections::BTreeMap, io::Write, str::FromStr, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::timeout;
use topicops_contract::{ClientRequest, Workload, WorkloadKind, keys};

use super::{
    rotate_wait::{ANSWER, Scene},
    settings::duration,
};
use crate::workload_resource::workload_resource;

/// The settings of `topicops rotate`.
#[derive(Args, Clone, Debug)]
pub struct RotateSettings {
    /// The workload, as NAMESPACE/NAME.
    pub workload: Name,

    /// Its kind, where several of them have that name: Deployment, StatefulSet, DaemonSet, Job or CronJob.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<WorkloadKind>,

    /// Waits until all its Pods run with the new credentials, and the ones before are revoked.
    #[arg(long)]
    pub wait: bool,

    /// How long --wait waits at most; exit code 3 when that was not enough.
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// A namespace and a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    namespace: String,
    name: String,
}

/// How a rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// Asked for, or done where that was waited for.
    Done,
    /// It goes on.
    Pending,
}

/// `topicops rotate`: asks for new credentials of one workload, by its annotation, as anybody may who may change the workload.
///
/// # Errors
/// There is no such workload, or several; it asks for no credentials, or has those of another; the API server refuses.
pub async fn rotate(settings: &RotateSettings, out: &mut (dyn Write + Send)) -> Result<Rotated> {
    let config = Config::infer().await.context("finding the Kubernetes API server")?;
    let client = Client::try_from(config).context("setting up the Kubernetes client")?;
    rotate_at(&client, settings, out).await
}

async fn rotate_at(
    client: &Client,
    settings: &RotateSettings,
    out: &mut (dyn Write + Send),
) -> Result<Rotated> {
    let silence = || format!("the API server does not answer within {ANSWER:?}");
    let (workload, meta) = timeout(ANSWER, find(client, settings)).await.with_context(silence)??;
    let request = request(&workload, &meta)?;
    let scene = Scene::new(client, &request);
    let before = if settings.wait { scene.made_for().await? } else { None };
    let token = Timestamp::now().to_string();
    let patch = json!({ "metadata": { "uid": meta.uid, "annotations": { (keys::client::ROTATE): token } } });
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), workload.namespace(), &workload_resource(workload.kind()));
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    timeout(ANSWER, api.patch(workload.name(), &params, &patch))
        .await
        .with_context(silence)
        .and_then(|answer| Ok(answer?))
        .with_context(|| format!("annotating {workload}"))?;
    writeln!(out, "{workload}: asked for new credentials ({}: {token})", keys::client::ROTATE)?;
    if !settings.wait {
        return Ok(Rotated::Done);
    }
    scene.wait(token, before, settings.timeout, out).await
}

/// What the workload asks for; whatever keeps it from being given other credentials is an error.
fn request(workload: &Workload, meta: &ObjectMeta) -> Result<ClientRequest> {
    let mut owners = meta.owner_references.iter().flatten();
    let kind = workload.kind();
    let whole = owners.find(|owner| kind.is_part_of(&owner.kind, owner.controller == Some(true)));
    if let Some(owner) = whole {
        bail!(
            "{workload} is part of {} {}/{} and has its credentials: rotate those",
            owner.kind,
            workload.namespace(),
            owner.name
        );
    }
    if workload.kind() == WorkloadKind::Pod {
        bail!("{workload} is one Pod for all its life and cannot change over: delete it and create it again");
    }
    let none = BTreeMap::new();
    if !ClientRequest::is_labelled(meta.labels.as_ref().unwrap_or(&none)) {
        bail!(
            "{workload} has no label {}={}, so topicops gave it no credentials",
            keys::INJECT_LABEL,
            keys::INJECT_LABEL_VALUE
        );
    }
    let request = ClientRequest::parse(workload.clone(), meta.annotations.as_ref().unwrap_or(&none))
        .map_err(|problems| anyhow::anyhow!("{workload} has mistakes in its annotations: {problems}"))?;
    request.with_context(|| format!("{workload} asks for no topic, so it has no credentials"))
}

/// The one workload of that name. Who may not look at all kinds may look at the one that is meant.
async fn find(client: &Client, settings: &RotateSettings) -> Result<(Workload, ObjectMeta)> {
    let Name { namespace, name } = &settings.workload;
    let kinds = settings.kind.map_or_else(|| WorkloadKind::ALL.to_vec(), |kind| vec![kind]);
    let (mut found, mut unseen) = (Vec::new(), Vec::new());
    for kind in kinds {
        let resource = workload_resource(kind);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        match api.get_metadata_opt(name).await {
            Err(kube::Error::Api(status)) if status.code == 403 && settings.kind.is_none() => {
                unseen.push(resource.plural);
            }
            answer => {
                let object = answer.with_context(|| format!("looking for {kind} {namespace}/{name}"))?;
                found.extend(object.map(|object| (Workload::new(namespace, kind, name), object.metadata)));
            }
        }
    }
    match found.len() {
        0 if unseen.is_empty() => bail!("there is no workload {namespace}/{name}"),
        0 => bail!(
            "there is no workload {namespace}/{name} that you may see; of {} you may see none, which takes the right to get them \
             in the namespace {namespace}",
            unseen.join(", ")
        ),
        1 => Ok(found.remove(0)),
        _ => {
            let all: Vec<String> = found.iter().map(|(workload, _)| workload.to_string()).collect();
            bail!("several workloads have that name: {}; choose one with --kind", all.join(", "))
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self { namespace: (*namespace).to_owned(), name: (*name).to_owned() })
            }
            _ => Err(format!("\"{text}\" is no NAMESPACE/NAME, such as shop/orders")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{
        Json, Router,
        http::{Method, StatusCode, Uri},
    };
    use serde_json::Value;

    use super::*;

    const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/orders";
    const JOB: &str = "/apis/batch/v1/namespaces/shop/jobs/orders";
    const SECRET: &str = "/api/v1/namespaces/shop/secrets/orders-kafka-credentials";

    fn labelled(more: &Value) -> Value {
        let mut metadata = json!({
            "name": "orders",
            "labels": { "kafka-operator": "inject-credentials" },
            "annotations": { "topic.kafka.nb/produces": "orders" },
        });
        for (key, value) in more.as_object().unwrap() {
            metadata[key] = value.clone();
        }
        metadata
    }

    /// What came of it, and which paths were changed, on an API server with these objects, where those paths are forbidden.
    async fn rotated(
        objects: &[(&str, Value)],
        forbidden: &[&str],
        change: impl FnOnce(&mut RotateSettings),
    ) -> (Result<Rotated>, Vec<String>) {
        let objects: BTreeMap<String, Value> =
            objects.iter().map(|(path, metadata)| ((*path).to_owned(), metadata.clone())).collect();
        let forbidden: Vec<String> = forbidden.iter().map(|path| (*path).to_owned()).collect();
        let changed = Arc::new(Mutex::new(Vec::new()));
        let changes = Arc::clone(&changed);
        let api_server = Router::new().fallback(move |method: Method, uri: Uri| {
            let path = uri.path().to_owned();
            let refused = |code: StatusCode, reason: &str| {
                let message = format!("{reason}: {path}");
                let status = json!({
                    "kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16(), "message": message,
                });
                (code, Json(status))
            };
            let answer = match objects.get(&path) {
                _ if forbidden.iter().any(|one| path.contains(one)) => refused(StatusCode::FORBIDDEN, "Forbidden"),
                None => refused(StatusCode::NOT_FOUND, "NotFound"),
                Some(metadata) => {
                    if method != Method::GET {
                        changes.lock().unwrap().push(path);
                    }
                    let object = json!({ "apiVersion": "any/v1", "kind": "Any", "metadata": metadata });
                    (StatusCode::OK, Json(object))
                }
            };
            std::future::ready(answer)
        });
        let client = Client::new(api_server, "default");
        let mut settings = RotateSettings {
            workload: "shop/orders".parse().unwrap(),
            kind: None,
            wait: false,
            timeout: Duration::from_secs(60),
        };
        change(&mut settings);
        let outcome = rotate_at(&client, &settings, &mut Vec::new()).await;
        let changed = changed.lock().unwrap().clone();
        (outcome, changed)
    }

    fn refusal(outcome: Result<Rotated>) -> String {
        format!("{:#}", outcome.unwrap_err())
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_see_only_the_kind_that_is_meant_finds_it_and_of_others_hears_which_right_is_missing() {
        let objects = [(DEPLOYMENT, labelled(&json!({})))];
        let (outcome, changed) = rotated(&objects, &["/batch/", "/pods/", "sets/"], |_| ()).await;
        assert_eq!((outcome.unwrap(), changed), (Rotated::Done, vec![DEPLOYMENT.to_owned()]));
        let (outcome, _) = rotated(&[], &["/batch/"], |_| ()).await;
        let said = refusal(outcome);
        assert!(said.contains("of jobs, cronjobs you may see none"), "{said}");
        let (outcome, _) =
            rotated(&objects, &["/batch/"], |settings| settings.kind = Some(WorkloadKind::Job)).await;
        let said = refusal(outcome);
        assert!(said.starts_with("looking for Job shop/orders") && said.contains("Forbidden"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_of_a_cron_job_is_refused_with_the_name_of_that_and_one_of_its_own_is_not() {
        let owned_by = |kind: &str| {
            let owner = json!({ "apiVersion": "v1", "kind": kind, "name": "nightly", "uid": "u", "controller": true });
            [(JOB, labelled(&json!({ "ownerReferences": [owner] })))]
        };
        let (outcome, changed) = rotated(&owned_by("CronJob"), &[], |_| ()).await;
        let said = refusal(outcome);
        assert!(said.contains("Job shop/orders is part of CronJob shop/nightly"), "{said}");
        assert!(changed.is_empty());
        assert_eq!(rotated(&owned_by("Workflow"), &[], |_| ()).await.0.unwrap(), Rotated::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_look_at_the_secret_hears_so_before_anything_is_asked_for() {
        let objects = [(DEPLOYMENT, labelled(&json!({}))), (SECRET, json!({ "name": "s" }))];
        let (outcome, changed) = rotated(&objects, &["/secrets/"], |settings| settings.wait = true).await;
        let said = refusal(outcome);
        assert!(said.contains("the right to get secrets in the namespace shop"), "{said}");
        assert!(changed.is_empty(), "{changed:?}");
        let (outcome, changed) = rotated(&objects, &["/secrets/"], |_| ()).await;
        assert_eq!((outcome.unwrap(), changed.len()), (Rotated::Done, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_something_else_takes_away_at_once_is_waited_for_no_longer() {
        // This API server keeps no annotation.
        let objects = [(DEPLOYMENT, labelled(&json!({}))), (SECRET, json!({ "name": "s" }))];
        let (outcome, changed) = rotated(&objects, &[], |settings| settings.wait = true).await;
        let said = refusal(outcome);
        assert!(
            said.contains("Deployment shop/orders: the annotation topic.kafka.nb/rotate was taken away"),
            "{said}"
        );
        assert_eq!(changed.len(), 1);
    }

    #[test]
    fn a_workload_is_named_with_its_namespace() {
        assert_eq!("shop/orders".parse::<Name>().unwrap().name, "orders");
        for wrong in ["orders", "shop/", "/orders", "a/b/c", ""] {
            assert!(wrong.parse::<Name>().unwrap_err().contains(wrong), "{wrong}");
        }
    }
}

//! A workload of each kind, and what becomes of it.

use anyhow::{Context, Result, ensure};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use topicops_contract::{Workload, WorkloadKind};

use crate::support::{self, PATIENCE, World, wait};

/// Says who it is, by what it was given, and goes on.
pub(crate) const SAYS_WHO: &str = "cat $SERVICE_BINDING_ROOT/credentials/username; sleep 3600";

pub(crate) fn lower(kind: WorkloadKind) -> String {
    kind.as_str().to_ascii_lowercase()
}

pub(crate) fn username(namespace: &str, kind: WorkloadKind, name: &str) -> String {
    Workload::new(namespace, kind, name).username(&topicops_contract::OperatorId::default())
}

/// How its Pods are labelled: with the kind, because names are the same.
fn pod_label(kind: WorkloadKind, name: &str) -> String {
    format!("{name}-{}", lower(kind))
}

/// A labelled workload of one container `main`; annotation names are given without their prefix.
pub(crate) async fn create(
    world: &World,
    namespace: &str,
    kind: WorkloadKind,
    name: &str,
    annotations: Value,
    script: &str,
) -> Result<()> {
    let labels = json!({ "app": pod_label(kind, name) });
    let mut pod = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{ "name": "main", "image": support::KAFKA_IMAGE, "command": ["/bin/sh", "-c", script] }],
    });
    if matches!(kind, WorkloadKind::Job | WorkloadKind::CronJob | WorkloadKind::Pod) {
        pod["restartPolicy"] = json!("Never");
    }
    let template = json!({ "metadata": { "labels": labels }, "spec": pod });
    let selector = json!({ "matchLabels": labels });
    let spec = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => {
            json!({ "replicas": 1, "selector": selector, "template": template })
        }
        WorkloadKind::DaemonSet => json!({ "selector": selector, "template": template }),
        WorkloadKind::Job => json!({ "backoffLimit": 0, "template": template }),
        // It never runs by itself: tests do not wait for the minute.
        WorkloadKind::CronJob => json!({
            "schedule": "0 0 30 2 *",
            "jobTemplate": { "metadata": { "labels": { "kafka-operator": "inject-credentials" } }, "spec": { "template": template } },
        }),
        WorkloadKind::Pod => pod,
    };
    let mut object_labels = json!({ "kafka-operator": "inject-credentials" });
    object_labels["app"] = json!(pod_label(kind, name));
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": kind.api_version(), "kind": kind.as_str(),
        "metadata": { "name": name, "labels": object_labels, "annotations": support::annotations(&annotations) },
        "spec": spec,
    }))?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(kind.group(), "v1", kind.as_str()));
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), namespace, &resource);
    api.create(&PostParams::default(), &object).await.with_context(|| format!("creating {kind} {name}"))?;
    Ok(())
}

/// As somebody does who does not wait for the minute.
pub(crate) async fn run_cron_job(world: &World, namespace: &str, name: &str, job: &str) -> Result<()> {
    let from = format!("--from=cronjob/{name}");
    let made = world.kubectl(&["--namespace", namespace, "create", "job", job, &from], "").await?;
    ensure!(made.code == Some(0), "{made:?}");
    Ok(())
}

pub(crate) async fn until_a_pod_says(
    world: &World,
    namespace: &str,
    kind: WorkloadKind,
    name: &str,
    text: &str,
) -> Result<()> {
    wait::until(format!("a Pod of {kind} {namespace}/{name} to say {text}"), PATIENCE, || async {
        let mut logs = Vec::new();
        for pod in world.pods(namespace, &format!("app={}", pod_label(kind, name))).await? {
            logs.push(world.bed.logs(namespace, &pod.name_any(), "main").unwrap_or_default());
        }
        ensure!(logs.iter().any(|log| log.trim() == text), "{logs:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub(crate) async fn until_acls(world: &World, username: &str, expected: &[String]) -> Result<()> {
    wait::until(format!("the rules of {username}"), PATIENCE, || async {
        let acls = world.acls_of(username).await?;
        ensure!(acls == expected, "{acls:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub(crate) async fn until_revoked(world: &World, username: &str) -> Result<()> {
    wait::until(format!("{username} to be revoked"), PATIENCE, || async {
        let acls = world.acls_of(username).await?;
        let users = world.scram_users(username).await?;
        ensure!(acls.is_empty() && !users.iter().any(|user| user == username), "{acls:?} {users:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

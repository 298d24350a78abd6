use std::{collections::BTreeSet, fmt, future::Future, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    core::{DynamicObject, PartialObjectMeta, Selector},
};
use serde_json::{Value, json};
use tokio::time::timeout;
use topicops_contract::{WorkloadKind, keys};

use super::{Rollout, RolloutError, Rollouts};
use crate::{access::Client, fail_point::fail_point, workload_resource::workload_resource};

/// Rollouts in Kubernetes: an annotation on the pod template says whose credentials the Pods have, and a change of it has
/// Kubernetes replace them as the workload's own strategy says. Jobs cannot be changed: their Pods end by themselves.
#[derive(Clone)]
pub struct KubeRollouts {
    client: kube::Client,
}

/// An API server that works answers within milliseconds; admission webhooks of others may take ten seconds each.
const ANSWER: Duration = Duration::from_secs(30);
/// Of Pods that tell by their age alone what they run with: more than clocks differ, and than a kubelet's look at a Secret may
/// be old.
const MARGIN: Duration = Duration::from_secs(60);
const MANAGER: &str = "topicops-rollout";

impl KubeRollouts {
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// As far as its kind lets it be told that its Pods are to be replaced.
    async fn roll_out(
        &self,
        client: &Client,
        username: &str,
        api: &Api<DynamicObject>,
        object: &DynamicObject,
    ) -> Result<(), RolloutError> {
        let path = client.workload.kind().pod_template_path();
        let says = path.iter().try_fold(&object.data, |value, field| value.get(field));
        let says = says
            .and_then(|template| template.pointer("/metadata/annotations")?.get(keys::injected::CREDENTIALS));
        if says.and_then(Value::as_str) == Some(username) {
            return Ok(());
        }
        let template = json!({ "metadata": { "annotations": { (keys::injected::CREDENTIALS): username } } });
        let mut patch = path.iter().rev().fold(template, |inner, field| json!({ (*field): inner }));
        // Another of this name is none of ours.
        patch["metadata"] = json!({ "uid": client.uid });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        ask("roll out", client, api.patch(client.workload.name(), &params, &Patch::Merge(patch))).await?;
        Ok(())
    }

    /// The Pods that are there, and have not ended.
    async fn pods(&self, client: &Client, object: &DynamicObject) -> Result<Vec<ObjectMeta>, RolloutError> {
        if client.workload.kind() == WorkloadKind::Pod {
            return Ok(vec![object.metadata.clone()]);
        }
        let api: Api<PartialObjectMeta<Pod>> =
            Api::namespaced(self.client.clone(), client.workload.namespace());
        let mut params = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        let selector = object.data.pointer("/spec/selector").cloned();
        let selector = selector.and_then(|selector| serde_json::from_value::<LabelSelector>(selector).ok());
        if let Some(selector) = selector.and_then(|selector| Selector::try_from(selector).ok()) {
            params = params.labels_from(&selector);
        } else if client.workload.kind() != WorkloadKind::CronJob {
            let message = "it has no selector that could be read".to_owned();
            return Err(error("find the Pods of", client, message));
        }
        let pods = ask("list the Pods of", client, api.list_metadata(&params)).await?;
        let pods = pods.items.into_iter().map(|pod| pod.metadata);
        if client.workload.kind() != WorkloadKind::CronJob {
            return Ok(pods.collect());
        }
        let api: Api<Job> = Api::namespaced(self.client.clone(), client.workload.namespace());
        let jobs = ask("list the Jobs of", client, api.list_metadata(&ListParams::default())).await?;
        let jobs: BTreeSet<String> = jobs
            .items
            .into_iter()
            .filter(|job| is_owned(&job.metadata, |uid| *uid == client.uid))
            .filter_map(|job| job.metadata.uid)
            .collect();
        Ok(pods.filter(|pod| is_owned(pod, |uid| jobs.contains(uid))).collect())
    }
}

#[async_trait]
impl Rollouts for KubeRollouts {
    async fn advance(
        &self,
        client: &Client,
        username: &str,
        made: Timestamp,
    ) -> Result<Rollout, RolloutError> {
        let kind = client.workload.kind();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), client.workload.namespace(), &workload_resource(kind));
        let object = ask("read", client, api.get(client.workload.name())).await?;
        let rolls_out =
            matches!(kind, WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet);
        if rolls_out {
            self.roll_out(client, username, &api, &object).await?;
            fail_point!("access/rolled-out");
        }
        let left = self.pods(client, &object).await?.into_iter().filter(|pod| {
            let says = pod.annotations.as_ref().and_then(|all| all.get(keys::injected::CREDENTIALS));
            let limit = made + MARGIN;
            let young = pod.creation_timestamp.as_ref().is_some_and(|created| created.0 > limit);
            if rolls_out { says.map(String::as_str) != Some(username) } else { !young }
        });
        let left: Vec<String> = left.filter_map(|pod| pod.name).collect();
        Ok(if left.is_empty() {
            Rollout::Done
        } else {
            Rollout::Waits { left, needs: needs(kind, &object.data) }
        })
    }
}

/// What keeps Pods from being replaced that somebody can change.
fn needs(kind: WorkloadKind, object: &Value) -> Option<&'static str> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    if object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Some("its rollouts are paused: resume them");
    }
    if text("/spec/updateStrategy/type") == Some("OnDelete") {
        return Some("its update strategy is OnDelete: delete these Pods");
    }
    if object.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64).unwrap_or(0) > 0
    {
        return Some("the partition of its update strategy keeps some Pods as they are: lower it to 0");
    }
    match kind {
        WorkloadKind::Job | WorkloadKind::CronJob => Some("they end by themselves"),
        WorkloadKind::Pod => Some("a Pod cannot be replaced by itself: delete it and create it again"),
        _ => None,
    }
}

fn is_owned(meta: &ObjectMeta, by: impl Fn(&String) -> bool) -> bool {
    meta.owner_references.iter().flatten().any(|owner| by(&owner.uid))
}

async fn ask<T>(
    doing: &'static str,
    client: &Client,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, RolloutError> {
    match timeout(ANSWER, request).await {
        Err(_) => Err(error(doing, client, format!("no answer within {} s", ANSWER.as_secs()))),
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(error(doing, client, status.message.clone())),
        Ok(Err(other)) => Err(error(doing, client, crate::chain(&other))),
    }
}

fn error(doing: &'static str, client: &Client, message: String) -> RolloutError {
    RolloutError { doing, workload: client.workload.to_string(), message }
}

impl fmt::Debug for KubeRollouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubeRollouts")
    }
}

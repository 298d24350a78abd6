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
const ANSWER: Duration = Duration::from_secs(10);
/// Of Pods that tell by their age alone what they run with: more than clocks differ, and than a kubelet's look at a Secret may
/// be old.
const MARGIN: Duration = Duration::from_secs(60);
const MANAGER: &str = "topicops-rollout";

impl KubeRollouts {
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// Has the Pods replaced. `stamp`: what their template is to say.
    async fn roll_out(
        &self,
        client: &Client,
        stamp: &str,
        api: &Api<DynamicObject>,
    ) -> Result<(), RolloutError> {
        let path = client.workload.kind().pod_template_path();
        let template = json!({ "metadata": { "annotations": { (keys::injected::CREDENTIALS): stamp } } });
        let mut patch = path.iter().rev().fold(template, |inner, field| json!({ (*field): inner }));
        // Another of this name is none of ours.
        patch["metadata"] = json!({ "uid": client.uid });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        ask("roll out", client, api.patch(client.workload.name(), &params, &Patch::Merge(patch))).await?;
        Ok(())
    }

    /// The Pods that are there, and have not ended.
    async fn pods(&self, client: &Client, object: &DynamicObject) -> Result<Vec<ObjectMeta>, RolloutError> {
        let (kind, namespace) = (client.workload.kind(), client.workload.namespace());
        let mut jobs = Jobs::default();
        let mut params = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        if kind == WorkloadKind::CronJob {
            // Before the Pods: a Job that goes meanwhile has Pods still.
            let api: Api<Job> = Api::namespaced(self.client.clone(), namespace);
            let listed = ask("list the Jobs of", client, api.list_metadata(&ListParams::default())).await?;
            jobs = Jobs::of(listed.items.iter().map(|job| &job.metadata), client);
            params = params.labels(JOB_NAME);
        } else {
            let selector = object.data.pointer("/spec/selector").cloned();
            let selector = selector.and_then(|text| serde_json::from_value::<LabelSelector>(text).ok());
            let Some(selector) = selector.and_then(|selector| Selector::try_from(selector).ok()) else {
                let message = "it has no selector that could be read".to_owned();
                return Err(error("find the Pods of", client, message));
            };
            params = params.labels_from(&selector);
        }
        let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(self.client.clone(), namespace);
        let pods = ask("list the Pods of", client, api.list_metadata(&params)).await?;
        let pods = pods.items.into_iter().map(|pod| pod.metadata);
        Ok(pods.filter(|pod| may_be_of(pod, client, &jobs)).collect())
    }
}

/// The label with the name of the Job that made a Pod.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// Jobs by uid.
#[derive(Debug, Default)]
struct Jobs {
    there: BTreeSet<String>,
    /// Those of the CronJob.
    own: BTreeSet<String>,
}

impl Jobs {
    fn of<'a>(listed: impl Iterator<Item = &'a ObjectMeta>, client: &Client) -> Self {
        let mut jobs = Self::default();
        for job in listed {
            let Some(uid) = &job.uid else { continue };
            jobs.there.insert(uid.clone());
            if is_owned(job, |owner| *owner == client.uid) {
                jobs.own.insert(uid.clone());
            }
        }
        jobs
    }
}

/// Selectors of several workloads may fit one Pod; whose it is its controller says, where it has one.
fn may_be_of(pod: &ObjectMeta, client: &Client, jobs: &Jobs) -> bool {
    let mut owners = pod.owner_references.iter().flatten();
    let Some(owner) = owners.find(|owner| owner.controller == Some(true)) else { return true };
    let label = |key: &str| pod.labels.as_ref().and_then(|labels| labels.get(key));
    let name = client.workload.name();
    match client.workload.kind() {
        WorkloadKind::Deployment => {
            owner.kind == "ReplicaSet"
                && label("pod-template-hash").is_none_or(|hash| owner.name == format!("{name}-{hash}"))
        }
        // A Job that is gone does not say whose it was.
        WorkloadKind::CronJob => {
            jobs.own.contains(&owner.uid)
                || !jobs.there.contains(&owner.uid)
                    && label(JOB_NAME).is_some_and(|job| job.starts_with(&format!("{name}-")))
        }
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet | WorkloadKind::Job | WorkloadKind::Pod => {
            owner.uid == client.uid
        }
    }
}

#[async_trait]
impl Rollouts for KubeRollouts {
    async fn advance(
        &self,
        client: &Client,
        username: &str,
        made: Timestamp,
        since: Timestamp,
        may_roll: bool,
    ) -> Result<Rollout, RolloutError> {
        let kind = client.workload.kind();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), client.workload.namespace(), &workload_resource(kind));
        let object = ask("read", client, api.get(client.workload.name())).await?;
        let rolls_out =
            matches!(kind, WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet);
        // Another one for each password: user names come again when a workload does.
        let stamp = format!("{username} {}", made.strftime("%Y-%m-%dT%H:%M:%SZ"));
        let mut rolled = false;
        if rolls_out && may_roll && template_says(kind, &object.data) != Some(&stamp) {
            self.roll_out(client, &stamp, &api).await?;
            rolled = true;
            fail_point!("access/rolled-out");
        }
        let young_after = since.checked_add(MARGIN).unwrap_or(Timestamp::MAX);
        let has_them = |pod: &ObjectMeta| {
            let says = pod.annotations.as_ref().and_then(|all| all.get(keys::injected::CREDENTIALS));
            says == Some(&stamp) || pod.creation_timestamp.as_ref().is_some_and(|at| at.0 > young_after)
        };
        let pods = self.pods(client, &object).await?;
        let left: Vec<String> =
            pods.into_iter().filter(|pod| !has_them(pod)).filter_map(|pod| pod.name).collect();
        Ok(if left.is_empty() {
            Rollout::Done
        } else {
            Rollout::Waits { left, needs: needs(kind, &object.data), rolled }
        })
    }
}

fn template_says(kind: WorkloadKind, object: &Value) -> Option<&str> {
    let template = kind.pod_template_path().iter().try_fold(object, |value, field| value.get(field))?;
    template.pointer("/metadata/annotations")?.get(keys::injected::CREDENTIALS)?.as_str()
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

#[cfg(test)]
mod tests {
    use serde_json::from_value;
    use topicops_contract::Workload;

    use super::*;
    use crate::access::testing::at;

    fn client(kind: WorkloadKind, name: &str) -> Client {
        Client {
            workload: Workload::new("shop", kind, name),
            uid: format!("uid-{name}"),
            created: at(1),
            deleting: false,
            request: Ok(None),
        }
    }

    fn owned(kind: &str, name: &str, uid: &str, labels: &Value) -> ObjectMeta {
        let owner = json!({ "apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": true });
        from_value(json!({ "uid": name, "labels": labels, "ownerReferences": [owner] })).unwrap()
    }

    #[test]
    fn a_pod_of_another_controller_is_none_of_a_deployment_whose_selector_fits_it() {
        let orders = client(WorkloadKind::Deployment, "orders");
        let is_of = |pod: &ObjectMeta| may_be_of(pod, &orders, &Jobs::default());
        let hash = json!({ "app": "orders", "pod-template-hash": "1a2b" });
        assert!(is_of(&owned("ReplicaSet", "orders-1a2b", "rs", &hash)));
        assert!(is_of(&ObjectMeta::default()), "whose it is nobody says");
        assert!(!is_of(&owned("ReplicaSet", "orders-eu-1a2b", "rs", &hash)));
        assert!(!is_of(&owned("StatefulSet", "orders-db", "sts", &json!({ "app": "orders" }))));
    }

    #[test]
    fn a_pod_whose_job_is_another_cron_jobs_is_not_counted_for_the_beginning_of_its_name() {
        let report = client(WorkloadKind::CronJob, "report");
        let jobs = [
            owned("CronJob", "report-1", "uid-report", &json!({})),
            owned("CronJob", "report-weekly-1", "uid-report-weekly", &json!({})),
        ];
        let jobs = Jobs::of(jobs.iter(), &report);
        let is_of =
            |job: &str| may_be_of(&owned("Job", job, job, &json!({ (JOB_NAME): job })), &report, &jobs);
        assert!(is_of("report-1"));
        assert!(!is_of("report-weekly-1"));
        assert!(is_of("report-2"), "its Job is gone");
        assert!(!is_of("other-2"));
    }
}

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use topicops_contract::{Workload, WorkloadKind};

use crate::ObjectKey;

/// The object that a Pod or a Job was made for: its owner, or the Deployment that this one works for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Maker {
    kind: String,
    namespace: String,
    name: String,
}

/// With which the Deployment controller labels Pods; the names of their ReplicaSets end with it.
const TEMPLATE_LABEL: &str = "pod-template-hash";

impl Maker {
    pub(super) fn of(part: &ObjectMeta, owner: &OwnerReference) -> Self {
        let template = part.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_LABEL));
        let deployment = template.filter(|_| owner.kind == "ReplicaSet").and_then(|template| {
            owner.name.strip_suffix(template.as_str()).and_then(|name| name.strip_suffix('-'))
        });
        let (kind, name) = match deployment {
            Some(name) => (WorkloadKind::Deployment.as_str(), name),
            None => (owner.kind.as_str(), owner.name.as_str()),
        };
        Self {
            kind: kind.to_owned(),
            namespace: part.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        }
    }

    /// Where it is found, if it is a Job, which may be a part of something itself.
    pub(super) fn job(&self) -> Option<ObjectKey> {
        let is_job = self.kind == WorkloadKind::Job.as_str();
        is_job.then(|| ObjectKey::new(&self.namespace, &self.name))
    }

    /// Whether it is one of these workloads, or was made for one: the label on its part came along, and does no harm.
    pub(super) fn is_among<T>(&self, workloads: &BTreeMap<Workload, T>) -> bool {
        self.workloads().iter().any(|workload| workloads.contains_key(workload))
    }

    /// What it can be, by its name.
    fn workloads(&self) -> Vec<Workload> {
        let workload = |kind, name: &str| Workload::new(&self.namespace, kind, name);
        let Ok(kind) = self.kind.parse() else { return Vec::new() };
        let mut found = vec![workload(kind, &self.name)];
        // A CronJob names its Jobs after itself and the minute: these need not be looked up.
        if let (WorkloadKind::Job, Some((name, minute))) = (kind, self.name.rsplit_once('-'))
            && minute.bytes().all(|byte| byte.is_ascii_digit())
        {
            found.push(workload(WorkloadKind::CronJob, name));
        }
        found
    }
}

impl From<&Workload> for Maker {
    fn from(workload: &Workload) -> Self {
        Self {
            kind: workload.kind().as_str().to_owned(),
            namespace: workload.namespace().to_owned(),
            name: workload.name().to_owned(),
        }
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use topicops_contract::{Workload, WorkloadKind};

/// The object that a Pod was made for: its controller, or the Deployment that this one works for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Maker {
    kind: String,
    namespace: String,
    name: String,
}

/// With which the Deployment controller labels Pods; the names of their ReplicaSets end with it.
const TEMPLATE_LABEL: &str = "pod-template-hash";

impl Maker {
    pub(super) fn of(pod: &ObjectMeta, owner: &OwnerReference) -> Self {
        let template = pod.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_LABEL));
        let deployment = template.filter(|_| owner.kind == "ReplicaSet").and_then(|template| {
            owner.name.strip_suffix(template.as_str()).and_then(|name| name.strip_suffix('-'))
        });
        let (kind, name) = match deployment {
            Some(name) => (WorkloadKind::Deployment.as_str(), name),
            None => (owner.kind.as_str(), owner.name.as_str()),
        };
        Self {
            kind: kind.to_owned(),
            namespace: pod.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        }
    }

    /// Whether it is one of these workloads, or was made for one: the label on the Pod came along, and does no harm.
    pub(super) fn is_among<T>(&self, workloads: &BTreeMap<Workload, T>) -> bool {
        self.workloads().iter().any(|workload| workloads.contains_key(workload))
    }

    /// What it can be, by its name.
    fn workloads(&self) -> Vec<Workload> {
        let workload = |kind, name: &str| Workload::new(&self.namespace, kind, name);
        let Ok(kind) = self.kind.parse() else { return Vec::new() };
        let mut found = vec![workload(kind, &self.name)];
        // A CronJob names its Jobs after itself and the minute.
        if let (WorkloadKind::Job, Some((name, _))) = (kind, self.name.rsplit_once('-')) {
            found.push(workload(WorkloadKind::CronJob, name));
        }
        found
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

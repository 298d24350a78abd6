use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use topicops_contract::{Workload, WorkloadKind};

/// The object whose controller made a Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Maker {
    kind: String,
    namespace: String,
    name: String,
    /// What the Deployment controller calls the Pod's template, at the end of the ReplicaSet's name.
    template: Option<String>,
}

/// With which the Deployment controller labels Pods.
const TEMPLATE_LABEL: &str = "pod-template-hash";

impl Maker {
    pub(super) fn of(pod: &ObjectMeta, owner: &OwnerReference) -> Self {
        Self {
            kind: owner.kind.clone(),
            namespace: pod.namespace.clone().unwrap_or_default(),
            name: owner.name.clone(),
            template: pod.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_LABEL)).cloned(),
        }
    }

    /// Whether it is one of these workloads, or was made for one: the label on the Pod came along, and does no harm.
    pub(super) fn is_among<T>(&self, workloads: &BTreeMap<Workload, T>) -> bool {
        self.workloads().iter().any(|workload| workloads.contains_key(workload))
    }

    /// What it can be, by its name.
    fn workloads(&self) -> Vec<Workload> {
        let workload = |kind, name: &str| Workload::new(&self.namespace, kind, name);
        if self.kind == "ReplicaSet" {
            let hash = self.template.as_deref().unwrap_or_default();
            let name = self.name.strip_suffix(hash).and_then(|name| name.strip_suffix('-'));
            return name.map(|name| workload(WorkloadKind::Deployment, name)).into_iter().collect();
        }
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

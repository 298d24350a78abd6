use std::{fmt, time::Duration};

use async_trait::async_trait;
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client};
use tokio::time::timeout;
use topicops_contract::{Workload, WorkloadKind};

use crate::ObjectKey;

/// Where it is looked up whose a Job is, when a Pod of it is all that is known: Kubernetes, and a double of it for tests.
#[async_trait]
pub trait JobOwners: Send + Sync + 'static {
    /// The CronJob that a Job is part of; `None`: it is a workload of its own, or there is no such Job.
    ///
    /// # Errors
    /// Kubernetes does not say.
    async fn cron_job_of(&self, job: &ObjectKey) -> Result<Option<Workload>, String>;
}

/// Kubernetes.
#[derive(Clone)]
pub struct KubeJobOwners {
    client: Client,
}

/// An API server that works answers within milliseconds.
const ANSWER: Duration = Duration::from_secs(10);

impl KubeJobOwners {
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl JobOwners for KubeJobOwners {
    async fn cron_job_of(&self, job: &ObjectKey) -> Result<Option<Workload>, String> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &job.namespace);
        let found = match timeout(ANSWER, api.get_metadata_opt(&job.name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(crate::chain(&error)),
            Err(_) => return Err(format!("no answer within {} s", ANSWER.as_secs())),
        };
        let owners = found.and_then(|found| found.metadata.owner_references).unwrap_or_default();
        let cron_job = owners
            .into_iter()
            .find(|owner| WorkloadKind::Job.is_part_of(&owner.kind, owner.controller == Some(true)));
        Ok(cron_job.map(|owner| Workload::new(&job.namespace, WorkloadKind::CronJob, owner.name)))
    }
}

impl fmt::Debug for KubeJobOwners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubeJobOwners")
    }
}

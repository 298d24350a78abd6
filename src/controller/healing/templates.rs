use async_trait::async_trait;
use serde_json::Value;
use topicops_contract::{Workload, WorkloadKind};

/// Whole workloads as the API server has them, read rarely and changed more rarely.
#[async_trait]
pub trait Templates: Send + Sync + 'static {
    /// `None`: it is not there.
    async fn read(&self, workload: &Workload) -> Result<Option<StoredTemplate>, kube::Error>;

    /// All labelled ones of a kind, page by page. `None` begins, and the token of a page leads to the next.
    async fn page(
        &self,
        kind: WorkloadKind,
        after: Option<String>,
    ) -> Result<(Vec<StoredTemplate>, Option<String>), kube::Error>;

    /// Applies a JSON patch.
    async fn patch(&self, workload: &Workload, operations: &Value) -> Result<Patched, kube::Error>;
}

/// One workload, as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTemplate {
    pub workload: Workload,
    pub uid: String,
    pub resource_version: String,
    pub json: String,
}

/// What came of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patched {
    Done,
    /// It is another one by now, or gone.
    Overtaken,
}

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use topicops_contract::OperatorId;

use crate::controller::topics::FIELD_MANAGER;

/// The text of the last policy that counted, for replicas that start when its file is gone or mistaken.
#[async_trait]
pub(super) trait PolicyMemory: Send + Sync + 'static {
    /// `None`: no policy ever counted.
    async fn recall(&self) -> Result<Option<String>, kube::Error>;

    async fn keep(&self, text: &str) -> Result<(), kube::Error>;
}

/// Keeps it in the ConfigMap `<operator-id>-last-policy` in topicops' own namespace.
pub(super) struct ConfigMapPolicyMemory {
    api: Api<ConfigMap>,
    name: String,
}

const KEY: &str = "policy.yaml";

impl ConfigMapPolicyMemory {
    pub(super) fn new(client: Client, namespace: &str, operator: &OperatorId) -> Self {
        Self { api: Api::namespaced(client, namespace), name: format!("{operator}-last-policy") }
    }
}

#[async_trait]
impl PolicyMemory for ConfigMapPolicyMemory {
    async fn recall(&self) -> Result<Option<String>, kube::Error> {
        let found = self.api.get_opt(&self.name).await?;
        Ok(found.and_then(|config_map| config_map.data?.remove(KEY)))
    }

    async fn keep(&self, text: &str) -> Result<(), kube::Error> {
        let apply = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": self.name }, "data": { KEY: text },
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.api.patch(&self.name, &params, &Patch::Apply(&apply)).await.map(drop)
    }
}

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client};
use topicops_contract::TopicObjectKind;

use crate::topic::TopicObjectKey;

/// What only the API server can say, asked where a deletion hangs on it and nowhere else.
#[async_trait]
pub trait Evidence: Send + Sync + 'static {
    /// Whether the object with this uid is gone, rather than only not watched any more.
    async fn is_gone(&self, key: &TopicObjectKey, uid: &str) -> Result<bool, kube::Error>;

    /// Whether the namespace is being deleted, or is gone: nothing in it has a future.
    async fn is_ending(&self, namespace: &str) -> Result<bool, kube::Error>;
}

/// Asks the API server, not a cache.
#[allow(missing_debug_implementations)]
pub struct KubeEvidence {
    client: Client,
}

impl KubeEvidence {
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl Evidence for KubeEvidence {
    async fn is_gone(&self, key: &TopicObjectKey, uid: &str) -> Result<bool, kube::Error> {
        let found = match key.kind {
            TopicObjectKind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &key.namespace);
                api.get_metadata_opt(&key.name).await?
            }
            // There is none in this version.
            TopicObjectKind::KafkaTopic => return Ok(false),
        };
        Ok(found.is_none_or(|found| found.metadata.uid.as_deref() != Some(uid)))
    }

    async fn is_ending(&self, namespace: &str) -> Result<bool, kube::Error> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = api.get_metadata_opt(namespace).await?;
        Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
    }
}

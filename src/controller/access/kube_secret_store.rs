use std::{future::Future, time::Duration};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
};
use tokio::time::timeout;

use super::{SecretDraft, SecretStore, StoreError, StoredSecret, Written};
use crate::ObjectKey;

/// Secrets in Kubernetes.
#[derive(Clone)]
pub struct KubeSecretStore {
    client: Client,
}

/// An API server that works answers within milliseconds; admission webhooks of others may take ten seconds each.
const ANSWER: Duration = Duration::from_secs(30);

impl KubeSecretStore {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn api(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// `Ok(None)`: the API server says that it is not there, or not as it was said to be.
async fn ask<T>(
    doing: &'static str,
    key: &ObjectKey,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, StoreError> {
    let error = |message: String, refused: bool| StoreError { doing, key: key.clone(), message, refused };
    match timeout(ANSWER, request).await {
        Err(_) => Err(error(format!("no answer within {} s", ANSWER.as_secs()), false)),
        Ok(Ok(value)) => Ok(Some(value)),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            // A namespace that is not there answers 404 to a creation.
            if status.code == 404 && doing == "create" { Err(error(status.message, true)) } else { Ok(None) }
        }
        // Only the status's own words: an error's debug text could hold more of the request.
        Ok(Err(kube::Error::Api(status))) => {
            Err(error(status.message.clone(), (400..500).contains(&status.code)))
        }
        Ok(Err(other)) => Err(error(crate::chain(&other), false)),
    }
}

#[async_trait]
impl SecretStore for KubeSecretStore {
    async fn read(&self, key: &ObjectKey) -> Result<Option<StoredSecret>, StoreError> {
        let secret = ask("read", key, self.api(&key.namespace).get(&key.name)).await?;
        Ok(secret.map(StoredSecret::new))
    }

    async fn create(&self, draft: SecretDraft) -> Result<Written, StoreError> {
        let key = draft.key();
        let object = draft.into_object();
        let api = self.api(&key.namespace);
        let made = ask("create", &key, api.create(&PostParams::default(), &object)).await?;
        Ok(made.map_or(Written::Conflict, |secret| Written::Done(Box::new(secret.metadata))))
    }

    async fn replace(&self, draft: SecretDraft) -> Result<Written, StoreError> {
        let key = draft.key();
        let object = draft.into_object();
        let api = self.api(&key.namespace);
        let made = ask("replace", &key, api.replace(&key.name, &PostParams::default(), &object)).await?;
        Ok(made.map_or(Written::Conflict, |secret| Written::Done(Box::new(secret.metadata))))
    }

    async fn delete(&self, key: &ObjectKey, uid: &str) -> Result<(), StoreError> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        ask("delete", key, self.api(&key.namespace).delete(&key.name, &params)).await?;
        Ok(())
    }
}

impl std::fmt::Debug for KubeSecretStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KubeSecretStore")
    }
}

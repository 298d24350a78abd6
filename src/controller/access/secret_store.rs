use async_trait::async_trait;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use thiserror::Error;
use topicops_contract::ClientSecret;

use super::StoredSecret;
use crate::ObjectKey;

/// Where credentials Secrets are kept: Kubernetes, and a double of it for tests. Every call ends within a bounded time.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// `Ok(None)`: it is not there.
    async fn read(&self, key: &ObjectKey) -> Result<Option<StoredSecret>, StoreError>;

    /// Creates a Secret; a [`Written::Conflict`] when one of that name is there.
    async fn create(&self, secret: SecretDraft) -> Result<Written, StoreError>;

    /// Replaces the very version that the draft's metadata names; a [`Written::Conflict`] when it is another or gone.
    async fn replace(&self, secret: SecretDraft) -> Result<Written, StoreError>;

    /// Deletes the Secret of this uid; none or another one there is a success.
    async fn delete(&self, key: &ObjectKey, uid: &str) -> Result<(), StoreError>;
}

/// What became of a write.
#[derive(Clone, Debug)]
pub enum Written {
    /// The metadata as Kubernetes has it now.
    Done(Box<ObjectMeta>),
    Conflict,
}

/// A Secret that is to be written.
#[derive(Clone, Debug)]
pub struct SecretDraft {
    pub meta: ObjectMeta,
    pub content: ClientSecret,
}

impl SecretDraft {
    pub fn key(&self) -> ObjectKey {
        ObjectKey::of(&self.meta)
    }

    /// As Kubernetes takes it; only for handing it over, for it shows its content.
    pub(super) fn into_object(self) -> Secret {
        let data = self.content.data();
        let data = data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        Secret {
            metadata: self.meta,
            type_: Some(ClientSecret::TYPE.to_owned()),
            data: Some(data.collect()),
            ..Secret::default()
        }
    }
}

/// Kubernetes did not do it.
#[derive(Debug, Error)]
#[error("{doing} Secret {key}: {message}")]
pub struct StoreError {
    pub doing: &'static str,
    pub key: ObjectKey,
    pub message: String,
    /// Whether it is about this one Secret (refused by a policy, say) and not about the way to the API server.
    pub refused: bool,
}

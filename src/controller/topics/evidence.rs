use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use topicops_contract::{TopicObjectKind, keys};

use super::other_finalizers;
use crate::{
    controller::{Scope, scope::is_of_no_namespace},
    topic::TopicObjectKey,
};

/// What only the API server can say, asked where a deletion hangs on it and nowhere else.
#[async_trait]
pub trait Evidence: Send + Sync + 'static {
    /// Whether the object with this uid is gone, rather than only not watched any more.
    async fn is_gone(&self, key: &TopicObjectKey, uid: &str) -> Result<bool, kube::Error>;

    /// Whether the namespace is being deleted, or is gone: nothing in it has a future.
    async fn is_ending(&self, namespace: &str) -> Result<bool, kube::Error>;

    /// The ConfigMaps that have our finalizer and not our label, with their uids: no watch tells of them.
    async fn unlabelled(&self) -> Result<Vec<(TopicObjectKey, String)>, kube::Error>;
}

/// ConfigMaps that are asked for at once, their metadata alone: bounds what is in memory, whatever a cluster is full of.
const PAGE: u32 = 500;

/// Asks the API server, not a cache.
#[allow(missing_debug_implementations)]
pub struct KubeEvidence {
    client: Client,
    scope: Scope,
}

impl KubeEvidence {
    pub fn new(client: Client, scope: Scope) -> Self {
        Self { client, scope }
    }

    /// Those of one namespace, or of all.
    async fn unlabelled_of(&self, api: Api<ConfigMap>) -> Result<Vec<(TopicObjectKey, String)>, kube::Error> {
        let others = format!("{}!={}", keys::CONFIG_LABEL, keys::CONFIG_LABEL_TOPIC);
        let mut params = ListParams::default().labels(&others).limit(PAGE);
        let mut unlabelled = Vec::new();
        loop {
            let page = api.list_metadata(&params).await?;
            for meta in page.items.into_iter().map(|object| object.metadata) {
                if other_finalizers(&meta).is_some() {
                    let key = TopicObjectKey::of(TopicObjectKind::ConfigMap, &meta);
                    unlabelled.push((key, meta.uid.unwrap_or_default()));
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(unlabelled),
            }
        }
    }
}

#[async_trait]
impl Evidence for KubeEvidence {
    async fn is_gone(&self, key: &TopicObjectKey, uid: &str) -> Result<bool, kube::Error> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource(key.kind));
        let found = api.get_metadata_opt(&key.name).await?;
        Ok(found.is_none_or(|found| found.metadata.uid.as_deref() != Some(uid)))
    }

    async fn is_ending(&self, namespace: &str) -> Result<bool, kube::Error> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = api.get_metadata_opt(namespace).await?;
        Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
    }

    async fn unlabelled(&self) -> Result<Vec<(TopicObjectKey, String)>, kube::Error> {
        let mut unlabelled = Vec::new();
        for api in self.scope.apis(&self.client) {
            let namespace = api.namespace().map(str::to_owned);
            match self.unlabelled_of(api).await {
                Ok(found) => unlabelled.extend(found),
                Err(error) if is_of_no_namespace(&self.client, namespace.as_deref(), &error).await => {}
                Err(error) => return Err(error),
            }
        }
        Ok(unlabelled)
    }
}

/// Where the API server serves the objects of a kind.
fn resource(kind: TopicObjectKind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_asked_for_where_it_is_served() {
        let of = |kind| {
            let resource = resource(kind);
            (resource.api_version, resource.plural)
        };
        assert_eq!(of(TopicObjectKind::ConfigMap), ("v1".to_owned(), "configmaps".to_owned()));
        let expected = ("topic.kafka.nb/v1beta1".to_owned(), "kafkatopics".to_owned());
        assert_eq!(of(TopicObjectKind::KafkaTopic), expected);
    }
}

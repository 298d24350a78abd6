use std::borrow::Cow;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Resource, core::TypeMeta};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use topicops_contract::keys::kafka_topic;

/// The custom resource KafkaTopic, as the API server has it.
///
/// Spec and status stay as they are: what stands in them is read by the contract, which tells authors of their mistakes, where
/// a typed spec would make one odd object end the whole listing. The schema is in `deploy/install/05-crd-kafkatopics.yaml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KafkaTopic {
    #[serde(flatten)]
    types: Option<TypeMeta>,
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub status: Value,
}

impl KafkaTopic {
    /// One to be written: [`TopicManifest::spec`](topicops_contract::TopicManifest::spec) gives the spec of a manifest.
    pub fn new(metadata: ObjectMeta, spec: Value) -> Self {
        Self { types: Some(TypeMeta::resource::<Self>()), metadata, spec, status: Value::Null }
    }
}

impl Resource for KafkaTopic {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Cow::Borrowed(kafka_topic::KIND)
    }

    fn group((): &()) -> Cow<'_, str> {
        Cow::Borrowed(kafka_topic::GROUP)
    }

    fn version((): &()) -> Cow<'_, str> {
        Cow::Borrowed(kafka_topic::VERSION)
    }

    fn plural((): &()) -> Cow<'_, str> {
        Cow::Borrowed(kafka_topic::PLURAL)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

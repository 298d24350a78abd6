use std::fmt;

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use topicops_contract::TopicObjectKind;

use crate::ObjectKey;

/// An object that declares a topic: namespace, name and kind. Shown as `ConfigMap shop/orders`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicObjectKey {
    pub namespace: String,
    pub name: String,
    pub kind: TopicObjectKind,
}

impl TopicObjectKey {
    pub fn new(kind: TopicObjectKind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), kind }
    }

    pub fn config_map(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(TopicObjectKind::ConfigMap, namespace, name)
    }

    pub fn of(kind: TopicObjectKind, meta: &ObjectMeta) -> Self {
        Self::new(kind, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }

    /// Namespace and name alone.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }

    /// The reference that Events carry.
    pub fn reference(&self, uid: &str) -> ObjectReference {
        self.key().reference(self.kind.api_version(), self.kind.as_str(), uid)
    }
}

impl fmt::Display for TopicObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

use std::sync::Arc;

use topicops_contract::TopicManifest;

use crate::ObjectKey;

/// A ConfigMap that declares a topic, without mistakes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    pub object: ObjectKey,
    /// Unix seconds of its creation: the oldest of several for one topic owns it.
    pub created: i64,
    pub manifest: Arc<TopicManifest>,
    /// It is being deleted, and a finalizer of ours keeps it until its topic is dealt with.
    pub deleting: bool,
}

impl Declaration {
    /// Older first, and the name decides between equals: Kubernetes counts creation in whole seconds.
    pub fn seniority(&self) -> (i64, &ObjectKey) {
        (self.created, &self.object)
    }
}

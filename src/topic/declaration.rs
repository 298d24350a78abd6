use std::sync::Arc;

use topicops_contract::{Problems, TopicManifest};

use super::TopicObjectKey;

/// An object that declares a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    pub object: TopicObjectKey,
    /// Unix seconds of its creation: the oldest of several for one topic owns it.
    pub created: i64,
    /// What could be read of it.
    pub manifest: Arc<TopicManifest>,
    /// The mistakes in it; while there are any, its topic stays as it is.
    pub problems: Problems,
    /// It is being deleted, and a finalizer of ours keeps it until its topic is dealt with.
    pub deleting: bool,
}

impl Declaration {
    /// Older first, and the name decides between equals: Kubernetes counts creation in whole seconds.
    pub fn seniority(&self) -> (i64, &TopicObjectKey) {
        (self.created, &self.object)
    }
}

use topicops_contract::TopicName;

use crate::topic::{Declaration, TopicObjectKey};

/// A topic object that is not watched any more: it was deleted, or it lost its label.
#[derive(Clone, Debug)]
pub struct Gone {
    pub key: TopicObjectKey,
    pub uid: String,
    pub finalizer: bool,
    /// The topic that it named.
    pub topic: Option<TopicName>,
    /// What it said last, when our finalizer never was on it.
    pub last: Option<Declaration>,
}

/// A topic object that names another topic than before.
#[derive(Debug)]
pub struct Renamed {
    pub key: TopicObjectKey,
    pub uid: String,
    /// The topic that it named before.
    pub left: TopicName,
}

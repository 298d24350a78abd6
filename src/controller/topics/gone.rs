use crate::topic::TopicObjectKey;

/// A topic object that is not watched any more: it was deleted, or it lost its label.
#[derive(Debug)]
pub struct Gone {
    pub key: TopicObjectKey,
    pub uid: String,
    pub finalizer: bool,
}

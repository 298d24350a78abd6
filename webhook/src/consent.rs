use topicops_contract::{ClientRequest, Problem, TopicManifest, TopicObjectKind};

/// What a look at the other side brought up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Told to whoever applies the object; one line of at most 256 characters.
    Warning(String),
    /// A reason to refuse it.
    Denial(Problem),
}

/// What the rest of the cluster says to a request. Implemented over watched caches: called in the request path, so it must
/// answer from memory, without waiting, the same for a dry run.
pub trait Consent: Send + Sync {
    /// Which of the topics asked for are not granted, and whatever else will keep the request from being fulfilled. `before`
    /// is what the workload asked for until now, where that could be read.
    fn review(&self, request: &ClientRequest, before: Option<&ClientRequest>) -> Vec<Finding>;
}

/// The administrator's limits for topics (partitions, replication, retention, names, who may own them). Like [`Consent`] it
/// answers from memory.
pub trait TopicPolicy: Send + Sync {
    /// What the limits say to the topic that the object `namespace/name` of this kind declares. `before` is what it declared
    /// until now, where that could be read.
    fn review(
        &self,
        kind: TopicObjectKind,
        namespace: &str,
        name: &str,
        manifest: &TopicManifest,
        before: Option<&TopicManifest>,
    ) -> Vec<Finding>;
}

/// Nobody objects: for tests, and for a cluster of one tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unquestioned;

impl Consent for Unquestioned {
    fn review(&self, _: &ClientRequest, _: Option<&ClientRequest>) -> Vec<Finding> {
        Vec::new()
    }
}

impl TopicPolicy for Unquestioned {
    fn review(
        &self,
        _: TopicObjectKind,
        _: &str,
        _: &str,
        _: &TopicManifest,
        _: Option<&TopicManifest>,
    ) -> Vec<Finding> {
        Vec::new()
    }
}

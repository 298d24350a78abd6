use std::{collections::BTreeMap, sync::Arc};

use topicops_contract::DriftPolicy;

use super::{TopicObjectKey, TopicPolicy, limits::OverQuota};

/// What a plan depends on beside the topic itself: the same for all topics of a pass.
#[derive(Clone, Debug, Default)]
pub struct PlanContext {
    pub policy: TopicPolicy,
    /// What is done about topics that somebody changed on the brokers; a manifest may be stricter.
    pub drift: DriftPolicy,
    /// The declarations that do not fit into their namespaces' totals: [`super::limits::Usage::over`].
    pub over_quota: Arc<BTreeMap<TopicObjectKey, Vec<OverQuota>>>,
}

impl PlanContext {
    pub fn new(policy: TopicPolicy) -> Self {
        Self { policy, ..Self::default() }
    }
}

use std::{collections::BTreeMap, sync::Arc};

use topicops_contract::{DriftPolicy, TopicName};

use super::{RetentionSteps, StorageFacts, TopicObjectKey, TopicPolicy, limits::OverQuota};

/// What a plan depends on beside the topic itself: the same for all topics of a pass.
#[derive(Clone, Debug, Default)]
pub struct PlanContext {
    pub policy: TopicPolicy,
    /// What is done about topics that somebody changed on the brokers; a manifest may be stricter.
    pub drift: DriftPolicy,
    /// How large cuts in retention are made.
    pub steps: RetentionSteps,
    /// What is known of the brokers' storage. A plan that cannot do without says so:
    /// [`super::TopicPlan::wants_storage`].
    pub storage: Option<Arc<StorageFacts>>,
    /// Unix seconds: whether the next step of a cut is due.
    pub now: i64,
    /// The declarations that do not fit into their namespaces' totals: [`super::limits::Usage::over`].
    pub over_quota: Arc<BTreeMap<TopicObjectKey, Vec<OverQuota>>>,
    /// Topics whose replicas are being moved, and the replication factor they have when that is over.
    pub moving: BTreeMap<TopicName, i16>,
    /// `None`: not known, or of no matter to any topic of this pass.
    pub brokers: Option<BrokerFacts>,
}

impl PlanContext {
    pub fn new(policy: TopicPolicy) -> Self {
        Self { policy, ..Self::default() }
    }
}

/// What decides whether a replication factor can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerFacts {
    /// Brokers that are alive.
    pub count: usize,
    /// `min.insync.replicas` of topics that have none of their own.
    pub min_in_sync: usize,
}

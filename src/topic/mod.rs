//! Topics: what is declared, who owns it, and what has to be done. Pure planning: no client, clock or logger.

mod applied;
mod config_merge;
mod declaration;
mod deletion;
mod disk_share;
mod drift;
mod holding;
pub mod limits;
mod owner_rules;
mod ownership;
mod plan;
mod plan_context;
mod policy;
mod refusal;
mod retention_stepping;
mod retention_steps;
mod stepped_cut;
mod storage_facts;
mod topic_grants;
mod topic_object_key;

pub use applied::Applied;
pub use declaration::Declaration;
pub use deletion::Deletion;
pub use drift::Drift;
pub use holding::Holding;
pub use owner_rules::{OwnerRule, OwnerRules};
pub use ownership::Ownership;
pub use plan::{MIN_IN_SYNC, Step, TopicPlan};
pub use plan_context::{BrokerFacts, PlanContext};
pub use policy::TopicPolicy;
pub use refusal::Refusal;
pub use retention_stepping::RetentionStepping;
pub use retention_steps::RetentionSteps;
pub use storage_facts::StorageFacts;
pub use topic_grants::{TopicGrant, TopicGrants, Use};
pub use topic_object_key::TopicObjectKey;

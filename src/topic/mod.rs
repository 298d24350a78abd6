//! Topics: what is declared, who owns it, and what has to be done. Pure planning: no client, clock or logger.

mod topic_grants;

pub use topic_grants::{TopicGrant, TopicGrants, Use};

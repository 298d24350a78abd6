//! One port to Kafka, [`Cluster`], and what goes through it.
//!
//! Every call is one batch: a list goes in, and a list of the same length and order comes out, one outcome per item. A
//! [`ClusterError`] means that nothing is known about any item; an [`ItemError`] is the broker's own answer about one.

mod acl;
mod cluster;
mod error;
mod scram;
mod topic;

pub use acl::{Acl, AclOperation, AclResource, PatternType, ResourceType};
pub use cluster::{Cluster, ClusterDescription, ConsumingGroup, Item};
pub use error::{ClusterError, ItemError, Trouble};
pub use scram::{LoginCheck, LoginReport, ScramKeys, ScramMechanism, ScramUser};
pub use topic::{ConfigChange, ConfigKeys, NewTopic, TopicDescription};

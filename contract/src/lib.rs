//! The contract of topicops: what its users write (topic ConfigMaps, workload annotations) and what they read
//! (the status annotation, the credentials Secret), as types.
//!
//! Pure: no I/O, no Kubernetes client, no Kafka client. Controller, webhook and CLI parse with this crate and nothing
//! else, so that all of them refuse the same input with the same words.
#![forbid(unsafe_code)]

mod operator_id;
mod partition_count;
mod password;
mod problem;
mod replication_factor;
mod topic_name;

pub use operator_id::OperatorId;
pub use partition_count::PartitionCount;
pub use password::Password;
pub use problem::{Problem, Problems};
pub use replication_factor::ReplicationFactor;
pub use topic_name::TopicName;

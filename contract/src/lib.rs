//! The contract of topicops: what its users write (topic ConfigMaps and KafkaTopics, workload annotations) and what they
//! read (statuses, the credentials Secret), as types.
//!
//! Pure: no I/O, no Kubernetes client, no Kafka client. Controller, webhook and CLI parse with this crate and nothing
//! else, so that all of them refuse the same input with the same words.
#![forbid(unsafe_code)]

mod client_request;
mod client_secret;
mod disk_share;
mod drift_policy;
mod generation;
mod grant;
mod kafka_topic_source;
mod kafka_topic_status;
pub mod keys;
mod name_pattern;
mod nearest;
mod operator_id;
mod partition_count;
mod password;
mod problem;
mod properties_text;
mod replication_factor;
mod retention;
mod rotation_wish;
mod status;
mod topic_config;
mod topic_manifest;
mod topic_name;
mod topic_object_kind;
mod topic_text;
mod workload;
mod workload_kind;

pub use client_request::{ClientRequest, Inject};
pub use client_secret::{ClientEndpoint, ClientSecret, SECRET_KEYS};
pub use disk_share::DiskShare;
pub use drift_policy::DriftPolicy;
pub use generation::Generation;
pub use grant::Grant;
pub use kafka_topic_source::KafkaTopicSource;
pub use kafka_topic_status::{Condition, KafkaTopicStatus};
pub use name_pattern::NamePattern;
pub use nearest::nearest;
pub use operator_id::OperatorId;
pub use partition_count::PartitionCount;
pub use password::Password;
pub use problem::{Problem, Problems};
pub use properties_text::PropertiesText;
pub use replication_factor::ReplicationFactor;
pub use retention::Retention;
pub use rotation_wish::{RotateAfter, RotationWish};
pub use status::{State, Status};
pub use topic_config::TopicConfig;
pub use topic_manifest::{DeletionPolicy, TopicManifest, TopicSource};
pub use topic_name::TopicName;
pub use topic_object_kind::TopicObjectKind;
pub use topic_text::TopicText;
pub use workload::Workload;
pub use workload_kind::WorkloadKind;

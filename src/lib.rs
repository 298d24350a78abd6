//! topicops: topics as code, and credentials by annotation, for Apache Kafka on Kubernetes.
#![forbid(unsafe_code)]

pub mod controller;
pub mod kafka;
pub mod metrics;
mod object_key;
pub mod topic;

pub use object_key::ObjectKey;

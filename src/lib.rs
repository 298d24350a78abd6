//! topicops: topics as code, and credentials by annotation, for Apache Kafka on Kubernetes.
#![forbid(unsafe_code)]

pub mod controller;
pub mod kafka;
pub mod metrics;
pub mod topic;

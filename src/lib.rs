//! topicops: topics as code, and credentials by annotation, for Apache Kafka on Kubernetes.
#![forbid(unsafe_code)]

pub mod access;
pub mod cli;
pub mod controller;
pub mod fail_point;
pub mod import;
pub mod kafka;
mod kafka_topic;
pub mod metrics;
pub mod moves;
mod object_key;
pub mod placement;
mod reason;
pub mod topic;
mod workload_resource;

pub use kafka_topic::KafkaTopic;
pub use object_key::ObjectKey;
pub use reason::{Reason, Told};

/// An error with all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

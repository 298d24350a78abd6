//! A real API server, real brokers and a node, without containers.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use topicops_testbed::{Options, Program, Testbed};
//!
//! let bed = Testbed::start(Options::default()).await?;
//! bed.map_image("example/app:1", Program::host_tools()).await?;
//! bed.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}").await?;
//! let topics = bed.kafka()?.tool("kafka-topics.sh", ["--list"]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The README beside this crate tells how it is built, what it costs and what the node does not do.
#![forbid(unsafe_code)]

mod api_request;
mod bed_info;
mod cache;
mod control;
mod dump;
mod http_get;
mod init;
mod kafka;
mod kafka_request;
mod kafka_version;
mod launcher;
mod manifests;
mod node;
mod options;
mod program;
mod request_log;
mod residence;
mod services;
mod supervisor;
mod tail;
mod testbed;
pub mod wait;
mod watched;

pub use api_request::ApiRequest;
pub use bed_info::{BedInfo, KafkaInfo};
pub use cache::Cache;
pub use kafka::Kafka;
pub use kafka_request::KafkaRequest;
pub use kafka_version::KafkaVersion;
pub use options::Options;
pub use program::Program;
pub use request_log::RequestLog;
pub use testbed::Testbed;

/// What the binary needs of the library; no test has a use for it.
#[doc(hidden)]
pub mod internal {
    pub use crate::control::{Change, DiskChange, Request, call};
    pub use crate::init::{InitArguments, run as run_init};
    pub use crate::launcher::{Lifetime, launch};
    pub use crate::node::enter_container;
    pub use crate::residence::Residence;
    pub use crate::supervisor::{SupervisorArguments, run as run_supervisor};

    /// Tells binary and library of different sources apart.
    pub const FINGERPRINT: &str = env!("TESTBED_FINGERPRINT");
}

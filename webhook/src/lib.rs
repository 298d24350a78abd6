//! The admission webhook of topicops: a review comes in, a patch or a denial goes out.
//!
//! No Kubernetes call and no Kafka call is made for a request: all it takes is in the review or, behind [`Consent`] and
//! [`TopicPolicy`], in memory. Dry runs are answered alike, so `sideEffects` is `None`.
//!
//! | what | where |
//! |---|---|
//! | a review, read without copying | [`Review`] |
//! | workloads: credentials put in and taken out | [`mutate`] |
//! | topic ConfigMaps and KafkaTopics: checked | [`validate`] |
//! | both as HTTP routes, without a socket | [`router`] |
//! | the TLS listener, its bounds and its end | [`serve`], [`Limits`], [`Shutdown`] |
#![forbid(unsafe_code)]

mod answer;
mod connection;
mod consent;
mod container;
mod inject;
mod limits;
mod metrics;
mod mutate;
mod patch;
mod review;
mod router;
mod server;
mod text;
mod topic_object;
mod validate;
mod variables;
mod warnings;
mod workload_object;

pub use answer::Answer;
pub use consent::{Consent, Finding, TopicPolicy, Unquestioned};
pub use limits::Limits;
pub use metrics::Metrics;
pub use mutate::{mutate, mutate_stored};
pub use patch::Patch;
pub use review::{NotAReview, Operation, Review};
pub use router::{BODY_LIMIT, MUTATE_PATH, VALIDATE_PATH, WebhookState, router};
pub use server::{MinimumTls, ServerReport, Shutdown, serve};
pub use validate::validate;

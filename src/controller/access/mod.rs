//! Access: every labelled workload gets a user of its own, the rules that were asked for and granted, and a Secret.
//!
//! Every pass compares all clients with all that is there ([`crate::access::plan`]); nothing is remembered that would have
//! to be remembered. Order on creation: quotas, SCRAM user, rules, a login as that user, Secret. Order on revocation: rules,
//! quotas, user, Secret. A crash between any two steps heals by itself, because the next leader looks and finds
//! - a user without Secret: nobody has its password. It gets a new one, and goes on from there;
//! - a user without its rules: they are added before anything else of it;
//! - a Secret without user: the user is made again with the password from the Secret, so that running Pods keep working;
//! - rules, quotas or users under our prefix that no workload asks for: they go, as do Secrets with our mark in their namespace.
//!
//! Rotation ([`rotation`]) gives a workload another user, and takes the one before when no Pod runs with it any more.
//!
//! Passwords are in memory from their making to their Secret, and while a Secret is judged. Whoever may write Secrets in
//! a namespace may choose the password of that namespace's workloads, as may whoever writes Pods there read it.

mod access_controller;
mod access_settings;
mod backoff;
mod belief;
mod client_events;
mod client_index;
mod consented;
#[cfg(test)]
mod death;
mod failure;
mod job_owners;
mod kind_index;
mod kube_rollouts;
mod kube_secret_store;
#[cfg(feature = "verify")]
mod librdkafka_verifier;
mod looks;
mod made_ahead;
mod maker;
#[cfg(test)]
mod order_tests;
mod pass;
mod passwords;
mod prepare;
mod prepared;
mod provide;
#[cfg(test)]
mod quota_tests;
#[cfg(test)]
mod reach_tests;
mod revoke;
mod rollouts;
mod rotation;
#[cfg(test)]
mod rotation_marks_tests;
#[cfg(test)]
mod rotation_room_tests;
#[cfg(test)]
mod rotation_schedule_tests;
#[cfg(test)]
mod rotation_tests;
mod secret_index;
mod secret_meta;
mod secret_store;
mod stored_secret;
#[cfg(test)]
mod stray_tests;
mod strays;
mod tenure;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verifier;
mod verify_queue;
mod vouched;
#[cfg(test)]
mod world;

pub use access_controller::{AccessController, Clock, Limits};
pub use access_settings::AccessSettings;
pub use client_events::{ClientEvents, ReporterEvents};
pub use client_index::{ClientIndex, Template};
pub use consented::Consented;
pub use job_owners::{JobOwners, KubeJobOwners};
pub use kube_rollouts::KubeRollouts;
pub use kube_secret_store::KubeSecretStore;
#[cfg(feature = "verify")]
pub use librdkafka_verifier::LibrdkafkaVerifier;
pub use maker::Maker;
pub use rollouts::{Rollout, RolloutError, Rollouts};
pub use secret_index::SecretIndex;
pub use secret_store::{SecretDraft, SecretStore, StoreError, Written};
pub use stored_secret::StoredSecret;
pub use verifier::{ClientVerifier, Verifier};
pub use verify_queue::{VerifyJob, VerifyQueue};
pub use vouched::Vouched;

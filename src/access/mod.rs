//! Access: what a workload asks for, what the topics' owners grant, and what has to be done on the brokers and in
//! Kubernetes. Pure planning: no client, clock or logger.
//!
//! [`resolve`] turns one request into what it is granted, with a [`Finding`] for everything it is not; [`Granted::acls`]
//! says it in Kafka's words; [`Decision::all`] does so for all clients, with the quotas that the policy lets each have; [`plan`] compares them with what is observed and
//! lists the steps.

mod acls;
mod client;
mod decision;
mod desired;
mod finding;
mod granted;
mod grants_mode;
mod group_claims;
mod lineage;
mod observed;
mod plan;
mod quotas;
mod resolve;
mod standing;
#[cfg(test)]
pub(crate) mod testing;
mod trespass;

pub use client::Client;
pub use decision::Decision;
pub use desired::{Desired, DesiredSecret};
pub use finding::Finding;
pub use granted::Granted;
pub use grants_mode::GrantsMode;
pub use group_claims::GroupClaims;
pub use lineage::{Lineage, RotationRules};
pub use observed::{Observed, ObservedSecret, SecretContent};
pub use plan::{AccessPlan, Provision, Source, plan};
pub(crate) use quotas::quotas;
pub use resolve::{Resolution, resolve};
pub use standing::still_granted;

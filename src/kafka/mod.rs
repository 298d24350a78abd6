//! One port to Kafka, [`Cluster`], and what goes through it.
//!
//! Every call is one batch: a list goes in, and a list of the same length and order comes out, one outcome per item. A
//! [`ClusterError`] means that nothing is known about any item; an [`ItemError`] is the broker's own answer about one.

mod acl;
mod address;
mod broker_configs;
mod client_properties;
mod cluster;
mod cluster_guard;
mod codes;
mod derive;
mod disks;
mod error;
mod jaas;
mod measured;
mod memory;
mod oauth;
mod own_right;
mod own_standing;
mod partition;
mod property_key;
mod quota;
mod scram;
mod topic;
#[cfg(feature = "verify")]
mod verify;
mod wire;

pub use acl::{Acl, AclOperation, AclResource, AclRule, PatternType, ResourceType};
pub use address::Address;
pub use broker_configs::BrokerConfigs;
pub use client_properties::{
    ClientProperties, PemSource, SaslMechanism, SaslProperties, TlsIdentity, TlsProperties,
};
pub use cluster::{Cluster, ClusterDescription, ConsumingGroup, Item};
pub use cluster_guard::ClusterGuard;
pub use derive::RandomnessFailed;
pub use disks::{BrokerDisks, LogDir, ReplicaSize};
pub use error::{ClusterError, ItemError, Trouble};
pub use measured::MeasuredCluster;
pub use memory::{Call, MemoryCluster};
pub use oauth::{OAuthProperties, TokenEndpoint, TokenSource};
pub use own_right::OwnRight;
pub use own_standing::{BrokerAbilities, OwnStanding};
pub use partition::{Reassignment, TopicPartition};
pub use quota::{Quota, QuotaClients, QuotaTarget, QuotaValue};
pub use scram::{LoginCheck, LoginReport, ScramKeys, ScramMechanism, ScramUser};
pub use topic::{
    ConfigChange, ConfigKeys, CreatedTopic, DoomedTopic, NewPartitions, NewTopic, TopicDescription,
};
#[cfg(feature = "verify")]
pub use verify::{VerifyError, VerifyRequest, VerifyStep, verify};
pub use wire::{WireCluster, authorities};

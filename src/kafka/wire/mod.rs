//! The port over Kafka's own protocol: one framed connection at a time, TLS by rustls, SASL by hand.

mod acls;
mod broker_configs;
mod broker_each;
mod cluster;
mod configs;
mod connection;
mod describe;
mod fault;
mod groups;
mod log_dirs;
mod login;
mod logins;
mod member_topics;
mod partitions;
mod pool;
mod quotas;
mod scram_exchange;
mod standing;
mod text;
mod tls;
mod token_login;
mod topics;
mod transport;
mod users;

pub use cluster::WireCluster;
pub use tls::authorities;

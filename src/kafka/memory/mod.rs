//! The port without a broker.

mod brokers;
mod call;
mod cluster;
mod moves;
mod state;

pub use call::Call;
pub use cluster::MemoryCluster;

//! The port without a broker.

mod call;
mod cluster;
mod state;

pub use call::Call;
pub use cluster::MemoryCluster;

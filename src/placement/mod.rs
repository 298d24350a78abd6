//! Where replicas go: for new topics, for added partitions, for another replication factor, and to rebalance a cluster.
//!
//! Pure and deterministic planning: no client, clock or randomness. The same input gives the same answer, and a plan for
//! its own result is empty.
//!
//! # Racks
//! A partition's replicas are spread over racks as far as brokers permit: no rack gets a second replica while another
//! could take its first, none a third while another could take its second, and so on. That comes before balance: with
//! three replicas and three racks, the only broker of a small rack holds a replica of every partition.
//!
//! Brokers without a rack count together as one rack of its own, as Kafka's own controller has it: nothing is known of
//! where they stand, so two of them may stand in one place. (Kafka's reassignment tool refuses such clusters.) When no
//! broker has a rack, all are in one, and racks decide nothing.
//!
//! # Balance
//! Counts are made as even as racks permit: the sum of their squares is the least that can be had, which is "within one"
//! wherever racks allow it. That, and what has to be copied for it, is exact and no heuristic: each choice is a minimum
//! cost flow (`evenly.rs` has the details). Two things are not exact. Bytes, which is bin packing: there swaps are tried
//! until none pays ([`rebalance`]). And leaders: they are spread as evenly as the replicas chosen before permit, by order
//! alone; no replica is copied for a leader's sake.
//!
//! # Draining
//! A broker that is being drained takes no replica. What it has leaves with [`rebalance`] and stays otherwise.

mod among;
mod begin;
mod brokers;
mod bytes_balance;
mod change_factor;
mod cheapest_chain;
mod choice;
mod cost;
mod evenly;
mod exchanges;
mod intake;
mod layout;
mod leaders;
mod load;
mod place;
mod placement_error;
mod rack_bounds;
mod rebalance;
mod rebalance_plan;

pub use change_factor::change_factor;
pub use layout::{BrokerLayout, Layout};
pub use place::{place_added, place_new};
pub use placement_error::PlacementError;
pub use rebalance::rebalance;
pub use rebalance_plan::{
    BrokerLoad, BrokerOutlook, PlacedPartition, Rebalance, RebalanceGoals, ReplicaMove, StuckPartition,
};

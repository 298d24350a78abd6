//! Moving replicas, on the replica that leads: for another replication factor, and to rebalance.
//!
//! The topic controller and `topicops rebalance` leave what they want at the [`MoveDesk`]; the [`Mover`] plans it, and carries
//! it out step by step as [`crate::moves::next`] says. There is nothing to do and nothing is asked of the brokers while there is
//! nothing to move.

mod carry_out;
mod desk;
mod mover;
mod observe;
mod plan_moves;
mod request_watch;
mod store;
mod survey;
mod tell;

pub use desk::{MoveDesk, Moving, Standing};
pub use mover::Mover;
pub use plan_moves::{Movable, plan_factor, plan_rebalance};
pub use request_watch::watch_requests;
pub use store::{ConfigMapMoveStore, MoveStore, MoveStoreError};
pub use survey::{BrokerDefaults, Survey};

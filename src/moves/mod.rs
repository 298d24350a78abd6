//! Moves of replicas: what is to be moved, how far it is, and what comes next. Pure: no client, clock or logger.
//!
//! [`MoveState`] is everything that has to outlive a crash, and is written before what it describes is done. [`next`] looks at
//! it and at what the brokers show, and says what comes next: what to remember first, and then one thing to do. Every look
//! begins there again, so there is no difference between going on and starting after a crash.

mod batch;
mod move_state;
mod next;
mod observed;
mod progress;
mod rebalance_request;
mod room;
mod throttle_values;
mod throttles;

pub use batch::BatchLimits;
pub use move_state::{Goal, MoveState, PartitionMove, Phase, TakenRequest, TopicMove};
pub use next::{Act, News, Step, next};
pub use observed::{BrokerRates, Observed, SeenThrottles};
pub use progress::{Pace, Progress};
pub(crate) use progress::{duration, size};
pub use rebalance_request::{RebalanceRequest, RebalanceState, RebalanceStatus};
pub use room::Room;
pub use throttle_values::Side;
pub use throttles::{ThrottleChange, Throttles};

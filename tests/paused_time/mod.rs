//! The time of tests that begin with `start_paused`. It stands still while anything is being done and jumps to whatever is due
//! next, so that what is due within an hour has been done when `pass` of an hour ends, on every machine, and at once.

#![allow(unreachable_pub)]

use std::time::Duration;

/// Lets so much of the paused time pass.
pub async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

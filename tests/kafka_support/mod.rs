//! What the tests of the Kafka port share: bounded waiting.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{future::Future, time::Duration};

use topicops_testbed::wait;

/// Brokers show acknowledged writes only after a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again until the answer is `Ok`; fails with the last thing that was seen.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    ask: impl FnMut() -> F,
) -> T {
    wait::until(what, PATIENCE, ask).await.unwrap_or_else(|error| panic!("{error}"))
}

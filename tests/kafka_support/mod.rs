//! What the tests of the Kafka port share: a broker to talk to, and bounded waiting.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// Brokers show acknowledged writes only after a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until the answer is `Ok`; fails with the last thing that was seen.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(seen) => return seen,
            Err(seen) if Instant::now() > deadline => {
                panic!("{what}: not within {PATIENCE:?}; last seen: {seen}")
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

//! When everything is looked at: at intervals that differ, and that keep to what is documented.

use anyhow::ensure;
use tokio::sync::Mutex;

use crate::{
    RESYNC_SECONDS, alone_in_a_hurried_world,
    support::{PATIENCE, wait},
};

/// Of the interval, by which each may be shorter or longer.
const JITTER: f64 = 0.1;
/// Times are told in seconds since 1970, as floating point numbers.
const ROUNDING: f64 = 0.001;
const LOOKS: usize = 3;

#[test]
fn looks_at_everything_come_when_they_are_announced_at_intervals_that_differ_by_no_more_than_a_tenth() {
    // Another leader would begin anew.
    alone_in_a_hurried_world(async |world| {
        let seen: Mutex<Vec<(f64, f64)>> = Mutex::default();
        wait::until(format!("{LOOKS} looks at everything"), PATIENCE, || async {
            let announced = world.resyncs().await?;
            // One that was read while it changed is not the same a moment later.
            ensure!(announced.0 > 0.0 && announced == world.resyncs().await?, "{announced:?} is no more");
            let mut seen = seen.lock().await;
            if seen.last() != Some(&announced) {
                seen.push(announced);
            }
            ensure!(seen.len() >= LOOKS, "{seen:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let seen = seen.into_inner();
        let intervals: Vec<f64> = seen.iter().map(|(began, next)| (next - began) / RESYNC_SECONDS).collect();
        let within = |interval: &f64| (interval - 1.0).abs() <= JITTER + ROUNDING;
        ensure!(intervals.iter().all(within), "parts of the interval: {intervals:?}");
        let differ = intervals.windows(2).any(|pair| (pair[0] - pair[1]).abs() > ROUNDING);
        ensure!(differ, "no jitter: {intervals:?}");
        // Late on a slow machine, and early on none.
        let early = seen.windows(2).find(|pair| pair[1].0 < pair[0].1 - ROUNDING);
        ensure!(early.is_none(), "{early:?}");
        Ok(())
    });
}

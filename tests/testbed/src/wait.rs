//! Bounded waiting: the only place where tests, and the testbed itself, let time pass.
//!
//! A check answers `Ok` when the wait is over and `Err` when it is not yet; the last `Err` is what a
//! time-out reports, so a check that says what it saw makes a good failure message.
use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(200);

/// Polls `check` until it answers `Ok`, at most for `timeout`.
///
/// # Errors
/// After `timeout`: what was waited for, how long, and the last thing seen.
pub async fn until<T, E, F, Fut>(what: impl Display, timeout: Duration, mut check: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Display,
{
    let started = Instant::now();
    let mut interval = SHORTEST;
    let mut last_seen: Option<String> = None;
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(not_yet)) => last_seen = Some(format!("{not_yet:#}")),
            Err(_) => return Err(timed_out(&what, timeout, last_seen.as_deref())),
        }
        if started.elapsed() + interval >= timeout {
            return Err(timed_out(&what, timeout, last_seen.as_deref()));
        }
        tokio::time::sleep(interval).await;
        interval = (interval * 2).min(LONGEST);
    }
}

/// Checks again and again that something stays true for the whole of `span`.
///
/// # Errors
/// As soon as `check` answers `Err`: what no longer held, and after how long.
pub async fn holds<E, F, Fut>(what: impl Display, span: Duration, mut check: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    let started = Instant::now();
    while started.elapsed() < span {
        if let Err(violation) = check().await {
            bail!("{what}: no longer true after {:.1?}: {violation:#}", started.elapsed());
        }
        tokio::time::sleep(SHORTEST * 5).await;
    }
    Ok(())
}

/// The same as [`until`] for code outside of an async runtime, such as destructors.
///
/// # Errors
/// After `timeout`: what was waited for, how long, and the last thing seen.
pub fn until_blocking<T, E: Display>(
    what: impl Display,
    timeout: Duration,
    mut check: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let started = Instant::now();
    let mut interval = SHORTEST;
    loop {
        let not_yet = match check() {
            Ok(value) => return Ok(value),
            Err(not_yet) => not_yet,
        };
        if started.elapsed() + interval >= timeout {
            return Err(timed_out(&what, timeout, Some(&format!("{not_yet:#}"))));
        }
        std::thread::sleep(interval);
        interval = (interval * 2).min(LONGEST);
    }
}

/// The pause of loops that wait for a change but look again anyway.
pub(crate) const SHORT_WHILE: Duration = Duration::from_millis(500);

/// Lets `span` pass, or less when `interruption` comes first; tells whether it came.
pub(crate) async fn pause_unless(span: Duration, interruption: impl Future) -> bool {
    tokio::time::timeout(span, interruption).await.is_ok()
}

fn timed_out(what: &impl Display, timeout: Duration, last_seen: Option<&str>) -> anyhow::Error {
    let last_seen = last_seen.unwrap_or("nothing: the first check did not answer");
    anyhow!("waited {timeout:.1?} for {what}; last seen: {last_seen}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_time_out_reports_the_last_thing_seen() {
        let mut round = 0;
        let outcome: Result<()> = until("the moon", Duration::from_millis(60), || {
            round += 1;
            let seen = anyhow!("only {} star(s)", round.min(2));
            async move { Err(seen) }
        })
        .await;
        let message = outcome.unwrap_err().to_string();
        assert_eq!(message, "waited 60.0ms for the moon; last seen: only 2 star(s)");
    }

    #[tokio::test]
    async fn a_check_that_hangs_is_cut_off() {
        let outcome: Result<()> = until("an answer", Duration::from_millis(30), || async {
            std::future::pending::<Result<(), String>>().await
        })
        .await;
        assert!(outcome.unwrap_err().to_string().contains("did not answer"));
    }

    #[tokio::test]
    async fn what_stops_holding_is_reported() {
        let outcome = holds("calm", Duration::from_millis(200), || async { Err::<(), _>("storm") }).await;
        assert!(outcome.unwrap_err().to_string().contains("storm"));
    }
}

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::failure::Failure;
use crate::access::Desired;

/// The clients for which something failed, each with a wait of its own: a second, then twice as long each time, up to a
/// minute. A client that asks for something else by now is tried at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    waiting: HashMap<String, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    tries: u32,
    due: Instant,
    desired: Option<Desired>,
    failure: Failure,
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// What may well pass by itself is told after this many tries: about a quarter of a minute.
const PATIENCE: u32 = 5;

impl Backoff {
    pub(super) fn failed(
        &mut self,
        username: &str,
        desired: Option<&Desired>,
        failure: Failure,
        now: Instant,
    ) {
        let before = self.waiting.get(username).filter(|waiting| waiting.desired.as_ref() == desired);
        let tries = before.map_or(0, |waiting| waiting.tries);
        let due = now + FIRST.saturating_mul(1 << tries.min(6)).min(LONGEST);
        let desired = desired.cloned();
        self.waiting
            .insert(username.to_owned(), Waiting { tries: tries.saturating_add(1), due, desired, failure });
    }

    pub(super) fn succeeded(&mut self, username: &str) {
        self.waiting.remove(username);
    }

    pub(super) fn is_waiting(&self, username: &str, desired: Option<&Desired>, now: Instant) -> bool {
        self.waiting
            .get(username)
            .is_some_and(|waiting| waiting.due > now && waiting.desired.as_ref() == desired)
    }

    /// What its author should be told by now.
    pub(super) fn failure(&self, username: &str) -> Option<&Failure> {
        let waiting = self.waiting.get(username)?;
        (!waiting.failure.may_pass || waiting.tries >= PATIENCE).then_some(&waiting.failure)
    }

    /// Forgets clients for which nothing is left to do.
    pub(super) fn retain(&mut self, has_work: impl Fn(&str) -> bool) {
        self.waiting.retain(|username, _| has_work(username));
    }

    /// When the next of them is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, access::Finding};

    fn failure(may_pass: bool) -> Failure {
        Failure { finding: Finding::new(Reason::KafkaRefused, "no"), may_pass }
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_waits_longer_and_another_wish_is_tried_at_once() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            backoff.failed("u", None, failure(false), now);
            waits.push((backoff.next().unwrap() - now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(backoff.is_waiting("u", None, now));
        assert!(!backoff.is_waiting("u", Some(&Desired::default()), now));
        assert!(!backoff.is_waiting("u", None, now + LONGEST));
        backoff.succeeded("u");
        assert_eq!(backoff.next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_told_only_when_it_does_not() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.failed("loud", None, failure(false), now);
        assert!(backoff.failure("loud").is_some());
        for _ in 1..PATIENCE {
            backoff.failed("quiet", None, failure(true), now);
            assert!(backoff.failure("quiet").is_none());
        }
        backoff.failed("quiet", None, failure(true), now);
        assert!(backoff.failure("quiet").is_some());
    }
}

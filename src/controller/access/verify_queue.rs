use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use topicops_contract::TopicName;

use crate::{ObjectKey, access::Client};

/// Secrets that wait to be tried with a real client: one entry per Secret, so never more than there are clients.
#[derive(Clone, Debug, Default)]
pub struct VerifyQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trials: Mutex<Trials>,
    wake: Notify,
    busy: watch::Sender<bool>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { trials: Mutex::default(), wake: Notify::new(), busy: watch::Sender::new(false) }
    }
}

#[derive(Debug, Default)]
struct Trials {
    waiting: BTreeMap<ObjectKey, Trial>,
    under_way: BTreeSet<ObjectKey>,
}

/// A Secret to try, and what has to be visible with it.
#[derive(Clone, Debug)]
pub struct VerifyJob {
    pub client: Arc<Client>,
    pub secret: ObjectKey,
    pub username: String,
    pub topics: Vec<TopicName>,
    pub groups: Vec<String>,
}

/// A job, and how often it was tried.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) job: VerifyJob,
    failures: usize,
    failing_since: Option<Instant>,
    due: Instant,
}

/// Waits before further tries: brokers may take seconds to know new credentials and rules.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8), Duration::from_secs(20)];
/// All of them together. Where so many wait that a further try comes later than that, it is the last one.
const PATIENCE: Duration = Duration::from_secs(32);

impl Trial {
    /// Takes note of a try that failed; whether there is to be another.
    fn failed(&mut self, now: Instant) -> bool {
        let since = *self.failing_since.get_or_insert(now);
        let wait = RETRIES.get(self.failures).filter(|_| now.duration_since(since) < PATIENCE);
        self.failures += 1;
        self.due = wait.map_or(now, |wait| now + *wait);
        wait.is_some()
    }
}

impl VerifyQueue {
    fn lock(&self) -> MutexGuard<'_, Trials> {
        self.inner.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, job: VerifyJob) {
        let trial = Trial { job, failures: 0, failing_since: None, due: Instant::now() };
        self.lock().waiting.insert(trial.job.secret.clone(), trial);
        self.inner.wake.notify_one();
    }

    /// While passes have something to do, nothing is tried: it can wait, and they cannot.
    pub fn set_busy(&self, busy: bool) {
        self.inner.busy.send_if_modified(|before| std::mem::replace(before, busy) != busy);
    }

    /// The next job that is due, once there is one and passes rest. Until it has [ended](Self::ended) there is no other about
    /// the same Secret.
    pub(super) async fn next(&self) -> Trial {
        let mut busy = self.inner.busy.subscribe();
        loop {
            // The sender lives as long as this queue, so this ends only when passes rest.
            let _ = busy.wait_for(|busy| !busy).await.map(|_| ());
            match self.take_due() {
                Ok(trial) => return trial,
                Err(None) => self.inner.wake.notified().await,
                Err(Some(due)) => tokio::select! {
                    () = self.inner.wake.notified() => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    }

    /// Those that were tried least often go first: what does not get through holds up nothing that does. When the next one
    /// is due where none is.
    fn take_due(&self) -> Result<Trial, Option<Instant>> {
        let now = Instant::now();
        let mut trials = self.lock();
        let Trials { waiting, under_way } = &mut *trials;
        let free = || waiting.iter().filter(|(key, _)| !under_way.contains(*key));
        let due = free().filter(|(_, trial)| trial.due <= now);
        let first = due.min_by_key(|(_, trial)| (trial.failures, trial.due)).map(|(key, _)| key.clone());
        let Some(key) = first else { return Err(free().map(|(_, trial)| trial.due).min()) };
        under_way.insert(key.clone());
        waiting.remove(&key).ok_or(None)
    }

    /// Takes note of the end of a try. One that failed is put back for later, and what is asked of the same Secret meanwhile
    /// takes its place; the job itself where neither is so.
    pub(super) fn ended(&self, mut trial: Trial, failed: bool) -> Option<VerifyJob> {
        let key = trial.job.secret.clone();
        let mut trials = self.lock();
        trials.under_way.remove(&key);
        let job = match (failed, trials.waiting.contains_key(&key)) {
            (true, true) => None,
            (true, false) if trial.failed(Instant::now()) => {
                trials.waiting.insert(key, trial);
                None
            }
            (true | false, _) => Some(trial.job),
        };
        drop(trials);
        self.inner.wake.notify_one();
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_come_to_an_end_when_all_their_waits_are_over() {
        assert_eq!(RETRIES.iter().sum::<Duration>(), PATIENCE);
    }
}

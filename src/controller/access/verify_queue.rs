use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, watch};
use topicops_contract::TopicName;

use crate::{ObjectKey, access::Client};

/// Secrets that wait to be tried with a real client: one entry per Secret, so never more than there are clients.
#[derive(Clone, Debug, Default)]
pub struct VerifyQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    waiting: Mutex<BTreeMap<ObjectKey, VerifyJob>>,
    wake: Notify,
    busy: watch::Sender<bool>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), busy: watch::Sender::new(false) }
    }
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

impl VerifyQueue {
    pub fn push(&self, job: VerifyJob) {
        let mut waiting = self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(job.secret.clone(), job);
        drop(waiting);
        self.inner.wake.notify_one();
    }

    /// While passes have something to do, nothing is tried: it can wait, and they cannot.
    pub fn set_busy(&self, busy: bool) {
        self.inner.busy.send_if_modified(|before| std::mem::replace(before, busy) != busy);
    }

    /// The next job, once there is one and passes rest.
    pub(super) async fn next(&self) -> VerifyJob {
        let mut busy = self.inner.busy.subscribe();
        loop {
            // The sender lives as long as this queue, so this ends only when passes rest.
            let _ = busy.wait_for(|busy| !busy).await.map(|_| ());
            let job = self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match job {
                Some((_, job)) => return job,
                None => self.inner.wake.notified().await,
            }
        }
    }
}

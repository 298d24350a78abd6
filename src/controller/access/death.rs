//! The steps of a process in tests, any of which can be its last.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::yield_now;

/// Where a process dies: after so many steps, before or after the step has taken effect.
#[derive(Debug)]
pub(super) struct Death {
    left: AtomicUsize,
    after_effect: bool,
    /// The beginnings of steps, and the ends of those that it lived to see.
    told: Mutex<Vec<(&'static str, StepIs)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepIs {
    Begun,
    Ended,
}

impl Death {
    pub(super) fn never() -> Arc<Self> {
        Self::after(usize::MAX, false)
    }

    pub(super) fn after(steps: usize, after_effect: bool) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(steps), after_effect, told: Mutex::default() })
    }

    pub(super) fn has_come(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// The steps since the last call.
    pub(super) fn steps(&self) -> Vec<(&'static str, StepIs)> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// Takes a step; the last one never returns. Steps that do not wait for one another are seen to overlap.
    pub(super) async fn step<T>(&self, name: &'static str, effect: impl Future<Output = T>) -> T {
        self.told.lock().unwrap().push((name, StepIs::Begun));
        yield_now().await;
        let outcome = self.live(effect).await;
        self.told.lock().unwrap().push((name, StepIs::Ended));
        outcome
    }

    async fn live<T>(&self, effect: impl Future<Output = T>) -> T {
        let before = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .unwrap_or_default();
        match before {
            0 => pending().await,
            1 if self.after_effect => {
                effect.await;
                pending().await
            }
            1 => pending().await,
            _ => effect.await,
        }
    }
}

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::join_all;
use tokio::{
    sync::{Notify, Semaphore},
    task::spawn_blocking,
};
use topicops_contract::Password;
use tracing::warn;

use super::passwords;
use crate::kafka::{ScramKeys, ScramMechanism};

/// Passwords that nobody has yet, with what brokers are to keep of them: hashing takes milliseconds of a core each, and is done
/// while logins and the API server are waited for, or while there is nothing else to do.
pub(super) struct MadeAhead {
    most: usize,
    stock: Mutex<Stock>,
    /// There is room in the stock.
    room: Notify,
}

#[derive(Default)]
struct Stock {
    kind: Option<Kind>,
    made: VecDeque<(Password, ScramKeys)>,
}

/// How brokers are to keep passwords.
pub(super) type Kind = (ScramMechanism, u32);

impl fmt::Debug for MadeAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MadeAhead({} of {}, redacted)", self.lock().made.len(), self.most)
    }
}

impl MadeAhead {
    pub(super) fn new(most: usize) -> Self {
        Self { most, stock: Mutex::default(), room: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be in stock from now on.
    pub(super) fn want(&self, kind: Kind) {
        let mut stock = self.lock();
        if stock.kind != Some(kind) {
            *stock = Stock { kind: Some(kind), made: VecDeque::new() };
            drop(stock);
            self.room.notify_waiters();
        }
    }

    /// One that nobody else gets; `None` while there is none.
    pub(super) fn take(&self, kind: Kind) -> Option<(Password, ScramKeys)> {
        let mut stock = self.lock();
        let made = if stock.kind == Some(kind) { stock.made.pop_front() } else { None };
        drop(stock);
        self.room.notify_waiters();
        made
    }

    /// Keeps the stock full, for ever; `hashing`: what may be hashed at the same time.
    pub(super) async fn keep_full(&self, hashing: &Arc<Semaphore>) -> Infallible {
        let hashers = (0..hashing.available_permits().max(1)).map(|_| self.hasher(hashing));
        join_all(hashers).await;
        pending().await
    }

    async fn hasher(&self, hashing: &Arc<Semaphore>) {
        loop {
            let room = self.room.notified();
            let kind = {
                let stock = self.lock();
                stock.kind.filter(|_| stock.made.len() < self.most)
            };
            let Some(kind @ (mechanism, iterations)) = kind else {
                room.await;
                continue;
            };
            let Ok(permit) = Arc::clone(hashing).acquire_owned().await else { return };
            let made = spawn_blocking(move || {
                let _permit = permit;
                let password = passwords::generate()?;
                let keys = ScramKeys::derive(mechanism, iterations, &password).ok()?;
                Some((password, keys))
            });
            let Ok(Some(made)) = made.await else {
                // Whoever needs one says so where it is seen.
                warn!("no password can be made ahead; they are made when they are needed");
                return;
            };
            let mut stock = self.lock();
            if stock.kind == Some(kind) && stock.made.len() < self.most {
                stock.made.push_back(made);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use tokio::time::{sleep, timeout};

    use super::*;

    const KIND: Kind = (ScramMechanism::Sha512, 4096);
    const OTHER: Kind = (ScramMechanism::Sha256, 4096);

    async fn full(ahead: &MadeAhead) {
        let fill = async {
            while ahead.lock().made.len() < ahead.most {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), fill).await.unwrap_or_else(|_| panic!("not full: {ahead:?}"));
    }

    #[tokio::test]
    async fn each_password_is_given_out_once_and_its_keys_are_its_own() {
        let (ahead, hashing) = (Arc::new(MadeAhead::new(3)), Arc::new(Semaphore::new(2)));
        ahead.want(KIND);
        let (filled, permits) = (Arc::clone(&ahead), Arc::clone(&hashing));
        let filling = tokio::spawn(async move { filled.keep_full(&permits).await });
        let mut given = BTreeSet::new();
        for _ in 0..3 {
            full(&ahead).await;
            for _ in 0..3 {
                let (password, keys) = ahead.take(KIND).unwrap();
                let again = ScramKeys::with_salt(KIND.0, KIND.1, keys.salt.clone(), &password);
                assert_eq!(again.salted_password, keys.salted_password);
                assert!(given.insert(password.reveal().to_owned()));
            }
        }
        full(&ahead).await;
        assert!(ahead.take(OTHER).is_none(), "it is of no use to brokers that want another kind");
        ahead.want(OTHER);
        full(&ahead).await;
        let (_, keys) = ahead.take(OTHER).unwrap();
        assert_eq!(keys.mechanism, ScramMechanism::Sha256);
        filling.abort();
    }

    #[tokio::test]
    async fn what_is_in_stock_cannot_be_printed() {
        let ahead = MadeAhead::new(1);
        ahead.want(KIND);
        let password = Password::new("hunter2");
        let keys = ScramKeys::derive(KIND.0, KIND.1, &password).unwrap();
        ahead.lock().made.push_back((password, keys));
        assert_eq!(format!("{ahead:?}"), "MadeAhead(1 of 1, redacted)");
    }
}

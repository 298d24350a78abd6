use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use kafka_protocol::{messages::MetadataRequest, protocol::Request};
use tokio::time::{Instant, sleep, timeout};

use super::{
    connection::{Connection, Endpoint},
    fault::Fault,
    login::Login,
};
use crate::kafka::{Address, ClusterGuard, Trouble};

/// Connections to the brokers, opened on demand and kept while they are busy.
///
/// A kept connection that turns out to be broken is replaced by a fresh one, once, where asking twice does no harm.
pub(super) struct Pool {
    setup: ArcSwap<Setup>,
    shelf: Mutex<Shelf>,
    /// Without one, whatever cluster answers is the right one.
    guard: Option<Arc<dyn ClusterGuard>>,
}

/// Where connections lead, how they are secured, and as whom.
pub(super) struct Setup {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) login: Login,
    pub(super) bootstrap: Vec<Address>,
}

#[derive(Default)]
struct Shelf {
    idle: Vec<Idle>,
    /// The bootstrap server that answered last is asked first: a dead one at the head of the list costs its time-out
    /// only once.
    last_good: usize,
    sweeping: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Passes of a busy operator follow each other within tens of milliseconds, and opening a connection costs about 11 ms;
/// after five seconds of silence the next pass can pay that, and an idle operator holds no broker's resources.
const KEEP: Duration = Duration::from_secs(5);

/// More than the calls that a controller has under way at once.
const MAX_IDLE: usize = 8;

/// Which broker a request has to reach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// Any broker: it knows the metadata, and forwards writes to the controller.
    Any,
    Broker(&'a Address),
}

/// Whether a request may be sent again when a connection broke before the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The second time has the same outcome.
    Harmless,
    /// The first may have been carried out, and then the second would be refused.
    Unsafe,
}

impl Pool {
    pub(super) fn new(setup: Setup, guard: Option<Arc<dyn ClusterGuard>>) -> Arc<Self> {
        Arc::new(Self { setup: ArcSwap::from_pointee(setup), shelf: Mutex::default(), guard })
    }

    /// Connections are made so from now on. Those that are idle go; those that are busy end with their request.
    pub(super) fn set_up(&self, setup: Setup) {
        self.setup.store(Arc::new(setup));
        self.lock().idle.clear();
    }

    pub(super) fn bootstrap_servers(&self) -> Vec<Address> {
        self.setup.load().bootstrap.clone()
    }

    pub(super) fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.setup.load().endpoint)
    }

    /// One request and its answer. Faults name the address.
    pub(super) async fn call<R: Request>(
        self: &Arc<Self>,
        target: Target<'_>,
        request: &R,
        again: Again,
    ) -> Result<R::Response, Fault> {
        let setup = self.setup.load_full();
        if let Some(mut kept) = self.take(&setup, target) {
            match kept.call(request).await {
                Ok(answer) => {
                    self.keep(kept);
                    return Ok(answer);
                }
                Err(fault) if fault.broken && again == Again::Harmless => {
                    tracing::debug!(broker = %kept.address(), cause = fault.message, "a kept connection broke; opening another");
                }
                Err(fault) => return Err(fault.at(kept.address())),
            }
        }
        let mut fresh = match target {
            Target::Any => self.bootstrap(&setup, &setup.login, self.guard.as_deref()).await?,
            Target::Broker(address) => {
                let mut fresh = open(&setup.endpoint, &setup.login, address).await?;
                admit(self.guard.as_deref(), &mut fresh).await?;
                fresh
            }
        };
        let answer = fresh.call(request).await.map_err(|fault| fault.at(fresh.address()))?;
        self.keep(fresh);
        Ok(answer)
    }

    /// Whether a fresh connection can be had.
    pub(super) async fn connect(&self) -> Result<(), Fault> {
        let setup = self.setup.load_full();
        self.bootstrap(&setup, &setup.login, None).await.map(drop)
    }

    /// A fresh connection, logged in as somebody else.
    pub(super) async fn open_as(&self, login: &Login) -> Result<Connection, Fault> {
        let setup = self.setup.load_full();
        self.bootstrap(&setup, login, None).await
    }

    /// A fresh connection to the first bootstrap server that takes one, and that the guard admits, logged in as `login`. The
    /// fault of the whole list names every address with its cause.
    async fn bootstrap(
        &self,
        setup: &Setup,
        login: &Login,
        guard: Option<&dyn ClusterGuard>,
    ) -> Result<Connection, Fault> {
        let first = self.lock().last_good;
        let mut faults: Vec<Fault> = Vec::new();
        for offset in 0..setup.bootstrap.len() {
            let index = (first + offset) % setup.bootstrap.len();
            match open(&setup.endpoint, login, &setup.bootstrap[index]).await {
                Ok(mut connection) => match admit(guard, &mut connection).await {
                    Ok(()) => {
                        self.lock().last_good = index;
                        return Ok(connection);
                    }
                    Err(fault) => faults.push(fault),
                },
                // A login under trial was refused: it is not ready until every broker that may be asked takes it.
                Err(fault)
                    if (fault.login.is_some() || fault.unoffered) && matches!(login, Login::Keys { .. }) =>
                {
                    return Err(fault);
                }
                Err(fault) => faults.push(fault),
            }
        }
        Err(all_of(faults))
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, setup: &Setup, target: Target<'_>) -> Option<Connection> {
        let mut shelf = self.lock();
        loop {
            let index = shelf.idle.iter().rposition(|idle| match target {
                Target::Any => setup.bootstrap.contains(idle.connection.address()),
                Target::Broker(address) => idle.connection.address() == address,
            })?;
            let mut connection = shelf.idle.swap_remove(index).connection;
            if connection.is_of(&setup.endpoint) && connection.is_alive() {
                return Some(connection);
            }
        }
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        let current = connection.is_of(&self.setup.load().endpoint);
        let mut shelf = self.lock();
        if shelf.idle.len() >= MAX_IDLE || !current {
            return;
        }
        shelf.idle.push(Idle { connection, since: Instant::now() });
        if !shelf.sweeping {
            shelf.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Closes what was idle for too long, and ends once nothing is kept.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(KEEP / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut shelf = pool.lock();
        shelf.idle.retain(|idle| idle.since.elapsed() < KEEP);
        if shelf.idle.is_empty() {
            shelf.sweeping = false;
            return;
        }
    }
}

async fn open(endpoint: &Arc<Endpoint>, login: &Login, address: &Address) -> Result<Connection, Fault> {
    let limit = endpoint.connect_timeout();
    let opened = timeout(limit, async {
        let mut connection = Connection::open(endpoint, address).await?;
        login.perform(&mut connection).await?;
        Ok(connection)
    });
    opened
        .await
        .unwrap_or_else(|_| Err(Fault::new(Trouble::Unreachable, format!("no connection within {limit:?}"))))
        .map_err(|fault: Fault| fault.at(address))
}

/// Addresses may lead elsewhere from one connection to the next, so each is asked once.
async fn admit(guard: Option<&dyn ClusterGuard>, fresh: &mut Connection) -> Result<(), Fault> {
    let Some(guard) = guard else { return Ok(()) };
    let asked = fresh.call(&MetadataRequest::default().with_topics(Some(Vec::new()))).await;
    let admitted = match asked {
        Ok(answer) => match answer.cluster_id.as_deref() {
            Some(id) if !id.is_empty() => {
                guard.admit(id).await.map_err(|(trouble, message)| Fault::new(trouble, message))
            }
            // A stand-in that tells no id says nothing against itself.
            _ => Ok(()),
        },
        Err(fault) => Err(fault),
    };
    admitted.map_err(|fault| fault.at(fresh.address()))
}

/// The trouble that says most about all of them, with every cause.
fn all_of(faults: Vec<Fault>) -> Fault {
    let loudness = |trouble: Trouble| match trouble {
        Trouble::OtherCluster => 5,
        Trouble::Authentication => 4,
        Trouble::Tls => 3,
        Trouble::Authorization => 2,
        Trouble::Protocol => 1,
        Trouble::Unreachable => 0,
    };
    let message = faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; ");
    let loudest = faults.into_iter().max_by_key(|fault| loudness(fault.trouble));
    match loudest {
        Some(loudest) => Fault { message, ..loudest },
        None => Fault::new(Trouble::Unreachable, "there is no bootstrap server"),
    }
}

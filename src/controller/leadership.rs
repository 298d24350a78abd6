use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::health::Health;

/// One replica leads, by a Lease.
///
/// # Guarantee
/// A replica stops leading before another can begin, as long as their clocks run equally fast: it gives up when it could not
/// renew for [`RENEW_DEADLINE`], and others wait for [`DURATION`] since they last saw the Lease change. Clocks need not agree.
///
/// (kube-lease-manager 0.13 goes on reporting leadership while renewals fail, and looks for a released Lease only when it
/// would have expired; hence these lines.)
#[derive(Clone)]
pub struct Leadership {
    api: Api<Lease>,
    name: String,
    identity: String,
}

const DURATION: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between tries: a Lease that was given back is found this soon.
const RETRY: Duration = Duration::from_secs(1);
/// For one request: longer than any healthy answer, short enough for several tries before the deadline.
const REQUEST: Duration = Duration::from_secs(3);

/// What was last seen of somebody else's Lease, and when we saw it: by our own clock.
struct Seen {
    version: String,
    at: Instant,
}

/// Waits until this replica leads, and works until it leads no longer. Whether it may lead again: not when the process ends,
/// and that is the only reason for work to end by itself.
pub(super) async fn while_leading(
    leading: &mut watch::Receiver<bool>,
    what: &str,
    work: impl Future<Output = ()>,
) -> bool {
    if leading.wait_for(|leads| *leads).await.is_err() {
        return false;
    }
    tokio::select! {
        () = work => false,
        result = leading.wait_for(|leads| !leads) => {
            if result.is_ok() {
                info!(what, "no longer leading: left to another replica");
            }
            result.is_ok()
        }
    }
}

impl Leadership {
    pub fn new(
        client: Client,
        namespace: &str,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.into(), identity: identity.into() }
    }

    /// Tries to lead, and to go on leading, until `stop` says so; then gives the Lease back. `leading` tells how it stands.
    ///
    /// Asking for the Lease every second also tells whether the API server answers: `health` is told.
    pub async fn run(self, leading: watch::Sender<bool>, mut stop: watch::Receiver<bool>, health: Health) {
        let mut seen: Option<Seen> = None;
        let mut renewed = Instant::now();
        loop {
            let leads = *leading.borrow();
            let began = Instant::now();
            let mut answer = Ok(());
            match timeout(REQUEST, self.step(&mut seen)).await {
                Ok(Ok(true)) => {
                    renewed = began;
                    if !leads {
                        info!(lease = self.name, identity = self.identity, "leading");
                        leading.send_replace(true);
                    }
                }
                Ok(Ok(false)) => {
                    if leads {
                        warn!(lease = self.name, "another replica took the lease");
                        leading.send_replace(false);
                    }
                }
                Ok(Err(error)) => {
                    debug!(error = %error, "the lease could not be read or written");
                    answer = Err(crate::chain(&error));
                }
                Err(_) => answer = Err(format!("no answer within {} s", REQUEST.as_secs())),
            }
            health.set_kubernetes(answer);
            if *leading.borrow() && renewed.elapsed() > RENEW_DEADLINE {
                warn!(lease = self.name, "the lease could not be renewed: no longer leading");
                leading.send_replace(false);
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if leading.send_replace(false)
            && let Err(error) = timeout(REQUEST, self.give_back()).await.unwrap_or(Ok(()))
        {
            debug!(error = %error, "the lease could not be given back");
        }
    }

    /// Whether we hold the Lease after this step.
    async fn step(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.name.clone());
            lease.spec = Some(self.spec(None));
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let ours = holder.as_deref() == Some(&self.identity);
        if holder.is_some() && !ours && !expired(&lease, &spec, seen) {
            return Ok(false);
        }
        lease.spec = Some(self.spec(Some((&spec, ours))));
        won(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, before: Option<(&LeaseSpec, bool)>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let (acquired, transitions) = match before {
            Some((spec, true)) => (spec.acquire_time.clone(), spec.lease_transitions),
            Some((spec, false)) => (Some(now.clone()), Some(spec.lease_transitions.unwrap_or(0) + 1)),
            None => (Some(now.clone()), Some(0)),
        };
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: acquired,
            renew_time: Some(now),
            lease_transitions: transitions,
            ..LeaseSpec::default()
        }
    }

    async fn give_back(&self) -> Result<(), kube::Error> {
        let mut lease = self.api.get(&self.name).await?;
        if let Some(spec) =
            lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity))
        {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Leadership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leadership({} as {})", self.name, self.identity)
    }
}

/// A conflict means that somebody was faster.
fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the Lease has not changed, before our eyes, for as long as its holder promised to renew it within.
fn expired(lease: &Lease, spec: &LeaseSpec, seen: &mut Option<Seen>) -> bool {
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    let promised = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let promised = promised.map_or(DURATION, Duration::from_secs);
    match seen {
        Some(before) if before.version == version => before.at.elapsed() > promised,
        _ => {
            *seen = Some(Seen { version, at: Instant::now() });
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(version: &str, seconds: i32) -> (Lease, LeaseSpec) {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some(version.to_owned());
        (lease, LeaseSpec { lease_duration_seconds: Some(seconds), ..LeaseSpec::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_expires_by_our_own_clock_since_it_last_changed() {
        let mut seen = None;
        let (first, spec) = lease("1", 15);
        assert!(!expired(&first, &spec, &mut seen), "seen for the first time");
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(!expired(&first, &spec, &mut seen));
        let (second, spec) = lease("2", 15);
        assert!(!expired(&second, &spec, &mut seen), "it was renewed");
        tokio::time::advance(Duration::from_secs(16)).await;
        assert!(expired(&second, &spec, &mut seen));
    }
}

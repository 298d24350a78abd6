//! The files that say how the brokers are reached: `--kafka-config`, the stores that it names, and `--client-ca`, read again
//! whenever they change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use topicops_contract::ClientEndpoint;
use tracing::{error, info};

use super::{Settings, reach::Reach};
use crate::{
    controller::{access::Vouched, health::Health},
    kafka::{Address, ClientProperties, Cluster, ClusterError, Trouble, WireCluster},
    metrics::Metrics,
};

/// A Secret or ConfigMap takes up to a minute to reach a Pod, and what is mounted tells of no change; this adds little to it.
const LOOK: Duration = Duration::from_secs(2);
/// How often what the brokers did not take is tried again: they may be about to change, too.
const AGAIN: Duration = Duration::from_secs(10);

/// Where what topicops cannot reach is given up for this time.
const TRIAL: Duration = Duration::from_secs(10);

/// Lets what the files say count, now and whenever it changes: topicops' own connections first, then the Secrets. What cannot
/// be read, or is not taken by brokers that take what was there before, is told of, and that goes on. Of what is there at the
/// start nothing was there before: it is tried until brokers have said something of it, and if no client would get through with
/// it, Secrets stay as they are.
pub(super) struct ReachFiles {
    settings: Settings,
    cluster: WireCluster,
    for_clients: ForClients,
    health: Health,
    metrics: Metrics,
    counts: Counts,
    /// topicops has reached the listener of clients, so one day it does again.
    reached: bool,
    /// What was not taken, why, and when it was tried.
    refused: Option<([u8; 32], String, Instant)>,
}

/// What counts now.
pub(super) struct Counts {
    digest: [u8; 32],
    /// How clients reach the brokers.
    clients: ClientProperties,
}

/// Where is said what clients are to get.
pub(super) struct ForClients {
    pub(super) endpoint: watch::Sender<Arc<ClientEndpoint>>,
    pub(super) vouched: watch::Sender<Vouched>,
}

impl From<&Reach> for Counts {
    fn from(reach: &Reach) -> Self {
        Self { digest: reach.digest, clients: reach.clients.clone() }
    }
}

/// What a connection as clients make theirs came to.
enum Trial {
    Vouches,
    Refused(ClusterError),
    /// Nothing is learnt.
    Unreached,
}

/// rustls' words for a server's certificate that nothing vouches for that is trusted here.
const NOT_VOUCHED_FOR: &str = "invalid peer certificate";
/// What it is about, in errors.
const GIVEN: &str = "what clients are to get (--client-ca, or the trust store of --kafka-config)";

impl ReachFiles {
    pub(super) fn new(
        settings: Settings,
        counts: Counts,
        cluster: WireCluster,
        for_clients: ForClients,
        (health, metrics): (Health, Metrics),
    ) -> Self {
        metrics.kafka_config_valid.set(1);
        Self { settings, cluster, for_clients, health, metrics, counts, reached: false, refused: None }
    }

    pub(super) async fn follow(mut self) {
        loop {
            let looked = self.look().await;
            let goes_on = match *self.for_clients.vouched.borrow() {
                Vouched::No(_) => "Secrets stay as they are, and new ones wait",
                Vouched::Unknown | Vouched::Yes => "what was there before goes on",
            };
            let wrong = looked.err().map(|error| format!("{error:#}; {goes_on}"));
            self.metrics.kafka_config_valid.set(i64::from(wrong.is_none()));
            let before = self.health.check("kafka-config").and_then(Result::err);
            if let Some(message) = wrong.as_ref().filter(|message| before.as_ref() != Some(message)) {
                error!("{message}");
            }
            self.health.set("kafka-config", wrong.map_or(Ok(()), Err));
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self) -> Result<()> {
        let looked = self.look_at_files().await;
        if looked.is_err() && *self.for_clients.vouched.borrow() == Vouched::Unknown {
            // What was there before goes on, and waits for a word about it.
            let _ = self.judge().await;
        }
        looked
    }

    async fn look_at_files(&mut self) -> Result<()> {
        let settings = self.settings.clone();
        let reach = spawn_blocking(move || Reach::read(&settings)).await.context("reading the files")??;
        if let Some((digest, why, tried)) = &self.refused
            && *digest == reach.digest
            && tried.elapsed() < AGAIN
        {
            bail!("{why}");
        }
        let digest = reach.digest;
        self.refused = None;
        let taken = if digest == self.counts.digest { self.judge().await } else { self.adopt(reach).await };
        if let Err(error) = &taken {
            self.refused = Some((digest, format!("{error:#}"), Instant::now()));
        }
        taken
    }

    /// Says whether clients would get through, where nothing has been learnt of that yet, or they would not.
    async fn judge(&mut self) -> Result<()> {
        let before = self.for_clients.vouched.borrow().clone();
        if before == Vouched::Yes {
            return Ok(());
        }
        // What is not delivered with the Secret, clients' own machines have, and theirs may differ from this one.
        let delivered = self.for_clients.endpoint.borrow().truststore_pem.is_some();
        let counts = self.counts.clients.clone();
        let trial = if delivered { self.try_out(&counts).await? } else { Trial::Vouches };
        let vouched = match trial {
            Trial::Refused(error) => {
                let why = format!("{GIVEN}: {error}");
                self.say(Vouched::No(why.as_str().into()));
                bail!("{why}");
            }
            // What was found to be wrong is not right because nobody looks.
            Trial::Unreached if let Vouched::No(why) = &before => bail!("{why}"),
            // While no broker answers, nothing is learnt about clients; a listener that is for them alone topicops need not reach.
            Trial::Unreached if self.cluster.describe_cluster().await.is_err() => return Ok(()),
            Trial::Unreached | Trial::Vouches => Vouched::Yes,
        };
        self.say(vouched);
        Ok(())
    }

    fn say(&self, vouched: Vouched) {
        self.for_clients.vouched.send_if_modified(|before| {
            let changes = *before != vouched;
            *before = vouched;
            changes
        });
    }

    async fn adopt(&mut self, reach: Reach) -> Result<()> {
        let file = self.settings.kafka_config.clone();
        let shown = file.display();
        let context = || format!("--kafka-config {shown}, as it is now");
        let candidate =
            self.cluster.candidate(reach.own.clone(), reach.logins.clone()).with_context(context)?;
        // What is of no use would take topicops away from brokers that it reaches, and clients with it; and to another cluster
        // clients are never sent.
        if let Err(error) = candidate.describe_cluster().await
            && (error.trouble == Trouble::OtherCluster || self.cluster.describe_cluster().await.is_ok())
        {
            return Err(error).with_context(context);
        }
        let counts = Counts::from(&reach);
        if *self.for_clients.vouched.borrow() == Vouched::Yes {
            self.try_for_clients(&reach).await?;
        }
        self.cluster.set_up(reach.own, reach.logins).with_context(context)?;
        self.counts = counts;
        info!(file = %shown, "connections to the brokers are made as the files say now");
        self.for_clients.endpoint.send_if_modified(|endpoint| {
            let changes = **endpoint != reach.endpoint;
            *endpoint = Arc::new(reach.endpoint);
            changes
        });
        self.judge().await
    }

    /// Whether clients find what vouches for their brokers in what they are to get. topicops need not reach their listener:
    /// only what it learns there counts. Where it does, a file that comes while nobody answers waits for the word.
    async fn try_for_clients(&mut self, reach: &Reach) -> Result<()> {
        if **self.for_clients.endpoint.borrow() == reach.endpoint {
            return Ok(());
        }
        let why = match self.try_out(&reach.clients).await? {
            Trial::Vouches => return self.try_with_those_that_refuse(&reach.clients).await,
            Trial::Unreached if !self.reached => return Ok(()),
            Trial::Unreached => "the listener of clients does not answer; it is tried again".to_owned(),
            Trial::Refused(error) => {
                let counts = self.counts.clients.clone();
                if matches!(self.try_out(&counts).await?, Trial::Vouches) {
                    return Err(error).context(GIVEN);
                }
                error.to_string()
            }
        };
        // Nobody knows yet which of the two is of use: Secrets stay as they are.
        self.say(Vouched::No(format!("{GIVEN}: {why}").as_str().into()));
        Ok(())
    }

    /// Brokers may get certificates of another CA one after the other: where the CA before vouches for those that the new one does
    /// not vouch for, it is too early for that.
    async fn try_with_those_that_refuse(&mut self, clients: &ClientProperties) -> Result<()> {
        let mut refusing = refusals(clients).await?;
        let before = ClientProperties {
            bootstrap_servers: refusing.iter().map(|(server, _)| server.clone()).collect(),
            ..self.counts.clients.clone()
        };
        if !refusing.is_empty() && matches!(self.try_out(&before).await?, Trial::Vouches) {
            return Err(refusing.swap_remove(0).1).context(GIVEN);
        }
        Ok(())
    }

    async fn try_out(&mut self, clients: &ClientProperties) -> Result<Trial> {
        let trial = try_out(clients).await?;
        self.reached |= !matches!(trial, Trial::Unreached);
        Ok(trial)
    }
}

/// A trial at each of the servers, by its place in the list.
fn trials(clients: &ClientProperties) -> FuturesUnordered<impl Future<Output = (usize, Result<Trial>)>> {
    let one_each = clients.bootstrap_servers.iter().enumerate().map(|(n, server)| {
        let one = ClientProperties { bootstrap_servers: vec![server.clone()], ..clients.clone() };
        async move { (n, try_one(one).await) }
    });
    one_each.collect()
}

/// Those of the servers for which nothing vouches.
async fn refusals(clients: &ClientProperties) -> Result<Vec<(Address, ClusterError)>> {
    let mut trials = trials(clients);
    let mut refused = BTreeMap::new();
    while let Some((n, trial)) = trials.next().await {
        if let Trial::Refused(error) = trial? {
            refused.insert(n, (clients.bootstrap_servers[n].clone(), error));
        }
    }
    Ok(refused.into_values().collect())
}

/// At each of the servers, so that none that is silent hides what another one says.
async fn try_out(clients: &ClientProperties) -> Result<Trial> {
    let mut trials = trials(clients);
    let mut refused = BTreeMap::new();
    while let Some((n, trial)) = trials.next().await {
        match trial? {
            Trial::Vouches => return Ok(Trial::Vouches),
            Trial::Refused(error) => drop(refused.insert(n, error)),
            Trial::Unreached => {}
        }
    }
    // The same one each time, so that it is told once.
    Ok(refused.into_values().next().map_or(Trial::Unreached, Trial::Refused))
}

/// TLS alone: clients log in beyond it, as somebody of whom nothing is known here.
async fn try_one(clients: ClientProperties) -> Result<Trial> {
    let cluster = WireCluster::new(clients).context(GIVEN)?;
    Ok(match timeout(TRIAL, cluster.connect()).await {
        Ok(Err(error)) if error.message.contains(NOT_VOUCHED_FOR) => Trial::Refused(error),
        // Who hangs up, or wants a certificate of clients' own, says nothing of what they are given.
        Ok(Err(error)) if matches!(error.trouble, Trouble::Unreachable | Trouble::Tls) => Trial::Unreached,
        Err(_) => Trial::Unreached,
        Ok(Ok(()) | Err(_)) => Trial::Vouches,
    })
}

#[cfg(test)]
mod tests;

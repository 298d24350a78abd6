//! The files that say how the brokers are reached: `--kafka-config`, the stores that it names, and `--client-ca`, read again
//! whenever they change.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{sync::watch, task::spawn_blocking, time::Instant};
use topicops_contract::ClientEndpoint;
use tracing::{error, info};

use super::{Settings, reach::Reach};
use crate::{
    controller::health::Health,
    kafka::{Cluster, Trouble, WireCluster},
    metrics::Metrics,
};

/// A Secret or ConfigMap takes up to a minute to reach a Pod, and what is mounted tells of no change; this adds little to it.
const LOOK: Duration = Duration::from_secs(2);
/// How often what the brokers did not take is tried again: they may be about to change, too.
const AGAIN: Duration = Duration::from_secs(10);

/// Lets what the files say count, now and whenever it changes: topicops' own connections first, then the Secrets. What cannot
/// be read, or is not taken by brokers that take what was there before, is told of, and that goes on.
pub(super) struct ReachFiles {
    settings: Settings,
    cluster: WireCluster,
    endpoint: watch::Sender<Arc<ClientEndpoint>>,
    health: Health,
    metrics: Metrics,
    counts: [u8; 32],
    /// What was not taken, why, and when it was tried.
    refused: Option<([u8; 32], String, Instant)>,
}

impl ReachFiles {
    pub(super) fn new(
        settings: Settings,
        counts: [u8; 32],
        cluster: WireCluster,
        endpoint: watch::Sender<Arc<ClientEndpoint>>,
        (health, metrics): (Health, Metrics),
    ) -> Self {
        metrics.kafka_config_valid.set(1);
        Self { settings, cluster, endpoint, health, metrics, counts, refused: None }
    }

    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let wrong =
                self.look().await.err().map(|error| format!("{error:#}; what was there before goes on"));
            self.metrics.kafka_config_valid.set(i64::from(wrong.is_none()));
            let before = self.health.check("kafka-config").and_then(Result::err);
            if let Some(message) = wrong.as_ref().filter(|message| before.as_ref() != Some(message)) {
                error!("{message}");
            }
            self.health.set("kafka-config", wrong.map_or(Ok(()), Err));
        }
    }

    async fn look(&mut self) -> Result<()> {
        let settings = self.settings.clone();
        let reach = spawn_blocking(move || Reach::read(&settings)).await.context("reading the files")??;
        if reach.digest == self.counts {
            self.refused = None;
            return Ok(());
        }
        if let Some((digest, why, tried)) = &self.refused
            && *digest == reach.digest
            && tried.elapsed() < AGAIN
        {
            bail!("{why}");
        }
        let digest = reach.digest;
        self.refused = None;
        let adopted = self.adopt(reach).await;
        if let Err(error) = &adopted {
            self.refused = Some((digest, format!("{error:#}"), Instant::now()));
        }
        adopted
    }

    async fn adopt(&mut self, reach: Reach) -> Result<()> {
        let shown = self.settings.kafka_config.display();
        let context = || format!("--kafka-config {shown}, as it is now");
        let candidate =
            WireCluster::with_clients(reach.own.clone(), reach.logins.clone()).with_context(context)?;
        // A CA or a login that is of no use would take topicops away from brokers that it reaches, and clients with it.
        if let Err(error) = candidate.describe_cluster().await
            && matches!(error.trouble, Trouble::Tls | Trouble::Authentication)
            && self.cluster.describe_cluster().await.is_ok()
        {
            return Err(error).with_context(context);
        }
        self.cluster.set_up(reach.own, reach.logins).with_context(context)?;
        self.counts = reach.digest;
        info!(file = %shown, "connections to the brokers are made as the files say now");
        self.endpoint.send_if_modified(|endpoint| {
            let changes = **endpoint != reach.endpoint;
            *endpoint = Arc::new(reach.endpoint);
            changes
        });
        Ok(())
    }
}

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::sleep;
use topicops_contract::TopicName;
use tracing::{debug, info};

use super::{ClientEvents, SecretStore, VerifyJob, VerifyQueue, secret_meta};
use crate::metrics::{Metrics, StateLabel};

/// A real client library that tries what a workload was given.
#[async_trait]
pub trait ClientVerifier: Send + Sync + 'static {
    /// Logs in with the text of a `client.properties` and looks at these topics and groups; writes nothing into anybody's
    /// topic. The error says what the client would see.
    async fn verify(&self, properties: &str, topics: &[TopicName], groups: &[String]) -> Result<(), String>;
}

/// Tries new Secrets in the background, one at a time, with the very bytes that the workload will mount: a client-facing
/// address, CA or rule that is wrong is found here and not by the application.
#[allow(missing_debug_implementations)]
pub struct Verifier {
    pub queue: VerifyQueue,
    pub store: Arc<dyn SecretStore>,
    pub verifier: Arc<dyn ClientVerifier>,
    pub events: Arc<dyn ClientEvents>,
    pub metrics: Metrics,
}

/// Waits before further tries: brokers may take seconds to know new credentials and rules.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8), Duration::from_secs(20)];

impl Verifier {
    /// Works for ever.
    pub async fn run(self) {
        loop {
            let job = self.queue.next().await;
            let state = self.job(&job).await;
            self.metrics.verifications.get_or_create(&StateLabel { state }).inc();
        }
    }

    async fn job(&self, job: &VerifyJob) -> &'static str {
        let mut retries = RETRIES.into_iter();
        loop {
            let error = match self.attempt(job).await {
                Attempt::Works => {
                    info!(username = job.username, "a real client got in with the Secret");
                    return "ok";
                }
                Attempt::Superseded => return "superseded",
                Attempt::Failed(error) => error,
            };
            debug!(username = job.username, error, "a real client did not get in");
            let Some(wait) = retries.next() else {
                let note = format!("a client with Secret {} did not get through: {error}", job.secret.name);
                self.events.warn(&job.client, "VerificationFailed", &note);
                return "failed";
            };
            sleep(wait).await;
        }
    }

    async fn attempt(&self, job: &VerifyJob) -> Attempt {
        match self.store.read(&job.secret).await {
            Err(error) => Attempt::Failed(error.to_string()),
            Ok(None) => Attempt::Superseded,
            Ok(Some(secret)) if !secret_meta::is_ours(&secret.meta, &job.username) => Attempt::Superseded,
            Ok(Some(secret)) => match secret.text("client.properties") {
                None => Attempt::Failed("it has no key client.properties".to_owned()),
                Some(properties) => match self.verifier.verify(&properties, &job.topics, &job.groups).await {
                    Ok(()) => Attempt::Works,
                    Err(error) => Attempt::Failed(error),
                },
            },
        }
    }
}

enum Attempt {
    Works,
    Failed(String),
    /// The Secret is gone or another's: nobody waits for the answer.
    Superseded,
}

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::sleep;
use topicops_contract::TopicName;
use tracing::{debug, info};

use super::{ClientEvents, SecretStore, VerifyJob, VerifyQueue, secret_meta};
use crate::{
    Reason,
    metrics::{Metrics, StateLabel},
};

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
                self.events.say(&job.client, Reason::VerificationFailed, &note);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::{ByteString, api::core::v1::Secret};
    use tokio::time::timeout;
    use topicops_contract::keys;

    use super::*;
    use crate::{
        ObjectKey,
        access::{
            Client,
            testing::{at, request},
        },
        controller::access::testing::{Death, Heard, MemorySecrets},
    };

    /// Answers from the end of a list, then with success.
    #[derive(Default)]
    struct Scripted {
        refusals: Mutex<Vec<&'static str>>,
        tried: Mutex<usize>,
    }

    #[async_trait]
    impl ClientVerifier for Scripted {
        async fn verify(&self, properties: &str, _: &[TopicName], _: &[String]) -> Result<(), String> {
            assert_eq!(properties, "bootstrap.servers=kafka:9093");
            *self.tried.lock().unwrap() += 1;
            self.refusals.lock().unwrap().pop().map_or(Ok(()), |refusal| Err(refusal.to_owned()))
        }
    }

    async fn try_secret(refusals: Vec<&'static str>, there: bool) -> (usize, Arc<Heard>) {
        let secrets = MemorySecrets { death: Death::never(), kept: Arc::default(), index: None };
        let mut secret = Secret::default();
        secret.metadata.name = Some("s".to_owned());
        secret.metadata.namespace = Some("shop".to_owned());
        secret.metadata.labels =
            Some([(keys::CONFIG_LABEL.to_owned(), keys::CONFIG_LABEL_CREDENTIALS.to_owned())].into());
        secret.metadata.annotations = Some([(keys::secret::USERNAME.to_owned(), "u".to_owned())].into());
        let properties = ByteString(b"bootstrap.servers=kafka:9093".to_vec());
        secret.data = Some([("client.properties".to_owned(), properties)].into());
        if there {
            secrets.kept.lock().unwrap().put(secret);
        }
        let (queue, heard) = (VerifyQueue::default(), Arc::new(Heard::default()));
        let scripted = Arc::new(Scripted { refusals: Mutex::new(refusals), ..Scripted::default() });
        let verifier = Verifier {
            queue: queue.clone(),
            store: Arc::new(secrets),
            verifier: Arc::clone(&scripted) as _,
            events: Arc::clone(&heard) as _,
            metrics: Metrics::with_registry().0,
        };
        queue.set_busy(true);
        queue.push(VerifyJob {
            client: Arc::new(Client {
                workload: request("shop/orders").workload.clone(),
                uid: "uid".to_owned(),
                created: at(1),
                deleting: false,
                request: Ok(None),
            }),
            secret: ObjectKey::new("shop", "s"),
            username: "u".to_owned(),
            topics: Vec::new(),
            groups: Vec::new(),
        });
        let running = tokio::spawn(verifier.run());
        let idle = timeout(Duration::from_secs(60), std::future::pending::<()>()).await;
        assert!(idle.is_err() && *scripted.tried.lock().unwrap() == 0, "passes go first");
        queue.set_busy(false);
        // On the paused clock this passes at once, and it is longer than all tries together.
        let _ = timeout(Duration::from_secs(600), std::future::pending::<()>()).await;
        running.abort();
        let tried = *scripted.tried.lock().unwrap();
        (tried, heard)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_gets_in_after_a_while_is_no_failure() {
        let (tried, heard) = try_secret(vec!["not yet", "not yet"], true).await;
        assert_eq!(tried, 3);
        assert!(!heard.has("VerificationFailed"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_gets_in_is_told_with_its_reason() {
        let (tried, heard) = try_secret(vec!["connect: refused"; 9], true).await;
        assert_eq!(tried, 5);
        assert!(
            heard.has("VerificationFailed: a client with Secret s did not get through: connect: refused")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_is_gone_is_not_tried() {
        let (tried, heard) = try_secret(Vec::new(), false).await;
        assert_eq!(tried, 0);
        assert!(heard.lines.lock().unwrap().is_empty());
    }
}

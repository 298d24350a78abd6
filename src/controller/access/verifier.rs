use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
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
    /// How many it tries at the same time at most.
    fn at_once(&self) -> usize;

    /// Logs in with the text of a `client.properties` and looks at these topics and groups; writes nothing into anybody's
    /// topic. The error says what the client would see.
    async fn verify(&self, properties: &str, topics: &[TopicName], groups: &[String]) -> Result<(), String>;
}

/// Tries new Secrets in the background, a few at a time, with the very bytes that the workload will mount: a client-facing
/// address, CA or rule that is wrong is found here and not by the application. What fails is put back for later, so that
/// nobody waits for clients that get no answer.
#[allow(missing_debug_implementations)]
pub struct Verifier {
    pub queue: VerifyQueue,
    pub store: Arc<dyn SecretStore>,
    pub verifier: Arc<dyn ClientVerifier>,
    pub events: Arc<dyn ClientEvents>,
    pub metrics: Metrics,
}

impl Verifier {
    /// Works for ever.
    pub async fn run(self) {
        join_all((0..self.verifier.at_once().max(1)).map(|_| self.work())).await;
    }

    async fn work(&self) {
        loop {
            let trial = self.queue.next().await;
            let attempt = self.attempt(&trial.job).await;
            let failed = matches!(attempt, Attempt::Failed(_));
            if let Some(job) = self.queue.ended(trial, failed) {
                let state = self.tell(&job, attempt);
                self.metrics.verifications.get_or_create(&StateLabel { state }).inc();
            }
        }
    }

    fn tell(&self, job: &VerifyJob, attempt: Attempt) -> &'static str {
        match attempt {
            Attempt::Works => {
                info!(username = job.username, "a real client got in with the Secret");
                "ok"
            }
            Attempt::Superseded => "superseded",
            Attempt::Failed(error) => {
                let note = format!("a client with Secret {} did not get through: {error}", job.secret.name);
                self.events.say(&job.client, Reason::VerificationFailed, &note);
                "failed"
            }
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
                    Err(error) => {
                        debug!(username = job.username, error, "a real client did not get in");
                        Attempt::Failed(error)
                    }
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
    use std::{
        collections::BTreeMap,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use k8s_openapi::{ByteString, api::core::v1::Secret};
    use tokio::{
        task::JoinHandle,
        time::{Instant, sleep},
    };
    use topicops_contract::keys;

    use super::*;
    use crate::{
        ObjectKey,
        access::{
            Client,
            testing::{at, request},
        },
        controller::access::testing::{Death, Heard, Kept, MemorySecrets},
    };

    /// Brokers that are told by the name of the Secret what to answer.
    #[derive(Default)]
    struct Scripted {
        /// Answers from the end of each list, then with success.
        refusals: Mutex<BTreeMap<String, Vec<&'static str>>>,
        tried: Mutex<Vec<String>>,
        at_once: AtomicUsize,
        most_at_once: AtomicUsize,
    }

    /// How long a client waits for brokers that do not answer.
    const TIME_OUT: Duration = Duration::from_secs(10);
    const SILENCE: &str = "no answer in time";

    #[async_trait]
    impl ClientVerifier for Scripted {
        fn at_once(&self) -> usize {
            2
        }

        async fn verify(&self, properties: &str, _: &[TopicName], _: &[String]) -> Result<(), String> {
            let name = properties.strip_prefix("client.id=").unwrap();
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            self.tried.lock().unwrap().push(name.to_owned());
            let refusal = self.refusals.lock().unwrap().get_mut(name).and_then(Vec::pop);
            if refusal == Some(SILENCE) {
                sleep(TIME_OUT).await;
            }
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            refusal.map_or(Ok(()), |refusal| Err(refusal.to_owned()))
        }
    }

    struct Room {
        queue: VerifyQueue,
        scripted: Arc<Scripted>,
        heard: Arc<Heard>,
        kept: Arc<Mutex<Kept>>,
        metrics: Metrics,
        running: JoinHandle<()>,
    }

    impl Drop for Room {
        fn drop(&mut self) {
            self.running.abort();
        }
    }

    impl Room {
        fn new() -> Self {
            let (queue, heard, kept) = (VerifyQueue::default(), Arc::new(Heard::default()), Arc::default());
            let scripted = Arc::new(Scripted::default());
            let metrics = Metrics::with_registry().0;
            let verifier = Verifier {
                queue: queue.clone(),
                store: Arc::new(MemorySecrets {
                    death: Death::never(),
                    kept: Arc::clone(&kept),
                    index: None,
                }),
                verifier: Arc::clone(&scripted) as _,
                events: Arc::clone(&heard) as _,
                metrics: metrics.clone(),
            };
            Self { queue, scripted, heard, kept, metrics, running: tokio::spawn(verifier.run()) }
        }

        fn write(&self, name: &str) {
            let mut secret = Secret::default();
            secret.metadata.name = Some(name.to_owned());
            secret.metadata.namespace = Some("shop".to_owned());
            secret.metadata.labels =
                Some([(keys::CONFIG_LABEL.to_owned(), keys::CONFIG_LABEL_CREDENTIALS.to_owned())].into());
            secret.metadata.annotations = Some([(keys::secret::USERNAME.to_owned(), name.to_owned())].into());
            let properties = ByteString(format!("client.id={name}").into_bytes());
            secret.data = Some([("client.properties".to_owned(), properties)].into());
            self.kept.lock().unwrap().put(secret);
        }

        /// Asks for a Secret to be tried, to which brokers answer so.
        fn ask(&self, name: &str, refusals: &[&'static str]) {
            self.scripted.refusals.lock().unwrap().insert(name.to_owned(), refusals.to_vec());
            self.queue.push(VerifyJob {
                client: Arc::new(Client {
                    workload: request(&format!("shop/{name}")).workload.clone(),
                    uid: name.to_owned(),
                    created: at(1),
                    deleting: false,
                    request: Ok(None),
                }),
                secret: ObjectKey::new("shop", name),
                username: name.to_owned(),
                topics: Vec::new(),
                groups: Vec::new(),
            });
        }

        fn tried(&self, name: &str) -> usize {
            self.scripted.tried.lock().unwrap().iter().filter(|tried| *tried == name).count()
        }

        fn ended(&self, state: &'static str) -> u64 {
            self.metrics.verifications.get_or_create(&StateLabel { state }).get()
        }

        async fn until(&self, holds: impl Fn(&Self) -> bool) -> Duration {
            let began = Instant::now();
            while !holds(self) {
                assert!(began.elapsed() < Duration::from_secs(10_000), "{:?}", self.heard.lines);
                sleep(Duration::from_millis(10)).await;
            }
            began.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_gets_in_after_a_while_is_no_failure() {
        let room = Room::new();
        room.write("s");
        room.queue.set_busy(true);
        room.ask("s", &["not yet", "not yet"]);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(room.tried("s"), 0, "passes go first");
        room.queue.set_busy(false);
        room.until(|room| room.ended("ok") == 1).await;
        assert_eq!(room.tried("s"), 3);
        assert!(!room.heard.has("VerificationFailed"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_gets_in_is_told_with_its_reason() {
        let room = Room::new();
        room.write("s");
        room.ask("s", &["connect: refused"; 9]);
        let after = room.until(|room| room.ended("failed") == 1).await;
        assert_eq!((room.tried("s"), after.as_secs()), (5, 32));
        assert!(
            room.heard
                .has("VerificationFailed: a client with Secret s did not get through: connect: refused")
        );
        sleep(Duration::from_secs(600)).await;
        assert_eq!(room.tried("s"), 5, "that is the end of it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_is_gone_is_not_tried() {
        let room = Room::new();
        room.ask("s", &[]);
        room.until(|room| room.ended("superseded") == 1).await;
        assert_eq!(room.tried("s"), 0);
        assert!(room.heard.lines.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_brokers_never_answer_holds_up_nobody() {
        let room = Room::new();
        for name in ["a-silent", "b", "c", "d"] {
            room.write(name);
        }
        room.ask("a-silent", &[SILENCE; 9]);
        for name in ["b", "c", "d"] {
            room.ask(name, &[]);
        }
        let after = room.until(|room| room.ended("ok") == 3).await;
        assert!(after < Duration::from_secs(1), "{after:?}");
        sleep(Duration::from_secs(15)).await;
        // It is tried again meanwhile.
        assert_eq!(room.tried("a-silent"), 2);
        room.ask("b", &["not yet"]);
        let after = room.until(|room| room.ended("ok") == 4).await;
        assert!(after < Duration::from_secs(2), "{after:?}");
        room.until(|room| room.heard.has("VerificationFailed: a client with Secret a-silent")).await;
        assert_eq!(room.heard.lines.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_that_get_no_answer_each_is_told_after_its_second_try_and_new_ones_go_first() {
        let room = Room::new();
        let many: Vec<String> = (0..100).map(|n| format!("silent-{n:02}")).collect();
        for name in &many {
            room.write(name);
            room.ask(name, &[SILENCE; 9]);
        }
        sleep(Duration::from_secs(100)).await;
        room.write("new");
        room.ask("new", &[]);
        // What came before it was tried once, and two again by now.
        room.until(|room| room.ended("ok") == 1).await;
        assert!(room.scripted.tried.lock().unwrap().len() <= many.len() + 3);
        room.ask("new", &[]);
        let after = room.until(|room| room.ended("ok") == 2).await;
        assert!(after <= TIME_OUT, "{after:?}");
        room.until(|room| room.ended("failed") == 100).await;
        assert!(many.iter().all(|name| room.tried(name) == 2));
        assert_eq!(room.scripted.most_at_once.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_of_a_secret_meanwhile_counts() {
        let room = Room::new();
        room.write("s");
        room.ask("s", &[SILENCE; 9]);
        sleep(Duration::from_secs(5)).await;
        room.ask("s", &[]);
        room.until(|room| room.ended("ok") == 1).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!((room.tried("s"), room.ended("ok"), room.ended("failed")), (2, 1, 0));
    }
}

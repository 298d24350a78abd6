//! The policy file: limits and defaults for topics, read at the start and again whenever it changes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::{io::AsyncReadExt as _, time::timeout};
use tracing::{error, info, warn};

use super::policy_memory::PolicyMemory;
use crate::{
    controller::{health::Health, topics::TopicIndex},
    metrics::Metrics,
    topic::{TopicPolicy, limits::TopicRules},
};

/// A ConfigMap takes up to a minute to reach a Pod; this adds little to it, and costs one read of a small file.
const LOOK: Duration = Duration::from_secs(2);
/// The webhook is to serve although the API server is slow.
const ANSWER: Duration = Duration::from_secs(5);

/// What the file says, for somebody at a command line: one that is not there is a typing mistake.
pub(super) async fn load_named(file: &Path) -> Result<TopicRules> {
    let text =
        read(file).await?.with_context(|| format!("--policy {}: there is no such file", file.display()))?;
    parse(file, &text)
}

/// Lets what the file says count, now and whenever it changes. A version that is wrong, or gone, is told of, and the one before
/// goes on counting, also for a replica that starts anew: nobody's topics change because of somebody's typing mistake. Where
/// none is known, the webhook serves, access goes on, and topics stay as they are.
pub(super) struct PolicyFile {
    file: PathBuf,
    memory: Arc<dyn PolicyMemory>,
    index: Arc<TopicIndex>,
    health: Health,
    metrics: Metrics,
    counts: TopicPolicy,
    /// There was a version, so that none now is a mistake.
    existed: bool,
    /// The text that was read last, and whether it is kept in memory.
    seen: Option<(String, bool)>,
}

impl PolicyFile {
    pub(super) fn new(
        file: PathBuf,
        policy: TopicPolicy,
        memory: Arc<dyn PolicyMemory>,
        index: Arc<TopicIndex>,
        (health, metrics): (Health, Metrics),
    ) -> Self {
        let counts = TopicPolicy { unread: true, ..policy };
        Self { file, memory, index, health, metrics, counts, existed: false, seen: None }
    }

    pub(super) async fn follow(mut self) {
        loop {
            self.keep().await;
            tokio::time::sleep(LOOK).await;
            self.look().await;
        }
    }

    /// One look at the file.
    pub(super) async fn look(&mut self) {
        let read = match read(&self.file).await {
            Ok(Some(text)) => parse(&self.file, &text).map(|rules| (rules, text)).map_err(Some),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        };
        let wrong = match read {
            Ok((rules, text)) => {
                self.existed = true;
                self.adopt(rules);
                if self.seen.as_ref().is_none_or(|(seen, _)| *seen != text) {
                    self.seen = Some((text, false));
                }
                None
            }
            Err(wrong) => {
                let unknown = if self.counts.unread { self.recall(wrong.is_none()).await } else { None };
                let error = wrong.or_else(|| self.missing());
                error.map(|error| mistaken(&error, unknown.as_deref(), &self.counts))
            }
        };
        told(&self.health, &self.metrics, wrong);
    }

    /// Lets the version count that counted before this replica started, or none where the file was never there. What keeps it
    /// from being known.
    async fn recall(&mut self, missing: bool) -> Option<String> {
        let remembered = match timeout(ANSWER, self.memory.recall()).await {
            Ok(Ok(remembered)) => remembered,
            Ok(Err(error)) => return Some(format!("the policy before it cannot be read: {error}")),
            Err(_) => return Some("the policy before it cannot be read: no answer".to_owned()),
        };
        match remembered.map(|text| TopicRules::parse(&text)) {
            // Empty, it lifted all limits: then it may go.
            Some(Ok(rules)) if !missing || rules != TopicRules::default() => {
                self.existed = true;
                self.adopt(rules);
            }
            Some(Ok(_)) | None if missing => self.adopt(TopicRules::default()),
            Some(Err(problems)) => return Some(format!("nor can the policy before it be read: {problems}")),
            Some(Ok(_)) | None => {}
        }
        None
    }

    /// What is wrong with there being no file.
    fn missing(&self) -> Option<anyhow::Error> {
        let shown = self.file.display();
        match (self.existed, self.counts.unread) {
            (true, _) => {
                Some(anyhow!("--policy {shown}: is gone; leave it there, and empty, to lift all limits"))
            }
            (false, true) => Some(anyhow!("--policy {shown}: is not there")),
            (false, false) => None,
        }
    }

    fn adopt(&mut self, rules: TopicRules) {
        if rules == *self.counts.rules && !self.counts.unread {
            return;
        }
        info!(file = %self.file.display(), "this policy counts from now on; every topic is looked at under it");
        (self.counts.rules, self.counts.unread) = (Arc::new(rules), false);
        self.index.govern(self.counts.clone());
        loaded(&self.metrics);
    }

    /// Tried again at the next look when it fails.
    async fn keep(&mut self) {
        let Some((text, kept)) = self.seen.as_mut().filter(|(_, kept)| !kept) else { return };
        let why = match timeout(ANSWER, self.memory.keep(text)).await {
            Ok(Ok(())) => {
                *kept = true;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        warn!(error = why, "the policy cannot be kept for replicas that start without its file");
    }
}

/// What is wrong, and what goes on meanwhile.
fn mistaken(error: &anyhow::Error, unknown: Option<&str>, counts: &TopicPolicy) -> String {
    let unknown = unknown.map(|why| format!("; {why}")).unwrap_or_default();
    match counts.unread {
        true => format!(
            "{error:#}{unknown}; until it is mended, no topic is created or changed, and all else goes on"
        ),
        false => format!("{error:#}; the policy before it counts"),
    }
}

fn loaded(metrics: &Metrics) {
    #[allow(clippy::cast_precision_loss)]
    let now = jiff::Timestamp::now().as_millisecond() as f64 / 1_000.0;
    metrics.policy_loaded_seconds.set(now);
}

fn told(health: &Health, metrics: &Metrics, wrong: Option<String>) {
    metrics.policy_valid.set(i64::from(wrong.is_none()));
    let before = health.check("policy").and_then(Result::err);
    if let Some(message) = wrong.as_ref().filter(|message| before.as_ref() != Some(message)) {
        error!("{message}");
    }
    health.set("policy", wrong.map_or(Ok(()), Err));
}

/// `None`: it is not there.
async fn read(file: &Path) -> Result<Option<String>> {
    let shown = file.display();
    let opened = match tokio::fs::File::open(file).await {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("--policy {shown}: cannot be read")),
    };
    let mut bytes = Vec::new();
    let most = TopicRules::LONGEST as u64 + 1;
    opened
        .take(most)
        .read_to_end(&mut bytes)
        .await
        .with_context(|| format!("--policy {shown}: cannot be read"))?;
    ensure!(
        bytes.len() <= TopicRules::LONGEST,
        "--policy {shown}: is longer than {} bytes, and no ConfigMap's key is",
        TopicRules::LONGEST
    );
    String::from_utf8(bytes).map(Some).map_err(|error| anyhow!("--policy {shown}: is no UTF-8 text: {error}"))
}

fn parse(file: &Path, text: &str) -> Result<TopicRules> {
    TopicRules::parse(text).map_err(|problems| anyhow!("--policy {}: {problems}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering},
        },
    };

    use async_trait::async_trait;
    use tokio::task::JoinHandle;

    use super::*;

    async fn until(what: &str, right: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if right() {
                return;
            }
            // Time is paused: it runs on by itself when all wait, and the file is read on a thread of its own.
            tokio::time::sleep(Duration::from_millis(500)).await;
            std::thread::yield_now();
        }
        panic!("waited for {what} in vain");
    }

    #[derive(Default)]
    struct Memory {
        text: Mutex<Option<String>>,
        away: AtomicBool,
    }

    #[async_trait]
    impl PolicyMemory for Memory {
        async fn recall(&self) -> Result<Option<String>, kube::Error> {
            self.answer()?;
            Ok(self.text.lock().unwrap().clone())
        }

        async fn keep(&self, text: &str) -> Result<(), kube::Error> {
            self.answer()?;
            *self.text.lock().unwrap() = Some(text.to_owned());
            Ok(())
        }
    }

    impl Memory {
        fn answer(&self) -> Result<(), kube::Error> {
            let away = self.away.load(Ordering::Relaxed);
            if away { Err(kube::Error::LinesCodecMaxLineLengthExceeded) } else { Ok(()) }
        }
    }

    /// A replica that has just started.
    struct Replica {
        index: Arc<TopicIndex>,
        health: Health,
        metrics: Metrics,
        task: JoinHandle<()>,
    }

    impl Replica {
        async fn start(file: &Path, memory: &Arc<Memory>) -> Self {
            let (index, metrics) = (Arc::new(TopicIndex::default()), Metrics::with_registry().0);
            let health = Health::new(metrics.clone());
            index.govern(TopicPolicy { unread: true, ..TopicPolicy::default() });
            let (all, told) = (Arc::clone(&index), (health.clone(), metrics.clone()));
            let memory = Arc::clone(memory) as _;
            let mut policy = PolicyFile::new(file.to_owned(), TopicPolicy::default(), memory, all, told);
            policy.look().await;
            let task = tokio::spawn(policy.follow());
            Self { index, health, metrics, task }
        }

        fn counts(&self, text: &str) -> bool {
            let policy = self.index.policy();
            !policy.unread && *policy.rules == TopicRules::parse(text).unwrap()
        }

        fn wrong(&self) -> Option<String> {
            self.health.check("policy").unwrap().err()
        }

        fn told(&self, part: &str) -> bool {
            self.wrong().is_some_and(|wrong| wrong.contains(part))
        }
    }

    impl Drop for Replica {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    const FIRST: &str = "limits: { partitions: { max: 3 } }";
    const SECOND: &str = "limits: { partitions: { max: 4 } }";
    const MISTAKEN: &str = "limits: { partitions: { max: three } }";

    #[tokio::test(start_paused = true)]
    async fn a_new_version_counts_and_a_wrong_one_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        let memory = Arc::new(Memory::default());
        let replica = Replica::start(&file, &memory).await;
        until("no limits where there never was a file", || replica.counts("")).await;
        assert_eq!(replica.wrong(), None);
        fs::write(&file, FIRST).unwrap();
        until("the first version", || replica.counts(FIRST)).await;
        fs::write(&file, MISTAKEN).unwrap();
        until("the mistake to be told", || replica.told("limits.partitions.max: \"three\"")).await;
        assert!(replica.counts(FIRST) && replica.metrics.policy_valid.get() == 0);
        fs::write(&file, SECOND).unwrap();
        until("the second version", || replica.counts(SECOND)).await;
        until("health", || replica.wrong().is_none()).await;
        fs::remove_file(&file).unwrap();
        until("the loss to be told", || replica.told("is gone")).await;
        assert!(replica.counts(SECOND), "{:?}", replica.wrong());
        fs::write(&file, "").unwrap();
        until("no limits", || replica.counts("")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_starts_without_the_file_or_with_a_mistake_goes_on_with_what_counted_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        let memory = Arc::new(Memory::default());
        fs::write(&file, FIRST).unwrap();
        let before = Replica::start(&file, &memory).await;
        until("the first version", || before.counts(FIRST)).await;
        until("it to be kept", || memory.text.lock().unwrap().as_deref() == Some(FIRST)).await;
        fs::write(&file, MISTAKEN).unwrap();
        let next = Replica::start(&file, &memory).await;
        until("the version before the mistake", || next.counts(FIRST) && next.told("\"three\"")).await;
        fs::remove_file(&file).unwrap();
        let next = Replica::start(&file, &memory).await;
        until("the version before the loss", || next.counts(FIRST) && next.told("is gone")).await;
        // Lifted by hand, limits stay lifted, and the file may go.
        fs::write(&file, "{}").unwrap();
        until("no limits", || next.counts("") && memory.text.lock().unwrap().as_deref() == Some("{}")).await;
        fs::remove_file(&file).unwrap();
        let next = Replica::start(&file, &memory).await;
        until("no limits at the start", || next.counts("")).await;
        assert_eq!(next.wrong(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_version_is_known_topics_are_left_alone_until_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        let memory = Arc::new(Memory::default());
        fs::write(&file, MISTAKEN).unwrap();
        let replica = Replica::start(&file, &memory).await;
        until("the mistake", || replica.told("\"three\"") && replica.told("until it is mended")).await;
        assert!(replica.index.policy().unread && replica.metrics.policy_valid.get() == 0);
        // Another mistake is no reason to go on.
        fs::write(&file, MISTAKEN.replace("three", "four")).unwrap();
        until("the other mistake", || replica.told("\"four\"")).await;
        assert!(replica.index.policy().unread && replica.told("until it is mended"), "{:?}", replica.wrong());
        // No limits are what was there before it was read, too.
        fs::write(&file, "{}").unwrap();
        until("no limits", || replica.counts("") && replica.wrong().is_none()).await;

        fs::remove_file(&file).unwrap();
        *memory.text.lock().unwrap() = Some(SECOND.to_owned());
        memory.away.store(true, Ordering::Relaxed);
        let replica = Replica::start(&file, &memory).await;
        until("what is not known", || replica.told("the policy before it cannot be read")).await;
        assert!(replica.index.policy().unread, "no limits, because the API server did not answer");
        memory.away.store(false, Ordering::Relaxed);
        until("what counted before", || replica.counts(SECOND)).await;
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = load_named(folder.path()).await.unwrap_err();
        assert!(
            format!("{error:#}").starts_with(&format!("--policy {}", folder.path().display())),
            "{error:#}"
        );
        let file = folder.path().join("policy.yaml");
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(format!("{:#}", load_named(&file).await.unwrap_err()).contains("UTF-8"));
        fs::write(&file, vec![b'#'; TopicRules::LONGEST + 1]).unwrap();
        assert!(format!("{:#}", load_named(&file).await.unwrap_err()).contains("longer than"));
    }
}

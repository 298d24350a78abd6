//! The policy file: limits and defaults for topics, read at the start and again whenever it changes.

use std::{io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::io::AsyncReadExt as _;
use tracing::{error, info};

use crate::{
    controller::{health::Health, topics::TopicIndex},
    metrics::Metrics,
    topic::{TopicPolicy, limits::TopicRules},
};

/// A ConfigMap takes up to a minute to reach a Pod; this adds little to it, and costs one read of a small file.
const LOOK: Duration = Duration::from_secs(2);

/// The policy with what the file says at the start; one that is not there says nothing. A mistake in it ends nothing: the
/// webhook serves and access goes on, and topics stay as they are until it is mended.
pub(super) async fn first(
    file: &Path,
    policy: TopicPolicy,
    health: &Health,
    metrics: &Metrics,
) -> TopicPolicy {
    match load(file).await {
        Ok(rules) => {
            loaded(metrics);
            TopicPolicy { rules: Arc::new(rules), ..policy }
        }
        Err(error) => {
            let policy = TopicPolicy { unread: true, ..policy };
            told(health, metrics, Some(mistaken(&error, &policy)));
            policy
        }
    }
}

async fn load(file: &Path) -> Result<TopicRules> {
    match read(file).await? {
        Some(text) => parse(file, &text),
        None => Ok(TopicRules::default()),
    }
}

/// What the file says, for somebody at a command line: one that is not there is a typing mistake.
pub(super) async fn load_named(file: &Path) -> Result<TopicRules> {
    let text =
        read(file).await?.with_context(|| format!("--policy {}: there is no such file", file.display()))?;
    parse(file, &text)
}

/// Looks at the file again and again, and lets a version that is right count. One that is wrong, or gone, is told of, and
/// the one before goes on counting: nobody's topics change because of somebody's typing mistake.
pub(super) async fn follow(
    file: &Path,
    policy: TopicPolicy,
    index: Arc<TopicIndex>,
    health: Health,
    metrics: Metrics,
) {
    let mut counts = policy;
    let mut existed = read(file).await.is_ok_and(|text| text.is_some());
    loop {
        tokio::time::sleep(LOOK).await;
        let outcome = match read(file).await {
            Ok(Some(text)) => {
                existed = true;
                parse(file, &text)
            }
            Ok(None) if existed => Err(anyhow!(
                "--policy {}: is gone; leave it there, and empty, to lift all limits",
                file.display()
            )),
            Ok(None) => Ok(TopicRules::default()),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(rules) if rules == *counts.rules && !counts.unread => told(&health, &metrics, None),
            Ok(rules) => {
                info!(file = %file.display(), "another policy counts from now on; every topic is looked at again");
                (counts.rules, counts.unread) = (Arc::new(rules), false);
                index.govern(counts.clone());
                loaded(&metrics);
                told(&health, &metrics, None);
            }
            Err(error) => told(&health, &metrics, Some(mistaken(&error, &counts))),
        }
    }
}

/// What is wrong, and what goes on meanwhile.
fn mistaken(error: &anyhow::Error, counts: &TopicPolicy) -> String {
    match counts.unread {
        true => {
            format!("{error:#}; until it is mended, no topic is created or changed, and all else goes on")
        }
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
    use std::fs;

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

    #[tokio::test(start_paused = true)]
    async fn a_new_version_counts_and_a_wrong_one_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        assert_eq!(load(&file).await.unwrap(), TopicRules::default(), "none is none");
        let index = Arc::new(TopicIndex::default());
        let metrics = Metrics::with_registry().0;
        let health = Health::new(metrics.clone());
        let task = {
            let (file, index, health, metrics) =
                (file.clone(), Arc::clone(&index), health.clone(), metrics.clone());
            tokio::spawn(async move { follow(&file, TopicPolicy::default(), index, health, metrics).await })
        };
        let counting = |text: &str| {
            let rules = TopicRules::parse(text).unwrap();
            index.under_policy(&Default::default()).policy.rules.as_ref() == &rules
        };
        let (first, second) = ("limits: { partitions: { max: 3 } }", "limits: { partitions: { max: 4 } }");
        fs::write(&file, first).unwrap();
        until("the first version", || counting(first)).await;
        fs::write(&file, "limits: { partitions: { max: three } }").unwrap();
        until("the mistake to be told", || health.check("policy").unwrap().is_err()).await;
        let told = health.check("policy").unwrap().unwrap_err();
        assert!(told.contains("limits.partitions.max: \"three\""), "{told}");
        assert!(counting(first) && metrics.policy_valid.get() == 0);
        fs::write(&file, second).unwrap();
        until("the second version", || counting(second)).await;
        until("health", || health.check("policy").unwrap().is_ok()).await;
        fs::remove_file(&file).unwrap();
        until("the loss to be told", || health.check("policy").unwrap().is_err()).await;
        assert!(counting(second), "{}", health.check("policy").unwrap().unwrap_err());
        fs::write(&file, "").unwrap();
        until("no limits", || counting("")).await;
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_mistake_at_the_start_topics_are_left_alone_until_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        fs::write(&file, "limits: { partitions: { max: three } }").unwrap();
        let index = Arc::new(TopicIndex::default());
        let metrics = Metrics::with_registry().0;
        let health = Health::new(metrics.clone());
        let policy = first(&file, TopicPolicy::default(), &health, &metrics).await;
        index.govern(policy.clone());
        assert!(index.policy().unread && metrics.policy_valid.get() == 0);
        let wrong = || health.check("policy").unwrap().unwrap_err();
        let right =
            wrong().contains("limits.partitions.max: \"three\"") && wrong().contains("until it is mended");
        assert!(right, "{}", wrong());
        let task = {
            let (file, index, health, metrics) =
                (file.clone(), Arc::clone(&index), health.clone(), metrics.clone());
            tokio::spawn(async move { follow(&file, policy, index, health, metrics).await })
        };
        // Another mistake is no reason to go on.
        fs::write(&file, "limits: { partitions: { max: four } }").unwrap();
        until("the other mistake", || wrong().contains("four")).await;
        assert!(index.policy().unread && wrong().contains("until it is mended"), "{}", wrong());
        // No limits are what was there before it was read, too.
        fs::write(&file, "{}").unwrap();
        until("no limits", || !index.policy().unread).await;
        until("health", || health.check("policy").unwrap().is_ok()).await;
        task.abort();
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(folder.path()).await.unwrap_err();
        assert!(
            format!("{error:#}").starts_with(&format!("--policy {}", folder.path().display())),
            "{error:#}"
        );
        let file = folder.path().join("policy.yaml");
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(format!("{:#}", load(&file).await.unwrap_err()).contains("UTF-8"));
        fs::write(&file, vec![b'#'; TopicRules::LONGEST + 1]).unwrap();
        assert!(format!("{:#}", load(&file).await.unwrap_err()).contains("longer than"));
    }
}

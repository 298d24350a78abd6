//! What all kinds of clients meet: topics of two namespaces with some records in them, and who is told what.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use serde_json::{Value, json};
use tokio::{process::Command, sync::Semaphore};
use topicops::kafka::Cluster as _;
use topicops_contract::PropertiesText;
use topicops_testbed::KafkaVersion;

use crate::{
    librdkafka,
    row::Denial,
    running::{Running, quiet},
    streams,
    support::{PATIENCE, World, metric, wait},
};

/// The namespace of all clients.
pub(crate) const SHOP: &str = "shop";

/// Topics of the shop, and what is in them.
const TOPICS: [(&str, &[&str]); 5] = [
    ("orders", &["hello"]),
    ("refunds", &["hello"]),
    ("events.one", &["hello"]),
    ("streams-plaintext-input", &["all streams lead to kafka"]),
    ("streams-wordcount-output", &[]),
];

/// Short-lived JVMs at once.
const PROGRAMS: usize = 4;

pub(crate) struct Scene<'w> {
    pub(crate) world: &'w World,
    pub(crate) kafka: KafkaVersion,
    folder: tempfile::TempDir,
    next: AtomicU32,
    places: Semaphore,
    /// The workloads that have their Secrets.
    given: Mutex<Vec<&'static str>>,
}

/// A workload, as its Secret has it.
pub(crate) struct Given {
    name: &'static str,
    pub(crate) data: BTreeMap<String, String>,
}

impl<'w> Scene<'w> {
    pub(crate) async fn set(world: &'w World, kafka: KafkaVersion) -> Result<Self> {
        for (namespace, topics) in
            [(SHOP, TOPICS.as_slice()), ("billing", &[("events.secret", ["hello"].as_slice())])]
        {
            world.bed.create_namespace(namespace).await?;
            for (topic, _) in topics {
                world.declare(namespace, topic, json!({ "partitions": "1" }), json!({})).await?;
            }
            for (topic, records) in topics {
                world.until_ready(namespace, topic).await?;
                world.until_topic(topic).await?;
                fill(world, topic, records).await?;
            }
        }
        Ok(Self {
            world,
            kafka,
            folder: tempfile::tempdir()?,
            next: AtomicU32::new(0),
            places: Semaphore::const_new(PROGRAMS),
            given: Mutex::default(),
        })
    }

    /// A Deployment of the shop with these annotations, once it has its Secret.
    pub(crate) async fn give(&self, name: &'static str, annotations: &[(&str, &str)]) -> Result<Given> {
        let annotations: serde_json::Map<String, Value> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.world.create_client(SHOP, name, annotations.into()).await?;
        self.given(name).await
    }

    /// What a workload of the shop was given, once it has its Secret.
    pub(crate) async fn given(&self, name: &'static str) -> Result<Given> {
        let data = self.world.until_secret(SHOP, &format!("{name}-kafka-credentials")).await?;
        let events = self.world.until_event(SHOP, name, "CredentialsReady").await?;
        ensure!(events.contains("which work"), "{events}");
        self.given.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        Ok(Given { name, data })
    }

    /// Waits until topicops' own verifier has got in with every Secret, whatever kind of client it is for.
    pub(crate) async fn until_all_are_verified(&self) -> Result<()> {
        let given = f64::from(u32::try_from(self.names().len())?);
        wait::until("all Secrets to be verified", PATIENCE, || async {
            // Of all replicas: another one may lead now.
            let (mut ok, mut failed) = (0.0, 0.0);
            for pod in self.world.pods("topicops", "app.kubernetes.io/name=topicops").await? {
                let (_, metrics) = self.world.probe(&pod, "/metrics").await?;
                let of = |state: &str| {
                    let name = format!("topicops_verifications_total{{state=\"{state}\"}}");
                    metric(&metrics, &name).unwrap_or_default()
                };
                ok += of("ok");
                failed += of("failed");
            }
            ensure!(ok >= given && failed < 1.0, "{ok} of {given}, and {failed} failed");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    fn names(&self) -> Vec<&'static str> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `topicops verify` gets through with every Secret, whatever kind of client it is for, and looks at what it can.
    pub(crate) async fn verify_shows_each(&self) -> Result<()> {
        let names = self.names();
        ensure!(names.contains(&streams::WORKLOAD), "{names:?}");
        let verify = async |name: &'static str| {
            let ran = self.world.topicops(&["verify", &format!("{SHOP}/{name}")]).await?;
            ensure!(ran.code == Some(0) && ran.out.contains("    login: ok\n"), "{ran:?}");
            if name == streams::WORKLOAD {
                let topics =
                    "    topic streams-plaintext-input: ok\n    topic streams-wordcount-output: ok\n";
                let rest = format!(
                    "    internal topics {id}-*: not looked at\n    transactional id {id}-*: not looked at\n",
                    id = streams::APPLICATION
                );
                ensure!(ran.out.contains(topics) && ran.out.ends_with(&rest), "{ran:?}");
            }
            Ok::<_, anyhow::Error>(())
        };
        try_join_all(names.into_iter().map(verify)).await?;
        Ok(())
    }

    /// A place for a file that nobody else uses.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{}-{name}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The text of the Secret with other lines beside it, or in place of those of the same key, in a file.
    pub(crate) fn config(&self, given: &Given, changes: &[(&str, &str)]) -> Result<PathBuf> {
        let file = self.place(&format!("{}.properties", given.name));
        std::fs::write(&file, given.properties(changes)?)?;
        Ok(file)
    }

    /// A program that has a place among those that are short-lived, until it has said enough.
    pub(crate) async fn run<T>(
        &self,
        tool: &str,
        arguments: &[&str],
        input: Option<&str>,
        look: impl AsyncFnOnce(Running) -> Result<T>,
    ) -> Result<T> {
        let _place = self.places.acquire().await?;
        let mut command = quiet(self.world.bed.kafka()?.command(tool)?);
        command.args(arguments);
        if let Some(text) = input {
            let file = self.place("input");
            std::fs::write(&file, format!("{text}\n"))?;
            command.stdin(std::fs::File::open(file)?);
        }
        let what = format!("{tool} {}", arguments.join(" "));
        look(Running::start(&what, command, self.place("log"))?).await
    }

    /// Runs a tool that ends well, and gives what it says.
    pub(crate) async fn works(&self, tool: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
        self.run(tool, arguments, input, async |running| running.finished().await).await
    }

    /// Runs a tool until it says that it was denied.
    pub(crate) async fn denied(
        &self,
        tool: &str,
        arguments: &[&str],
        input: Option<&str>,
        denial: Denial,
    ) -> Result<()> {
        let exception = denial.exception();
        let look = async |running: Running| {
            running.until(exception, |said| said.contains(exception).then_some(())).await
        };
        self.run(tool, arguments, input, look).await
    }

    /// Starts a tool that goes on until it is dropped.
    pub(crate) fn start(&self, tool: &str, arguments: &[&str], env: &[(&str, &str)]) -> Result<Running> {
        let mut command: Command = quiet(self.world.bed.kafka()?.command(tool)?);
        command.args(arguments).envs(env.iter().copied());
        Running::start(tool, command, self.place("log"))
    }

    /// The option of console tools that names the client configuration: `role` is `producer` or `consumer`.
    pub(crate) fn config_option(&self, role: &str) -> String {
        match self.kafka {
            KafkaVersion::V4_3 => "--command-config".to_owned(),
            KafkaVersion::V3_9 => format!("--{role}.config"),
        }
    }

    /// What the brokers' authorizer has denied to a client so far: operation and resource.
    pub(crate) fn denials(&self, given: &Given) -> Result<Vec<String>> {
        let log = self.world.bed.info().directory.join("logs/broker-1.log");
        let log = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
        let of_client = format!("Principal = User:{} is Denied operation = ", given.username());
        let lines = log.lines().filter_map(|line| {
            let (operation, rest) = line.split_once(&of_client)?.1.split_once(" from ")?;
            let (resource, _) = rest.split_once(" on resource = ")?.1.split_once(" for ")?;
            Some(format!("{operation} {}", resource.replace(":LITERAL:", " ")))
        });
        Ok(lines.collect())
    }

    /// Fails when the brokers have denied anything to a client that is to work.
    pub(crate) fn nothing_was_denied(&self, given: &Given) -> Result<()> {
        let denials = self.denials(given)?;
        ensure!(denials.is_empty(), "{} worked, and was denied: {denials:?}", given.name);
        Ok(())
    }

    /// Waits until the brokers tell topicops that a group reads a topic: that topic is not deleted then.
    pub(crate) async fn until_read_by(&self, group: &str, topic: &str) -> Result<()> {
        let cluster = self.world.cluster()?;
        wait::until(format!("{group} to be known to read {topic}"), PATIENCE, || async {
            let groups = cluster.consuming_groups().await?;
            let reads = groups.iter().any(|one| one.group == group && one.topics.contains(topic));
            ensure!(reads, "{groups:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// How far the only partition of a topic has come.
    pub(crate) async fn end_of(&self, topic: &str) -> Result<i64> {
        let config = admin(self.world)?;
        let topic = topic.to_owned();
        let asked = move || {
            let consumer: BaseConsumer = config.create()?;
            let (_, end) = consumer.fetch_watermarks(&topic, 0, Duration::from_secs(5))?;
            Ok(end)
        };
        tokio::task::spawn_blocking(asked).await?
    }

    pub(crate) async fn until_in(&self, topic: &str, records: i64) -> Result<()> {
        wait::until(format!("{records} records in {topic}"), PATIENCE * 2, || async {
            let end = self.end_of(topic).await?;
            ensure!(end >= records, "there are {end}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }
}

impl Given {
    pub(crate) fn username(&self) -> &str {
        &self.data["username"]
    }

    pub(crate) fn servers(&self) -> &str {
        &self.data["bootstrap.servers"]
    }

    /// The Secret's own text with other lines beside it, or in place of those of the same key; without those that are to be
    /// empty.
    pub(crate) fn properties(&self, changes: &[(&str, &str)]) -> Result<String> {
        let text = self.data.get("client.properties").context("no client.properties")?;
        let replaced = |line: &&str| changes.iter().all(|(key, _)| !line.starts_with(&format!("{key}=")));
        let kept: Vec<&str> = text.lines().filter(replaced).collect();
        Ok(format!(
            "{}\n{}",
            kept.join("\n"),
            PropertiesText::render(changes.iter().filter(|(_, value)| !value.is_empty()).copied())
        ))
    }
}

fn admin(world: &World) -> Result<ClientConfig> {
    librdkafka::administrator(&std::fs::read_to_string(world.bed.kafka()?.admin_properties())?)
}

async fn fill(world: &World, topic: &str, records: &[&str]) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let producer: FutureProducer = admin(world)?.create()?;
    for record in records {
        let record = FutureRecord::<(), _>::to(topic).payload(*record);
        producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
    }
    Ok(())
}

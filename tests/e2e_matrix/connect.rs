//! A Kafka Connect worker with Kafka's own file connectors, its sources exactly once.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use topicops_testbed::KafkaVersion::{V3_9, V4_3};

use crate::{
    row::{Denial, Row},
    running::Running,
    scene::{Given, Scene},
    support::{PATIENCE, wait},
};

/// What a worker asks for and goes on without: it would make the topics of its state, and look how they are compacted.
const ASKS: [&str; 2] = ["CREATE Topic connect-", "DESCRIBE_CONFIGS Topic connect-"];
const STATE: &str = "connect-configs,connect-offsets,connect-status,lines";

pub(crate) async fn worker(scene: &Scene<'_>) -> Result<Option<Row>> {
    let annotations = [
        ("consumes", STATE),
        ("produces", STATE),
        ("groups", "connect-copy"),
        ("transactional-ids", "connect-cluster-shop.worker,shop.worker-*"),
    ];
    let given = scene.give("worker", &annotations).await?;
    let worker = start(scene, &given, "shop.worker")?;
    let rest = rest_of(&worker).await?;
    let (input, output) = (scene.place("input"), scene.folder().join("output"));
    std::fs::write(&input, "one\ntwo\n")?;
    let source = |topic: &str| {
        json!({
            "connector.class": "FileStreamSource", "file": input, "topic": topic, "exactly.once.support": "required",
        })
    };
    let sink = |file: &Path| json!({ "connector.class": "FileStreamSink", "file": file, "topics": "lines" });
    put(&rest, "lines", &source("lines")).await?;
    put(&rest, "copy", &sink(&output)).await?;
    wait::until("the lines to be copied", PATIENCE * 2, || async {
        let copied = std::fs::read_to_string(&output).unwrap_or_default();
        ensure!(copied == "one\ntwo\n", "{copied:?} {}", worker.said()?);
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let denied = scene.denials(&given)?;
    let unexpected: Vec<_> =
        denied.iter().filter(|line| !ASKS.iter().any(|asked| line.starts_with(asked))).collect();
    ensure!(unexpected.is_empty(), "it worked, and was denied: {unexpected:?}");

    put(&rest, "refunds", &source("refunds")).await?;
    put(&rest, "other", &sink(&scene.folder().join("nothing"))).await?;
    until_failed(&rest, "refunds", Denial::Topic).await?;
    until_failed(&rest, "other", Denial::Group).await?;
    drop(worker);
    let stranger = start(scene, &given, "shop.workers")?;
    let exception = Denial::Group.exception();
    stranger.until(exception, |said| said.contains(exception).then_some(())).await?;
    let works =
        "keeps its state in three topics; a source writes `lines` exactly once, the sink `copy` reads it";
    let client = "Kafka Connect worker, `exactly.once.source.support`";
    let row = Row::new(client, &[V4_3, V3_9], &annotations, works)
        .denied("a source writes `refunds`", Denial::Topic)
        .denied("the sink `other`, in the group `connect-other`", Denial::Group)
        .denied("joins the workers of `shop.workers`", Denial::Group);
    Ok(Some(row))
}

/// A worker logs in for itself and for its connectors, each of which it configures by prefixes.
fn start(scene: &Scene<'_>, given: &Given, group: &str) -> Result<Running> {
    let own = given.properties(&[])?;
    let login: Vec<&str> = own.lines().filter(|line| !line.starts_with("group.id=")).collect();
    let prefixed = ["producer.", "consumer.", "admin."]
        .iter()
        .flat_map(|prefix| login.iter().map(move |line| format!("{prefix}{line}\n")));
    let settings = [
        ("group.id", group),
        ("config.storage.topic", "connect-configs"),
        ("offset.storage.topic", "connect-offsets"),
        ("status.storage.topic", "connect-status"),
        ("config.storage.replication.factor", "1"),
        ("offset.storage.replication.factor", "1"),
        ("status.storage.replication.factor", "1"),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("exactly.once.source.support", "enabled"),
        ("offset.flush.interval.ms", "500"),
        ("plugin.discovery", "service_load"),
        ("listeners", "http://127.0.0.1:0"),
    ];
    let config = scene.place("worker.properties");
    let text: String = prefixed.collect();
    std::fs::write(&config, format!("{text}{}", given.properties(&settings)?))?;
    // It tells the port that it was given.
    let talkative = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.connect.runtime.rest.RestServer=info";
    let env = [("KAFKA_OPTS", talkative), ("KAFKA_HEAP_OPTS", "-Xmx256m")];
    scene.start("connect-distributed.sh", &[&config.display().to_string()], &env)
}

/// Where the worker listens, once it is ready.
async fn rest_of(worker: &Running) -> Result<String> {
    let listens = |said: &str| {
        let (before, _) = said.split_once("server is started and ready to handle requests")?;
        let (_, url) = before.rsplit_once("http://127.0.0.1:")?;
        Some(format!("http://127.0.0.1:{}", url.split(|character: char| !character.is_ascii_digit()).next()?))
    };
    worker.until("it is ready", listens).await
}

async fn curl(arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "30"]).args(arguments);
    let output = command.kill_on_drop(true).output().await.context("running curl")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_str(&said)?)
}

async fn put(rest: &str, connector: &str, config: &Value) -> Result<()> {
    let (url, body) = (format!("{rest}/connectors/{connector}/config"), config.to_string());
    // While workers make up their minds who does what, they refuse.
    wait::until(format!("connector {connector}"), Duration::from_secs(60), || async {
        curl(&["--request", "PUT", "--header", "Content-Type: application/json", "--data", &body, &url]).await
    })
    .await
    .map(drop)
}

async fn until_failed(rest: &str, connector: &str, denial: Denial) -> Result<()> {
    let url = format!("{rest}/connectors/{connector}/status");
    wait::until(format!("connector {connector} to be denied"), PATIENCE * 2, || async {
        let status = curl(&[&url]).await?;
        let text = status.to_string();
        ensure!(text.contains("FAILED") && text.contains(denial.exception()), "{text}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

//! Kafka Connect workers as an example of `deploy` has them, with Kafka's own file connectors.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::process::Command;
use topicops_testbed::KafkaVersion::{V3_9, V4_3};

use crate::{
    row::{Denial, Row},
    running::{Running, quiet},
    scene::{Given, SHOP, Scene},
    support::{PATIENCE, repository, wait},
};

/// What workers ask for and go on without: they would make the topics of their state, and look how those are compacted.
const ASKS: [&str; 2] = ["CREATE Topic connect-", "DESCRIBE_CONFIGS Topic connect-"];
const GROUP: &str = "shop.connect";

pub(crate) async fn workers(scene: &Scene<'_>) -> Result<Option<Row>> {
    scene.world.bed.apply_path(repository().join("deploy/examples/6-connect.yaml")).await?;
    let example = scene.world.api::<Deployment>(SHOP).get("connect").await?;
    let annotations = asked_for(&example);
    let given = scene.given("connect").await?;
    let worker = match scene.kafka {
        V4_3 => Worker { url: in_its_pod(scene).await?, beside: None },
        // The example's image is of another version.
        V3_9 => Worker::beside(start(scene, &example, &given, GROUP)?).await?,
    };
    // Where a container sees it, too.
    let files = tempfile::tempdir_in("/var/tmp")?;
    let file = files.path().join("lines");
    std::fs::write(&file, "one\ntwo\n")?;
    let source = |topic: &str| {
        let class = "FileStreamSource";
        json!({ "connector.class": class, "file": file, "topic": topic, "exactly.once.support": "required" })
    };
    // What it reads, it prints.
    let sink = json!({ "connector.class": "FileStreamSink", "topics": "orders" });
    let rest = worker.url.as_str();
    put(rest, "lines-in", &source("imports")).await?;
    put(rest, "orders-out", &sink).await?;
    // The end of a transaction counts, too.
    scene.until_in("imports", 3).await?;
    wait::until("orders to be printed", PATIENCE * 2, || async {
        let said = worker.said(scene).await?;
        ensure!(said.lines().any(|line| line == "hello"), "{said}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let denied = scene.denials(&given)?;
    let unexpected: Vec<_> =
        denied.iter().filter(|line| !ASKS.iter().any(|asked| line.starts_with(asked))).collect();
    ensure!(unexpected.is_empty(), "it worked, and was denied: {unexpected:?}");

    put(rest, "refunds-in", &source("refunds")).await?;
    put(rest, "orders-more", &sink).await?;
    until_failed(rest, "refunds-in", Denial::Topic).await?;
    until_failed(rest, "orders-more", Denial::Group).await?;
    drop(worker);
    let stranger = start(scene, &example, &given, "shop.connector")?;
    let exception = Denial::Group.exception();
    stranger.until(exception, |said| said.contains(exception).then_some(())).await?;
    let client = "Kafka Connect workers, `exactly.once.source.support`";
    let works = "keep their state in three topics; a source writes `imports` exactly once, the sink `orders-out` reads `orders`";
    let annotations: Vec<(&str, &str)> =
        annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let row = Row::new(client, &[V4_3, V3_9], &annotations, works)
        .denied("a source writes `refunds`", Denial::Topic)
        .denied("the sink `orders-more`, in the group `connect-orders-more`", Denial::Group)
        .denied("join the workers of `shop.connector`", Denial::Group);
    Ok(Some(row))
}

/// The annotations in the order of the README's table.
fn asked_for(deployment: &Deployment) -> Vec<(String, String)> {
    let annotations = deployment.annotations();
    let known = ["consumes", "produces", "groups", "transactional-ids"];
    let values =
        known.map(|key| (key.to_owned(), annotations.get(&format!("topic.kafka.nb/{key}")).cloned()));
    values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

struct Worker {
    url: String,
    /// `None`: it is in its Pod.
    beside: Option<Running>,
}

impl Worker {
    async fn beside(running: Running) -> Result<Self> {
        let listens = |said: &str| {
            let (before, _) = said.split_once("server is started and ready to handle requests")?;
            let (_, rest) = before.rsplit_once("http://127.0.0.1:")?;
            let port = rest.split(|character: char| !character.is_ascii_digit()).next()?;
            Some(format!("http://127.0.0.1:{port}"))
        };
        let url = running.until("it is ready", listens).await?;
        Ok(Self { url, beside: Some(running) })
    }

    async fn said(&self, scene: &Scene<'_>) -> Result<String> {
        match &self.beside {
            None => scene.world.bed.logs(SHOP, &the_pod(scene).await?.name_any(), "connect"),
            Some(running) => running.said(),
        }
    }
}

async fn the_pod(scene: &Scene<'_>) -> Result<Pod> {
    scene.world.pods(SHOP, "app=connect").await?.pop().context("there is no Pod")
}

async fn in_its_pod(scene: &Scene<'_>) -> Result<String> {
    scene.world.until_rolled_out(SHOP, "connect", PATIENCE * 2).await?;
    let address = the_pod(scene).await?.status.and_then(|status| status.pod_ip);
    Ok(format!("http://{}:8083", address.context("the Pod has no address")?))
}

/// The example's own script, with the very Secret, beside the cluster.
fn start(scene: &Scene<'_>, example: &Deployment, given: &Given, group: &str) -> Result<Running> {
    let pod = example.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).context("no Pod")?;
    let script = pod.containers[0].args.as_ref().and_then(|args| args.first()).context("no script")?;
    let root: PathBuf = scene.place("bindings");
    std::fs::create_dir_all(root.join("credentials"))?;
    std::fs::write(root.join("credentials/client.properties"), given.properties(&[])?)?;
    let tools = scene.world.bed.kafka()?.tools().display().to_string();
    // It tells the port that it was given.
    let talkative = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.connect.runtime.rest.RestServer=info";
    let mut command = quiet(Command::new("/bin/sh"));
    command.arg("-c").arg(script.replace("/opt/kafka/bin", &tools)).envs([
        ("SERVICE_BINDING_ROOT", root.display().to_string().as_str()),
        ("TMPDIR", &scene.folder().display().to_string()),
        ("POD_IP", "127.0.0.1"),
        ("CONNECT_PORT", "0"),
        ("CONNECT_GROUP", group),
        ("KAFKA_OPTS", talkative),
        ("KAFKA_HEAP_OPTS", "-Xmx256m"),
    ]);
    Running::start(&format!("a Connect worker of {group}"), command, scene.place("log"))
}

async fn curl(arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60"]).args(arguments);
    let output = command.kill_on_drop(true).output().await.context("running curl")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_str(&said)?)
}

async fn put(rest: &str, connector: &str, config: &Value) -> Result<()> {
    let (url, body) = (format!("{rest}/connectors/{connector}/config"), config.to_string());
    // While workers make up their minds who does what, they refuse.
    wait::until(format!("connector {connector}"), PATIENCE, || async {
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

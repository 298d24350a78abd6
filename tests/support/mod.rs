//! A world for end-to-end tests: a bed, and topicops installed in it from `deploy/install`, unchanged.
//!
//! One for each test binary: starting it takes seconds, and every test has a namespace and topic names of its own.
// Not every test binary uses all of it; and tests may panic, and print why.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::needless_pass_by_value
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Secret},
    events::v1::Event,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    sync::{OnceCell, RwLock},
};
mod manifests;

use manifests::object;
pub use manifests::{client_deployment, refusal, topic_config_map};
use topicops_contract::{PropertiesText, State, Status};
pub use topicops_testbed::{Options, Program, Testbed, wait};

/// Long enough for the slowest machine; a healthy run is done in a small part of it.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const IMAGE: &str = concat!("ghcr.io/topicops/topicops:", env!("CARGO_PKG_VERSION"));
pub const KAFKA_IMAGE: &str = "apache/kafka:4.3.1";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime for the tests")
});
static WORLD: OnceCell<Result<World, String>> = OnceCell::const_new();
/// Variables for topicops, beside those of the manifests, in every world of this binary.
pub static SETTINGS: OnceLock<Vec<(&'static str, &'static str)>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Tests that share the world, and those that need it for themselves.
static TURNS: RwLock<()> = RwLock::const_new(());

/// Runs a test in this binary's world; evidence is printed when it fails.
pub fn in_the_world<F>(test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    in_the_world_of(Options::default(), test);
}

/// The same where the world is another than usual; all tests of a binary have to ask for the same one.
pub fn in_the_world_of<F>(options: Options, test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    RUNTIME.block_on(async {
        let _turn = TURNS.read().await;
        run(options, test).await;
    });
}

/// The same for a test that disturbs others: none runs meanwhile.
pub fn alone_in_the_world<F>(test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    alone_in_the_world_of(Options::default(), test);
}

/// The same where the world is another than usual.
pub fn alone_in_the_world_of<F>(options: Options, test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    RUNTIME.block_on(async {
        let _turn = TURNS.write().await;
        run(options, test).await;
    });
}

async fn run<F>(options: Options, test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    // Tried once: what kept it from starting would keep it from starting again.
    let start = async || World::start(options.clone()).await.map_err(|error| format!("{error:#}"));
    let world = match WORLD.get_or_init(start).await {
        Ok(world) => world,
        Err(error) => panic!("the world did not start: {error}"),
    };
    if let Err(error) = test(world).await {
        println!("{}", world.evidence().await);
        panic!("{error:#}");
    }
}

/// Runs a test in a world of its own, which it may break.
pub fn in_a_world_of_its_own<F>(options: Options, test: F)
where
    F: AsyncFnOnce(&World) -> Result<()>,
{
    RUNTIME.block_on(async {
        // Two worlds at once are too much for a small machine, and no test's disturbance is another's.
        let _turn = TURNS.write().await;
        let world =
            World::start(options).await.unwrap_or_else(|error| panic!("the world did not start: {error:#}"));
        if let Err(error) = test(&world).await {
            println!("{}", world.evidence().await);
            panic!("{error:#}");
        }
    });
}

pub struct World {
    pub bed: Testbed,
    pub client: Client,
}

impl World {
    pub async fn start(options: Options) -> Result<Self> {
        // Kafka 4.3.1, started again from a metadata log in which SCRAM users were removed, may lose all others, the administrator
        // too (ScramDelta.apply); not when it begins with a snapshot that holds one.
        let options = options.broker_setting("metadata.log.max.snapshot.interval.ms", "1000");
        let bed = Testbed::start(options).await?;
        let client = bed.client().await?;
        let world = Self { bed, client };
        if let Err(error) = world.install().await {
            println!("{}", world.evidence().await);
            return Err(error);
        }
        Ok(world)
    }

    /// Installs topicops as an administrator would, and waits until both replicas serve.
    async fn install(&self) -> Result<()> {
        let binary = env!("CARGO_BIN_EXE_topicops");
        std::fs::create_dir(self.fail_points())?;
        let program = Program::binary(binary, "/usr/local/bin/topicops")
            .cmd(["run"])
            .mount(self.fail_points(), "/fail-points")
            .env("TOPICOPS_FAIL_POINT_FILE", "/fail-points/armed")
            // Tests that let topics be adopted have a namespace of that name.
            .env("TOPICOPS_TOPIC_OWNERS", "adopter-*=*");
        let settings = SETTINGS.get().map(Vec::as_slice).unwrap_or_default();
        let program = settings.iter().fold(program, |program, (name, value)| program.env(*name, *value));
        self.bed.map_image(IMAGE, program).await?;
        self.bed.apply_path(repository().join("deploy/install")).await?;
        let kafka = self.bed.kafka()?;
        let login = format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" password=\"{}\";",
            kafka.admin_user(),
            kafka.admin_password()
        );
        let properties = PropertiesText::render([
            ("bootstrap.servers", kafka.bootstrap_servers()),
            // A frozen broker is noticed within a test's patience.
            ("request.timeout.ms", "5000"),
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.jaas.config", &login),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.certificates", kafka.ca_pem()),
        ]);
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": "topicops-kafka" },
            "stringData": { "client.properties": properties },
        }))?;
        self.api::<Secret>("topicops").create(&PostParams::default(), &secret).await?;
        self.until_rolled_out("topicops", "topicops", PATIENCE).await
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// A fresh namespace.
    pub async fn namespace(&self, name: &str) -> Result<String> {
        let name = format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.bed.create_namespace(&name).await?;
        Ok(name)
    }

    /// A topic name that no other test of this binary uses.
    pub fn topic(&self, name: &str) -> String {
        format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub async fn until_rolled_out(&self, namespace: &str, name: &str, patience: Duration) -> Result<()> {
        let api = self.api::<Deployment>(namespace);
        wait::until(format!("Deployment {namespace}/{name} to be rolled out"), patience, || async {
            let deployment = api.get(name).await?;
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let status = deployment.status.unwrap_or_default();
            let counts = (status.updated_replicas, status.available_replicas, status.replicas);
            let current = status.observed_generation == deployment.metadata.generation;
            ensure!(
                current && counts == (Some(wanted), Some(wanted), Some(wanted)),
                "{counts:?} of {wanted}"
            );
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Stops the broker for as long as `work` takes, and starts it again however that ends.
    pub async fn without_broker<T>(&self, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        self.bed.stop_broker(1).await?;
        let result = work().await;
        let started = self.bed.start_broker(1).await;
        let result = result?;
        started.map(|()| result)
    }

    /// The same for a broker that holds its connections and answers nothing.
    pub async fn with_frozen_broker<T>(&self, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        self.bed.pause_broker(1).await?;
        let result = work().await;
        let resumed = self.bed.resume_broker(1).await;
        let result = result?;
        resumed.map(|()| result)
    }

    // --- topics

    pub async fn declare(
        &self,
        namespace: &str,
        name: &str,
        data: Value,
        annotations: Value,
    ) -> Result<ConfigMap> {
        let config_map = topic_config_map(name, data, annotations)?;
        Ok(self.api::<ConfigMap>(namespace).create(&PostParams::default(), &config_map).await?)
    }

    pub async fn patch_topic(&self, namespace: &str, name: &str, patch: Value) -> Result<()> {
        let api = self.api::<ConfigMap>(namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits for a status that satisfies `right`. It may be of an earlier ConfigMap: `hash` tells of which.
    pub async fn until_status(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        right: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let api = self.api::<ConfigMap>(namespace);
        wait::until(format!("ConfigMap {namespace}/{name} to be {what}"), PATIENCE, || async {
            let config_map = api.get(name).await?;
            let text = config_map.annotations().get("topic.kafka.nb/status").context("no status yet")?;
            let status: Status = serde_json::from_str(text).context("a status that is no status")?;
            ensure!(right(&status), "{text}");
            Ok::<_, anyhow::Error>(status)
        })
        .await
    }

    pub async fn until_ready(&self, namespace: &str, name: &str) -> Result<Status> {
        self.until_status(namespace, name, "ready", |status| status.state == State::Ready).await
    }

    pub async fn until_refused(&self, namespace: &str, name: &str, reason: &str) -> Result<Status> {
        self.until_status(namespace, name, reason, |status| status.reason == reason).await
    }

    /// The topic as Kafka's own tool describes it: the first line, and `None` when there is none.
    pub async fn described(&self, topic: &str) -> Result<Option<String>> {
        let list = self.kafka_tool("kafka-topics.sh", &["--list"]).await?;
        if !list.lines().any(|line| line.trim() == topic) {
            return Ok(None);
        }
        let text = self.kafka_tool("kafka-topics.sh", &["--describe", "--topic", topic]).await?;
        Ok(Some(text.lines().find(|line| line.contains("PartitionCount")).unwrap_or_default().to_owned()))
    }

    /// One of Kafka's own tools, as the administrator.
    pub async fn kafka_tool(&self, name: &str, arguments: &[&str]) -> Result<String> {
        self.bed.kafka()?.tool(name, arguments).await
    }

    /// All ACLs of a user, one `OPERATION TYPE name` (`name*` when prefixed) each, sorted.
    pub async fn acls_of(&self, username: &str) -> Result<Vec<String>> {
        let cluster = self.cluster()?;
        let acls = topicops::kafka::Cluster::describe_acls(&cluster, username).await?;
        let lines = acls.iter().filter(|acl| acl.username == username).map(|acl| {
            let star = match acl.resource.pattern {
                topicops::kafka::PatternType::Prefixed => "*",
                topicops::kafka::PatternType::Literal => "",
            };
            format!("{:?} {:?} {}{star}", acl.operation, acl.resource.resource_type, acl.resource.name)
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        Ok(lines)
    }

    pub async fn scram_users(&self, prefix: &str) -> Result<Vec<String>> {
        let users = topicops::kafka::Cluster::describe_scram_users(&self.cluster()?, prefix).await?;
        Ok(users.into_iter().map(|user| user.username).collect())
    }

    /// The brokers, as the administrator sees them.
    pub fn cluster(&self) -> Result<topicops::kafka::WireCluster> {
        let text = std::fs::read_to_string(self.bed.kafka()?.admin_properties())?;
        let properties =
            topicops::kafka::ClientProperties::parse("admin", &text).map_err(|error| anyhow!("{error}"))?;
        Ok(topicops::kafka::WireCluster::new(properties)?)
    }

    // --- clients

    pub async fn create_client(&self, namespace: &str, name: &str, annotations: Value) -> Result<Deployment> {
        let deployment = client_deployment(name, annotations, 0, "sleep 3600")?;
        Ok(self.api::<Deployment>(namespace).create(&PostParams::default(), &deployment).await?)
    }

    pub async fn annotate(&self, namespace: &str, name: &str, annotations: Value) -> Result<()> {
        let annotations: BTreeMap<String, Value> = object(&annotations)
            .into_iter()
            .map(|(key, value)| (format!("topic.kafka.nb/{key}"), value))
            .collect();
        let patch = json!({ "metadata": { "annotations": annotations } });
        let api = self.api::<Deployment>(namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub async fn until_secret(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
        let api = self.api::<Secret>(namespace);
        wait::until(format!("Secret {namespace}/{name}"), PATIENCE, || async {
            let secret = api.get(name).await?;
            let data = secret.data.unwrap_or_default();
            let text =
                |(key, value): (String, k8s_openapi::ByteString)| Ok((key, String::from_utf8(value.0)?));
            data.into_iter().map(text).collect::<Result<BTreeMap<_, _>>>()
        })
        .await
    }

    pub async fn until_gone<K>(&self, namespace: &str, name: &str) -> Result<()>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let api = self.api::<K>(namespace);
        wait::until(format!("{namespace}/{name} to be gone"), PATIENCE, || async {
            match api.get_opt(name).await? {
                None => Ok(()),
                Some(_) => bail!("it is there"),
            }
        })
        .await
    }

    pub async fn delete_client(&self, namespace: &str, name: &str) -> Result<()> {
        self.api::<Deployment>(namespace).delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// Waits until an Event with this reason tells of the object, and gives its note.
    pub async fn until_event(&self, namespace: &str, object: &str, reason: &str) -> Result<String> {
        let api = self.api::<Event>(namespace);
        wait::until(format!("an Event {reason} of {namespace}/{object}"), PATIENCE, || async {
            let events = api.list(&ListParams::default()).await?.items;
            let of_object = events.iter().filter(|event| {
                event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref()) == Some(object)
            });
            let seen: Vec<_> = of_object.map(|event| (event.reason.clone(), event.note.clone())).collect();
            let found = seen.iter().find(|(of, _)| of.as_deref() == Some(reason));
            found.and_then(|(_, note)| note.clone()).ok_or_else(|| anyhow!("{seen:?}"))
        })
        .await
    }

    /// Runs a console tool outside of Pods with a client's own properties; the output whatever the exit code.
    pub async fn tool_as(
        &self,
        data: &BTreeMap<String, String>,
        name: &str,
        arguments: &[&str],
    ) -> Result<String> {
        let output = self.output_as(data, name, arguments).await?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    /// The topics that a client sees, with its own properties.
    pub async fn topics_seen_by(&self, data: &BTreeMap<String, String>) -> Result<Vec<String>> {
        let output = self.output_as(data, "kafka-topics.sh", &["--list"]).await?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?.lines().map(|line| line.trim().to_owned()).collect())
    }

    async fn output_as(
        &self,
        data: &BTreeMap<String, String>,
        name: &str,
        arguments: &[&str],
    ) -> Result<std::process::Output> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("client.properties");
        std::fs::write(&file, data.get("client.properties").context("no client.properties")?)?;
        let run = tokio::time::timeout(
            PATIENCE,
            self.bed
                .kafka()?
                .command(name)?
                .args(["--bootstrap-server", &data["bootstrap.servers"], "--command-config"])
                .arg(&file)
                .args(arguments)
                .stdin(std::process::Stdio::null())
                .kill_on_drop(true)
                .output(),
        );
        Ok(run.await.with_context(|| format!("{name} did not end"))??)
    }

    // --- topicops itself

    pub async fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Pod>> {
        Ok(self.api::<Pod>(namespace).list(&ListParams::default().labels(labels)).await?.items)
    }

    /// The Pod that holds the Lease, as long as it is there.
    pub async fn until_leader(&self) -> Result<Pod> {
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> = self.api("topicops");
        wait::until("a replica to lead", PATIENCE, || async {
            let lease = leases.get("topicops").await?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity).filter(|name| !name.is_empty());
            let holder = holder.context("nobody holds the lease")?;
            Ok::<_, anyhow::Error>(self.api::<Pod>("topicops").get(&holder).await?)
        })
        .await
    }

    /// SIGKILLs the process of whoever leads.
    pub async fn kill_the_leader(&self) -> Result<()> {
        let pid = wait::until("the process of the replica that leads", PATIENCE, || async {
            // The one killed before may hold the lease still while its container waits to be started again.
            let leader = self.until_leader().await?.name_any();
            process_of(&leader)?.with_context(|| format!("Pod {leader} has no process"))
        })
        .await?;
        let status = tokio::process::Command::new("kill").args(["-KILL", &pid]).status().await?;
        ensure!(status.success(), "kill -KILL {pid}: {status}");
        Ok(())
    }

    /// `GET` of a path on the probe port of a topicops Pod: code and body.
    pub async fn probe(&self, pod: &Pod, path: &str) -> Result<(u16, String)> {
        let address =
            pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("the Pod has no address")?;
        http_get(std::net::SocketAddr::new(address.parse()?, 9889), path).await
    }

    fn fail_points(&self) -> PathBuf {
        self.bed.info().directory.join("fail-points")
    }

    /// Has whoever comes by this place (of [`topicops::fail_point::NAMES`]) killed by SIGKILL while `work` is done and until
    /// it has happened; started again, it is not killed there any more.
    pub async fn killed_at<T>(&self, place: &str, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        ensure!(topicops::fail_point::NAMES.contains(&place), "there is no place {place}");
        let armed = self.fail_points().join("armed");
        let before = self.starts().await?;
        std::fs::write(self.fail_points().join("new"), place)?;
        std::fs::rename(self.fail_points().join("new"), &armed)?;
        let result = work().await;
        let killed = wait::until(format!("somebody to be killed at {place}"), PATIENCE, || async {
            let now = self.starts().await?;
            ensure!(now > before, "{now} starts as before");
            Ok::<_, anyhow::Error>(())
        });
        let killed = if result.is_ok() { killed.await } else { Ok(()) };
        std::fs::remove_file(&armed)?;
        killed.and(result)
    }

    /// How often containers of topicops were started.
    async fn starts(&self) -> Result<usize> {
        let mut starts = 0;
        for pod in self.pods("topicops", "app.kubernetes.io/name=topicops").await? {
            starts +=
                self.bed.log_instances("topicops", &pod.name_any(), "topicops").map_or(0, |logs| logs.len());
        }
        Ok(starts)
    }

    async fn evidence(&self) -> String {
        self.bed.dump().await
    }
}

fn process_of(pod: &str) -> Result<Option<String>> {
    let identity = format!("TOPICOPS_IDENTITY={pod}");
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let of_pod = environment.split(|byte| *byte == 0).any(|pair| pair == identity.as_bytes());
        if of_pod && command.starts_with(b"/usr/local/bin/topicops\0") {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// `GET` without TLS: code and body.
pub async fn http_get(address: std::net::SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code =
        answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((code, body))
}

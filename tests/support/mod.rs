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
    core::v1::{ConfigMap, Namespace, Pod, Secret},
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
mod cli;
mod clients;
pub mod kafka_topics;
mod kafka_user;
mod manifests;
mod operator;
mod policy;
mod topics;

pub use cli::Ran;
pub use kafka_user::{give_acls, make_kafka_user, own_properties};
use manifests::object;
pub use manifests::{annotations, client_deployment, client_workload, refusal, topic_config_map};
pub use operator::metric;
use topicops_contract::{State, Status};
pub use topicops_testbed::{Options, Program, Testbed, wait};

/// Long enough for the slowest machine; a healthy run is done in a small part of it.
pub const PATIENCE: Duration = Duration::from_secs(180);
pub const IMAGE: &str = concat!("ghcr.io/topicops/topicops:", env!("CARGO_PKG_VERSION"));
pub const KAFKA_IMAGE: &str = "apache/kafka:4.3.1";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime for the tests")
});
static WORLD: OnceCell<Result<World, String>> = OnceCell::const_new();
/// Variables for topicops, beside those of the manifests, in every world of this binary.
pub static SETTINGS: OnceLock<Vec<(&'static str, &'static str)>> = OnceLock::new();
/// The namespaces that topicops looks after, in every world of this binary; unset: all. They are made with the world.
pub static NAMESPACES: OnceLock<Vec<&'static str>> = OnceLock::new();
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
    pub operator_id: &'static str,
}

impl World {
    pub async fn start(options: Options) -> Result<Self> {
        // Kafka 4.3.1, started again from a metadata log in which SCRAM users were removed, may lose all others, the administrator
        // too (ScramDelta.apply); not when it begins with a snapshot that holds one.
        let options = options.broker_setting("metadata.log.max.snapshot.interval.ms", "1000");
        Self::in_bed(Testbed::start(options).await?, "topicops").await
    }

    /// Another Kubernetes cluster for the same brokers, with a topicops of its own.
    pub async fn beside(&self, operator_id: &'static str) -> Result<Self> {
        let bed = Testbed::start(Options::default().without_kafka()).await?;
        Self::in_bed(bed.with_brokers_of(&self.bed), operator_id).await
    }

    async fn in_bed(bed: Testbed, operator_id: &'static str) -> Result<Self> {
        let client = bed.client().await?;
        let world = Self { bed, client, operator_id };
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
            .env("TOPICOPS_OPERATOR_ID", self.operator_id)
            // Tests that let topics be adopted have a namespace of that name.
            .env("TOPICOPS_TOPIC_OWNERS", "adopter-*=*")
            // And one is about topics of such names.
            .env("TOPICOPS_PROTECTED_TOPICS", "protected-*");
        let settings = SETTINGS.get().map(Vec::as_slice).unwrap_or_default();
        let program = settings.iter().fold(program, |program, (name, value)| program.env(*name, *value));
        self.bed.map_image(IMAGE, program).await?;
        let kafka = self.bed.kafka()?;
        // A user for each installation, where several share the brokers.
        tokio::try_join!(self.apply_manifests(), make_kafka_user(kafka, self.operator_id))?;
        // A frozen broker is noticed within a test's patience.
        let properties = own_properties(kafka, self.operator_id) + "request.timeout.ms=5000\n";
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": "topicops-kafka" },
            "stringData": { "client.properties": properties },
        }))?;
        self.api::<Secret>("topicops").create(&PostParams::default(), &secret).await?;
        self.until_rolled_out("topicops", "topicops", PATIENCE).await
    }

    /// Those of `deploy/install`, with what is to be changed in them for another operator id.
    async fn apply_manifests(&self) -> Result<()> {
        let folder = repository().join("deploy/install");
        if let Some(namespaces) = NAMESPACES.get() {
            return self.apply_for(namespaces).await;
        }
        if self.operator_id == "topicops" {
            return self.bed.apply_path(folder).await.map(drop);
        }
        let with_names = ["20-rbac.yaml", "50-guard.yaml"];
        self.bed.apply_all_but(&folder, &with_names).await?;
        for name in with_names {
            let text = std::fs::read_to_string(folder.join(name))?;
            let lease = "resources: [leases]\n    resourceNames: [topicops]";
            let text = text.replace(lease, &lease.replace("topicops", self.operator_id));
            self.bed.apply(&text.replace("topicops-ca", &format!("{}-ca", self.operator_id))).await?;
        }
        Ok(())
    }

    /// As the README says, for some namespaces only.
    async fn apply_for(&self, namespaces: &[&str]) -> Result<()> {
        let deploy = repository().join("deploy");
        let edited = ["20-rbac.yaml", "30-deployment.yaml", "40-webhooks.yaml"];
        self.bed.apply_all_but(deploy.join("install"), &edited).await?;
        self.bed.apply_path(deploy.join("namespaced/20-rbac.yaml")).await?;
        let role = std::fs::read_to_string(deploy.join("namespaced/namespace.yaml"))?;
        for namespace in namespaces {
            self.bed.create_namespace(namespace).await?;
            let here = format!("metadata:\n  name: topicops-namespace\n  namespace: {namespace}\n");
            self.bed.apply(&role.replace("metadata:\n  name: topicops-namespace\n", &here)).await?;
        }
        let names = namespaces.join(",");
        let text = |file: &str| std::fs::read_to_string(deploy.join("install").join(file));
        let run = "            - run\n";
        let deployment = text("30-deployment.yaml")?;
        ensure!(deployment.contains(run), "30-deployment.yaml has no args");
        let flag = format!("{run}            - --namespaces={names}\n");
        self.bed.apply(&deployment.replace(run, &flag)).await?;
        let others = "operator: NotIn\n          values: [kube-system, topicops]";
        let webhooks = text("40-webhooks.yaml")?;
        ensure!(
            webhooks.matches(others).count() == webhooks.matches("namespaceSelector:").count(),
            "{webhooks}"
        );
        let these = format!("operator: In\n          values: [{names}]");
        self.bed.apply(&webhooks.replace(others, &these)).await.map(drop)
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

    /// Deletes a namespace and waits until it is gone.
    pub async fn end_namespace(&self, name: &str) -> Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.delete(name, &DeleteParams::default()).await?;
        wait::until(format!("namespace {name} to be gone"), PATIENCE, || async {
            let there = api.get_opt(name).await?;
            ensure!(there.is_none(), "{:?}", there.and_then(|there| there.status));
            Ok::<_, anyhow::Error>(())
        })
        .await
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

    /// One of Kafka's own tools, as the administrator.
    pub async fn kafka_tool(&self, name: &str, arguments: &[&str]) -> Result<String> {
        self.bed.kafka()?.tool(name, arguments).await
    }

    /// The brokers, as the administrator sees them.
    pub fn cluster(&self) -> Result<topicops::kafka::WireCluster> {
        kafka_user::administrator(self.bed.kafka()?)
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

    async fn evidence(&self) -> String {
        self.bed.dump().await
    }
}

/// Sends it again for as long as a webhook owes the API server its answer: that is nobody's refusal, and nothing was stored.
pub async fn past_stalls<T>(send: impl AsyncFn() -> Result<T, kube::Error>) -> Result<T> {
    let answer = wait::until("an answer of the webhook", PATIENCE, || async {
        match send().await {
            Err(kube::Error::Api(status)) if status.message.contains("failed calling webhook") => {
                Err(status.message.clone())
            }
            answer => Ok(answer),
        }
    });
    Ok(answer.await??)
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

//! What a topicops asks for that has nothing to do.
#![allow(clippy::print_stdout)]

mod support;

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::json;
use support::{
    client_deployment, kafka_topics, make_kafka_user, own_properties, repository, topic_config_map, wait,
};
use tokio::process::{Child, Command};
use topicops::KafkaTopic;
use topicops_testbed::{ApiRequest, KafkaRequest, Options, Testbed};

/// In ConfigMaps. One of them has a share of the disk for its retention.
const TOPICS: usize = 1_000;
const KAFKA_TOPICS: usize = 5;
const ACCOUNT: &str = "system:serviceaccount:topicops:topicops";
/// topicops runs beside the bed, and without its webhook.
const LEFT_OUT: [&str; 2] = ["30-deployment.yaml", "40-webhooks.yaml"];
const RESYNC: &str = "--resync=4s";
/// What is looked at for certificates.
const CERTIFICATES: [&str; 4] =
    ["deployments", "secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
/// Longer than the parts of one look are apart, shorter than looks are.
const SILENCE: Duration = Duration::from_secs(1);
/// A thousand statuses on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_what_nobody_changed_writes_nothing_and_asks_kubernetes_for_nothing() -> Result<()> {
    let bed = Testbed::start(Options::default().without_node().log_requests()).await?;
    let topicops = Process::start(&bed).await?;
    let looked = looks_are_idle(&bed, &topicops).await;
    if looked.is_err() {
        println!("{}", bed.dump().await);
    }
    looked
}

async fn looks_are_idle(bed: &Testbed, topicops: &Process) -> Result<()> {
    bed.create_namespace("shop").await?;
    declare(bed).await?;
    // All is told, and the user was tried: what is left is to look again.
    topicops.until_metric("topicops_topics{state=\"ready\"}", TOPICS + KAFKA_TOPICS).await?;
    topicops.until_metric("topicops_verifications_total{state=\"ok\"}", 1).await?;
    until_told(bed).await?;
    until_healed(bed).await?;
    // The one after that reads what was healed once more.
    topicops.look().await?;
    topicops.look().await?;

    let (requests, since) = (bed.requests()?, Instant::now());
    let [topics_before, access_before] = topicops.passes().await?;
    topicops.look().await?;
    topicops.look().await?;
    let [topics, access] = topicops.passes().await?;
    let (topics, access) = (topics - topics_before, access - access_before);
    let kubernetes: Vec<ApiRequest> =
        requests.api_server()?.into_iter().filter(|request| request.user == ACCOUNT).collect();
    let kafka: Vec<KafkaRequest> =
        requests.brokers()?.into_iter().filter(|request| request.client_id == "topicops").collect();

    let asked = counts(kubernetes.iter().map(ToString::to_string));
    let looked = counts(kafka.iter().map(|request| request.api.clone()));
    println!(
        "{} topics, {topics} passes over them and {access} over access: {asked:?} {looked:?}",
        TOPICS + KAFKA_TOPICS
    );
    ensure!(topics >= 2 && access >= 2, "{topics} and {access} passes");
    let renewals = kubernetes.iter().filter(|request| request.resource == "leases").count();
    ensure!(renewals > 0, "the lease was not renewed: were requests logged at all? {asked:?}");
    // A watch that its server ended begins anew: that is how caches are kept, and no pass has to do with it. Nor has the look
    // at certificates, once a minute.
    let minutes = usize::try_from(since.elapsed().as_secs() / 60)?;
    let of_certificates =
        |asked: &str| CERTIFICATES.iter().any(|kind| asked.strip_prefix("get ") == Some(kind));
    let other: Vec<_> = asked
        .iter()
        .filter(|(asked, times)| !(of_certificates(asked) && **times <= minutes + 1))
        .filter(|(asked, _)| !asked.ends_with(" leases") && !asked.starts_with("watch "))
        .collect();
    ensure!(other.is_empty(), "Kubernetes was asked for {other:?}");
    let changing: Vec<_> = kafka.iter().filter(|request| !request.only_looks()).collect();
    ensure!(changing.is_empty(), "the brokers were asked for {changing:?}");
    let count = |api: &str| looked.get(api).copied().unwrap_or(0);
    // One that has asked may not have ended, at either end of what was counted.
    let each = |times: usize, passes: usize, api: &str| count(api).abs_diff(times * passes) <= times;
    // Each connection is asked which cluster it leads to, first of all.
    let of_topics = count("METADATA").saturating_sub(count("SASL_HANDSHAKE"));
    ensure!(
        // Once for the topics, and once more for a disk's share: what disks there are, and what a broker's own settings are;
        // for both it is asked which brokers there are.
        of_topics.abs_diff(3 * topics) <= 3
            && each(2, topics, "DESCRIBE_CONFIGS")
            && each(1, topics, "DESCRIBE_LOG_DIRS"),
        "each pass asks once for the topics and their settings, and once for the disks; {topics} passes: {looked:?}"
    );
    ensure!(
        ["DESCRIBE_ACLS", "DESCRIBE_USER_SCRAM_CREDENTIALS", "DESCRIBE_CLIENT_QUOTAS"]
            .iter()
            .all(|api| each(1, access, api)),
        "each pass asks once for the rules, once for the users and once for the quotas; {access} passes: {looked:?}"
    );
    Ok(())
}

/// A thousand topics and a few, and a workload that reads one of them.
async fn declare(bed: &Testbed) -> Result<()> {
    let client = bed.client().await?;
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "shop");
    let declare = |n: usize| {
        let config_maps = config_maps.clone();
        async move {
            let mut data = json!({ "partitions": "1", "replication-factor": "1", "retention": "1h" });
            if n == 0 {
                data["retention-disk-share"] = json!("1%");
            }
            let config_map = topic_config_map(&format!("orders-{n}"), data, json!({}))?;
            config_maps.create(&PostParams::default(), &config_map).await?;
            Ok::<_, Error>(())
        }
    };
    stream::iter((0..TOPICS).map(declare)).buffer_unordered(16).try_collect::<Vec<()>>().await?;
    for n in 0..KAFKA_TOPICS {
        let spec = json!({ "partitions": 1, "replicationFactor": 1, "retention": "1h" });
        let topic = kafka_topics::object(&format!("custom-{n}"), spec);
        Api::<KafkaTopic>::namespaced(client.clone(), "shop").create(&PostParams::default(), &topic).await?;
    }
    let deployments: Api<Deployment> = Api::namespaced(client, "shop");
    let reader = client_deployment(
        "reader",
        json!({ "consumes": "orders-0", "consumer-byte-rate": "1MB/s" }),
        0,
        "sleep 3600",
    )?;
    deployments.create(&PostParams::default(), &reader).await?;
    Ok(())
}

async fn until_told(bed: &Testbed) -> Result<()> {
    let config_maps: Api<ConfigMap> = Api::namespaced(bed.client().await?, "shop");
    wait::until("every ConfigMap to have its status", PATIENCE, || async {
        let all = config_maps.list_metadata(&ListParams::default().labels("config=kafka-topic")).await?;
        let told = all.items.iter().filter(|object| {
            let annotations = object.metadata.annotations.as_ref();
            annotations.is_some_and(|all| all.contains_key("topic.kafka.nb/status"))
        });
        let told = told.count();
        ensure!(told == TOPICS, "{told} of {TOPICS}");
        Ok::<_, Error>(())
    })
    .await
}

/// Nothing injects into what is admitted without the webhook: that is made good a while after the Secret.
async fn until_healed(bed: &Testbed) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(bed.client().await?, "shop");
    wait::until("the reader to have its credentials mounted", PATIENCE, || async {
        let pod = deployments.get("reader").await?.spec.and_then(|spec| spec.template.spec);
        ensure!(pod.and_then(|pod| pod.volumes).is_some_and(|all| !all.is_empty()), "it has no volumes");
        Ok::<_, Error>(())
    })
    .await
}

fn counts(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// topicops as a local process, under its own service account.
struct Process {
    _child: Child,
    metrics: SocketAddr,
}

impl Process {
    async fn start(bed: &Testbed) -> Result<Self> {
        bed.apply_all_but(repository().join("deploy/install"), &LEFT_OUT).await?;
        make_kafka_user(bed.kafka()?, "topicops").await?;
        let kafka_config = bed.info().directory.join("topicops.properties");
        std::fs::write(&kafka_config, own_properties(bed.kafka()?, "topicops"))?;
        let token = || bed.service_account_kubeconfig("topicops", "topicops");
        let kubeconfig = bed.info().directory.join("topicops.kubeconfig");
        std::fs::write(&kubeconfig, wait::until("a token for topicops", PATIENCE, token).await?)?;
        // Free now, and nobody else has anything on this address.
        let metrics = TcpListener::bind((Ipv4Addr::new(127, 0, 77, 1), 0))?.local_addr()?;
        // Killed with this process, however this one ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_topicops"), "run", RESYNC])
            .args(["--namespace=topicops", "--webhook-listen=127.0.0.1:0"])
            .arg(format!("--metrics-listen={metrics}"))
            .arg("--kafka-config")
            .arg(&kafka_config)
            .env("KUBECONFIG", &kubeconfig)
            .env("TOPICOPS_LOG", "warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting topicops")?;
        Ok(Self { _child: child, metrics })
    }

    /// One line of `/metrics`; 0 while it is not there.
    async fn metric(&self, series: &str) -> Result<usize> {
        let text = support::http_get(self.metrics, "/metrics").await?.1;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(Ok(0), |value| value.trim().parse().with_context(|| format!("{series} {value}")))
    }

    async fn until_metric(&self, series: &str, value: usize) -> Result<()> {
        wait::until(format!("{series} to be {value} or more"), PATIENCE, || async {
            let now = self.metric(series).await?;
            ensure!(now >= value, "{now}");
            Ok::<_, Error>(())
        })
        .await
    }

    /// How many passes over topics and over access ended so far.
    async fn passes(&self) -> Result<[usize; 2]> {
        let topics = self.metric("topicops_passes_total{pass=\"topics\"}").await?;
        Ok([topics, self.metric("topicops_passes_total{pass=\"access\"}").await?])
    }

    /// Waits until both have been looked at once more, and rest again.
    async fn look(&self) -> Result<()> {
        let before = self.passes().await?;
        let last = Cell::new((before, Instant::now()));
        wait::until("another look at topics and access", PATIENCE, || async {
            let now = self.passes().await?;
            if now != last.get().0 {
                last.set((now, Instant::now()));
            }
            let rests = last.get().1.elapsed() > SILENCE;
            ensure!(now[0] > before[0] && now[1] > before[1] && rests, "{now:?} passes, {before:?} before");
            Ok::<_, Error>(())
        })
        .await
    }
}

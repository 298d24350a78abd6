use std::{
    cell::Cell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
    core::PartialObjectMeta,
};
use serde_json::json;
use topicops::kafka::{
    Acl, AclOperation, AclResource, LoginCheck, PatternType, ResourceType, ScramKeys, ScramMechanism,
};
use topicops_contract::{Password, Workload, WorkloadKind};
use topicops_testbed::wait;
use topicops_webhook::{Answer, mutate_stored};

use crate::{
    bench::Bench,
    first_login::first_logins,
    report::Report,
    row::{Figure, Samples, middle},
    setup::Setup,
    writer::write_all,
};

pub(crate) const NAMESPACE: &str = "bench-clients";
pub(crate) const TOPIC: &str = "bench-orders";
const TIMEOUT: Duration = Duration::from_secs(180);
/// Enough for the slowest of a hundred.
const SINGLE: usize = 200;
/// A single trial takes less.
const REST: Duration = Duration::from_secs(2);
/// What one producing client is given: WRITE and DESCRIBE of its topic.
const ACLS_EACH: usize = 2;

/// Declares and removes clients: the floors alone first, then through topicops.
pub(crate) async fn run(setup: Setup) -> Result<Report> {
    let bench = &mut Bench::start(setup, false).await?;
    let Setup { n, brokers, rounds } = setup;
    let [mut appear, mut vanish] = [Samples::default(), Samples::default()];
    let mut logins = Vec::new();
    bench.namespace(NAMESPACE).await?;
    for round in 0..rounds {
        bench.say(format_args!("round {} of {}: floors", round + 1, rounds));
        let names = names("floor", round, n);
        appear.api.push(create_all(bench, &names, false).await?.elapsed());
        vanish.api.push(delete_all(bench, &names).await?.elapsed());
        logins.push(kafka_floor(bench, round, &mut appear, &mut vanish).await?.as_secs_f64());
    }
    bench.start_topicops(&[]).await?;
    declare_topic(bench).await?;
    for round in 0..rounds {
        bench.say(format_args!("round {} of {}: topicops", round + 1, rounds));
        let names = names("ours", round, n);
        let started = create_all(bench, &names, true).await?;
        until_there(bench, n).await?;
        appear.ours.push(started.elapsed());
        until_rest(bench).await?;
        let started = delete_all(bench, &names).await?;
        until_there(bench, 0).await?;
        vanish.ours.push(started.elapsed());
        until_rest(bench).await?;
    }
    let usage = bench.usage()?;
    bench.say(format_args!("{SINGLE} clients, one after the other"));
    let mut single: Vec<f64> = first_logins(bench, SINGLE).await?.iter().map(Duration::as_secs_f64).collect();
    single.sort_by(f64::total_cmp);
    let aim = |seconds: f64| (n == 500).then_some(seconds);
    let rows = vec![
        appear.row(format!("{n} clients declared → Secret, SCRAM user and ACLs all there"), aim(4.0)),
        vanish.row(format!("the same {n} removed → all revoked"), aim(4.0)),
    ];
    let figures = vec![
        Figure::new(format!("{n} logins alone, as each is tried before its Secret"), middle(&logins), "s"),
        Figure::new("one Deployment → a login with its credentials, median", middle(&single), "s"),
        Figure::new("… 99th percentile", single[(SINGLE * 99).div_ceil(100) - 1], "s").aim(1.0),
        Figure::new("resident memory when all was done", usage.rss_mib, "MiB"),
        Figure::new("resident memory at its peak", usage.peak_mib, "MiB"),
        Figure::new("of it the program's own file", usage.file_mib, "MiB"),
        Figure::new("CPU", usage.cpu_s, "s"),
    ];
    Ok(Report { title: setup.title("clients"), n, brokers, rounds, rows, figures })
}

pub(crate) fn names(kind: &str, round: usize, n: usize) -> Vec<String> {
    (0..n).map(|index| format!("{kind}-{round}-{index}")).collect()
}

/// The topic that they all produce to.
pub(crate) async fn declare_topic(bench: &Bench) -> Result<()> {
    let topic: ConfigMap = serde_json::from_value(json!({
        "metadata": { "name": TOPIC, "labels": { "config": "kafka-topic" } },
        "data": { "partitions": "1", "replication-factor": "1" },
    }))?;
    Api::<ConfigMap>::namespaced(bench.client.clone(), NAMESPACE)
        .create(&PostParams::default(), &topic)
        .await?;
    bench.until_quiet().await
}

/// As the webhook leaves it, so that nothing is left to be healed. No replicas: what Pods cost is none of the bench's business.
pub(crate) fn deployment(name: &str, labelled: bool) -> Result<Deployment> {
    let mut object = json!({
        "metadata": { "name": name, "annotations": { "topic.kafka.nb/produces": TOPIC } },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": "none" }] },
            },
        },
    });
    if labelled {
        object["metadata"]["labels"] = json!({ "kafka-operator": "inject-credentials" });
        let workload = Workload::new(NAMESPACE, WorkloadKind::Deployment, name);
        match mutate_stored(&workload, &object.to_string()) {
            Answer::Allowed { patch, .. } => json_patch::patch(&mut object, patch.operations())?,
            Answer::Denied { message, .. } => {
                bail!("the webhook would refuse the bench's own Deployment: {message}")
            }
        }
    }
    serde_json::from_value(object).context("the bench's own Deployment")
}

pub(crate) async fn create_all(bench: &Bench, names: &[String], labelled: bool) -> Result<Instant> {
    let api: Api<Deployment> = Api::namespaced(bench.client.clone(), NAMESPACE);
    write_all(names.len(), |index| {
        let api = api.clone();
        async move {
            api.create(&PostParams::default(), &deployment(&names[index], labelled)?).await?;
            Ok(())
        }
    })
    .await
}

async fn delete_all(bench: &Bench, names: &[String]) -> Result<Instant> {
    let api: Api<Deployment> = Api::namespaced(bench.client.clone(), NAMESPACE);
    write_all(names.len(), |index| {
        let api = api.clone();
        async move {
            api.delete(&names[index], &DeleteParams::background()).await?;
            Ok(())
        }
    })
    .await
}

/// The same users and rules as one batched request each, PBKDF2 included, and their removal; how long logins of all of them take,
/// which is no part of the floor.
async fn kafka_floor(
    bench: &Bench,
    round: usize,
    appear: &mut Samples,
    vanish: &mut Samples,
) -> Result<Duration> {
    let cluster = bench.cluster.as_ref();
    let names: Vec<String> =
        names("raw", round, bench.setup.n).iter().map(|name| format!("raw.bench.{name}")).collect();
    let started = Instant::now();
    let hashing = names.iter().map(|name| {
        let password = Password::new(format!("{name:0>43}"));
        tokio::task::spawn_blocking(move || ScramKeys::derive(ScramMechanism::Sha512, 4096, &password))
    });
    let keys: Vec<ScramKeys> = try_join_all(hashing).await?.into_iter().collect::<Result<_, _>>()?;
    let users: Vec<(String, ScramKeys)> = names.iter().cloned().zip(keys).collect();
    ensure!(cluster.upsert_scram_users(&users).await?.iter().all(Result::is_ok), "the raw upsert failed");
    let acls: Vec<Acl> = names
        .iter()
        .flat_map(|name| [AclOperation::Write, AclOperation::Describe].map(|operation| acl(name, operation)))
        .collect();
    ensure!(cluster.create_acls(&acls).await?.iter().all(Result::is_ok), "the raw ACLs failed");
    appear.kafka.push(started.elapsed());
    let checks: Vec<LoginCheck> =
        users.into_iter().map(|(username, keys)| login_check(username, keys)).collect();
    // One is tried until the brokers know it; the others came before it.
    wait::until("the users to be known", TIMEOUT, || async {
        let last = checks.last().map(std::slice::from_ref).unwrap_or_default();
        ensure!(cluster.check_logins(last).await?.iter().all(Result::is_ok), "the last one is not");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let started = Instant::now();
    ensure!(cluster.check_logins(&checks).await?.iter().all(Result::is_ok), "the raw logins failed");
    let logins = started.elapsed();
    let started = Instant::now();
    ensure!(cluster.delete_acls(&acls).await?.iter().all(Result::is_ok), "the raw removal of ACLs failed");
    ensure!(cluster.delete_scram_users(&names).await?.iter().all(Result::is_ok), "the raw removal failed");
    vanish.kafka.push(started.elapsed());
    Ok(logins)
}

fn login_check(username: String, keys: ScramKeys) -> LoginCheck {
    LoginCheck { username, keys, topics: Vec::new(), groups: Vec::new(), transactional_ids: Vec::new() }
}

fn acl(username: &str, operation: AclOperation) -> Acl {
    let resource = AclResource {
        resource_type: ResourceType::Topic,
        name: TOPIC.to_owned(),
        pattern: PatternType::Literal,
    };
    Acl { username: username.to_owned(), resource, operation }
}

/// Until nothing of the work before goes on in the background: real clients that try new Secrets, above all.
async fn until_rest(bench: &Bench) -> Result<()> {
    bench.until_quiet().await?;
    let seen = Cell::new((f64::NAN, Instant::now()));
    wait::until("the new Secrets to be tried", TIMEOUT, || async {
        let mut tried = 0.0;
        for state in ["ok", "failed", "superseded"] {
            tried += bench
                .topicops()?
                .metric(&format!("topicops_verifications_total{{state=\"{state}\"}}"))
                .await?;
        }
        if seen.get().0.to_bits() != tried.to_bits() {
            seen.set((tried, Instant::now()));
        }
        ensure!(seen.get().1.elapsed() > REST, "{tried} tried");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// Until exactly `n` clients have their Secret, their user and their rules.
pub(crate) async fn until_there(bench: &Bench, n: usize) -> Result<()> {
    let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(bench.client.clone(), NAMESPACE);
    let labelled = ListParams::default().labels("config=kafka-topic-credentials");
    let prefix = format!("topicops.{NAMESPACE}.");
    wait::until(format!("{n} clients to be there"), TIMEOUT, || async {
        let users = bench.cluster.describe_scram_users(&prefix).await?.len();
        ensure!(users == n, "{users} users of {n}");
        let acls: BTreeSet<Acl> = bench.cluster.describe_acls(&prefix).await?;
        let acls = acls.iter().filter(|acl| acl.resource.resource_type == ResourceType::Topic).count();
        ensure!(acls == n * ACLS_EACH, "{acls} topic rules of {}", n * ACLS_EACH);
        let secrets = secrets.list(&labelled).await?.items.len();
        ensure!(secrets == n, "{secrets} Secrets of {n}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

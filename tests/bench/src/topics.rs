use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use topicops::kafka::{Cluster, ConfigChange, ConfigKeys, DoomedTopic, NewTopic};
use topicops_contract::TopicName;
use topicops_testbed::wait;

use crate::{
    bench::Bench,
    report::Report,
    row::{Figure, Samples, middle},
    setup::{Setup, thousands},
    writer::write_all,
};

pub(crate) const NAMESPACE: &str = "bench";
/// Brokers show the last of ten thousand new topics half a minute after the first, and go on for longer with deletions.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Creates, changes and deletes topics: the floors alone first, then through topicops.
pub(crate) async fn run(setup: Setup) -> Result<Report> {
    let bench = &mut Bench::start(setup, false).await?;
    let Setup { n, brokers, rounds } = setup;
    let mut times = Times::default();
    bench.namespace(NAMESPACE).await?;
    for round in 0..rounds {
        bench.say(format_args!("{}: floors, round {} of {rounds}", setup.title("topics"), round + 1));
        api_floor(bench, round, &mut times).await?;
        kafka_floor(bench, round, &mut times).await?;
    }
    bench.start_topicops(&[]).await?;
    let mut resident = Vec::new();
    for round in 0..rounds {
        bench.say(format_args!("{}: topicops, round {} of {rounds}", setup.title("topics"), round + 1));
        resident.push(ours(bench, round, &mut times).await?);
    }
    let usage = bench.usage()?;
    let aim = |seconds: f64| (n == 1_000).then_some(seconds);
    let shown = thousands(n);
    let rows = vec![
        times.create.row(format!("{shown} topics declared → all on the broker"), aim(3.5)),
        times.change.row(format!("{shown} retention changes → all on the broker"), aim(3.5)),
        times.delete.row(format!("{shown} ConfigMaps deleted (policy delete) → topics gone"), aim(8.0)),
    ];
    let memory = Figure::new(format!("resident memory with {shown} topics"), middle(&resident), "MiB");
    let figures = vec![
        match n {
            1_000 => memory.aim(40.0),
            10_000 => memory.aim(80.0),
            _ => memory,
        },
        Figure::new("resident memory at its peak", usage.peak_mib, "MiB"),
        Figure::new("of it the program's own file", usage.file_mib, "MiB"),
        Figure::new("CPU, all rounds", usage.cpu_s, "s"),
    ];
    Ok(Report { title: setup.title("topics"), n, brokers, rounds, rows, figures })
}

#[derive(Default)]
struct Times {
    create: Samples,
    change: Samples,
    delete: Samples,
}

fn config_map(name: &str, brokers: u8, labelled: bool) -> Result<ConfigMap> {
    let mut object = json!({
        "metadata": { "name": name, "annotations": { "topic.kafka.nb/deletion-policy": "delete" } },
        "data": { "partitions": "1", "replication-factor": replicas(brokers).to_string(), "retention": "1h" },
    });
    if labelled {
        object["metadata"]["labels"] = json!({ "config": "kafka-topic" });
    }
    serde_json::from_value(object).context("the bench's own ConfigMap")
}

fn replicas(brokers: u8) -> i16 {
    i16::from(brokers).min(3)
}

pub(crate) fn names(kind: &str, round: usize, n: usize) -> Vec<String> {
    (0..n).map(|index| format!("{kind}-{round}-{index}")).collect()
}

/// The same writes without the label: nobody listens.
async fn api_floor(bench: &Bench, round: usize, times: &mut Times) -> Result<()> {
    let names = names("floor", round, bench.setup.n);
    times.create.api.push(create_all(bench, &names, false).await?.elapsed());
    times.change.api.push(change_all(bench, &names).await?.elapsed());
    times.delete.api.push(delete_all(bench, &names).await?.elapsed());
    Ok(())
}

/// The same changes as one batched request each, until the broker shows them.
async fn kafka_floor(bench: &Bench, round: usize, times: &mut Times) -> Result<()> {
    let cluster = bench.cluster.as_ref();
    let names = topic_names(&names("raw", round, bench.setup.n))?;
    let configs = |retention: &str| [("retention.ms".to_owned(), retention.to_owned())].into();
    let topics: Vec<NewTopic> = names
        .iter()
        .map(|name| {
            Ok(NewTopic {
                name: name.clone(),
                partitions: Some(1.try_into()?),
                replication_factor: Some(replicas(bench.setup.brokers).try_into()?),
                placement: None,
                configs: configs("3600000"),
            })
        })
        .collect::<Result<_>>()?;
    let started = std::time::Instant::now();
    ensure!(cluster.create_topics(&topics).await?.iter().all(Result::is_ok), "the raw creation failed");
    until_shown(cluster, &names, Some("3600000")).await?;
    times.create.kafka.push(started.elapsed());

    let changes: Vec<_> = names
        .iter()
        .map(|name| (name.clone(), ConfigChange { set: configs("7200000"), unset: Vec::new() }))
        .collect();
    let started = std::time::Instant::now();
    ensure!(cluster.alter_configs(&changes).await?.iter().all(Result::is_ok), "the raw change failed");
    until_shown(cluster, &names, Some("7200000")).await?;
    times.change.kafka.push(started.elapsed());

    let started = std::time::Instant::now();
    let doomed: Vec<_> = names.iter().cloned().map(DoomedTopic::from).collect();
    ensure!(cluster.delete_topics(&doomed).await?.iter().all(Result::is_ok), "the raw deletion failed");
    until_shown(cluster, &names, None).await?;
    times.delete.kafka.push(started.elapsed());
    Ok(())
}

/// Answers topicops' resident memory in MiB with all topics there and nothing left to do.
async fn ours(bench: &Bench, round: usize, times: &mut Times) -> Result<f64> {
    let names = names("ours", round, bench.setup.n);
    let topics = topic_names(&names)?;
    let cluster = bench.cluster.as_ref();
    let started = create_all(bench, &names, true).await?;
    until_shown(cluster, &topics, Some("3600000")).await?;
    times.create.ours.push(started.elapsed());
    bench.until_quiet().await?;
    let started = change_all(bench, &names).await?;
    until_shown(cluster, &topics, Some("7200000")).await?;
    times.change.ours.push(started.elapsed());
    bench.until_quiet().await?;
    let resident = bench.usage()?.rss_mib;
    let started = delete_all(bench, &names).await?;
    until_shown(cluster, &topics, None).await?;
    times.delete.ours.push(started.elapsed());
    bench.until_quiet().await?;
    Ok(resident)
}

pub(crate) async fn create_all(
    bench: &Bench,
    names: &[String],
    labelled: bool,
) -> Result<std::time::Instant> {
    let api: Api<ConfigMap> = Api::namespaced(bench.client.clone(), NAMESPACE);
    write_all(names.len(), |index| {
        let api = api.clone();
        async move {
            api.create(&PostParams::default(), &config_map(&names[index], bench.setup.brokers, labelled)?)
                .await?;
            Ok(())
        }
    })
    .await
}

async fn change_all(bench: &Bench, names: &[String]) -> Result<std::time::Instant> {
    let api: Api<ConfigMap> = Api::namespaced(bench.client.clone(), NAMESPACE);
    write_all(names.len(), |index| {
        let api = api.clone();
        async move {
            let patch = Patch::Merge(json!({ "data": { "retention": "2h" } }));
            api.patch(&names[index], &PatchParams::default(), &patch).await?;
            Ok(())
        }
    })
    .await
}

async fn delete_all(bench: &Bench, names: &[String]) -> Result<std::time::Instant> {
    let api: Api<ConfigMap> = Api::namespaced(bench.client.clone(), NAMESPACE);
    write_all(names.len(), |index| {
        let api = api.clone();
        async move {
            api.delete(&names[index], &DeleteParams::default()).await?;
            Ok(())
        }
    })
    .await
}

pub(crate) fn topic_names(names: &[String]) -> Result<Vec<TopicName>> {
    names.iter().map(|name| Ok(name.parse::<TopicName>()?)).collect()
}

/// Until the broker shows every topic with this retention, or, for `None`, none of them.
pub(crate) async fn until_shown(
    cluster: &dyn Cluster,
    names: &[TopicName],
    retention: Option<&str>,
) -> Result<()> {
    let keys = ConfigKeys::Only(BTreeSet::from(["retention.ms".to_owned()]));
    wait::until(format!("{} topics to be {retention:?} on the broker", names.len()), TIMEOUT, || async {
        let shown = cluster.describe_topics(names, &keys).await?;
        let right = shown
            .iter()
            .filter(|item| match (item, retention) {
                (Ok(Some(topic)), Some(wanted)) => {
                    topic.configs.get("retention.ms").is_some_and(|now| now == wanted)
                }
                (Ok(None), None) => true,
                _ => false,
            })
            .count();
        ensure!(right == names.len(), "{right} of {}", names.len());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

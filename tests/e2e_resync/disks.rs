//! Shares of a disk, end to end: a disk that becomes larger and smaller, and one that is lost.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use topicops::kafka::{Cluster, LogDir};
use topicops_contract::{DiskShare, State, Status};

use crate::{
    DISK_MEBIBYTES, alone_in_a_hurried_world, described,
    support::{PATIENCE, World, metric, wait},
    until_configs,
};

const SHARE: &str = "10%";
/// Far below [`SHARE`] of the largest disk of these tests.
const POLICY: &str =
    "namespaces: { capped-*: { limits: { retention-bytes: { max: 10Mi, action: adjust } } } }";
const CAP: u64 = 10 << 20;
const KAFKA_STORAGE_ERROR: i16 = 56;

fn share_of(mebibytes: u32) -> Result<u64> {
    Ok(SHARE.parse::<DiskShare>()?.of(u64::from(mebibytes) << 20))
}

/// As many partitions as log directories, of which each counts as if it had one.
fn declared() -> Value {
    json!({ "partitions": "2", "replication-factor": "1", "retention-disk-share": SHARE })
}

#[test]
fn a_disk_is_followed_both_ways_by_more_than_a_tenth_and_no_further_than_a_limit_lets() {
    alone_in_a_hurried_world(async |world| {
        world.put_policy(POLICY).await?;
        let (namespace, capped) = (world.namespace("disk").await?, world.namespace("capped").await?);
        let (free, bounded) = (world.topic("free"), world.topic("bounded"));
        resize(world, DISK_MEBIBYTES).await?;
        for (namespace, topic) in [(&namespace, &free), (&capped, &bounded)] {
            world.declare(namespace, topic, declared(), json!({})).await?;
            world.until_ready(namespace, topic).await?;
            until_retention(world, topic, share_of(DISK_MEBIBYTES)?).await?;
        }
        for (mebibytes, followed) in [(67, false), (144, true), (137, false), (60, true)] {
            let before = changes(world).await?;
            resize(world, mebibytes).await?;
            world.until_all_looked_at().await?;
            let after = changes(world).await?;
            if followed {
                ensure!(after > before, "{mebibytes} MiB were not followed: {after} changes in all");
                until_retention(world, &free, share_of(mebibytes)?).await?;
                until_retention(world, &bounded, share_of(mebibytes)?.min(CAP)).await?;
            } else {
                ensure!(
                    after <= before,
                    "{mebibytes} MiB were followed: {after} changes, and {before} before"
                );
            }
        }
        for (namespace, topic) in [(&namespace, &free), (&capped, &bounded)] {
            world.until_ready(namespace, topic).await?;
        }
        Ok(())
    });
}

#[test]
fn while_a_broker_has_lost_a_disk_a_new_share_waits_an_old_one_stays_and_both_go_on_afterwards() {
    alone_in_a_hurried_world(async |world| {
        let namespace = world.namespace("lost").await?;
        let (old, new) = (world.topic("old"), world.topic("new"));
        resize(world, DISK_MEBIBYTES).await?;
        let expected = share_of(DISK_MEBIBYTES)?;
        world.declare(&namespace, &old, declared(), json!({})).await?;
        world.until_ready(&namespace, &old).await?;
        until_retention(world, &old, expected).await?;

        world.bed.pull_disk(1).await?;
        wait::until("the broker to miss its disk", PATIENCE, || async {
            let dirs = dirs(world).await?;
            let lost =
                dirs.iter().filter_map(|dir| dir.error.as_ref()).any(|error| error.is(KAFKA_STORAGE_ERROR));
            ensure!(lost, "{dirs:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.declare(&namespace, &new, declared(), json!({})).await?;
        // A broker that does not answer in time is told with the same reason.
        let lost = |status: &Status| {
            status.reason == "DiskSizeUnknown" && status.message.contains("KAFKA_STORAGE_ERROR")
        };
        let status = world.until_status(&namespace, &new, "DiskSizeUnknown", lost).await?;
        for part in [
            "retention-disk-share: \"10%\"",
            "broker 1: it cannot use its log directory ",
            "(KAFKA_STORAGE_ERROR), and has to be started again once it can",
            "declare retention.bytes in properties instead",
        ] {
            ensure!(status.message.contains(part), "{part} is missing: {status:?}");
        }
        ensure!(status.state == State::Refused, "{status:?}");
        let note = world.until_event(&namespace, &new, "DiskSizeUnknown").await?;
        ensure!(note == status.message, "{note}");
        world.until_all_looked_at().await?;
        ensure!(described(world, &new).await?.is_none(), "{new} was made");
        world.until_ready(&namespace, &old).await?;
        until_retention(world, &old, expected).await?;

        world.bed.put_back_disk(1).await?;
        world.without_broker(async || Ok(())).await?;
        world.until_ready(&namespace, &new).await?;
        until_retention(world, &new, expected).await?;
        world.until_ready(&namespace, &old).await?;
        until_retention(world, &old, expected).await
    });
}

async fn dirs(world: &World) -> Result<Vec<LogDir>> {
    let brokers = world.cluster()?.describe_log_dirs().await?;
    Ok(brokers.into_values().next().context("no broker")??.dirs)
}

/// Gives the disk another size, and waits until the broker tells it.
async fn resize(world: &World, mebibytes: u32) -> Result<()> {
    world.bed.resize_disk(1, mebibytes).await?;
    let bytes = u64::from(mebibytes) << 20;
    wait::until(format!("a disk of {mebibytes} MiB"), PATIENCE, || async {
        let dirs = dirs(world).await?;
        ensure!(dirs.iter().any(|dir| dir.total_bytes == Some(bytes)), "{dirs:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn until_retention(world: &World, topic: &str, bytes: u64) -> Result<()> {
    until_configs(world, topic, &[("retention.bytes", &bytes.to_string())]).await
}

/// How many topics had their settings changed by the replica that leads.
async fn changes(world: &World) -> Result<f64> {
    let (_, metrics) = world.probe(&world.until_leader().await?, "/metrics").await?;
    Ok(metric(&metrics, "topicops_kafka_changes_total{operation=\"alter_configs\"}").unwrap_or_default())
}

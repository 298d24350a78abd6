//! What is done without anybody's edit: what somebody changed on the brokers is put back or reported, disks are followed,
//! and large cuts in retention go on step by step; on a real broker.

#[path = "e2e_resync/disks.rs"]
mod disks;
#[path = "e2e_resync/jitter.rs"]
mod jitter;
mod support;

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use support::{Options, PATIENCE, World, alone_in_the_world_of, in_the_world_of, wait};
use tokio::sync::OnceCell;
use topicops::kafka::{
    Cluster, ConfigChange, ConfigKeys, DoomedTopic, NewPartitions, TopicDescription, TopicPartition,
};
use topicops_contract::{DiskShare, State, Status};

static HURRIED: OnceCell<()> = OnceCell::const_new();

/// How large the broker's second log directory is, until a test changes it.
const DISK_MEBIBYTES: u32 = 64;
const RESYNC_SECONDS: f64 = 1.0;

/// A broker with two log directories. It finds a lost one within a second.
fn bed() -> Options {
    Options::default().disks(DISK_MEBIBYTES).broker_setting("log.flush.offset.checkpoint.interval.ms", "1000")
}

/// Runs a test where topicops looks at everything every second, and steps of retention are three seconds apart.
fn in_a_hurried_world<F>(test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    in_the_world_of(bed(), async |world| {
        HURRIED.get_or_try_init(|| hurry(world)).await?;
        test(world).await
    });
}

/// The same for a test that disturbs others.
fn alone_in_a_hurried_world<F>(test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    alone_in_the_world_of(bed(), async |world| {
        HURRIED.get_or_try_init(|| hurry(world)).await?;
        test(world).await
    });
}

async fn hurry(world: &World) -> Result<()> {
    let resync = format!("{RESYNC_SECONDS}s");
    let settings = [
        ("TOPICOPS_RESYNC", resync.as_str()),
        ("TOPICOPS_RETENTION_STEP_INTERVAL", "3s"),
        ("TOPICOPS_RETENTION_STEP_ABOVE", "0"),
    ];
    let env = settings.map(|(name, value)| json!({ "name": name, "value": value }));
    let containers = json!([{ "name": "topicops", "env": env }]);
    let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    let api = world.api::<Deployment>("topicops");
    api.patch("topicops", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    world.until_rolled_out("topicops", "topicops", PATIENCE).await
}

#[test]
fn a_setting_changed_by_hand_is_put_back_and_told_and_somebody_elses_stays() {
    in_a_hurried_world(async |world| {
        let (namespace, topic) = (world.namespace("drift").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({ "retention": "1h" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        by_hand(world, &topic, &[("retention.ms", "60000"), ("max.message.bytes", "55555")], &[]).await?;
        let note = world.until_event(&namespace, &topic, "DriftCorrected").await?;
        ensure!(note == "retention.ms: 60000 -> 3600000", "{note}");
        until_configs(world, &topic, &[("max.message.bytes", "55555"), ("retention.ms", "3600000")]).await?;
        let leader = world.until_leader().await?;
        let (_, metrics) = world.probe(&leader, "/metrics").await?;
        let counted = r#"topicops_drift_total{action="corrected",what="config"} "#;
        ensure!(metrics.contains(counted), "{counted} is missing");
        // What was declared, then changed by hand and then given up goes; what was never declared stays.
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention": null } })).await?;
        until_configs(world, &topic, &[("max.message.bytes", "55555")]).await
    });
}

#[test]
fn where_drift_is_reported_it_is_left_and_the_authors_own_changes_are_made() {
    in_a_hurried_world(async |world| {
        let (namespace, topic) = (world.namespace("drift").await?, world.topic("orders"));
        let data = json!({ "partitions": "1", "retention": "1h" });
        world.declare(&namespace, &topic, data, json!({ "drift": "report" })).await?;
        world.until_ready(&namespace, &topic).await?;
        by_hand(world, &topic, &[("retention.ms", "60000"), ("max.message.bytes", "55555")], &[]).await?;
        let status = until_drifted(world, &namespace, &topic).await?;
        ensure!(status.contains("retention.ms: declared 3600000, found 60000"), "{status}");
        ensure!(!status.contains("max.message.bytes"), "{status}");
        let note = world.until_event(&namespace, &topic, "Drifted").await?;
        ensure!(note == status, "{note}");
        let edit = json!({ "data": { "partitions": "2", "properties": "segment.ms=7200000" } });
        world.patch_topic(&namespace, &topic, edit).await?;
        world.until_status(&namespace, &topic, "grown", |status| status.partitions == Some(2)).await?;
        let expected = [("max.message.bytes", "55555"), ("retention.ms", "60000"), ("segment.ms", "7200000")];
        until_configs(world, &topic, &expected).await?;
        let status = until_drifted(world, &namespace, &topic).await?;
        ensure!(status.contains("retention.ms"), "{status}");
        // An edit of the very key is its author's word.
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention": "2h" } })).await?;
        world.until_ready(&namespace, &topic).await?;
        let expected =
            [("max.message.bytes", "55555"), ("retention.ms", "7200000"), ("segment.ms", "7200000")];
        until_configs(world, &topic, &expected).await
    });
}

#[test]
fn a_topic_deleted_by_hand_is_made_anew_with_word_of_what_is_lost_or_stays_deleted_where_that_is_reported() {
    in_a_hurried_world(async |world| {
        let namespace = world.namespace("drift").await?;
        let (remade, left) = (world.topic("remade"), world.topic("left"));
        world.declare(&namespace, &remade, json!({ "partitions": "2" }), json!({})).await?;
        world.declare(&namespace, &left, json!({}), json!({ "drift": "report" })).await?;
        let before = world.until_ready(&namespace, &remade).await?;
        world.until_ready(&namespace, &left).await?;
        for topic in [&remade, &left] {
            world.until_topic(topic).await?;
        }
        // One that no broker has shown yet might only be late.
        world.until_all_looked_at().await?;
        let doomed = [&remade, &left].map(|name| name.parse().map(|name| DoomedTopic { name, id: None }));
        let doomed = doomed.into_iter().collect::<Result<Vec<_>, _>>()?;
        for outcome in world.cluster()?.delete_topics(&doomed).await? {
            outcome?;
        }
        let note = world.until_event(&namespace, &remade, "DriftCorrected").await?;
        ensure!(note.contains("what was in it is gone"), "{note}");
        let other = |status: &Status| status.state == State::Ready && status.topic_id != before.topic_id;
        let after = world.until_status(&namespace, &remade, "made anew", other).await?;
        ensure!(after.partitions == Some(2), "{after:?}");
        let status = until_drifted(world, &namespace, &left).await?;
        ensure!(status.contains("deleted"), "{status}");
        ensure!(described(world, &left).await?.is_none(), "{left} was made anew");
        Ok(())
    });
}

#[test]
fn a_topic_that_somebody_made_anew_is_told_and_goes_on_as_declared() {
    in_a_hurried_world(async |world| {
        let (namespace, topic) = (world.namespace("drift").await?, world.topic("orders"));
        // So that it is not topicops that makes it anew.
        world.declare(&namespace, &topic, json!({ "retention": "1h" }), json!({ "drift": "report" })).await?;
        let before = world.until_ready(&namespace, &topic).await?;
        world.until_topic(&topic).await?;
        world.until_all_looked_at().await?;
        for outcome in
            world.cluster()?.delete_topics(&[DoomedTopic { name: topic.parse()?, id: None }]).await?
        {
            outcome?;
        }
        until_drifted(world, &namespace, &topic).await?;
        world.create_by_hand(&topic).await?;
        world.until_event(&namespace, &topic, "TopicRemade").await?;
        let other = |status: &Status| status.topic_id.is_some() && status.topic_id != before.topic_id;
        world.until_status(&namespace, &topic, "another topic", other).await?;
        Ok(())
    });
}

#[test]
fn partitions_added_by_hand_are_reported() {
    in_a_hurried_world(async |world| {
        let (namespace, topic) = (world.namespace("drift").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({ "partitions": "2" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let more = NewPartitions { topic: topic.parse()?, total: 4.try_into()?, placement: None };
        for outcome in world.cluster()?.create_partitions(&[more]).await? {
            outcome?;
        }
        let status = until_drifted(world, &namespace, &topic).await?;
        ensure!(status.contains("partitions: declared 2, found 4"), "{status}");
        world.patch_topic(&namespace, &topic, json!({ "data": { "partitions": "4" } })).await?;
        world.until_ready(&namespace, &topic).await?;
        Ok(())
    });
}

#[test]
fn a_share_of_the_disk_is_set_and_follows_the_partitions() {
    in_a_hurried_world(async |world| {
        let (namespace, topic) = (world.namespace("share").await?, world.topic("orders"));
        let disks = world.cluster()?.describe_log_dirs().await?;
        let disk = disks.into_values().next().context("no broker")??;
        let directories = disk.dirs.len() as u64;
        let least = disk.dirs.iter().filter_map(|dir| dir.total_bytes).min();
        let least = least.context("the broker does not tell the size of its disk")?;
        let share: DiskShare = "1%".parse()?;
        let each = |partitions: u64| (share.of(least) / partitions.div_ceil(directories)).to_string();
        let data = json!({ "partitions": "2", "retention-disk-share": "1%" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        until_configs(world, &topic, &[("retention.bytes", &each(2))]).await?;
        world.patch_topic(&namespace, &topic, json!({ "data": { "partitions": "5" } })).await?;
        until_configs(world, &topic, &[("retention.bytes", &each(5))]).await?;
        // Given up, it is gone.
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention-disk-share": null } })).await?;
        until_configs(world, &topic, &[]).await
    });
}

const HOUR_MS: i64 = 3_600_000;

#[test]
fn a_large_cut_goes_down_in_steps_across_the_death_of_who_makes_them() {
    alone_in_a_hurried_world(async |world| {
        let (namespace, topic) = (world.namespace("steps").await?, world.topic("orders"));
        world
            .declare(&namespace, &topic, json!({ "partitions": "1", "retention": "64h" }), json!({}))
            .await?;
        world.until_ready(&namespace, &topic).await?;
        fill(world, &topic).await?;
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention": "1h" } })).await?;
        let stepping = |status: &Status| status.reason == "RetentionStepping";
        let status = world.until_status(&namespace, &topic, "going down in steps", stepping).await?;
        ensure!(status.state == State::Pending, "{status:?}");
        ensure!(status.message.contains("retention.ms goes down to 3600000"), "{status:?}");
        world.until_event(&namespace, &topic, "RetentionStepping").await?;
        let first = retention_ms(world, &topic).await?;
        world.kill_the_leader().await?;
        let seen = Mutex::new(vec![first]);
        wait::until("the retention that is declared", PATIENCE, || async {
            let now = retention_ms(world, &topic).await?;
            let mut seen = seen.lock().map_err(|_| anyhow!("a look panicked"))?;
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            ensure!(now == HOUR_MS, "{now}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let seen = seen.into_inner().map_err(|_| anyhow!("a look panicked"))?;
        // Half each time, and never up again; a look that comes late may miss one, or two.
        let halves = seen.windows(2).all(|pair| [2, 4, 8].map(|times| times * pair[1]).contains(&pair[0]));
        ensure!(halves && first > HOUR_MS, "the brokers had {seen:?}");
        world.until_ready(&namespace, &topic).await?;
        Ok(())
    });
}

#[test]
fn a_cut_is_made_at_once_where_nothing_is_stored() {
    in_a_hurried_world(async |world| {
        let (namespace, topic) = (world.namespace("steps").await?, world.topic("empty"));
        world.declare(&namespace, &topic, json!({ "retention": "unlimited" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention": "1h" } })).await?;
        wait::until("the retention that is declared", PATIENCE, || async {
            let now = retention_ms(world, &topic).await?;
            ensure!(now == HOUR_MS || now == -1, "it is made in steps: {now}");
            ensure!(now == HOUR_MS, "{now}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.until_ready(&namespace, &topic).await?;
        Ok(())
    });
}

async fn retention_ms(world: &World, topic: &str) -> Result<i64> {
    let configs = described(world, topic).await?.context("no topic")?.configs;
    Ok(configs.get("retention.ms").context("no retention.ms")?.parse()?)
}

/// Writes a few records.
async fn fill(world: &World, topic: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("input");
    std::fs::write(&input, "one\ntwo\nthree\n")?;
    let kafka = world.bed.kafka()?;
    let mut command = kafka.command("kafka-console-producer.sh")?;
    command
        .args(["--bootstrap-server", kafka.bootstrap_servers(), "--topic", topic, "--command-config"])
        .arg(kafka.admin_properties())
        .stdin(std::fs::File::open(&input)?)
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.context("it did not end")??;
    ensure!(output.status.success(), "{output:?}");
    wait::until(format!("records in {topic}"), PATIENCE, || async {
        let disks = world.cluster()?.describe_log_dirs().await?;
        let disk = disks.into_values().next().context("no broker")??;
        let partition = TopicPartition { topic: topic.parse()?, partition: 0 };
        ensure!(disk.size_of(&partition).is_some_and(|bytes| bytes > 0), "nothing is stored");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn by_hand(world: &World, topic: &str, set: &[(&str, &str)], unset: &[&str]) -> Result<()> {
    let own = |text: &&str| (*text).to_owned();
    let change = ConfigChange {
        set: set.iter().map(|(key, value)| (own(key), own(value))).collect(),
        unset: unset.iter().map(own).collect(),
    };
    for outcome in world.cluster()?.alter_configs(&[(topic.parse()?, change)]).await? {
        outcome?;
    }
    Ok(())
}

/// The message of the status `Drifted`.
async fn until_drifted(world: &World, namespace: &str, name: &str) -> Result<String> {
    let status =
        world.until_status(namespace, name, "drifted", |status| status.state == State::Drifted).await?;
    ensure!(status.reason == "Drifted", "{status:?}");
    Ok(status.message)
}

async fn described(world: &World, topic: &str) -> Result<Option<TopicDescription>> {
    let outcomes = world.cluster()?.describe_topics(&[topic.parse()?], &ConfigKeys::All).await?;
    Ok(outcomes.into_iter().next().context("no answer")??)
}

async fn until_configs(world: &World, topic: &str, expected: &[(&str, &str)]) -> Result<()> {
    let own = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let expected: BTreeMap<String, String> = own.collect();
    wait::until(format!("topic {topic} to have {expected:?}"), PATIENCE, || async {
        let configs = described(world, topic).await?.context("no topic")?.configs;
        ensure!(configs == expected, "{configs:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

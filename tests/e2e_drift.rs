//! What somebody changes on the brokers is found and put back, or reported and left; on a real broker.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use support::{PATIENCE, World, in_the_world, wait};
use tokio::sync::OnceCell;
use topicops::kafka::{Cluster, ConfigChange, ConfigKeys, DoomedTopic, NewPartitions, TopicDescription};
use topicops_contract::State;

static HURRIED: OnceCell<()> = OnceCell::const_new();

/// Runs a test where topicops looks at everything every two seconds.
fn in_a_hurried_world<F>(test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    in_the_world(async |world| {
        HURRIED.get_or_try_init(|| hurry(world)).await?;
        test(world).await
    });
}

async fn hurry(world: &World) -> Result<()> {
    let settings = [("TOPICOPS_RESYNC", "2s")];
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
        let doomed = [&remade, &left].map(|name| name.parse().map(|name| DoomedTopic { name, id: None }));
        let doomed = doomed.into_iter().collect::<Result<Vec<_>, _>>()?;
        for outcome in world.cluster()?.delete_topics(&doomed).await? {
            outcome?;
        }
        let note = world.until_event(&namespace, &remade, "DriftCorrected").await?;
        ensure!(note.contains("what was in it is gone"), "{note}");
        let other = |status: &topicops_contract::Status| {
            status.state == State::Ready && status.topic_id != before.topic_id
        };
        let after = world.until_status(&namespace, &remade, "made anew", other).await?;
        ensure!(after.partitions == Some(2), "{after:?}");
        let status = until_drifted(world, &namespace, &left).await?;
        ensure!(status.contains("deleted"), "{status}");
        ensure!(described(world, &left).await?.is_none(), "{left} was made anew");
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

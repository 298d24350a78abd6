//! Topics, end to end: ConfigMaps in, a real broker out.

#[path = "topics/import.rs"]
mod import;
#[path = "e2e_topics/limits.rs"]
mod limits;
mod support;

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::api::DeleteParams;
use serde_json::json;
use support::{PATIENCE, World, alone_in_the_world, in_the_world, metric, wait};
use topicops::kafka::Cluster;
use topicops_contract::{State, Status};

#[test]
fn a_config_map_becomes_a_topic_as_declared() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("topics").await?, world.topic("orders"));
        let data = json!({ "partitions": "3", "replication-factor": "1", "retention": "7d",
            "properties": "max.message.bytes=123456\ncleanup.policy: compact" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        let status = world.until_ready(&namespace, &topic).await?;
        ensure!(status.partitions == Some(3) && status.replication_factor == Some(1), "{status:?}");
        let parts = [
            "PartitionCount: 3",
            "ReplicationFactor: 1",
            "retention.ms=604800000",
            "max.message.bytes=123456",
            "cleanup.policy=compact",
            status.topic_id.as_deref().unwrap_or("no topic id"),
        ];
        world.until_described(&topic, &parts).await?;
        Ok(())
    });
}

#[test]
fn a_topic_takes_its_name_from_the_key_when_no_object_could_bear_it() {
    in_the_world(async |world| {
        let namespace = world.namespace("topics").await?;
        let topic = format!("Orders_{}", world.topic("X"));
        world.declare(&namespace, "plain-name", json!({ "name": topic }), json!({})).await?;
        world.until_ready(&namespace, "plain-name").await?;
        world.until_described(&topic, &[]).await?;
        Ok(())
    });
}

#[test]
fn changed_retention_reaches_the_broker_and_what_others_set_stays() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("topics").await?, world.topic("orders"));
        let data = json!({ "retention": "1h", "properties": "segment.ms=3600000" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let by_hand = ["--alter", "--topic", &topic, "--add-config", "max.message.bytes=55555"];
        world.kafka_tool("kafka-configs.sh", &by_hand).await?;
        world
            .patch_topic(&namespace, &topic, json!({ "data": { "retention": "2h", "properties": null } }))
            .await?;
        wait::until("the retention edit on the broker", PATIENCE, || async {
            let line = world.described(&topic).await?.context("no topic")?;
            let right = line.contains("retention.ms=7200000") && !line.contains("segment.ms");
            ensure!(right && line.contains("max.message.bytes=55555"), "{line}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn partitions_grow_and_fewer_are_refused_with_both_numbers() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("topics").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({ "partitions": "2" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        world.patch_topic(&namespace, &topic, json!({ "data": { "partitions": "5" } })).await?;
        world.until_status(&namespace, &topic, "grown", |status| status.partitions == Some(5)).await?;
        wait::until("five partitions", PATIENCE, || async {
            let line = world.described(&topic).await?.context("no topic")?;
            ensure!(line.contains("PartitionCount: 5"), "{line}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let patch = world.patch_topic(&namespace, &topic, json!({ "data": { "partitions": "3" } })).await;
        let told = support::refusal(patch)?;
        ensure!(told.contains("\"3\"") && told.contains('5'), "{told}");
        Ok(())
    });
}

#[test]
fn fewer_partitions_than_a_topic_has_are_refused_by_the_controller_too() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("topics").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({ "partitions": "4" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        // The ConfigMap goes and the topic stays; a new one declares less, and admission has no status to look at.
        world.api::<ConfigMap>(&namespace).delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, &topic).await?;
        world.declare(&namespace, &topic, json!({ "partitions": "1" }), json!({})).await?;
        let status = world.until_refused(&namespace, &topic, "FewerPartitions").await?;
        ensure!(status.message.contains("\"1\"") && status.message.contains('4'), "{status:?}");
        let note = world.until_event(&namespace, &topic, "FewerPartitions").await?;
        ensure!(note.contains("partitions: \"1\""), "{note}");
        let line = world.described(&topic).await?.context("no topic")?;
        ensure!(line.contains("PartitionCount: 4"), "{line}");
        Ok(())
    });
}

/// Only the brokers know that they have no remote storage.
const REFUSED: &str = "remote.storage.enable=true";

#[test]
fn what_only_the_brokers_can_refuse_is_told_in_status_and_event() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("topics").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({ "properties": REFUSED }), json!({})).await?;
        let status = world.until_refused(&namespace, &topic, "KafkaRefused").await?;
        ensure!(status.message.contains("INVALID_CONFIG"), "{status:?}");
        let note = world.until_event(&namespace, &topic, "KafkaRefused").await?;
        ensure!(note.contains("INVALID_CONFIG"), "{note}");
        world.patch_topic(&namespace, &topic, json!({ "data": { "properties": null } })).await?;
        world.until_ready(&namespace, &topic).await?;
        Ok(())
    });
}

#[test]
fn a_new_topic_that_asks_for_more_brokers_than_there_are_is_told_both_numbers() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("topics").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({ "replication-factor": "3" }), json!({})).await?;
        let status = world.until_refused(&namespace, &topic, "TooFewBrokers").await?;
        ensure!(status.message.contains("\"3\"") && status.message.contains("1 are alive"), "{status:?}");
        world.patch_topic(&namespace, &topic, json!({ "data": { "replication-factor": "1" } })).await?;
        world.until_ready(&namespace, &topic).await?;
        Ok(())
    });
}

#[test]
fn bad_topics_of_a_batch_fail_alone() {
    // What others create is counted, too.
    alone_in_the_world(async |world| {
        let namespace = world.namespace("topics").await?;
        let topics: Vec<(String, bool)> = (0..20).map(|n| (world.topic("batch"), n % 5 == 3)).collect();
        let (requests, items) = creations(world).await?;
        // Together, so that each has others beside it.
        let declared = topics.iter().map(|(name, bad)| {
            let properties = if *bad { REFUSED } else { "" };
            world.declare(&namespace, name, json!({ "properties": properties }), json!({}))
        });
        try_join_all(declared).await?;
        for (name, bad) in &topics {
            if *bad {
                world.until_refused(&namespace, name, "KafkaRefused").await?;
            } else {
                world.until_ready(&namespace, name).await?;
            }
        }
        let (requests_after, items_after) = creations(world).await?;
        let (requests, items) = (requests_after - requests, items_after - items);
        ensure!(items >= 20.0 && requests < items, "{items} topics were asked for in {requests} requests");
        Ok(())
    });
}

/// How many requests the leader has made to create topics, and for how many topics in all.
async fn creations(world: &World) -> Result<(f64, f64)> {
    let (_, metrics) = world.probe(&world.until_leader().await?, "/metrics").await?;
    let value = |which: &str| {
        let series = format!("topicops_kafka_request_items_{which}{{operation=\"create_topics\"}}");
        metric(&metrics, &series).unwrap_or(0.0)
    };
    Ok((value("count"), value("sum")))
}

#[test]
fn an_existing_topic_of_nobody_is_not_taken_over_without_leave() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("hostile").await?, world.topic("treasure"));
        world.create_by_hand(&topic).await?;
        let annotations = json!({ "deletion-policy": "delete" });
        world.declare(&namespace, &topic, json!({ "retention": "1s" }), annotations).await?;
        let status = world.until_refused(&namespace, &topic, "AdoptionNotAllowed").await?;
        let leave = format!("--topic-owners {namespace}={topic}");
        ensure!(status.message.contains(&leave), "{status:?}");
        world.until_event(&namespace, &topic, "AdoptionNotAllowed").await?;
        // Nor does it grant anything, nor does it take the topic with it.
        world.create_client(&namespace, "reader", json!({ "consumes": topic })).await?;
        world.until_event(&namespace, "reader", "TopicNotDeclared").await?;
        world.until_secret(&namespace, "reader-kafka-credentials").await?;
        let acls = world.acls_of(&format!("topicops.{namespace}.reader")).await?;
        ensure!(!acls.iter().any(|acl| acl.contains("Topic")), "{acls:?}");
        world.api::<ConfigMap>(&namespace).delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, &topic).await?;
        let line = world.described(&topic).await?.context("the topic is gone")?;
        ensure!(!line.contains("retention.ms=1000"), "{line}");
        Ok(())
    });
}

#[test]
fn a_topic_stays_its_namespaces_beyond_its_config_map() {
    in_the_world(async |world| {
        let (ours, theirs) = (world.namespace("ours").await?, world.namespace("theirs").await?);
        let topic = world.topic("orders");
        world.declare(&ours, &topic, json!({}), json!({})).await?;
        world.until_ready(&ours, &topic).await?;
        world.api::<ConfigMap>(&ours).delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&ours, &topic).await?;
        world.declare(&theirs, &topic, json!({}), json!({})).await?;
        let status = world.until_refused(&theirs, &topic, "OwnedByNamespace").await?;
        ensure!(status.message.contains(&ours), "{status:?}");
        world.declare(&ours, &topic, json!({}), json!({})).await?;
        world.until_ready(&ours, &topic).await?;
        Ok(())
    });
}

#[test]
fn a_topic_that_its_namespace_gave_up_goes_to_one_that_may_own_it_as_it_is() {
    in_the_world(async |world| {
        let (before, after) = (world.namespace("before").await?, world.namespace("adopter").await?);
        let topic = world.topic("orders");
        world.declare(&before, &topic, json!({ "partitions": "2" }), json!({})).await?;
        let made = world.until_ready(&before, &topic).await?;
        // As long as it is declared, it stays whose it is.
        world.declare(&after, &topic, json!({ "partitions": "3" }), json!({})).await?;
        let status = world.until_refused(&after, &topic, "OwnedByAnother").await?;
        ensure!(status.message.contains(&before), "{status:?}");
        world.api::<ConfigMap>(&before).delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&before, &topic).await?;
        let ready = |status: &Status| status.state == State::Ready && status.partitions == Some(3);
        let given = world.until_status(&after, &topic, "ready with what it asks for", ready).await?;
        ensure!(made.topic_id.is_some() && given.topic_id == made.topic_id, "{made:?} {given:?}");
        world.declare(&before, &topic, json!({ "partitions": "2" }), json!({})).await?;
        let status = world.until_refused(&before, &topic, "OwnedByNamespace").await?;
        ensure!(status.message.contains(&after), "{status:?}");
        Ok(())
    });
}

#[test]
fn of_two_config_maps_the_older_owns_the_topic_and_the_other_takes_over() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("twins").await?, world.topic("orders"));
        let annotations = json!({ "deletion-policy": "delete" });
        world.declare(&namespace, "first", json!({ "name": topic }), annotations).await?;
        let before = world.until_ready(&namespace, "first").await?;
        world.declare(&namespace, "second", json!({ "name": topic, "retention": "3h" }), json!({})).await?;
        let status = world.until_refused(&namespace, "second", "OwnedByAnother").await?;
        ensure!(status.message.contains(&format!("{namespace}/first")), "{status:?}");
        world.api::<ConfigMap>(&namespace).delete("first", &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, "first").await?;
        let after = world.until_ready(&namespace, "second").await?;
        ensure!(before.topic_id == after.topic_id, "the topic was made anew: {before:?} {after:?}");
        wait::until("the successor's retention", PATIENCE, || async {
            let line = world.described(&topic).await?.context("no topic")?;
            ensure!(line.contains("retention.ms=10800000"), "{line}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn deletion_follows_the_policy_and_waits_for_users() {
    in_the_world(async |world| {
        let namespace = world.namespace("deletion").await?;
        let (kept, gone) = (world.topic("kept"), world.topic("gone"));
        world.declare(&namespace, &kept, json!({}), json!({})).await?;
        world.declare(&namespace, &gone, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_ready(&namespace, &kept).await?;
        world.until_ready(&namespace, &gone).await?;
        world.create_client(&namespace, "user", json!({ "consumes": gone })).await?;
        world.until_secret(&namespace, "user-kafka-credentials").await?;
        world.until_finalizer(&namespace, &gone).await?;
        for topic in [&kept, &gone] {
            world.api::<ConfigMap>(&namespace).delete(topic, &DeleteParams::default()).await?;
        }
        world.until_gone::<ConfigMap>(&namespace, &kept).await?;
        let status = world.until_refused(&namespace, &gone, "InUse").await?;
        ensure!(status.state == State::Pending && status.message.contains("user"), "{status:?}");
        world.delete_client(&namespace, "user").await?;
        world.until_gone::<ConfigMap>(&namespace, &gone).await?;
        world.until_no_topic(&gone).await?;
        ensure!(world.described(&kept).await?.is_some(), "{kept} was retained and is gone");
        Ok(())
    });
}

#[test]
fn force_delete_does_not_wait_for_users() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("forced").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_finalizer(&namespace, &topic).await?;
        world.create_client(&namespace, "user", json!({ "consumes": topic })).await?;
        world.until_secret(&namespace, "user-kafka-credentials").await?;
        world.api::<ConfigMap>(&namespace).delete(&topic, &DeleteParams::default()).await?;
        let status = world.until_refused(&namespace, &topic, "InUse").await?;
        ensure!(status.message.contains("topic.kafka.nb/force-delete"), "{status:?}");
        let force = json!({ "metadata": { "annotations": { "topic.kafka.nb/force-delete": "true" } } });
        world.patch_topic(&namespace, &topic, force).await?;
        world.until_gone::<ConfigMap>(&namespace, &topic).await?;
        world.until_no_topic(&topic).await?;
        ensure!(world.api::<Deployment>(&namespace).get_opt("user").await?.is_some(), "the user is gone");
        Ok(())
    });
}

#[test]
fn a_topic_that_a_consumer_group_reads_is_not_deleted() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("read").await?, world.topic("orders"));
        let group = format!("{topic}.readers");
        world.declare(&namespace, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_finalizer(&namespace, &topic).await?;
        let kafka = world.bed.kafka()?;
        // It soon counts as gone when it is killed.
        let mut reader = kafka
            .command("kafka-console-consumer.sh")?
            .args(["--bootstrap-server", kafka.bootstrap_servers(), "--topic", &topic, "--group", &group])
            .args(["--command-property", "session.timeout.ms=15000", "--command-config"])
            .arg(kafka.admin_properties())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let cluster = world.cluster()?;
        wait::until("the group to read", PATIENCE, || async {
            let groups = cluster.consuming_groups().await?;
            let reads = groups.iter().any(|one| one.group == group && one.topics.contains(&topic));
            ensure!(reads, "{groups:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.api::<ConfigMap>(&namespace).delete(&topic, &DeleteParams::default()).await?;
        let status = world.until_refused(&namespace, &topic, "InUse").await?;
        ensure!(status.message.contains(&group), "{status:?}");
        ensure!(world.described(&topic).await?.is_some(), "{topic} is gone while it is read");
        reader.kill().await?;
        world.until_gone::<ConfigMap>(&namespace, &topic).await?;
        world.until_no_topic(&topic).await
    });
}

#[test]
fn a_paused_topic_is_not_touched() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("paused").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({ "retention": "1h" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let paused = json!({ "metadata": { "annotations": { "topic.kafka.nb/paused": "true" } } });
        world.patch_topic(&namespace, &topic, paused).await?;
        let before =
            world.until_status(&namespace, &topic, "paused", |status| status.state == State::Paused).await?;
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention": "9h" } })).await?;
        // Another hash: this change was looked at.
        let looked_at = |status: &Status| status.hash != before.hash && status.state == State::Paused;
        world.until_status(&namespace, &topic, "looked at while paused", looked_at).await?;
        world.until_described(&topic, &["retention.ms=3600000"]).await?;
        let resumed = json!({ "metadata": { "annotations": { "topic.kafka.nb/paused": null } } });
        world.patch_topic(&namespace, &topic, resumed).await?;
        wait::until("what was held back", PATIENCE, || async {
            let line = world.described(&topic).await?.context("no topic")?;
            ensure!(line.contains("retention.ms=32400000"), "{line}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.until_ready(&namespace, &topic).await?;
        Ok(())
    });
}

#[test]
fn topics_that_nobody_declared_are_left_alone() {
    in_the_world(async |world| {
        let topic = world.topic("bystander");
        world.create_by_hand(&topic).await?;
        let namespace = world.namespace("others").await?;
        let own = world.topic("own");
        world.declare(&namespace, &own, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_ready(&namespace, &own).await?;
        world.api::<ConfigMap>(&namespace).delete(&own, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, &own).await?;
        ensure!(world.described(&topic).await?.is_some(), "{topic} is gone");
        Ok(())
    });
}

//! Deletion with evidence, and finalizers that never outlive their reason: on a real API server and a real broker.

mod support;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use support::{
    Options, PATIENCE, World, alone_in_the_world, in_a_world_of_its_own, in_the_world, metric, wait,
};
use topicops::kafka::{Cluster, DoomedTopic};

#[test]
fn with_the_brokers_away_what_leaves_its_topic_goes_and_what_takes_it_says_that_it_waits() {
    alone_in_the_world(async |world| {
        let (namespace, other) = (world.namespace("away").await?, world.namespace("other").await?);
        let delete = json!({ "deletion-policy": "delete" });
        let topics: Vec<String> =
            ["paused", "waits", "changed", "refused"].iter().map(|name| world.topic(name)).collect();
        for topic in &topics {
            world.declare(&namespace, topic, json!({}), delete.clone()).await?;
            world.until_ready(&namespace, topic).await?;
            world.until_finalizer(&namespace, topic).await?;
        }
        let [paused, waits, changed, refused] = &topics[..] else { unreachable!() };
        world.declare(&other, refused, json!({}), delete.clone()).await?;
        world.until_refused(&other, refused, "OwnedByNamespace").await?;
        let api = world.api::<ConfigMap>(&namespace);
        world
            .without_broker(async || {
                annotate(world, &namespace, paused, "paused", "true").await?;
                for topic in [paused, waits, changed] {
                    api.delete(topic, &DeleteParams::default()).await?;
                }
                world.api::<ConfigMap>(&other).delete(refused, &DeleteParams::default()).await?;
                world.until_gone::<ConfigMap>(&namespace, paused).await?;
                world.until_gone::<ConfigMap>(&other, refused).await?;
                for topic in [waits, changed] {
                    let status = world.until_refused(&namespace, topic, "KafkaUnavailable").await?;
                    ensure!(
                        status.message.contains("topic.kafka.nb/deletion-policy to retain"),
                        "{status:?}"
                    );
                }
                annotate(world, &namespace, changed, "deletion-policy", "retain").await?;
                world.until_gone::<ConfigMap>(&namespace, changed).await?;
                ensure!(api.get_opt(waits).await?.is_some(), "{waits} went without its topic");
                Ok(())
            })
            .await?;
        world.until_gone::<ConfigMap>(&namespace, waits).await?;
        world.until_no_topic(waits).await?;
        for topic in [paused, changed, refused] {
            ensure!(world.described(topic).await?.is_some(), "{topic} is gone");
        }
        Ok(())
    });
}

#[test]
fn a_namespace_goes_while_its_topic_is_used_elsewhere_and_the_topic_goes_when_it_is_not() {
    in_the_world(async |world| {
        let (ending, users) = (world.namespace("ending").await?, world.namespace("users").await?);
        let (used, again) = (world.topic("used"), world.topic("again"));
        for topic in [&used, &again] {
            let data = json!({ "consumers": format!("{users}/*") });
            world.declare(&ending, topic, data, json!({ "deletion-policy": "delete" })).await?;
            world.until_ready(&ending, topic).await?;
            world.until_finalizer(&ending, topic).await?;
            world.create_client(&users, topic, json!({ "consumes": topic })).await?;
            world.until_secret(&users, &format!("{topic}-kafka-credentials")).await?;
        }
        world.end_namespace(&ending).await?;
        for topic in [&used, &again] {
            ensure!(world.described(topic).await?.is_some(), "{topic} is gone while it is used");
        }
        // Tests beside this one have deletions of their own.
        wait::until("both deletions to be remembered", PATIENCE, || async {
            let (_, metrics) = world.probe(&world.until_leader().await?, "/metrics").await?;
            let remembered = metric(&metrics, "topicops_topic_deletions_remembered");
            ensure!(remembered.is_some_and(|count| count >= 2.0), "{remembered:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        // The namespace is there again and declares one of them: that calls its deletion off.
        world.bed.create_namespace(&ending).await?;
        world.declare(&ending, &again, json!({}), json!({})).await?;
        world.until_ready(&ending, &again).await?;
        for topic in [&used, &again] {
            world.delete_client(&users, topic).await?;
        }
        world.until_no_topic(&used).await?;
        ensure!(world.described(&again).await?.is_some(), "{again} was declared again and is gone");
        Ok(())
    });
}

#[test]
fn a_namespace_does_not_wait_for_brokers_that_are_away() {
    alone_in_the_world(async |world| {
        let (ending, topic) = (world.namespace("ending").await?, world.topic("orders"));
        world.declare(&ending, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_finalizer(&ending, &topic).await?;
        world.without_broker(async || world.end_namespace(&ending).await).await?;
        world.until_no_topic(&topic).await
    });
}

#[test]
fn deleted_within_its_first_moments_a_config_map_takes_its_topic_with_it() {
    in_the_world(async |world| {
        let namespace = world.namespace("moments").await?;
        let topics: Vec<String> = (0..20).map(|_| world.topic("brief")).collect();
        let api = world.api::<ConfigMap>(&namespace);
        let lives = topics.iter().enumerate().map(async |(index, topic)| {
            world.declare(&namespace, topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
            // Before it is seen, while its topic is being made, and while its finalizer is being written: each after one more
            // answer of the API server than the one before.
            for _ in 0..index {
                api.get(topic).await?;
            }
            api.delete(topic, &DeleteParams::default()).await?;
            Ok::<_, anyhow::Error>(())
        });
        try_join_all(lives).await?;
        // One that comes after them: by the time it is there, they have been looked at.
        let last = world.topic("last");
        world.declare(&namespace, &last, json!({}), json!({})).await?;
        world.until_ready(&namespace, &last).await?;
        wait::until("all of them to be gone", PATIENCE, || async {
            let there = world.cluster()?.list_topics().await?;
            let left: Vec<_> = topics.iter().filter(|topic| there.contains(topic)).collect();
            let objects = api.list_metadata(&Default::default()).await?.items.len();
            ensure!(left.is_empty() && objects == 2, "{left:?} and {objects} ConfigMaps are left");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn a_topic_that_somebody_made_anew_is_not_deleted() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("anew").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        let before = world.until_ready(&namespace, &topic).await?;
        world.until_finalizer(&namespace, &topic).await?;
        let cluster = world.cluster()?;
        for outcome in cluster
            .delete_topics(&[DoomedTopic::from(topic.parse::<topicops_contract::TopicName>()?)])
            .await?
        {
            outcome?;
        }
        world.until_no_topic(&topic).await?;
        world.create_by_hand(&topic).await?;
        world.api::<ConfigMap>(&namespace).delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, &topic).await?;
        world.until_event(&namespace, &topic, "TopicReplaced").await?;
        let line = world.described(&topic).await?.context("it is gone")?;
        ensure!(!line.contains(before.topic_id.as_deref().context("no id")?), "{line}");
        Ok(())
    });
}

#[test]
fn users_keep_their_access_while_a_deletion_waits_for_them() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("waiting").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_finalizer(&namespace, &topic).await?;
        world.create_client(&namespace, "user", json!({ "consumes": topic })).await?;
        let credentials = world.until_secret(&namespace, "user-kafka-credentials").await?;
        world.api::<ConfigMap>(&namespace).delete(&topic, &DeleteParams::default()).await?;
        world.until_refused(&namespace, &topic, "InUse").await?;
        // A change of access goes the same way after it.
        world.create_client(&namespace, "later", json!({ "consumes": topic })).await?;
        world.until_secret(&namespace, "later-kafka-credentials").await?;
        ensure!(world.topics_seen_by(&credentials).await? == [topic.clone()], "its access was taken away");
        Ok(())
    });
}

#[test]
fn another_name_leaves_the_old_topic_and_says_so() {
    in_the_world(async |world| {
        let namespace = world.namespace("renamed").await?;
        let (old, new) = (world.topic("old"), world.topic("new"));
        let delete = json!({ "deletion-policy": "delete" });
        world.declare(&namespace, "topic", json!({ "name": old }), delete).await?;
        world.until_ready(&namespace, "topic").await?;
        world.patch_topic(&namespace, "topic", json!({ "data": { "name": new } })).await?;
        let note = world.until_event(&namespace, "topic", "TopicLeft").await?;
        ensure!(note.contains(&old) && note.contains(&namespace), "{note}");
        world.until_topic(&new).await?;
        world.api::<ConfigMap>(&namespace).delete("topic", &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, "topic").await?;
        world.until_no_topic(&new).await?;
        ensure!(world.described(&old).await?.is_some(), "{old} went with an object that named another");
        Ok(())
    });
}

#[test]
fn a_finalizer_that_somebody_else_applied_too_is_taken_off_all_the_same() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("copied").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_finalizer(&namespace, &topic).await?;
        let api = world.api::<ConfigMap>(&namespace);
        // As a backup, or a GitOps tool that took the live object for the source, would.
        let copy = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": topic,
            "finalizers": ["topic.kafka.nb/topic"], "labels": { "config": "kafka-topic" } } });
        api.patch(&topic, &PatchParams::apply("gitops").force(), &Patch::Apply(copy)).await?;
        annotate(world, &namespace, &topic, "deletion-policy", "retain").await?;
        wait::until("the finalizer to be taken off", PATIENCE, || async {
            let finalizers = api.get(&topic).await?.finalizers().to_vec();
            ensure!(finalizers.is_empty(), "{finalizers:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn brokers_that_delete_no_topics_keep_no_config_map() {
    let options = Options::default().broker_setting("delete.topic.enable", "false");
    in_a_world_of_its_own(options, async |world| {
        let (namespace, other) = (world.namespace("kept").await?, world.namespace("other").await?);
        let topic = world.topic("orders");
        world.declare(&namespace, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_finalizer(&namespace, &topic).await?;
        world.api::<ConfigMap>(&namespace).delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, &topic).await?;
        let note = world.until_event(&namespace, &topic, "TopicDeletionDisabled").await?;
        ensure!(note.contains("TOPIC_DELETION_DISABLED") && note.contains(&namespace), "{note}");
        ensure!(world.described(&topic).await?.is_some(), "{topic} is gone");
        world.declare(&other, &topic, json!({}), json!({})).await?;
        world.until_refused(&other, &topic, "OwnedByNamespace").await?;
        Ok(())
    });
}

async fn annotate(world: &World, namespace: &str, name: &str, key: &str, value: &str) -> Result<()> {
    let patch = json!({ "metadata": { "annotations": { format!("topic.kafka.nb/{key}"): value } } });
    world.patch_topic(namespace, name, patch).await
}

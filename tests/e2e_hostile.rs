//! What a tenant who means harm tries, end to end.

mod support;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use support::{PATIENCE, in_the_world, wait};

/// Only the brokers know that they have no remote storage.
const REFUSED: &str = "remote.storage.enable=true";

#[test]
fn a_name_cannot_be_claimed_by_declaring_a_topic_that_kafka_refuses() {
    in_the_world(async |world| {
        let (evil, topic) = (world.namespace("evil").await?, world.topic("payments"));
        world.declare(&evil, &topic, json!({ "properties": REFUSED, "retention": "1s" }), json!({})).await?;
        world.until_refused(&evil, &topic, "KafkaRefused").await?;
        world.create_by_hand(&topic).await?;
        world.patch_topic(&evil, &topic, json!({ "data": { "properties": "" } })).await?;
        world.until_refused(&evil, &topic, "AdoptionNotAllowed").await?;
        let line = world.described(&topic).await?.context("no topic")?;
        ensure!(!line.contains("retention.ms=1000"), "{line}");
        Ok(())
    });
}

#[test]
fn a_topic_that_the_flag_protects_is_not_touched_whoever_declares_it_and_however() {
    in_the_world(async |world| {
        let adopter = world.namespace("adopter").await?;
        let (there, missing) = (world.topic("protected"), world.topic("protected"));
        world.create_by_hand(&there).await?;
        let before = world.described(&there).await?;
        let greedy = json!({ "deletion-policy": "delete" });
        let told = world.declare(&adopter, &there, json!({ "retention": "1s" }), greedy.clone()).await;
        let told = support::refusal(told.map(drop))?;
        ensure!(told.contains("protected-*"), "{told}");
        // Where admission is never asked.
        for topic in [&there, &missing] {
            let name = world.topic("by-another-name");
            let data = json!({ "name": topic, "retention": "1s" });
            world.declare("kube-system", &name, data, greedy.clone()).await?;
            let status = world.until_refused("kube-system", &name, "Protected").await?;
            ensure!(status.message.contains("protected-*"), "{status:?}");
            world.api::<ConfigMap>("kube-system").delete(&name, &DeleteParams::default()).await?;
            world.until_gone::<ConfigMap>("kube-system", &name).await?;
        }
        ensure!(
            world.described(&there).await? == before,
            "{:?}, and {before:?} before",
            world.described(&there).await?
        );
        ensure!(world.described(&missing).await?.is_none(), "{missing} was made");
        Ok(())
    });
}

#[test]
fn no_number_of_partitions_harms_the_brokers() {
    in_the_world(async |world| {
        let (evil, topic) = (world.namespace("evil").await?, world.topic("huge"));
        let told = world.declare(&evil, &topic, json!({ "partitions": "2000000" }), json!({})).await;
        let told = support::refusal(told.map(drop))?;
        ensure!(told.contains("\"2000000\"") && told.contains("1000"), "{told}");
        world.declare(&evil, &topic, json!({ "partitions": "1" }), json!({})).await?;
        world.until_ready(&evil, &topic).await?;
        let told = world.patch_topic(&evil, &topic, json!({ "data": { "partitions": "2000000" } })).await;
        ensure!(support::refusal(told)?.contains("1000"));
        Ok(())
    });
}

#[test]
fn a_config_map_that_lost_its_label_is_not_kept_by_our_finalizer() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("unlabelled").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_ready(&namespace, &topic).await?;
        world
            .patch_topic(&namespace, &topic, json!({ "metadata": { "labels": { "config": null } } }))
            .await?;
        let api = world.api::<ConfigMap>(&namespace);
        wait::until("the finalizer to be taken off", PATIENCE, || async {
            let finalizers = api.get(&topic).await?.metadata.finalizers.unwrap_or_default();
            ensure!(finalizers.is_empty(), "{finalizers:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        api.delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, &topic).await?;
        ensure!(
            world.described(&topic).await?.is_some(),
            "the topic went with a ConfigMap that was none of ours any more"
        );
        Ok(())
    });
}

#[test]
fn a_stranger_who_names_a_topic_cannot_keep_it_from_being_deleted() {
    in_the_world(async |world| {
        let (owner, stranger) = (world.namespace("owner").await?, world.namespace("stranger").await?);
        let topic = world.topic("orders");
        world.declare(&owner, &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_ready(&owner, &topic).await?;
        world.create_client(&stranger, "nosy", json!({ "consumes": "*" })).await?;
        world.until_secret(&stranger, "nosy-kafka-credentials").await?;
        world.api::<ConfigMap>(&owner).delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&owner, &topic).await
    });
}

#[test]
fn a_forged_status_does_not_stand() {
    in_the_world(async |world| {
        let (evil, topic) = (world.namespace("evil").await?, world.topic("treasure"));
        world.create_by_hand(&topic).await?;
        world.declare(&evil, &topic, json!({}), json!({})).await?;
        let refused = world.until_refused(&evil, &topic, "AdoptionNotAllowed").await?;
        let forged =
            json!({ "state": "Ready", "reason": "InSync", "hash": refused.hash, "time": refused.time });
        let patch = json!({ "metadata": { "annotations": { "topic.kafka.nb/status": forged.to_string() } } });
        let api = world.api::<ConfigMap>(&evil);
        api.patch(&topic, &PatchParams::default(), &Patch::Merge(patch)).await?;
        world.until_refused(&evil, &topic, "AdoptionNotAllowed").await?;
        Ok(())
    });
}

#[test]
fn nothing_that_a_stranger_deletes_takes_a_topic_that_is_not_its_own() {
    in_the_world(async |world| {
        let (owner, evil) = (world.namespace("owner").await?, world.namespace("evil").await?);
        let (topic, own) = (world.topic("orders"), world.topic("own"));
        world.declare(&owner, &topic, json!({}), json!({})).await?;
        let before = world.until_ready(&owner, &topic).await?;
        let greedy = json!({ "deletion-policy": "delete", "force-delete": "true" });
        // By name, with a status and a finalizer that look like those of an owner.
        let mut forged = support::topic_config_map(&topic, json!({}), greedy.clone())?;
        forged.metadata.finalizers = Some(vec!["topic.kafka.nb/topic".to_owned()]);
        let status = serde_json::to_string(&before)?;
        forged
            .metadata
            .annotations
            .get_or_insert_default()
            .insert("topic.kafka.nb/status".to_owned(), status);
        let api = world.api::<ConfigMap>(&evil);
        api.create(&PostParams::default(), &forged).await?;
        api.delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&evil, &topic).await?;
        // By a topic of its own that becomes the other, and back.
        world.declare(&evil, "chameleon", json!({ "name": own }), greedy.clone()).await?;
        world.until_ready(&evil, "chameleon").await?;
        world.patch_topic(&evil, "chameleon", json!({ "data": { "name": topic } })).await?;
        world.until_refused(&evil, "chameleon", "OwnedByNamespace").await?;
        world.patch_topic(&evil, "chameleon", json!({ "data": { "name": own } })).await?;
        world.until_ready(&evil, "chameleon").await?;
        world.patch_topic(&evil, "chameleon", json!({ "data": { "name": topic } })).await?;
        api.delete("chameleon", &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&evil, "chameleon").await?;
        // In the very moment of its creation, and with its whole namespace.
        world.declare(&evil, &topic, json!({}), greedy.clone()).await?;
        api.delete(&topic, &DeleteParams::default()).await?;
        world.declare(&evil, &topic, json!({}), greedy).await?;
        let namespaces: Api<Namespace> = Api::all(world.client.clone());
        namespaces.delete(&evil, &DeleteParams::default()).await?;
        wait::until("the namespace to be gone", PATIENCE, || async {
            ensure!(namespaces.get_opt(&evil).await?.is_none(), "it is there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        // The owner deletes and declares again: nobody older or newer got in between.
        world.api::<ConfigMap>(&owner).delete(&topic, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&owner, &topic).await?;
        world.declare(&owner, &topic, json!({}), json!({})).await?;
        let after = world.until_ready(&owner, &topic).await?;
        ensure!(after.topic_id == before.topic_id, "it was made anew: {before:?} {after:?}");
        Ok(())
    });
}

#[test]
fn a_flood_of_mistakes_is_answered_and_harms_nobody() {
    in_the_world(async |world| {
        let (evil, other) = (world.namespace("evil").await?, world.namespace("other").await?);
        let flood: String = (0..100_000).map(|index| format!("k{index}=1\n")).collect();
        let told = world.declare(&evil, "flood", json!({ "properties": flood }), json!({})).await;
        let told = support::refusal(told.map(drop))?;
        ensure!(told.contains("properties") && told.len() < 4_096, "{} bytes: {told:.200}", told.len());
        let topic = world.topic("orders");
        world.declare(&other, &topic, json!({}), json!({})).await?;
        world.until_ready(&other, &topic).await?;
        Ok(())
    });
}

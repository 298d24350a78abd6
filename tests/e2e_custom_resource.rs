//! The custom resource KafkaTopic, end to end: the same engine, a schema of its own.

mod support;

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Pod},
        events::v1::Event,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{
    PATIENCE, World, alone_in_the_world, in_the_world,
    kafka_topics::{create, object, until},
    repository, wait,
};
use topicops::KafkaTopic;
use topicops_contract::{KafkaTopicStatus, State, Status};

#[test]
fn a_custom_resource_becomes_a_topic_and_its_status_and_columns_tell_so() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("custom").await?, world.topic("orders"));
        let spec = json!({
            "partitions": 3, "replicationFactor": 1, "retention": "7d",
            "config": { "max.message.bytes": 123456, "cleanup.policy": "compact" },
        });
        create(world, &namespace, &topic, spec).await?;
        let (first, status) =
            until(world, &namespace, &topic, "ready", |status| status.state == State::Ready).await?;
        ensure!(status.partitions == Some(3) && status.replication_factor == Some(1), "{status:?}");
        let parts = [
            "PartitionCount: 3",
            "retention.ms=604800000",
            "max.message.bytes=123456",
            "cleanup.policy=compact",
            status.topic_id.as_deref().context("no topic id")?,
        ];
        world.until_described(&topic, &parts).await?;
        let raw = KafkaTopicStatus::deserialize(&first.status)?;
        ensure!(
            raw.observed_generation == first.metadata.generation && raw.topic_name.as_ref() == Some(&topic),
            "{raw:?}"
        );

        let table = kubectl(world, &["-n", &namespace, "get", "kafka"]).await?;
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let [header, row] = rows.as_slice() else { anyhow::bail!("{table}") };
        ensure!(header.join(" ") == "NAME TOPIC PARTITIONS REPLICATION FACTOR READY REASON AGE", "{table}");
        ensure!(row[..6] == [topic.as_str(), topic.as_str(), "3", "1", "True", "InSync"], "{table}");

        patch(world, &namespace, &topic, json!({ "spec": { "retention": "2h", "partitions": 5 } })).await?;
        let changed = |status: &Status| status.hash == "2" && status.partitions == Some(5);
        let (_, now) = until(world, &namespace, &topic, "grown", changed).await?;
        ensure!(
            now.state == State::Ready && now.time == status.time,
            "the condition's status did not change: {status:?} {now:?}"
        );
        wait::until("the change on the broker", PATIENCE, || async {
            let line = world.described(&topic).await?.context("no topic")?;
            ensure!(line.contains("PartitionCount: 5") && line.contains("retention.ms=7200000"), "{line}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        let fewer = patch(world, &namespace, &topic, json!({ "spec": { "partitions": 4 } })).await;
        let told = support::refusal(fewer)?;
        ensure!(
            told.contains("the topic has 5 partitions and Kafka cannot take any away; declare 5 or more"),
            "{told}"
        );
        ensure!(told.contains("spec.partitions") && !told.contains("admission webhook"), "{told}");
        let renamed = patch(world, &namespace, &topic, json!({ "spec": { "name": "other" } })).await;
        let told = support::refusal(renamed)?;
        ensure!(told.contains("a topic cannot be renamed"), "{told}");
        // Its own name, said aloud, is no renaming.
        patch(world, &namespace, &topic, json!({ "spec": { "name": topic } })).await
    });
}

#[test]
fn each_rule_of_the_schema_is_kept_by_the_api_server_itself() {
    in_the_world(async |world| {
        let namespace = world.namespace("schema").await?;
        let long = "x".repeat(250);
        let many: Vec<String> = (0..300).map(|index| format!("a/b{index}")).collect();
        let grant = "a line namespace/workload such as shipping/packer";
        let duration = "a duration such as 7d, 36h, 90m, 30s or 1d12h";
        let share = "a percentage of the brokers' disk such as 5% or 0.25%";
        let cases = [
            (json!({ "name": "my topic" }), "letters a-z A-Z, digits"),
            (json!({ "name": "a\nb" }), "letters a-z A-Z, digits"),
            (json!({ "name": "müller" }), "letters a-z A-Z, digits"),
            (json!({ "name": "" }), "spec.name"),
            (json!({ "name": "." }), "cannot be \".\" or \"..\""),
            (json!({ "name": ".." }), "cannot be \".\" or \"..\""),
            (json!({ "name": long }), "249"),
            (json!({ "name": "__consumer_offsets" }), "Kafka's own"),
            (json!({ "partitions": 0 }), "greater than or equal to 1"),
            (json!({ "partitions": 2_147_483_648_i64 }), "spec.partitions"),
            (json!({ "partitions": "3" }), "integer"),
            (json!({ "partitions": 1.5 }), "integer"),
            (json!({ "replicationFactor": 0 }), "greater than or equal to 1"),
            (json!({ "replicationFactor": 40_000 }), "less than or equal to 32767"),
            (json!({ "config": { "preallocate": true } }), "spec.config.preallocate"),
            (json!({ "config": { "segment.bytes": [1] } }), "spec.config.segment.bytes"),
            (json!({ "config": { "leader.replication.throttled.replicas": "*" } }), "throttled by topicops"),
            (json!({ "retention": "7 days" }), duration),
            (json!({ "retention": "1h1d" }), duration),
            (json!({ "retention": "" }), duration),
            (
                json!({ "retention": "7d", "config": { "retention.ms": 1 } }),
                "given as spec.retention and as retention.ms",
            ),
            (json!({ "retentionDiskShare": "5" }), share),
            (json!({ "retentionDiskShare": "0.00%" }), share),
            (json!({ "retentionDiskShare": "101%" }), share),
            (
                json!({ "retentionDiskShare": "5%", "config": { "retention.bytes": 1 } }),
                "given as spec.retentionDiskShare and as retention.bytes",
            ),
            (json!({ "consumers": ["shipping"] }), grant),
            (json!({ "consumers": ["a/b\nc/d"] }), grant),
            (json!({ "producers": ["Shipping/packer"] }), grant),
            (json!({ "producers": "a/b" }), "array"),
            (json!({ "consumers": many }), "256"),
            (json!({ "consumers": ["a/b", "a/b"] }), "Duplicate"),
            (json!({ "deletionPolicy": "keep" }), "\"retain\", \"delete\""),
            (json!({ "paused": "true" }), "boolean"),
            (json!({ "forceDelete": 1 }), "boolean"),
        ];
        let api = world.api::<KafkaTopic>(&namespace);
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        for (spec, says) in cases {
            let made = api.create(&dry, &object("case", spec.clone())).await;
            let told = support::refusal(made.map_err(Into::into)).with_context(|| spec.to_string())?;
            ensure!(told.contains(says), "{spec}: {told}");
            ensure!(told.contains("is invalid") && !told.contains("admission webhook"), "{spec}: {told}");
        }
        let made = api.create(&dry, &object(&"x".repeat(250), json!({}))).await;
        let told = support::refusal(made.map_err(Into::into))?;
        ensure!(told.contains("at most 249 characters; set spec.name"), "{told}");
        // What is right passes, at its bounds.
        let right = json!({
            "name": "x".repeat(249), "partitions": 1000, "replicationFactor": 32767, "retention": "1w2d3h4m5s6ms",
            "retentionDiskShare": "100.00%", "config": { "preallocate": "true", "segment.bytes": 1_000_000 },
            "consumers": ["*/*"], "producers": ["a-b/c.d*"], "deletionPolicy": "delete", "paused": true, "forceDelete": false,
        });
        api.create(&dry, &object("right", right)).await?;
        Ok(())
    });
}

#[test]
fn what_the_schema_cannot_know_is_refused_by_the_webhook() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("webhook").await?, world.topic("orders"));
        let spec = json!({ "config": { "retention.sm": 1, "segment.bytes": "big" }, "partitions": 3 });
        let mut wrong = object(&topic, spec);
        wrong.metadata.annotations = Some([("topic.kafka.nb/paused".to_owned(), "true".to_owned())].into());
        let api = world.api::<KafkaTopic>(&namespace);
        let told = support::refusal(api.create(&PostParams::default(), &wrong).await.map_err(Into::into))?;
        for part in [
            "3 mistakes",
            "spec.config[retention.sm]",
            "did you mean retention.ms?",
            "spec.config[segment.bytes]: \"big\"",
            "set spec.paused instead",
        ] {
            ensure!(told.contains(part), "{part} is missing: {told}");
        }
        let unknown = kubectl_apply(world, &namespace, json!({ "retentoin": "7d" })).await?;
        ensure!(unknown.contains("unknown field \"spec.retentoin\""), "{unknown}");
        Ok(())
    });
}

#[test]
fn a_topic_moves_from_a_config_map_to_a_custom_resource_and_back() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("moving").await?, world.topic("orders"));
        // Of those made in the same second, the name decides.
        let delete = json!({ "deletion-policy": "delete" });
        world.declare(&namespace, "a-old", json!({ "name": topic }), delete).await?;
        let before = world.until_ready(&namespace, "a-old").await?;
        create(
            world,
            &namespace,
            "b-new",
            json!({ "name": topic, "retention": "3h", "deletionPolicy": "delete" }),
        )
        .await?;
        let refused = |status: &Status| status.reason == "OwnedByAnother";
        let (object, status) = until(world, &namespace, "b-new", "refused", refused).await?;
        let owner = format!("owned by the older ConfigMap {namespace}/a-old");
        ensure!(status.state == State::Refused && status.message.contains(&owner), "{status:?}");
        let note = event(world, &namespace, &object, "OwnedByAnother").await?;
        ensure!(note.contains(&owner), "{note}");

        world.api::<ConfigMap>(&namespace).delete("a-old", &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, "a-old").await?;
        let (_, after) =
            until(world, &namespace, "b-new", "the owner", |status| status.state == State::Ready).await?;
        ensure!(before.topic_id == after.topic_id, "the topic was made anew: {before:?} {after:?}");

        world.declare(&namespace, "c-again", json!({ "name": topic }), json!({})).await?;
        let status = world.until_refused(&namespace, "c-again", "OwnedByAnother").await?;
        ensure!(status.message.contains(&format!("the older KafkaTopic {namespace}/b-new")), "{status:?}");
        world.api::<KafkaTopic>(&namespace).delete("b-new", &DeleteParams::default()).await?;
        world.until_gone::<KafkaTopic>(&namespace, "b-new").await?;
        let back = world.until_ready(&namespace, "c-again").await?;
        ensure!(before.topic_id == back.topic_id, "the topic was made anew: {before:?} {back:?}");
        Ok(())
    });
}

#[test]
fn a_custom_resource_of_a_stranger_takes_no_topic_from_a_config_map_and_grants_nobody_access_to_it() {
    in_the_world(async |world| {
        let (owner, evil) = (world.namespace("owner").await?, world.namespace("evil").await?);
        let topic = world.topic("treasure");
        world.declare(&owner, &topic, json!({ "partitions": "2" }), json!({})).await?;
        let before = world.until_ready(&owner, &topic).await?;
        let spec = json!({ "partitions": 9, "retention": "1s", "consumers": [format!("{evil}/*")],
            "deletionPolicy": "delete", "forceDelete": true, "name": topic });
        create(world, &evil, "mine", spec).await?;
        let refused = |status: &Status| status.reason == "OwnedByNamespace";
        until(world, &evil, "mine", "refused", refused).await?;
        world.create_client(&evil, "thief", json!({ "consumes": topic })).await?;
        world.until_event(&evil, "thief", "TopicNotGranted").await?;
        world.api::<KafkaTopic>(&evil).delete("mine", &DeleteParams::default()).await?;
        world.until_gone::<KafkaTopic>(&evil, "mine").await?;
        let after = world.described(&topic).await?.context("the topic is gone")?;
        let id = before.topic_id.context("no topic id")?;
        ensure!(after.contains(&id) && after.contains("PartitionCount: 2"), "{after}");
        ensure!(!after.contains("retention.ms"), "{after}");
        Ok(())
    });
}

#[test]
fn deletion_follows_the_policy_in_the_spec() {
    in_the_world(async |world| {
        let namespace = world.namespace("deletion").await?;
        let (kept, gone) = (world.topic("kept"), world.topic("gone"));
        create(world, &namespace, &kept, json!({})).await?;
        create(world, &namespace, &gone, json!({ "deletionPolicy": "delete" })).await?;
        let ready = |status: &Status| status.state == State::Ready;
        let (kept_object, _) = until(world, &namespace, &kept, "ready", ready).await?;
        let (gone_object, _) = until(world, &namespace, &gone, "ready", ready).await?;
        ensure!(kept_object.finalizers().is_empty(), "{kept_object:?}");
        // The finalizer comes before the status that says all is well.
        ensure!(gone_object.finalizers() == ["topic.kafka.nb/topic"], "{gone_object:?}");
        world.create_client(&namespace, "user", json!({ "consumes": gone })).await?;
        world.until_secret(&namespace, "user-kafka-credentials").await?;
        for name in [&kept, &gone] {
            world.api::<KafkaTopic>(&namespace).delete(name, &DeleteParams::default()).await?;
        }
        world.until_gone::<KafkaTopic>(&namespace, &kept).await?;
        let (_, status) =
            until(world, &namespace, &gone, "in use", |status| status.reason == "InUse").await?;
        ensure!(
            status.message.contains("spec.forceDelete: true") && status.message.contains("user"),
            "{status:?}"
        );
        patch(world, &namespace, &gone, json!({ "spec": { "forceDelete": true } })).await?;
        world.until_gone::<KafkaTopic>(&namespace, &gone).await?;
        wait::until("the topic to go", PATIENCE, || async {
            ensure!(world.described(&gone).await?.is_none(), "{gone} is still there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        ensure!(world.described(&kept).await?.is_some(), "{kept} was retained and is gone");
        Ok(())
    });
}

#[test]
fn a_paused_custom_resource_is_left_alone_and_says_so() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("paused").await?, world.topic("orders"));
        create(world, &namespace, &topic, json!({ "retention": "1h" })).await?;
        until(world, &namespace, &topic, "ready", |status| status.state == State::Ready).await?;
        patch(world, &namespace, &topic, json!({ "spec": { "paused": true, "retention": "9h" } })).await?;
        let (_, status) =
            until(world, &namespace, &topic, "paused", |status| status.state == State::Paused).await?;
        ensure!(status.message.contains("spec.paused"), "{status:?}");
        world.until_topic(&topic).await?;
        let line = world.described(&topic).await?.context("no topic")?;
        ensure!(line.contains("retention.ms=3600000"), "{line}");
        patch(world, &namespace, &topic, json!({ "spec": { "paused": null } })).await?;
        until(world, &namespace, &topic, "ready again", |status| status.state == State::Ready).await?;
        Ok(())
    });
}

#[test]
fn workloads_get_access_as_a_custom_resource_grants_it() {
    in_the_world(async |world| {
        let (ours, theirs) = (world.namespace("ours").await?, world.namespace("theirs").await?);
        let topic = world.topic("orders");
        create(world, &ours, &topic, json!({})).await?;
        until(world, &ours, &topic, "ready", |status| status.state == State::Ready).await?;
        world.create_client(&ours, "writer", json!({ "produces": topic })).await?;
        world.create_client(&theirs, "reader", json!({ "consumes": topic })).await?;
        let note = world.until_event(&theirs, "reader", "TopicNotGranted").await?;
        let line = format!(
            "KafkaTopic {ours}/{topic}, which does not list {theirs}/reader: add \"{theirs}/reader\" to its"
        );
        ensure!(note.contains(&line) && note.contains("spec.consumers"), "{note}");
        patch(world, &ours, &topic, json!({ "spec": { "consumers": [format!("{theirs}/reader")] } })).await?;
        for (namespace, name, operation) in [(&ours, "writer", "Write"), (&theirs, "reader", "Read")] {
            let username = format!("topicops.{namespace}.{name}");
            wait::until(format!("the ACLs of {username}"), PATIENCE, || async {
                let acls = world.acls_of(&username).await?;
                ensure!(acls.contains(&format!("{operation} Topic {topic}")), "{acls:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
        }
        Ok(())
    });
}

#[test]
fn without_the_custom_resource_config_maps_work_and_it_can_be_installed_later() {
    alone_in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("absent").await?, world.topic("orders"));
        create(
            world,
            &namespace,
            "before",
            json!({ "name": format!("{topic}.x"), "deletionPolicy": "delete" }),
        )
        .await?;
        until(world, &namespace, "before", "ready", |status| status.state == State::Ready).await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
        definitions.delete("kafkatopics.topic.kafka.nb", &DeleteParams::default()).await?;
        wait::until("the custom resource to be gone", PATIENCE, || async {
            ensure!(definitions.get_opt("kafkatopics.topic.kafka.nb").await?.is_none(), "it is there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        // It took its objects with it, and they their topics, as their policy says.
        wait::until("the topic to go", PATIENCE, || async {
            ensure!(world.described(&format!("{topic}.x")).await?.is_none(), "it is there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        // One that starts without it becomes ready, and leads.
        let old: Vec<String> = world
            .pods("topicops", "app.kubernetes.io/name=topicops")
            .await?
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        let pods = world.api::<Pod>("topicops");
        for name in &old {
            pods.delete(name, &DeleteParams::default()).await?;
        }
        for name in &old {
            world.until_gone::<Pod>("topicops", name).await?;
        }
        world.until_rolled_out("topicops", "topicops", PATIENCE).await?;
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;

        world.bed.apply_path(repository().join("deploy/install/05-crd-kafkatopics.yaml")).await?;
        let api = world.api::<KafkaTopic>(&namespace);
        let later = object("later", json!({ "name": format!("{topic}.y") }));
        wait::until("the custom resource to be served", PATIENCE, || async {
            api.create(&PostParams::default(), &later).await.map(drop)
        })
        .await?;
        until(world, &namespace, "later", "ready", |status| status.state == State::Ready).await?;
        Ok(())
    });
}

async fn patch(world: &World, namespace: &str, name: &str, patch: Value) -> Result<()> {
    let api = world.api::<KafkaTopic>(namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// An Event of exactly this object.
async fn event(world: &World, namespace: &str, object: &KafkaTopic, reason: &str) -> Result<String> {
    let api = world.api::<Event>(namespace);
    wait::until(format!("an Event {reason}"), PATIENCE, || async {
        let events = api.list(&ListParams::default()).await?.items;
        let of_object = events.into_iter().find(|event| {
            let regarding = event.regarding.clone().unwrap_or_default();
            event.reason.as_deref() == Some(reason)
                && regarding.kind.as_deref() == Some("KafkaTopic")
                && regarding.api_version.as_deref() == Some("topic.kafka.nb/v1beta1")
                && regarding.uid == object.metadata.uid
        });
        of_object.and_then(|event| event.note).context("no such Event")
    })
    .await
}

async fn kubectl(world: &World, arguments: &[&str]) -> Result<String> {
    let told = world.kubectl(arguments, "").await?;
    Ok(told.out + &told.err)
}

/// What `kubectl apply` says to a KafkaTopic of this spec.
async fn kubectl_apply(world: &World, namespace: &str, spec: Value) -> Result<String> {
    let object = json!({
        "apiVersion": "topic.kafka.nb/v1beta1", "kind": "KafkaTopic", "metadata": { "name": "typo" }, "spec": spec,
    });
    let told = world.kubectl(&["-n", namespace, "apply", "-f", "-"], &object.to_string()).await?;
    Ok(told.out + &told.err)
}

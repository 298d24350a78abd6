//! Limits and defaults, end to end: a policy in its ConfigMap, mounted as `deploy/install` mounts it.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    client::Body,
    core::Request,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use topicops_contract::{State, Status};

use crate::support::{self, PATIENCE, World, alone_in_the_world, in_the_world, wait};

/// Namespaces of these tests alone, so that no other test of the world is limited.
const POLICY: &str = r"
namespaces:
  limits-*:
    defaults:
      partitions: 2
      replication-factor: 1
      retention: 2d
      properties: { segment.ms: 3600000, retention.bytes: 1000000 }
    limits:
      partitions: { min: 2, max: 4 }
      replication-factor: { max: 2 }
      retention: { max: 7d, action: adjust }
      retention-bytes: { max: 1Gi }
      name: { pattern: 'orders-[0-9]+' }
      properties:
        preallocate: { forbidden: true }
        max.message.bytes: { min: 1000, max: 2000000 }
        compression.type: { one-of: [producer, zstd], action: warn }
        cleanup.policy: { one-of: [delete] }
  totals-*:
    defaults: { partitions: 1, replication-factor: 1 }
    limits: { topics: { max: 3 }, total-partitions: { max: 6 }, total-bytes: { max: 1Gi } }
  # Where admission is never asked.
  kube-system:
    defaults: { partitions: 1 }
    limits:
      partitions: { max: 4 }
      total-partitions: { max: 8 }
      properties: { min.insync.replicas: { required: true, max: 1 } }
  reload-*:
    defaults: { properties: { segment.ms: 3600000 } }
";
const RELOADED: &str = "reload-*:\n    defaults: { properties: { segment.ms: 3600000 } }\n";

static IN_PLACE: OnceCell<()> = OnceCell::const_new();

async fn in_place(world: &World) -> Result<()> {
    IN_PLACE.get_or_try_init(|| async { world.put_policy(POLICY).await }).await.map(drop)
}

/// Declares a topic; what admission warned of.
async fn declare_warned(world: &World, namespace: &str, name: &str, data: Value) -> Result<Vec<String>> {
    let config_map = support::topic_config_map(name, data, json!({}))?;
    let request = Request::new(ConfigMap::url_path(&(), Some(namespace)))
        .create(&PostParams::default(), serde_json::to_vec(&config_map)?)?;
    let answer = world.client.send(request.map(Body::from)).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let warnings = answer.headers().get_all("warning").iter();
    Ok(warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect())
}

#[test]
fn defaults_of_the_namespace_land_on_the_broker_and_an_adjustment_is_told() {
    in_the_world(async |world| {
        in_place(world).await?;
        let (namespace, other) = (world.namespace("limits").await?, world.namespace("unlimited").await?);
        let (topic, adjusted, plain) = (world.topic("orders"), world.topic("orders"), world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        let warnings = declare_warned(
            world,
            &namespace,
            &adjusted,
            json!({ "retention": "30d", "properties": "compression.type=gzip\nsegment.ms=60000" }),
        )
        .await?;
        world.declare(&other, &plain, json!({}), json!({})).await?;
        let adjustment = "retention: \"30d\": 7d at most, says the operator's policy (namespaces.limits-*.limits.retention): \
                          adjusted to 7d";
        let warned = "properties: compression.type: \"gzip\": one of producer, zstd";
        for text in [adjustment, warned] {
            // Quotes are escaped in the header.
            let text = text.replace('"', "\\\"");
            ensure!(warnings.iter().any(|warning| warning.contains(&text)), "{text}: {warnings:?}");
        }
        let status = world.until_ready(&namespace, &topic).await?;
        ensure!(status.partitions == Some(2) && status.message.is_empty(), "{status:?}");
        let parts =
            ["PartitionCount: 2", "retention.ms=172800000", "segment.ms=3600000", "retention.bytes=1000000"];
        world.until_described(&topic, &parts).await?;
        let status = world.until_ready(&namespace, &adjusted).await?;
        ensure!(status.message.contains(adjustment) && status.message.contains(warned), "{status:?}");
        let parts = ["retention.ms=604800000", "segment.ms=60000", "compression.type=gzip"];
        world.until_described(&adjusted, &parts).await?;
        world.until_ready(&other, &plain).await?;
        let line = world.until_described(&plain, &["PartitionCount"]).await?;
        ensure!(!line.contains("segment.ms") && !line.contains("retention.ms"), "{line}");
        Ok(())
    });
}

#[test]
fn each_limit_denies_at_admission_with_key_value_and_bound() {
    in_the_world(async |world| {
        in_place(world).await?;
        let namespace = world.namespace("limits").await?;
        for (name, data, says) in [
            ("orders-1", json!({ "partitions": "5" }), "partitions: \"5\": 2 to 4"),
            ("orders-1", json!({ "partitions": "1" }), "partitions: \"1\": 2 to 4"),
            ("orders-1", json!({ "replication-factor": "3" }), "replication-factor: \"3\": 2 at most"),
            (
                "orders-1",
                json!({ "properties": "retention.bytes=2147483648" }),
                "properties: retention.bytes: \"2Gi\": 1Gi at most",
            ),
            ("payments", json!({}), "name: \"payments\": must match orders-[0-9]+"),
            (
                "orders-1",
                json!({ "properties": "preallocate=true" }),
                "properties: preallocate: \"true\": may not be declared",
            ),
            (
                "orders-1",
                json!({ "properties": "max.message.bytes=999" }),
                "properties: max.message.bytes: \"999\": 1000 to 2000000",
            ),
            (
                "orders-1",
                json!({ "properties": "cleanup.policy=compact" }),
                "properties: cleanup.policy: \"compact\": one of delete",
            ),
        ] {
            let told = support::refusal(world.declare(&namespace, name, data, json!({})).await)?;
            ensure!(told.contains(says), "\"{says}\" is missing: {told}");
            ensure!(told.contains("says the operator's policy (namespaces.limits-*.limits."), "{told}");
        }
        let data = json!({ "partitions": "9", "replication-factor": "9", "properties": "preallocate=true" });
        let told = support::refusal(world.declare(&namespace, "payments", data, json!({})).await)?;
        for key in
            ["partitions: \"9\"", "replication-factor: \"9\"", "preallocate: \"true\"", "name: \"payments\""]
        {
            ensure!(told.contains(key), "not all at once: {told}");
        }
        Ok(())
    });
}

#[test]
fn what_a_namespace_has_in_all_is_bounded_and_freed_when_a_topic_goes() {
    in_the_world(async |world| {
        in_place(world).await?;
        let namespace = world.namespace("totals").await?;
        let names: Vec<String> = (0..4).map(|_| world.topic("totals")).collect();
        let of =
            |partitions: &str| json!({ "partitions": partitions, "properties": "retention.bytes=104857600" });
        let told = support::refusal(world.declare(&namespace, &names[0], json!({}), json!({})).await)?;
        ensure!(told.contains("properties: retention.bytes: is required"), "{told}");
        let told = support::refusal(world.declare(&namespace, &names[0], of("7"), json!({})).await)?;
        ensure!(told.contains("partitions: \"7\": ") && told.contains("of 6 at most in all"), "{told}");
        for (name, partitions) in [(&names[0], "3"), (&names[1], "2")] {
            world.declare(&namespace, name, of(partitions), json!({})).await?;
            world.until_ready(&namespace, name).await?;
        }
        until_denied(world, &namespace, &names[2], of("2"), &["have 5 already, of 6 at most in all"]).await?;
        let much = json!({ "properties": "retention.bytes=1073741824" });
        let says = ["properties: retention.bytes: \"1Gi\"", "500Mi already, of 1Gi"];
        until_denied(world, &namespace, &names[2], much, &says).await?;
        world.declare(&namespace, &names[2], of("1"), json!({})).await?;
        world.until_ready(&namespace, &names[2]).await?;
        until_denied(world, &namespace, &names[3], of("1"), &["has 3 other topics, of 3 at most"]).await?;
        let to = async |partitions: &str| {
            let patch = json!({ "data": { "partitions": partitions } });
            world.patch_topic(&namespace, &names[2], patch).await
        };
        wait::until("growth to be denied", PATIENCE, || async {
            let grow = to("2").await;
            if grow.is_ok() {
                to("1").await?;
            }
            let told = support::refusal(grow)?;
            ensure!(told.contains("partitions: \"2\"") && told.contains("of 6 at most"), "{told}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.api::<ConfigMap>(&namespace).delete(&names[0], &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, &names[0]).await?;
        // Its topic is still there. The replica that leads knows that; admission by another one does not.
        let left = format!("nobody declares {} any more", names[0]);
        wait::until("what is left to count", PATIENCE, || async {
            match world.declare(&namespace, &names[3], of("3"), json!({})).await {
                Ok(_) => {
                    let status = world.until_refused(&namespace, &names[3], "NamespaceQuotaExceeded").await?;
                    world.api::<ConfigMap>(&namespace).delete(&names[3], &DeleteParams::default()).await?;
                    world.until_gone::<ConfigMap>(&namespace, &names[3]).await?;
                    ensure!(status.message.contains(&left), "{status:?}");
                }
                Err(error) => ensure!(format!("{error:?}").contains(&left), "{error:?}"),
            }
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        ensure!(world.described(&names[3]).await?.is_none(), "{} was made", names[3]);
        let to_go = json!({ "deletion-policy": "delete" });
        wait::until("the topic to be declared again", PATIENCE, || async {
            world.declare(&namespace, &names[0], of("3"), to_go.clone()).await.map(drop)
        })
        .await?;
        world.until_ready(&namespace, &names[0]).await?;
        world.api::<ConfigMap>(&namespace).delete(&names[0], &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&namespace, &names[0]).await?;
        wait::until("room for another", PATIENCE, || async {
            world.declare(&namespace, &names[3], of("3"), json!({})).await.map(drop)
        })
        .await?;
        world.until_ready(&namespace, &names[3]).await?;
        Ok(())
    });
}

#[test]
fn what_admission_never_saw_is_refused_by_the_controller_with_the_same_words() {
    in_the_world(async |world| {
        in_place(world).await?;
        let namespace = "kube-system";
        // Kubernetes counts ages in whole seconds, and between equals the name decides: the last one is to come last.
        let names = ["limited", "limited", "limited", "young"].map(|name| world.topic(name));
        let of =
            |partitions: &str| json!({ "partitions": partitions, "properties": "min.insync.replicas=1" });
        let refused = json!({ "partitions": "5", "properties": "min.insync.replicas=2" });
        world.declare(namespace, &names[0], refused, json!({})).await?;
        let status = world.until_refused(namespace, &names[0], "TooManyPartitions").await?;
        for says in [
            "partitions: \"5\": 4 at most, says the operator's policy (namespaces.kube-system.limits.partitions)",
            "properties: min.insync.replicas: \"2\": 1 at most",
        ] {
            ensure!(status.message.contains(says), "\"{says}\" is missing: {status:?}");
        }
        let note = world.until_event(namespace, &names[0], "TooManyPartitions").await?;
        ensure!(note.contains("partitions: \"5\": 4 at most"), "{note}");
        world.declare(namespace, &names[1], json!({}), json!({})).await?;
        world.until_refused(namespace, &names[1], "PropertyRequired").await?;
        ensure!(world.described(&names[0]).await?.is_none(), "{} was made", names[0]);

        // Those who are refused take no room. The older have theirs; who comes too late gets it when one of them goes.
        for name in [&names[1], &names[2]] {
            let full = of("4");
            if name == &names[1] {
                let to_go = json!({ "annotations": { "topic.kafka.nb/deletion-policy": "delete" } });
                world.patch_topic(namespace, name, json!({ "data": full, "metadata": to_go })).await?;
            } else {
                world.declare(namespace, name, full, json!({})).await?;
            }
            world.until_ready(namespace, name).await?;
        }
        world.declare(namespace, &names[3], of("2"), json!({})).await?;
        let status = world.until_refused(namespace, &names[3], "NamespaceQuotaExceeded").await?;
        ensure!(status.message.contains("have 8 already, of 8 at most in all"), "{status:?}");
        world.until_event(namespace, &names[3], "NamespaceQuotaExceeded").await?;
        ensure!(world.described(&names[3]).await?.is_none(), "{} was made", names[3]);
        world.api::<ConfigMap>(namespace).delete(&names[1], &DeleteParams::default()).await?;
        world.until_ready(namespace, &names[3]).await?;
        Ok(())
    });
}

#[test]
fn a_changed_policy_counts_without_a_restart_and_a_broken_one_does_not() {
    in_the_world(async |world| {
        in_place(world).await?;
        let (namespace, topic) = (world.namespace("reload").await?, world.topic("orders"));
        world
            .declare(&namespace, &topic, json!({ "partitions": "3", "retention": "30d" }), json!({}))
            .await?;
        world.until_ready(&namespace, &topic).await?;
        world.until_described(&topic, &["segment.ms=3600000"]).await?;

        world
            .write_policy(&POLICY.replace(RELOADED, "reload-*: { limits: { partitions: { max: two } } }\n"))
            .await?;
        for pod in world.pods("topicops", "app.kubernetes.io/name=topicops").await? {
            wait::until("the mistake to be told", PATIENCE, || async {
                let (code, body) = world.probe(&pod, "/readyz/policy").await?;
                let path = "namespaces.reload-*.limits.partitions.max: \"two\": a whole number";
                ensure!(code == 503 && body.contains(path), "{code}: {body}");
                ensure!(world.probe(&pod, "/readyz").await?.0 == 200, "it is unready");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
        }
        let second = world.topic("orders");
        world.declare(&namespace, &second, json!({}), json!({})).await?;
        world.until_ready(&namespace, &second).await?;
        world.until_described(&second, &["segment.ms=3600000"]).await?;

        let limited = "reload-*: { limits: { partitions: { max: 2 }, retention: { max: 7d } } }\n";
        world.put_policy(&POLICY.replace(RELOADED, limited)).await?;
        let status = world.until_refused(&namespace, &topic, "TooManyPartitions").await?;
        ensure!(
            status.state == State::Refused && status.message.contains("retention: \"30d\": 7d at most"),
            "{status:?}"
        );
        wait::until("the default to be unset", PATIENCE, || async {
            let line = world.described(&topic).await?.context("no topic")?;
            ensure!(!line.contains("segment.ms"), "{line}");
            ensure!(line.contains("PartitionCount: 3") && line.contains("retention.ms=2592000000"), "{line}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        // It can be edited all the same, but not further out of the limits.
        let edit = json!({ "data": { "properties": "max.message.bytes=54321" } });
        world.patch_topic(&namespace, &topic, edit).await?;
        wait::until("the edit on the broker", PATIENCE, || async {
            let line = world.described(&topic).await?.context("no topic")?;
            ensure!(line.contains("max.message.bytes=54321"), "{line}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let more = world.patch_topic(&namespace, &topic, json!({ "data": { "partitions": "4" } })).await;
        ensure!(support::refusal(more)?.contains("partitions: \"4\": 2 at most"));

        world.put_policy(POLICY).await?;
        let well = |status: &Status| status.state == State::Ready && status.message.is_empty();
        world.until_status(&namespace, &topic, "well again", well).await?;
        Ok(())
    });
}

#[test]
fn replicas_that_start_when_the_policy_is_mistaken_or_gone_serve_and_go_on_with_the_one_before() {
    alone_in_the_world(async |world| {
        in_place(world).await?;
        // Whatever other tests left.
        put_anew(world).await?;
        let namespace = world.namespace("limits").await?;
        let api = world.api::<ConfigMap>("topicops");
        wait::until("the policy to be kept", PATIENCE, || async {
            let kept = api.get("topicops-last-policy").await?.data.unwrap_or_default();
            ensure!(kept.get("policy.yaml").is_some_and(|text| text == POLICY), "{kept:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        for (wrong, says) in [("mistaken", "\"three\""), ("gone", "is gone")] {
            if wrong == "gone" {
                api.delete("topicops-policy", &DeleteParams::default()).await?;
            } else {
                world.write_policy("limits: { partitions: { max: three } }").await?;
            }
            restart(world, wrong).await?;
            for pod in world.pods("topicops", "app.kubernetes.io/name=topicops").await? {
                wait::until("the mistake to be told", PATIENCE, || async {
                    let (code, told) = world.probe(&pod, "/readyz/policy").await?;
                    ensure!(
                        code == 503 && told.contains(says) && told.contains("the policy before it counts"),
                        "{told}"
                    );
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
            }
            let (many, few) = (world.topic("orders"), world.topic("orders"));
            let told = world.declare(&namespace, &many, json!({ "partitions": "9" }), json!({})).await;
            let told = support::refusal(told.map(drop))?;
            ensure!(told.contains("2 to 4"), "{told}");
            world.declare(&namespace, &few, json!({ "partitions": "3" }), json!({})).await?;
            world.until_ready(&namespace, &few).await?;
        }
        put_anew(world).await
    });
}

/// Declares a topic until that is denied in these words: a replica that does not lead may not have heard yet of those before it.
async fn until_denied(world: &World, namespace: &str, name: &str, data: Value, says: &[&str]) -> Result<()> {
    wait::until(format!("{name} to be denied"), PATIENCE, || async {
        let tried = world.declare(namespace, name, data.clone(), json!({})).await;
        if tried.is_ok() {
            world.api::<ConfigMap>(namespace).delete(name, &DeleteParams::default()).await?;
            world.until_gone::<ConfigMap>(namespace, name).await?;
        }
        let told = support::refusal(tried)?;
        for part in says {
            ensure!(told.contains(part), "\"{part}\" is missing: {told}");
        }
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// The policy that counts already is no news: another in between makes it some.
async fn put_anew(world: &World) -> Result<()> {
    world.put_policy("defaults: { partitions: 7 }").await?;
    world.put_policy(POLICY).await
}

/// Replaces all replicas, as `kubectl rollout restart` does.
async fn restart(world: &World, why: &str) -> Result<()> {
    let patch = json!({ "spec": { "template": { "metadata": { "annotations": { "restarted": why } } } } });
    let api = world.api::<Deployment>("topicops");
    api.patch("topicops", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    world.until_rolled_out("topicops", "topicops", PATIENCE).await?;
    wait::until("the replicas before to be gone", PATIENCE, || async {
        let pods = world.pods("topicops", "app.kubernetes.io/name=topicops").await?.len();
        ensure!(pods == 2, "{pods} are there");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

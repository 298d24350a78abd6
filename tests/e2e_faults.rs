//! What happens when something breaks: topicops killed, brokers away, the API server away.

mod support;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;
use support::{Options, PATIENCE, World, alone_in_the_world, in_a_world_of_its_own, wait};
use topicops::kafka::{Cluster, ConfigKeys, ResourceType};
use topicops_contract::{State, Status};

const TOPICS: usize = 200;
const CLIENTS: usize = 50;
/// For work on all of them, on a slow machine.
const LONG: Duration = Duration::from_secs(360);

#[test]
fn killed_in_the_middle_of_200_topics_and_50_clients_it_converges_with_nothing_twice_and_nothing_missing() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("crash").await?;
        let prefix = world.topic("crash");
        let (first, rest) = (0..TOPICS / 4, TOPICS / 4..TOPICS);
        let declare = async |index: usize| {
            let data = json!({ "partitions": "2", "retention": "5h" });
            world.declare(&namespace, &format!("{prefix}-{index}"), data, json!({})).await.map(drop)
        };
        let client = async |index: usize| {
            let annotations =
                json!({ "consumes": format!("{prefix}-{index}"), "produces": format!("{prefix}-{index}") });
            world.create_client(&namespace, &format!("client-{index}"), annotations).await.map(drop)
        };
        for index in first {
            declare(index).await?;
        }
        // Three kills while the work comes in: each takes whoever leads, in whatever it is doing.
        for index in rest {
            declare(index).await?;
            if index < TOPICS / 4 + CLIENTS {
                until_admitted(async || client(index - TOPICS / 4).await).await?;
            }
            if index % 50 == 25 {
                world.kill_the_leader().await?;
            }
        }
        until_converged(world, &namespace, &prefix).await?;
        for index in 0..CLIENTS {
            let secret = world.until_secret(&namespace, &format!("client-{index}-kafka-credentials")).await?;
            if index % 10 == 0 {
                let topic = format!("{prefix}-{index}");
                // It logs in, and sees its own topic and no other.
                let seen = world.topics_seen_by(&secret).await?;
                ensure!(seen == [topic], "{seen:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn brokers_lost_for_a_while_are_survived_and_visible() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("outage").await?;
        let topic = world.topic("orders");
        world
            .without_broker(async || {
                let leader = world.until_leader().await?;
                world.declare(&namespace, &topic, json!({}), json!({})).await?;
                world.create_client(&namespace, "app", json!({ "produces": topic })).await?;
                until_kafka_is_missed(world, &leader).await?;
                let (code, body) = world.probe(&leader, "/readyz").await?;
                ensure!(code == 200, "readiness must not hang on Kafka: {body}");
                ensure!(body.contains("[!]kafka degraded"), "{body}");
                wait::until("the errors to be counted", PATIENCE, || async {
                    let (_, metrics) = world.probe(&leader, "/metrics").await?;
                    let unreachable = metrics.lines().any(|line| {
                        line.starts_with("topicops_kafka_errors_total")
                            && line.contains("unreachable")
                            && !line.ends_with(" 0")
                    });
                    ensure!(unreachable, "no error was counted");
                    Ok::<_, anyhow::Error>(())
                })
                .await
            })
            .await?;
        world.until_ready(&namespace, &topic).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        wait::until("the recovery to be visible", PATIENCE, || async {
            let leader = world.until_leader().await?;
            let (_, body) = world.probe(&leader, "/readyz").await?;
            ensure!(body.contains("[+]kafka ok"), "{body}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn a_broker_that_hangs_does_not_hang_topicops() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("frozen").await?;
        let topic = world.topic("orders");
        world
            .with_frozen_broker(async || {
                world.declare(&namespace, &topic, json!({}), json!({})).await?;
                let leader = world.until_leader().await?;
                until_kafka_is_missed(world, &leader).await?;
                // The webhook goes on admitting, and nobody is restarted for it.
                world.create_client(&namespace, "app", json!({ "produces": topic })).await?;
                ensure!(world.probe(&leader, "/livez").await?.0 == 200);
                ensure!(world.probe(&leader, "/readyz").await?.0 == 200);
                Ok(())
            })
            .await?;
        world.until_ready(&namespace, &topic).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        Ok(())
    });
}

#[test]
fn a_pod_waits_for_its_secret_and_then_works_with_nothing_but_the_injected_files() {
    alone_in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("pods").await?, world.topic("orders"));
        let script = format!(
            "cd $SERVICE_BINDING_ROOT/credentials && test -s username && echo from-a-pod | \
             /opt/kafka/bin/kafka-console-producer.sh --topic {topic} --bootstrap-server $(cat bootstrap.servers) \
             --command-config client.properties && echo produced && sleep 3600"
        );
        let annotations = json!({ "produces": topic, "consumes": topic });
        let deployment = support::client_deployment("app", annotations, 1, &script)?;
        world.declare(&namespace, &topic, json!({ "partitions": "1" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        // Without brokers there are no credentials.
        world
            .without_broker(async || {
                world.api::<Deployment>(&namespace).create(&PostParams::default(), &deployment).await?;
                let pod = the_pod(world, &namespace).await?;
                world.until_event(&namespace, &pod.name_any(), "FailedMount").await?;
                let phase = the_pod(world, &namespace).await?.status.and_then(|status| status.phase);
                ensure!(phase.as_deref() == Some("Pending"), "{phase:?}");
                let secret = world.api::<Secret>(&namespace).get_opt("app-kafka-credentials").await?;
                ensure!(secret.is_none(), "there is a Secret without brokers");
                Ok(())
            })
            .await?;
        world.until_rolled_out(&namespace, "app", PATIENCE).await?;
        let pod = the_pod(world, &namespace).await?.name_any();
        wait::until("the Pod to have produced", PATIENCE, || async {
            let log = world.bed.logs(&namespace, &pod, "main")?;
            ensure!(log.lines().any(|line| line == "produced"), "{log}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let data = world.until_secret(&namespace, "app-kafka-credentials").await?;
        let arguments =
            ["--topic", &topic, "--from-beginning", "--max-messages", "1", "--timeout-ms", "60000"];
        let read = world.tool_as(&data, "kafka-console-consumer.sh", &arguments).await?;
        ensure!(read.contains("from-a-pod"), "{read}");
        Ok(())
    });
}

#[test]
fn the_api_server_restarted_is_survived() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("restart").await?;
        let (before, after) = (world.topic("before"), world.topic("after"));
        world.declare(&namespace, &before, json!({}), json!({})).await?;
        let replica = world.until_leader().await?;
        world.bed.stop_api_server().await?;
        let visible = wait::until("the loss to be visible", PATIENCE, || async {
            let (_, body) = world.probe(&replica, "/readyz").await?;
            ensure!(body.contains("[!]kubernetes degraded"), "{body}");
            Ok::<_, anyhow::Error>(())
        })
        .await;
        world.bed.start_api_server().await?;
        visible?;
        world.until_ready(&namespace, &before).await?;
        until_admitted(async || world.declare(&namespace, &after, json!({}), json!({})).await.map(drop))
            .await?;
        world.until_ready(&namespace, &after).await?;
        until_admitted(async || {
            world.create_client(&namespace, "app", json!({ "produces": after })).await.map(drop)
        })
        .await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        world.until_rolled_out("topicops", "topicops", LONG).await
    });
}

#[test]
fn what_happened_while_topicops_was_away_is_made_good() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("away").await?;
        let (topic, gone) = (world.topic("orders"), world.topic("gone"));
        world.declare(&namespace, &topic, json!({ "retention": "1h" }), json!({})).await?;
        world.declare(&namespace, &gone, json!({}), json!({ "deletion-policy": "delete" })).await?;
        world.until_ready(&namespace, &gone).await?;
        for name in ["stays", "goes"] {
            world.create_client(&namespace, name, json!({ "produces": topic })).await?;
        }
        let before = world.until_secret(&namespace, "stays-kafka-credentials").await?;
        world.until_secret(&namespace, "goes-kafka-credentials").await?;
        scale(world, 0).await?;
        // Deletions are never admitted by anybody, and the validating webhook fails open.
        world.delete_client(&namespace, "goes").await?;
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention": "2h" } })).await?;
        world.api::<ConfigMap>(&namespace).delete(&gone, &DeleteParams::default()).await?;
        scale(world, 2).await?;
        world.until_gone::<ConfigMap>(&namespace, &gone).await?;
        world.until_gone::<Secret>(&namespace, "goes-kafka-credentials").await?;
        wait::until("everything to be made good", LONG, || async {
            let users = world.scram_users(&format!("topicops.{namespace}.")).await?;
            ensure!(users == [format!("topicops.{namespace}.stays")], "{users:?}");
            ensure!(
                world.acls_of(&format!("topicops.{namespace}.goes")).await?.is_empty(),
                "rules were left"
            );
            let line = world.described(&topic).await?.context("no topic")?;
            ensure!(line.contains("retention.ms=7200000"), "{line}");
            ensure!(world.described(&gone).await?.is_none(), "{gone} is still there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let after = world.until_secret(&namespace, "stays-kafka-credentials").await?;
        ensure!(before == after, "a client that nothing happened to got other credentials");
        Ok(())
    });
}

#[test]
fn brokers_of_another_kafka_cluster_are_left_alone_until_an_administrator_says_otherwise() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("elsewhere").await?;
        let topic = world.topic("orders");
        world.declare(&namespace, &topic, json!({ "retention": "1h" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        world.create_client(&namespace, "app", json!({ "produces": topic })).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        let kept: Api<ConfigMap> = world.api("topicops");
        let name = format!("{}-kafka-cluster", world.operator_id);
        let home = world.cluster()?.describe_cluster().await?.cluster_id;
        let said = kept.get(&name).await?.data.context("no data")?;
        ensure!(said["cluster-id"] == home, "{said:?}, and the brokers say {home}");

        scale(world, 0).await?;
        let other = kube::api::Patch::Merge(json!({ "data": { "cluster-id": "somebody-elses" } }));
        kept.patch(&name, &kube::api::PatchParams::default(), &other).await?;
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention": "2h" } })).await?;
        world.delete_client(&namespace, "app").await?;
        scale(world, 2).await?;
        let status = world.until_refused(&namespace, &topic, "KafkaUnavailable").await?;
        for part in ["somebody-elses", &home, &format!("topicops/{name}")] {
            ensure!(status.message.contains(part), "{part} is missing: {}", status.message);
        }
        until_kafka_is_missed(world, &world.until_leader().await?).await?;
        // Several passes have failed by now.
        let line = world.described(&topic).await?.context("no topic")?;
        ensure!(line.contains("retention.ms=3600000"), "{line}");
        let user = format!("topicops.{namespace}.app");
        let users = world.scram_users(&user).await?;
        ensure!(users == [user.as_str()], "{users:?}");

        kept.delete(&name, &DeleteParams::default()).await?;
        let done = |status: &Status| status.state == State::Ready && status.reason == "InSync";
        world.until_status(&namespace, &topic, "as declared", done).await?;
        wait::until("everything to be made good", PATIENCE, || async {
            let line = world.described(&topic).await?.context("no topic")?;
            ensure!(line.contains("retention.ms=7200000"), "{line}");
            let users = world.scram_users(&user).await?;
            ensure!(users.is_empty(), "{users:?}");
            let said = kept.get(&name).await?.data.context("no data")?;
            ensure!(said["cluster-id"] == home, "{said:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn topicops_starts_before_its_brokers() {
    in_a_world_of_its_own(Options::default(), async |world| {
        scale(world, 0).await?;
        let namespace = world.namespace("early").await?;
        world
            .without_broker(async || {
                // Ready without Kafka: the webhook needs no broker.
                scale(world, 2).await?;
                for pod in world.pods("topicops", "app.kubernetes.io/name=topicops").await? {
                    until_kafka_is_missed(world, &pod).await?;
                    let (code, body) = world.probe(&pod, "/readyz").await?;
                    ensure!(code == 200, "{body}");
                }
                world.declare(&namespace, "orders", json!({}), json!({})).await?;
                world.create_client(&namespace, "app", json!({ "produces": "orders" })).await?;
                Ok(())
            })
            .await?;
        world.until_ready(&namespace, "orders").await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        Ok(())
    });
}

/// Waits until this replica shows that the brokers do not answer.
async fn until_kafka_is_missed(world: &World, pod: &Pod) -> Result<()> {
    wait::until("the outage to be visible", PATIENCE, || async {
        let (code, body) = world.probe(pod, "/readyz/kafka").await?;
        ensure!(code == 503, "/readyz/kafka says {code}: {body}");
        let (_, metrics) = world.probe(pod, "/metrics").await?;
        ensure!(metrics.lines().any(|line| line == "topicops_kafka_up 0"), "kafka_up is not 0");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// The only Pod of the Deployment `app`.
async fn the_pod(world: &World, namespace: &str) -> Result<Pod> {
    wait::until("the Pod", PATIENCE, || async {
        world.pods(namespace, "app=app").await?.into_iter().next().context("no Pod yet")
    })
    .await
}

async fn scale(world: &World, replicas: i32) -> Result<()> {
    let api = world.api::<Deployment>("topicops");
    let patch = kube::api::Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    api.patch("topicops", &kube::api::PatchParams::default(), &patch).await?;
    let pods = world.api::<Pod>("topicops");
    wait::until(format!("{replicas} replicas"), PATIENCE, || async {
        let count = pods.list(&ListParams::default()).await?.items.len();
        ensure!(i32::try_from(count)? == replicas, "{count}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    if replicas > 0 {
        world.until_rolled_out("topicops", "topicops", PATIENCE).await?;
    }
    Ok(())
}

/// SIGKILL to the process itself: its Pod stays, and its container is started again.
/// A caller that tries again, as GitOps tools do, while the replica that was called has just died.
async fn until_admitted(call: impl AsyncFn() -> Result<()>) -> Result<()> {
    wait::until("an admission", PATIENCE, || async {
        match call().await {
            // Done by the try before, whose answer was lost.
            Err(error)
                if error.to_string().contains("AlreadyExists")
                    || error.to_string().contains("already exists") =>
            {
                Ok(())
            }
            result => result,
        }
    })
    .await
}

async fn until_converged(world: &World, namespace: &str, prefix: &str) -> Result<()> {
    let cluster = world.cluster()?;
    let names =
        (0..TOPICS).map(|index| format!("{prefix}-{index}").parse()).collect::<Result<Vec<_>, _>>()?;
    let keys = ConfigKeys::Only(BTreeSet::from(["retention.ms".to_owned()]));
    wait::until("all topics, users, rules and Secrets", LONG, || async {
        let topics = cluster.describe_topics(&names, &keys).await?;
        let right = topics.iter().filter(|topic| {
            topic.as_ref().is_ok_and(|topic| {
                topic.as_ref().is_some_and(|topic| {
                    let retention = topic.configs.get("retention.ms");
                    topic.partitions() == 2 && retention.is_some_and(|retention| retention == "18000000")
                })
            })
        });
        let right = right.count();
        ensure!(right == TOPICS, "{right} topics are right");
        let user_prefix = format!("topicops.{namespace}.");
        let users = cluster.describe_scram_users(&user_prefix).await?.len();
        ensure!(users == CLIENTS, "{users} users");
        // Each reads and writes one topic (3 rules) and has two patterns of groups (2 rules each).
        let acls = cluster.describe_acls(&user_prefix).await?;
        let topic_rules = acls.iter().filter(|acl| acl.resource.resource_type == ResourceType::Topic).count();
        ensure!(
            (topic_rules, acls.len()) == (3 * CLIENTS, 7 * CLIENTS),
            "{topic_rules} of {} rules",
            acls.len()
        );
        let secrets: Api<Secret> = world.api(namespace);
        let labelled = ListParams::default().labels("config=kafka-topic-credentials");
        let secrets = secrets.list_metadata(&labelled).await?.items.len();
        ensure!(secrets == CLIENTS, "{secrets} Secrets");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

//! Rotation, end to end: Pods change over to new credentials under load, topicops is killed at each step, rollouts stick.

mod support;

use std::{collections::BTreeSet, process::Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{Pod, Secret},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{PATIENCE, World, alone_in_the_world, client_workload, in_the_world, wait};
use topicops::fail_point;

const ROUNDS: u32 = 3;

/// What the Secret says of its users: the one in it, and the one before.
async fn users(world: &World, namespace: &str, secret: &str) -> Result<(String, Option<String>)> {
    let secret = world.api::<Secret>(namespace).get_metadata(secret).await?;
    let says = |key: &str| secret.annotations().get(&format!("topic.kafka.nb/{key}")).cloned();
    Ok((says("username").context("it is nobody's")?, says("previous-username")))
}

/// Waits until the Secret has this generation's user alone, and the brokers nobody else of that workload.
async fn until_rotated(
    world: &World,
    namespace: &str,
    name: &str,
    first: &str,
    generation: u32,
) -> Result<()> {
    let expected = if generation == 1 { first.to_owned() } else { format!("{first}_{generation}") };
    wait::until(format!("{expected} alone"), PATIENCE, || async {
        let stands = users(world, namespace, &format!("{name}-kafka-credentials")).await?;
        ensure!(stands == (expected.clone(), None), "{stands:?}");
        let there = world.scram_users(first).await?;
        ensure!(there == [expected.clone()], "{there:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A workload whose Pods have the time to end what they do, with more in its spec.
fn workload(kind: &str, name: &str, annotations: &Value, replicas: i32, script: &str, more: &Value) -> Value {
    let mut object = client_workload(kind, name, annotations, replicas, script);
    object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(10);
    for (key, value) in more.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

/// What each Pod of a workload wrote, those that are gone too.
fn written_by(world: &World, namespace: &str, workload: &str) -> Result<Vec<Vec<String>>> {
    let logs = world.bed.info().directory.join("logs/pods").join(namespace);
    let mut all = Vec::new();
    for pod in std::fs::read_dir(logs)? {
        let pod = pod?;
        if pod.file_name().to_string_lossy().starts_with(&format!("{workload}-")) {
            for log in std::fs::read_dir(pod.path().join("main"))? {
                all.push(std::fs::read_to_string(log?.path())?.lines().map(str::to_owned).collect());
            }
        }
    }
    Ok(all)
}

/// The values of the records that events of this name are about.
fn values(lines: &[String], name: &str) -> BTreeSet<String> {
    let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let named = events.filter(|event| event["name"] == name);
    named.filter_map(|event| Some(event["value"].as_str()?.to_owned())).collect()
}

#[test]
fn three_rotations_under_load_lose_nothing_and_no_client_sees_an_authentication_error() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("rotation").await?, world.topic("load"));
        world.declare(&namespace, &topic, json!({ "partitions": "4" }), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        // Each Pod has numbers of its own, so that every record is another.
        let script = |tool: &str, arguments: &str| {
            format!(
                "cd $SERVICE_BINDING_ROOT/credentials && exec /opt/kafka/bin/{tool} --topic {topic} \
                 --bootstrap-server $(cat bootstrap.servers) --command-config client.properties {arguments} 2>&1"
            )
        };
        let produce = script(
            "kafka-verifiable-producer.sh",
            "--throughput 100 --acks -1 --value-prefix $(date +%N | sed s/^0*/1/ | cut -c 1-9)",
        );
        let group = format!("{namespace}.reader");
        let consume = script(
            "kafka-verifiable-consumer.sh",
            &format!("--group-id {group} --verbose --reset-policy earliest"),
        );
        let writer = workload("Deployment", "writer", &json!({ "produces": topic }), 1, &produce, &json!({}));
        let reader = workload(
            "StatefulSet",
            "reader",
            &json!({ "consumes": topic }),
            2,
            &consume,
            &json!({ "serviceName": "reader" }),
        );
        let params = PostParams::default();
        world.api::<Deployment>(&namespace).create(&params, &serde_json::from_value(writer)?).await?;
        world.api::<StatefulSet>(&namespace).create(&params, &serde_json::from_value(reader)?).await?;
        let stale = world.until_secret(&namespace, "writer-kafka-credentials").await?;
        let namespace = namespace.as_str();
        let all_read = async |at_least: usize| {
            let acknowledged = wait::until(format!("{at_least} records"), PATIENCE, || async {
                let acknowledged =
                    values(&written_by(world, namespace, "writer")?.concat(), "producer_send_success");
                ensure!(acknowledged.len() >= at_least, "{} were written", acknowledged.len());
                Ok::<_, anyhow::Error>(acknowledged)
            })
            .await?;
            // What is written meanwhile need not be read.
            wait::until("all of them to be read", PATIENCE, || async {
                let read = values(&written_by(world, namespace, "reader")?.concat(), "record_data");
                let missing: Vec<_> = acknowledged.difference(&read).take(5).collect();
                ensure!(missing.is_empty(), "not read, of {}: {missing:?}", acknowledged.len());
                Ok::<_, anyhow::Error>(acknowledged.len())
            })
            .await
        };
        let mut count = all_read(100).await?;
        let base = |name: &str| format!("topicops.{namespace}.{name}");
        for round in 1..=ROUNDS {
            let token = format!("round {round}");
            world.annotate(namespace, "writer", json!({ "rotate": token })).await?;
            let output = rotate(world, &[&format!("{namespace}/reader"), "--wait"]).await?;
            ensure!(
                output.contains(&format!("all Pods have user {}_statefulset_{}", base("reader"), round + 1)),
                "{output}"
            );
            until_rotated(world, namespace, "writer", &base("writer"), round + 1).await?;
            count = all_read(count + 100).await?;
        }
        until_rotated(world, namespace, "reader", &format!("{}_statefulset", base("reader")), ROUNDS + 1)
            .await?;
        let (writers, readers) =
            (written_by(world, namespace, "writer")?, written_by(world, namespace, "reader")?);
        let all = [writers.concat(), readers.concat()].concat();
        let trouble = |line: &&String| {
            ["Authentication", "Authorization", "Sasl"].iter().any(|word| line.contains(word))
        };
        let trouble: Vec<_> = all.iter().filter(trouble).take(5).collect();
        ensure!(trouble.is_empty(), "{trouble:?}");
        // Every Pod was another one in each round.
        ensure!(writers.len() > 3 && readers.len() > 6, "{} and {}", writers.len(), readers.len());
        let denied = world.tool_as(&stale, "kafka-topics.sh", &["--list"]).await?;
        ensure!(denied.contains("SaslAuthenticationException"), "{denied}");
        world.until_event(namespace, "writer", "Rotated").await?;
        Ok(())
    });
}

/// `topicops rotate`, as an administrator.
async fn rotate(world: &World, arguments: &[&str]) -> Result<String> {
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_topicops"))
        .arg("rotate")
        .args(arguments)
        .env("KUBECONFIG", world.bed.kubeconfig_path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.context("topicops rotate did not end")??;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(said)
}

#[test]
fn killed_at_each_step_of_a_rotation_it_goes_on_and_pods_are_let_in_all_the_while() {
    alone_in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("killed").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let annotations = json!({ "produces": topic });
        let deployment = workload("Deployment", "app", &annotations, 1, "exec sleep 3600", &json!({}));
        let params = PostParams::default();
        world.api::<Deployment>(&namespace).create(&params, &serde_json::from_value(deployment)?).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        let first = format!("topicops.{namespace}.app");
        let mut generation = 1;
        for place in fail_point::NAMES.iter().filter(|name| name.starts_with("access/")) {
            until_rotated(world, &namespace, "app", &first, generation).await.context(*place)?;
            let before = world.until_secret(&namespace, "app-kafka-credentials").await?;
            let pods = running(world, &namespace, "app").await?;
            let ask = async || world.annotate(&namespace, "app", json!({ "rotate": place })).await;
            let look = async || {
                // Whoever runs still may come back at any time with what it has.
                if running(world, &namespace, "app").await?.intersection(&pods).next().is_some() {
                    let seen = world.topics_shown_to(&before).await?;
                    ensure!(seen == std::slice::from_ref(&topic), "{seen:?}");
                }
                Ok(())
            };
            world.killed_at_and_kept_away(place, ask, look).await.context(*place)?;
            generation += 1;
            until_rotated(world, &namespace, "app", &first, generation).await.context(*place)?;
            let after = world.until_secret(&namespace, "app-kafka-credentials").await?;
            ensure!(world.topics_seen_by(&after).await.context(*place)? == std::slice::from_ref(&topic));
        }
        Ok(())
    });
}

async fn running(world: &World, namespace: &str, app: &str) -> Result<BTreeSet<String>> {
    let params = ListParams::default().labels(&format!("app={app}"));
    let pods = world.api::<Pod>(namespace).list(&params).await?;
    Ok(pods.items.iter().filter_map(ResourceExt::uid).collect())
}

#[test]
fn a_user_name_that_comes_again_has_pods_replaced_like_any_other() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("again").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let annotations = json!({ "produces": topic });
        let deployment = workload("Deployment", "app", &annotations, 1, "exec sleep 3600", &json!({}));
        let api = world.api::<Deployment>(&namespace);
        api.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        let first = format!("topicops.{namespace}.app");
        world.annotate(&namespace, "app", json!({ "rotate": "once" })).await?;
        until_rotated(world, &namespace, "app", &first, 2).await?;
        a_copy_of_its_pod_is_admitted(world, &namespace, "app").await?;
        for label in [Value::Null, json!("inject-credentials")] {
            let patch = Patch::Merge(json!({ "metadata": { "labels": { "kafka-operator": label } } }));
            let patched = api.patch("app", &PatchParams::default(), &patch).await?;
            if label.is_null() {
                let annotations =
                    patched.spec.and_then(|spec| spec.template.metadata).and_then(|meta| meta.annotations);
                ensure!(annotations.is_none_or(|all| !all.contains_key(CREDENTIALS)), "it has users still");
                world.until_gone::<Secret>(&namespace, "app-kafka-credentials").await?;
            }
        }
        until_rotated(world, &namespace, "app", &first, 1).await?;
        world.until_rolled_out(&namespace, "app", PATIENCE).await?;
        let before = running(world, &namespace, "app").await?;
        world.annotate(&namespace, "app", json!({ "rotate": "twice" })).await?;
        until_rotated(world, &namespace, "app", &first, 2).await?;
        let after = running(world, &namespace, "app").await?;
        ensure!(after.is_disjoint(&before), "{before:?} run with the user before, and {after:?} are there");
        Ok(())
    });
}

/// On the pod template, and so on its Pods: whose credentials they have.
const CREDENTIALS: &str = "topic.kafka.nb/credentials";

/// As a Pod of its own, with what topicops wrote on the one that it is a copy of.
async fn a_copy_of_its_pod_is_admitted(world: &World, namespace: &str, app: &str) -> Result<()> {
    let api = world.api::<Pod>(namespace);
    let pods = api.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
    let rotated = pods.into_iter().find(|pod| pod.annotations().contains_key(CREDENTIALS));
    let mut pod = rotated.context("no Pod was made by the rotation")?;
    pod.annotations_mut().insert("topic.kafka.nb/consumes".to_owned(), "orders".to_owned());
    let copy: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "copy",
            "labels": { "kafka-operator": "inject-credentials" },
            "annotations": pod.annotations(),
        },
        "spec": pod.spec,
    }))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let admitted = api.create(&dry_run, &copy).await.context("a copy of a Pod")?;
    ensure!(!admitted.annotations().contains_key(CREDENTIALS), "{:?}", admitted.annotations());
    Ok(())
}

#[test]
fn a_rollout_that_sticks_is_told_and_its_pods_keep_their_credentials_until_they_are_gone() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("stuck").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let more = json!({ "serviceName": "keeper", "updateStrategy": { "type": "OnDelete" } });
        let annotations = json!({ "produces": topic });
        let keeper = workload("StatefulSet", "keeper", &annotations, 1, "exec sleep 3600", &more);
        let params = PostParams::default();
        world.api::<StatefulSet>(&namespace).create(&params, &serde_json::from_value(keeper)?).await?;
        let mut job = workload("Job", "batch", &annotations, 1, "exec sleep 3600", &json!({}));
        job["apiVersion"] = json!("batch/v1");
        job["spec"] = json!({ "template": job["spec"]["template"].clone() });
        job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
        world.api::<Job>(&namespace).create(&params, &serde_json::from_value(job)?).await?;
        for (name, kind) in [("keeper", "statefulset"), ("batch", "job")] {
            let secret = format!("{name}-kafka-credentials");
            let before = world.until_secret(&namespace, &secret).await?;
            let first = format!("topicops.{namespace}.{name}_{kind}");
            let pods: Vec<Pod> = wait::until(format!("a Pod of {name}"), PATIENCE, || async {
                let params = ListParams::default().labels(&format!("app={name}"));
                let pods = world.api::<Pod>(&namespace).list(&params).await?.items;
                let runs = |pod: &Pod| {
                    pod.status.as_ref().and_then(|status| status.phase.clone()).as_deref() == Some("Running")
                };
                ensure!(pods.len() == 1 && pods.iter().all(runs), "{} Pods", pods.len());
                Ok::<_, anyhow::Error>(pods)
            })
            .await?;
            rotate(world, &[&format!("{namespace}/{name}")]).await?;
            wait::until("both users", PATIENCE, || async {
                let stands = users(world, &namespace, &secret).await?;
                ensure!(stands == (format!("{first}_2"), Some(first.clone())), "{stands:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
            world.until_event(&namespace, name, "RotationWaits").await?;
            ensure!(
                world.topics_seen_by(&before).await? == std::slice::from_ref(&topic),
                "the Pods' credentials"
            );
            let after = world.until_secret(&namespace, &secret).await?;
            ensure!(
                world.topics_seen_by(&after).await? == std::slice::from_ref(&topic),
                "the new credentials"
            );
            if name == "batch" {
                let gone = DeleteParams::background();
                world.api::<Pod>(&namespace).delete(&pods[0].name_any(), &gone).await?;
                let suspend = json!({ "spec": { "suspend": true } });
                world
                    .api::<Job>(&namespace)
                    .patch(name, &PatchParams::default(), &Patch::Merge(suspend))
                    .await?;
            } else {
                world.api::<Pod>(&namespace).delete(&pods[0].name_any(), &DeleteParams::default()).await?;
            }
            until_rotated(world, &namespace, name, &first, 2).await?;
        }
        Ok(())
    });
}

#[test]
fn credentials_are_made_anew_when_they_are_as_old_as_their_workload_says() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("schedule").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        for name in ["app", "other"] {
            let annotations = json!({ "produces": topic, "rotate-after": "1h" });
            world.create_client(&namespace, name, annotations).await?;
            world.until_secret(&namespace, &format!("{name}-kafka-credentials")).await?;
        }
        let [app, other] = ["app", "other"].map(|name| format!("topicops.{namespace}.{name}"));
        // An hour is not waited for.
        let made =
            json!({ "metadata": { "annotations": { "topic.kafka.nb/made": "2020-01-01T00:00:00Z" } } });
        let secrets = world.api::<Secret>(&namespace);
        secrets.patch("app-kafka-credentials", &PatchParams::default(), &Patch::Merge(made)).await?;
        until_rotated(world, &namespace, "app", &app, 2).await?;
        let told = world.until_event(&namespace, "app", "Rotated").await?;
        ensure!(told.contains(&format!("{app}_2")), "{told}");
        // It is not as old.
        until_rotated(world, &namespace, "other", &other, 1).await
    });
}

#[test]
fn who_asks_for_a_rotation_of_what_is_not_there_hears_it() {
    in_the_world(async |world| {
        let namespace = world.namespace("nobody").await?;
        let said = rotate(world, &[&format!("{namespace}/nobody")]).await.unwrap_err().to_string();
        ensure!(said.contains(&format!("there is no workload {namespace}/nobody")), "{said}");
        world.create_client(&namespace, "idle", json!({})).await?;
        let said = rotate(world, &[&format!("{namespace}/idle")]).await.unwrap_err().to_string();
        ensure!(said.contains("asks for no topic"), "{said}");
        Ok(())
    });
}

//! Access, end to end: annotations in, credentials out, tried with Kafka's own Java clients.

mod support;

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use support::{PATIENCE, World, in_the_world, wait};
use topicops_contract::{ClientSecret, SECRET_KEYS};

#[test]
fn an_annotated_deployment_gets_a_user_exact_rules_and_a_secret_with_every_key() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("access").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        world.create_client(&namespace, "app", json!({ "consumes": topic, "produces": topic })).await?;
        let data = world.until_secret(&namespace, "app-kafka-credentials").await?;
        let mut keys = SECRET_KEYS.to_vec();
        keys.sort_unstable();
        ensure!(data.keys().collect::<Vec<_>>() == keys, "{:?}", data.keys());
        let username = format!("topicops.{namespace}.app");
        ensure!(data["username"] == username && data["password"].len() >= 32, "{}", data["username"]);
        let secret = world.api::<Secret>(&namespace).get("app-kafka-credentials").await?;
        ensure!(secret.type_.as_deref() == Some(ClientSecret::TYPE), "{:?}", secret.type_);
        ensure!(secret.labels()["config"] == "kafka-topic-credentials", "{:?}", secret.labels());
        let group = format!("{namespace}.app");
        let mut expected = vec![
            format!("Describe Group {group}"),
            format!("Describe Group {group}_*"),
            format!("Describe Topic {topic}"),
            format!("Read Group {group}"),
            format!("Read Group {group}_*"),
            format!("Read Topic {topic}"),
            format!("Write Topic {topic}"),
        ];
        expected.sort();
        until_acls(world, &username, &expected).await?;
        world.until_event(&namespace, "app", "CredentialsReady").await?;
        Ok(())
    });
}

#[test]
fn java_clients_may_do_what_was_granted_and_nothing_beyond() {
    in_the_world(async |world| {
        let namespace = world.namespace("java").await?;
        let (granted, other) = (world.topic("granted"), world.topic("other"));
        for topic in [&granted, &other] {
            world.declare(&namespace, topic, json!({ "partitions": "1" }), json!({})).await?;
            world.until_ready(&namespace, topic).await?;
        }
        world.create_client(&namespace, "writer", json!({ "produces": granted })).await?;
        world.create_client(&namespace, "reader", json!({ "consumes": granted })).await?;
        let writer = world.until_secret(&namespace, "writer-kafka-credentials").await?;
        let reader = world.until_secret(&namespace, "reader-kafka-credentials").await?;

        let wrote = world.produce_as(&writer, &granted, "hello").await?;
        ensure!(!wrote.contains("Exception"), "{wrote}");
        let read = world.consume_as(&reader, &granted).await?;
        ensure!(read.contains("hello"), "{read}");

        let denied = world.produce_as(&writer, &other, "x").await?;
        ensure!(denied.contains("TopicAuthorizationException"), "{denied}");
        // Who may write no topic at all gets no producer id either.
        let denied = world.produce_as(&reader, &granted, "x").await?;
        ensure!(denied.contains("ClusterAuthorizationException"), "{denied}");
        let denied = world.consume_as(&reader, &other).await?;
        ensure!(denied.contains("TopicAuthorizationException"), "{denied}");
        let mut in_another_group = reader.clone();
        if let Some(properties) = in_another_group.get_mut("client.properties") {
            *properties =
                properties.replace(&format!("group.id={namespace}.reader"), "group.id=somebody-elses");
            ensure!(properties.contains("somebody-elses"), "{properties}");
        }
        let denied = world.consume_as(&in_another_group, &granted).await?;
        ensure!(denied.contains("GroupAuthorizationException"), "{denied}");

        world.delete_client(&namespace, "reader").await?;
        world.until_gone::<Secret>(&namespace, "reader-kafka-credentials").await?;
        wait::until("the revoked credentials to fail", PATIENCE, || async {
            let denied = world.consume_as(&reader, &granted).await?;
            ensure!(denied.contains("SaslAuthenticationException"), "{denied}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        ensure!(world.acls_of(&reader["username"]).await?.is_empty(), "rules were left");
        let users = world.scram_users(&format!("topicops.{namespace}.")).await?;
        ensure!(users == [writer["username"].clone()], "{users:?}");
        Ok(())
    });
}

#[test]
fn changed_annotations_change_the_rules_and_keep_the_password() {
    in_the_world(async |world| {
        let namespace = world.namespace("change").await?;
        let (first, second) = (world.topic("first"), world.topic("second"));
        for topic in [&first, &second] {
            world.declare(&namespace, topic, json!({}), json!({})).await?;
        }
        world.create_client(&namespace, "app", json!({ "produces": first })).await?;
        let before = world.until_secret(&namespace, "app-kafka-credentials").await?;
        world.annotate(&namespace, "app", json!({ "produces": second })).await?;
        until_acls(
            world,
            &before["username"],
            &[format!("Describe Topic {second}"), format!("Write Topic {second}")],
        )
        .await?;
        let after = world.until_secret(&namespace, "app-kafka-credentials").await?;
        ensure!(before == after, "the Secret changed");
        Ok(())
    });
}

#[test]
fn taking_the_label_away_revokes_and_takes_everything_out_of_the_template() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("label").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        let plain = support::client_deployment("app", json!({ "produces": topic }), 0, "true")?;
        world.create_client(&namespace, "app", json!({ "produces": topic })).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        let api = world.api::<Deployment>(&namespace);
        let unlabel = json!({ "metadata": { "labels": { "kafka-operator": null } } });
        let after = api.patch("app", &PatchParams::default(), &Patch::Merge(unlabel)).await?;
        let template = |deployment: &Deployment| {
            let spec =
                deployment.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default();
            let mounts = spec.containers[0].volume_mounts.clone().unwrap_or_default().len();
            (
                spec.volumes.unwrap_or_default().len(),
                spec.containers[0].env.clone().unwrap_or_default().len(),
                mounts,
            )
        };
        ensure!(template(&after) == template(&plain), "{:?}", after.spec);
        world.until_gone::<Secret>(&namespace, "app-kafka-credentials").await?;
        until_revoked(world, &format!("topicops.{namespace}.app")).await
    });
}

#[test]
fn both_sides_must_agree_across_namespaces() {
    in_the_world(async |world| {
        let (owner, guest) = (world.namespace("owner").await?, world.namespace("guest").await?);
        let topic = world.topic("orders");
        world.declare(&owner, &topic, json!({}), json!({})).await?;
        world.until_ready(&owner, &topic).await?;
        let app = support::client_workload("Deployment", "app", &json!({ "consumes": topic }), 0, "true");
        let missing = format!(
            "Warning: topic {topic} is owned by ConfigMap {owner}/{topic}, which does not list {guest}/app: add \
             \"{guest}/app\" to its data key \"consumers\""
        );
        // The replica that answers may have yet to hear of the topic.
        let apply = ["apply", "--server-side", "--namespace", &guest, "-f", "-"];
        wait::until("kubectl to warn of the missing line", PATIENCE, || async {
            let told = world.kubectl(&apply, &app.to_string()).await?;
            ensure!(told.code == Some(0) && told.err.contains(&missing), "{told:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let note = world.until_event(&guest, "app", "TopicNotGranted").await?;
        ensure!(
            note.contains(&format!("{owner}/{topic}")) && note.contains(&format!("{guest}/app")),
            "{note}"
        );
        let secret = world.until_secret(&guest, "app-kafka-credentials").await?;
        let denied = world.consume_as(&secret, &topic).await?;
        ensure!(denied.contains("TopicAuthorizationException"), "{denied}");
        let grant = json!({ "data": { "consumers": format!("{guest}/*") } });
        world.patch_topic(&owner, &topic, grant).await?;
        let read = format!("Read Topic {topic}");
        wait::until("the grant to arrive", PATIENCE, || async {
            let acls = world.acls_of(&secret["username"]).await?;
            ensure!(acls.contains(&read), "{acls:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.patch_topic(&owner, &topic, json!({ "data": { "consumers": null } })).await?;
        wait::until("the grant to be withdrawn", PATIENCE, || async {
            let acls = world.acls_of(&secret["username"]).await?;
            ensure!(!acls.iter().any(|acl| acl.contains("Topic")), "{acls:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn a_prefix_stands_for_granted_topics_as_they_come_and_never_for_others() {
    in_the_world(async |world| {
        let (owner, stranger) = (world.namespace("owner").await?, world.namespace("stranger").await?);
        let prefix = world.topic("events");
        let (one, two, foreign) =
            (format!("{prefix}.one"), format!("{prefix}.two"), format!("{prefix}.foreign"));
        world.declare(&owner, &one, json!({}), json!({})).await?;
        world.declare(&stranger, &foreign, json!({}), json!({})).await?;
        world.until_ready(&stranger, &foreign).await?;
        world.create_client(&owner, "app", json!({ "consumes": format!("{prefix}*") })).await?;
        let username = format!("topicops.{owner}.app");
        until_topics(world, &username, &[&one]).await?;
        world.declare(&owner, &two, json!({}), json!({})).await?;
        until_topics(world, &username, &[&one, &two]).await
    });
}

#[test]
fn groups_of_others_are_refused() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("groups").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.create_client(&namespace, "victim", json!({ "consumes": topic })).await?;
        world.until_secret(&namespace, "victim-kafka-credentials").await?;
        let groups = format!("{namespace}.victim,{namespace}.vic*,honest");
        world.create_client(&namespace, "thief", json!({ "consumes": topic, "groups": groups })).await?;
        let note = world.until_event(&namespace, "thief", "GroupTaken").await?;
        ensure!(note.contains("victim"), "{note}");
        world.until_secret(&namespace, "thief-kafka-credentials").await?;
        let acls = world.acls_of(&format!("topicops.{namespace}.thief")).await?;
        ensure!(!acls.iter().any(|acl| acl.contains("vic")), "{acls:?}");
        ensure!(acls.contains(&"Read Group honest".to_owned()), "{acls:?}");
        Ok(())
    });
}

#[test]
fn what_a_deny_rule_hides_is_told_and_keeps_the_secret_back() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("hidden").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let (ids, application) = (world.topic("till"), format!("{namespace}.words"));
        let internal = format!("{application}-");
        let prefixed = "--resource-pattern-type=prefixed";
        let denies =
            [["--transactional-id", ids.as_str(), prefixed], ["--topic", internal.as_str(), prefixed]];
        let rule = |change: &'static str| {
            let denies = &denies;
            async move {
                for deny in denies {
                    let everybody =
                        [change, "--force", "--deny-principal", "User:*", "--operation", "Describe"];
                    let arguments = [everybody.as_slice(), deny].concat();
                    world.kafka_tool("kafka-acls.sh", &arguments).await?;
                }
                Ok::<_, anyhow::Error>(())
            }
        };
        rule("--add").await?;
        let annotations = json!({
            "produces": topic, "transactional-ids": format!("{ids}-*"), "streams-application-id": application,
        });
        world.create_client(&namespace, "app", annotations).await?;
        let note = world.until_event(&namespace, "app", "AccessHidden").await?;
        for hidden in [format!("transactional id {ids}-"), format!("topic {internal}")] {
            ensure!(note.contains(&hidden), "{note}");
        }
        ensure!(!note.contains(&topic), "{note}");
        let secrets = world.api::<Secret>(&namespace);
        ensure!(secrets.get_opt("app-kafka-credentials").await?.is_none(), "the Secret is there");
        rule("--remove").await?;
        // It is tried again at once where something else is asked for, and within the minute where not.
        world.annotate(&namespace, "app", json!({ "groups": world.topic("more") })).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await.map(drop)
    });
}

#[test]
fn a_foreign_secret_is_never_overwritten() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("foreign").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        let secrets = world.api::<Secret>(&namespace);
        let foreign: Secret = serde_json::from_value(json!({
            "metadata": { "name": "precious" }, "stringData": { "password": "mine" },
        }))?;
        secrets.create(&PostParams::default(), &foreign).await?;
        world
            .create_client(&namespace, "app", json!({ "produces": topic, "topic-secret": "precious" }))
            .await?;
        let note = world.until_event(&namespace, "app", "SecretExists").await?;
        ensure!(note.contains("precious") && note.contains("topic-secret"), "{note}");
        let now = secrets.get("precious").await?;
        ensure!(now.data.unwrap_or_default().len() == 1, "it was written to");
        world.delete_client(&namespace, "app").await?;
        until_revoked(world, &format!("topicops.{namespace}.app")).await?;
        ensure!(secrets.get_opt("precious").await?.is_some(), "it was deleted");
        Ok(())
    });
}

#[test]
fn other_users_and_their_rules_are_left_alone() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("neighbour").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let user = "topicops2.other.app";
        let alter = [
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            user,
            "--add-config",
            "SCRAM-SHA-512=[iterations=4096,password=secret-of-a-neighbour]",
        ];
        world.kafka_tool("kafka-configs.sh", &alter).await?;
        let principal = format!("User:{user}");
        let add = ["--add", "--allow-principal", &principal, "--operation", "Read", "--topic", &topic];
        world.kafka_tool("kafka-acls.sh", &add).await?;
        world.create_client(&namespace, "app", json!({ "produces": topic })).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        world.delete_client(&namespace, "app").await?;
        until_revoked(world, &format!("topicops.{namespace}.app")).await?;
        ensure!(world.scram_users(user).await? == [user], "the neighbour's user is gone");
        ensure!(world.acls_of(user).await?.len() == 1, "the neighbour's rule is gone");
        Ok(())
    });
}

#[test]
fn a_pod_that_starts_before_its_secret_exists_waits_and_then_runs() {
    in_the_world(async |world| {
        let namespace = world.namespace("early").await?;
        // A bare Pod as the webhook would have made it, for a Deployment that comes later.
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "early" },
            "spec": {
                "volumes": [{ "name": "kafka-credentials", "secret": { "secretName": "late-kafka-credentials" } }],
                "containers": [{
                    "name": "main", "image": support::KAFKA_IMAGE,
                    "command": ["/bin/sh", "-c", "cat /credentials/username && sleep 3600"],
                    "volumeMounts": [{ "name": "kafka-credentials", "mountPath": "/credentials", "readOnly": true }],
                }],
            },
        }))?;
        let pods: Api<Pod> = world.api(&namespace);
        pods.create(&PostParams::default(), &pod).await?;
        world.until_event(&namespace, "early", "FailedMount").await?;
        let phase = pods.get("early").await?.status.and_then(|status| status.phase);
        ensure!(phase.as_deref() == Some("Pending"), "{phase:?}");
        let topic = world.topic("orders");
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.create_client(&namespace, "late", json!({ "produces": topic })).await?;
        wait::until("the Pod to run with its credentials", PATIENCE, || async {
            let log = world.bed.logs(&namespace, "early", "main")?;
            ensure!(log.contains(&format!("topicops.{namespace}.late")), "{log}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn a_real_client_library_verifies_what_was_handed_out() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("verify").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.create_client(&namespace, "app", json!({ "consumes": topic, "produces": topic })).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        wait::until("a verification to succeed", PATIENCE, || async {
            let (_, metrics) = world.probe(&world.until_leader().await?, "/metrics").await?;
            let lines: Vec<_> = metrics.lines().filter(|line| line.contains("verifications")).collect();
            let good = lines.iter().any(|line| line.contains("state=\"ok\"") && !line.ends_with(" 0"));
            ensure!(good, "{lines:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

async fn until_acls(world: &World, username: &str, expected: &[String]) -> Result<()> {
    wait::until(format!("the rules of {username}"), PATIENCE, || async {
        let acls = world.acls_of(username).await?;
        ensure!(acls == expected, "{acls:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn until_topics(world: &World, username: &str, topics: &[&String]) -> Result<()> {
    wait::until(format!("the topics of {username}"), PATIENCE, || async {
        let acls = world.acls_of(username).await?;
        let read: Vec<&str> = acls.iter().filter_map(|acl| acl.strip_prefix("Read Topic ")).collect();
        ensure!(read == topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>(), "{read:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn until_revoked(world: &World, username: &str) -> Result<()> {
    wait::until(format!("{username} to be revoked"), PATIENCE, || async {
        let (acls, users) = (world.acls_of(username).await?, world.scram_users(username).await?);
        ensure!(acls.is_empty() && users.is_empty(), "{acls:?} {users:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

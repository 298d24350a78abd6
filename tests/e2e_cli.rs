//! The commands that look at what topicops keeps: who may do what, and whether it works.

mod support;

use anyhow::{Result, ensure};
use k8s_openapi::api::{core::v1::ConfigMap, events::v1::Event};
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use support::{PATIENCE, World, in_the_world, wait};
use topicops::kafka::{Acl, AclOperation, AclResource, Cluster, PatternType, ResourceType};

#[test]
fn access_tells_who_may_use_a_topic_through_which_line_and_what_the_brokers_really_have() {
    in_the_world(async |world| {
        let (owner, guest) = (world.namespace("owner").await?, world.namespace("guest").await?);
        let topic = world.topic("orders");
        let consumers = format!("# who reads\n{guest}/*\n");
        world.declare(&owner, &topic, json!({ "consumers": consumers }), json!({})).await?;
        world.until_ready(&owner, &topic).await?;
        world.create_client(&owner, "app", json!({ "produces": topic })).await?;
        world.create_client(&guest, "reader", json!({ "consumes": topic })).await?;
        world.until_secret(&owner, "app-kafka-credentials").await?;
        world.until_secret(&guest, "reader-kafka-credentials").await?;
        let principal = "User:legacy";
        let prefix = topic.split('-').next().unwrap_or(&topic);
        let add = ["--add", "--allow-principal", principal, "--operation", "Read", "--topic", prefix];
        let add = [&add[..], &["--resource-pattern-type", "prefixed"]].concat();
        world.kafka_tool("kafka-acls.sh", &add).await?;

        let ran = wait::until("access to be as granted", PATIENCE, || async {
            let ran = world.topicops(&["access", &topic]).await?;
            ensure!(ran.code == Some(0) && ran.out.contains(principal), "{ran:?}");
            Ok::<_, anyhow::Error>(ran)
        })
        .await?;
        for says in [
            format!("topic {topic}, owned by ConfigMap {owner}/{topic}\nread:\n"),
            format!(
                "    {principal}: rule ALLOW Read Topic {prefix}*; not topicops'; nobody keeps since when\n"
            ),
            format!(
                "    User:topicops.{guest}.reader (Deployment {guest}/reader): ConfigMap {owner}/{topic}, \
                 data key consumers, line 2: \"{guest}/*\"; on the brokers; since 20"
            ),
            format!(
                "write:\n    User:topicops.{owner}.app (Deployment {owner}/app): ConfigMap {owner}/{topic}, same namespace; \
                 on the brokers; since 20"
            ),
        ] {
            ensure!(ran.out.contains(&says), "\"{says}\" is missing: {}", ran.out);
        }

        // Somebody takes a rule away: the brokers do not have what is granted. A look at everything puts it back: again, then.
        let read = Acl {
            username: format!("topicops.{guest}.reader"),
            resource: AclResource {
                resource_type: ResourceType::Topic,
                name: topic.clone(),
                pattern: PatternType::Literal,
            },
            operation: AclOperation::Read,
        };
        let reader = format!("{guest}/reader");
        wait::until("access to differ", PATIENCE, || async {
            world.cluster()?.delete_acls(std::slice::from_ref(&read)).await?.remove(0)?;
            let ran = world.topicops(&["access", &topic]).await?;
            ensure!(ran.code == Some(3) && ran.out.contains("; MISSING on the brokers; since "), "{ran:?}");
            let ran = world.topicops(&["access", &reader]).await?;
            let missing = format!("    MISSING on the brokers: ALLOW Read Topic {topic}\n");
            ensure!(ran.code == Some(3) && ran.out.contains(&missing), "{ran:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.cluster()?.create_acls(&[read]).await?.remove(0)?;
        until_as_granted(world, &reader).await
    });
}

#[test]
fn access_tells_what_a_workload_can_do_and_what_it_was_refused() {
    in_the_world(async |world| {
        let (owner, guest) = (world.namespace("owner").await?, world.namespace("guest").await?);
        let (topic, own) = (world.topic("orders"), world.topic("own"));
        world.declare(&owner, &topic, json!({}), json!({})).await?;
        world.declare(&guest, &own, json!({}), json!({})).await?;
        world.until_ready(&owner, &topic).await?;
        world.until_ready(&guest, &own).await?;
        let asks = json!({
            "consumes": format!("{topic},{own}"), "transactional-ids": format!("{guest}.tx*"),
            "producer-byte-rate": "1MB/s",
        });
        world.create_client(&guest, "app", asks).await?;
        world.until_secret(&guest, "app-kafka-credentials").await?;
        let app = format!("{guest}/app");
        until_as_granted(world, &app).await?;
        let ran = world.topicops(&["access", &app, "--output", "json"]).await?;
        let told: Value = serde_json::from_str(&ran.out)?;
        let told = &told[0];
        ensure!(told["workload"] == format!("Deployment {guest}/app"), "{told}");
        ensure!(told["userOnBrokers"] == true && told["secret"]["state"]["is"] == "asWritten", "{told}");
        let rows = told["topics"].as_array().map_or(&[][..], Vec::as_slice);
        ensure!(rows.len() == 1 && rows[0]["topic"] == own && rows[0]["may"] == "read", "{told}");
        ensure!(
            rows[0]["since"]["notAfter"].is_string(),
            "Kubernetes keeps who set the annotation when: {told}"
        );
        ensure!(told["transactionalIds"] == json!([format!("{guest}.tx*")]), "{told}");
        let quota = json!([{
            "quota": "producer-byte-rate", "asked": "1MB/s", "granted": "1MB/s", "held": "1MB/s",
            "onBrokers": "asGranted",
        }]);
        ensure!(told["quotas"] == quota, "{told}");
        let note = world.until_event(&guest, "app", "TopicNotGranted").await?;
        let refused = json!([{ "reason": "TopicNotGranted", "message": note }]);
        ensure!(told["refused"] == refused, "the words of the Event: {told}, {note}");

        let open = world.topicops(&["access", &topic, "--grants", "open"]).await?;
        ensure!(open.code == Some(3) && open.out.contains(", --grants open; MISSING"), "{open:?}");
        for (nobody, why) in
            [("nowhere/app", "there is no workload nowhere/app"), ("not-there", "not on the brokers")]
        {
            let ran = world.topicops(&["access", nobody]).await?;
            ensure!(ran.code == Some(1) && ran.err.contains(why) && ran.out.is_empty(), "{ran:?}");
        }
        let wrong = world.topicops(&["access", "a/b/c"]).await?;
        ensure!(wrong.code == Some(2), "{wrong:?}");
        Ok(())
    });
}

#[test]
fn verify_goes_as_far_as_a_client_with_the_same_credentials() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("verify").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        world.create_client(&namespace, "app", json!({ "consumes": topic, "produces": topic })).await?;
        let data = world.until_secret(&namespace, "app-kafka-credentials").await?;
        let app = format!("{namespace}/app");
        let expected = format!(
            "Deployment {app}, with Secret {app}-kafka-credentials, at {}\n    login: ok\n    topic {topic}: ok\n    \
             group {namespace}.app: ok\n",
            data["bootstrap.servers"]
        );
        wait::until("everything to work", PATIENCE, || async {
            let ran = world.topicops(&["verify", &app]).await?;
            ensure!(ran.code == Some(0) && ran.out == expected, "{ran:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;

        let nowhere = world.topicops(&["verify", &app, "--bootstrap-servers", "127.0.0.1:1"]).await?;
        ensure!(nowhere.code == Some(1), "{nowhere:?}");
        ensure!(nowhere.out.contains(", at 127.0.0.1:1\n    login: FAILS; the client sees: "), "{nowhere:?}");

        // Somebody takes the rules on the topic away. A look at everything puts them back: again, then.
        let ran = wait::until("the topic alone to be hidden", PATIENCE, || async {
            let cluster = world.cluster()?;
            let acls = cluster.describe_acls(&data["username"]).await?;
            let of_topic: Vec<Acl> = acls.into_iter().filter(|acl| acl.resource.name == topic).collect();
            for outcome in cluster.delete_acls(&of_topic).await? {
                outcome?;
            }
            let ran = world.topicops(&["verify", &app, "-o", "json"]).await?;
            ensure!(ran.code == Some(1), "{ran:?}");
            let told: Value = serde_json::from_str(&ran.out)?;
            let steps = &told[0]["steps"];
            ensure!(steps[0] == json!({ "step": "login", "error": null }), "{told}");
            ensure!(steps[1]["error"].as_str().is_some_and(|error| error.contains("uthorization")), "{told}");
            ensure!(steps[2]["error"].is_null(), "the group is its own still: {told}");
            Ok::<_, anyhow::Error>(ran)
        })
        .await?;
        for ran in [ran, nowhere] {
            let password = &data["password"];
            ensure!(!ran.out.contains(password) && !ran.err.contains(password), "the password was printed");
        }
        let nobody = world.topicops(&["verify", "nowhere/app"]).await?;
        ensure!(nobody.code == Some(1) && nobody.err.contains("there is no workload"), "{nobody:?}");
        Ok(())
    });
}

#[test]
fn a_streams_application_is_kept_from_a_topic_that_stayed_another_namespaces_and_access_says_so() {
    in_the_world(async |world| {
        let (shop, other) = (world.namespace("streams").await?, world.namespace("other").await?);
        let (input, stayed) = (world.topic("input"), format!("{shop}.app-paid"));
        for (namespace, topic) in [(&shop, &input), (&other, &stayed)] {
            world.declare(namespace, topic, json!({}), json!({})).await?;
            world.until_ready(namespace, topic).await?;
        }
        world.api::<ConfigMap>(&other).delete(&stayed, &DeleteParams::default()).await?;
        world.until_gone::<ConfigMap>(&other, &stayed).await?;
        let annotations = json!({ "consumes": input, "streams-application-id": format!("{shop}.app") });
        world.create_client(&shop, "app", annotations).await?;
        world.until_secret(&shop, "app-kafka-credentials").await?;
        let words = format!(
            "Kafka Streams application id {shop}.app would reach topic {stayed}, which belongs to namespace {other} though no \
             object declares it now: choose another id in topic.kafka.nb/streams-application-id"
        );
        wait::until("the Event", PATIENCE, || async {
            let events = world.api::<Event>(&shop).list(&ListParams::default()).await?.items;
            let notes: Vec<_> = events.into_iter().filter_map(|event| event.note).collect();
            ensure!(notes.contains(&words), "{notes:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let told = format!("    refused (StreamsApplicationIdRefused): {words}\n");
        wait::until("access to say so", PATIENCE, || async {
            let ran = world.topicops(&["access", &format!("{shop}/app")]).await?;
            ensure!(ran.code == Some(0) && ran.out.contains(&told), "{ran:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let acls = world.acls_of(&format!("topicops.{shop}.app")).await?;
        ensure!(!acls.iter().any(|acl| acl.contains("-*") || acl.starts_with("Create")), "{acls:?}");
        Ok(())
    });
}

#[test]
fn after_a_rotation_access_and_verify_are_about_the_new_user() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("rotated").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        world.create_client(&namespace, "app", json!({ "consumes": topic })).await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        let app = format!("{namespace}/app");
        until_as_granted(world, &app).await?;
        let rotated = world.topicops(&["rotate", &app, "--wait"]).await?;
        ensure!(rotated.code == Some(0), "{rotated:?}");
        until_as_granted(world, &app).await?;
        let second = format!("topicops.{namespace}.app_2");
        wait::until("both to be about the new user", PATIENCE, || async {
            for command in ["access", "verify"] {
                let ran = world.topicops(&[command, &app, "-o", "json"]).await?;
                ensure!(ran.code == Some(0), "{ran:?}");
                let told: Value = serde_json::from_str(&ran.out)?;
                ensure!(told[0]["username"] == second, "{ran:?}");
            }
            let ran = world.topicops(&["access", &topic]).await?;
            ensure!(
                ran.code == Some(0) && ran.out.contains(&format!("    User:{second} (Deployment {app}): ")),
                "{ran:?}"
            );
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

async fn until_as_granted(world: &World, workload: &str) -> Result<()> {
    wait::until(format!("{workload} to have what it is granted"), PATIENCE, || async {
        let ran = world.topicops(&["access", workload]).await?;
        ensure!(ran.code == Some(0), "{ran:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

//! Quotas, end to end: annotations in, Kafka's own quotas out, within the policy's limits; on a real broker.

mod support;

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use support::{PATIENCE, SETTINGS, World, wait};
use topicops::kafka::{Cluster, Quota, QuotaClients, QuotaTarget, QuotaValue};

/// Runs a test where topicops looks at everything every second.
fn in_the_world<F>(test: F)
where
    F: AsyncFnOnce(&'static World) -> Result<()>,
{
    SETTINGS.get_or_init(|| vec![("TOPICOPS_RESYNC", "1s")]);
    support::in_the_world(test);
}

fn target(username: &str, clients: QuotaClients, key: &str) -> QuotaTarget {
    QuotaTarget { username: username.to_owned(), clients, key: key.to_owned() }
}

/// Sets quotas as an administrator does by hand.
async fn by_hand(world: &World, changes: &[(QuotaTarget, f64)]) -> Result<()> {
    let changes: Vec<_> =
        changes.iter().map(|(target, amount)| (target.clone(), Some(QuotaValue::new(*amount)))).collect();
    for outcome in world.cluster()?.alter_quotas(&changes).await? {
        outcome?;
    }
    Ok(())
}

/// `key=amount` of all quotas of a user, with the client id before it where it is one's.
async fn quotas_of(world: &World, username: &str) -> Result<Vec<String>> {
    let quotas = world.cluster()?.describe_quotas(username).await?;
    let own = quotas.iter().filter(|quota| quota.target.username == username);
    Ok(own.map(line).collect())
}

fn line(quota: &Quota) -> String {
    let clients = match &quota.target.clients {
        QuotaClients::All => String::new(),
        QuotaClients::Id(id) => format!("{id}: "),
        QuotaClients::EachOther => "*: ".to_owned(),
    };
    format!("{clients}{}={}", quota.target.key, quota.value)
}

async fn until_quotas(world: &World, username: &str, expected: &[&str]) -> Result<()> {
    wait::until(format!("the quotas of {username}"), PATIENCE, || async {
        let quotas = quotas_of(world, username).await?;
        ensure!(quotas == expected, "{quotas:?}, and not {expected:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[test]
fn quotas_come_with_the_secret_follow_the_annotations_and_go_with_the_workload() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("quotas").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        let username = format!("topicops.{namespace}.app");
        let annotations = json!({
            "produces": topic, "producer-byte-rate": "10MiB/s", "consumer-byte-rate": "2000000",
            "request-percentage": "12.5%",
        });
        world.create_client(&namespace, "app", annotations).await?;
        let before = world.until_secret(&namespace, "app-kafka-credentials").await?;
        let all = ["consumer_byte_rate=2000000", "producer_byte_rate=10485760", "request_percentage=12.5"];
        ensure!(quotas_of(world, &username).await? == all, "{:?}", quotas_of(world, &username).await?);
        // Kafka's own words for it.
        let described = ["--describe", "--entity-type", "users", "--entity-name", &username];
        let told = world.kafka_tool("kafka-configs.sh", &described).await?;
        ensure!(told.contains("producer_byte_rate=1.048576E7"), "{told}");

        world
            .annotate(&namespace, "app", json!({ "producer-byte-rate": "1MB/s", "request-percentage": null }))
            .await?;
        until_quotas(world, &username, &["consumer_byte_rate=2000000", "producer_byte_rate=1000000"]).await?;
        let nothing = json!({ "producer-byte-rate": null, "consumer-byte-rate": null });
        world.annotate(&namespace, "app", nothing).await?;
        until_quotas(world, &username, &[]).await?;
        world.annotate(&namespace, "app", json!({ "producer-byte-rate": "5MB/s" })).await?;
        until_quotas(world, &username, &["producer_byte_rate=5000000"]).await?;
        let after = world.until_secret(&namespace, "app-kafka-credentials").await?;
        ensure!(before == after, "the Secret changed");

        world.delete_client(&namespace, "app").await?;
        world.until_gone::<Secret>(&namespace, "app-kafka-credentials").await?;
        until_quotas(world, &username, &[]).await
    });
}

#[test]
fn what_somebody_changed_by_hand_is_put_back_and_the_quotas_of_others_stay() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("drift").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        let (username, orphan) = (format!("topicops.{namespace}.app"), format!("topicops.{namespace}.gone"));
        let (rate, share) = (QuotaTarget::PRODUCER_BYTE_RATE, QuotaTarget::REQUEST_PERCENTAGE);
        let all = QuotaClients::All;
        let alice = format!("alice-{namespace}");
        let neighbour = format!("topicops2.{namespace}.app");
        let theirs = [
            (target(&alice, all.clone(), rate), 11.0),
            (target(&alice, QuotaClients::Id("app".to_owned()), rate), 12.0),
            (target(&neighbour, all.clone(), rate), 13.0),
        ];
        by_hand(world, &theirs).await?;
        // What counts for all users that have none of their own.
        let default = ["--alter", "--entity-type", "users", "--entity-default", "--add-config"];
        let default = [default.as_slice(), &["producer_byte_rate=1000000000"]].concat();
        world.kafka_tool("kafka-configs.sh", &default).await?;
        world
            .create_client(&namespace, "app", json!({ "produces": topic, "producer-byte-rate": "1MB/s" }))
            .await?;
        world.until_secret(&namespace, "app-kafka-credentials").await?;
        until_quotas(world, &username, &["producer_byte_rate=1000000"]).await?;
        let edits = [
            (target(&username, all.clone(), rate), 999_999_999.0),
            (target(&username, all.clone(), share), 5.0),
            // Narrower ones would count in its place.
            (target(&username, QuotaClients::Id("app".to_owned()), rate), 999_999_999.0),
            (target(&username, QuotaClients::EachOther, rate), 999_999_999.0),
            (target(&orphan, all, rate), 7.0),
        ];
        by_hand(world, &edits).await?;
        until_quotas(world, &username, &["producer_byte_rate=1000000"]).await?;
        until_quotas(world, &orphan, &[]).await?;
        ensure!(quotas_of(world, &alice).await? == ["producer_byte_rate=11", "app: producer_byte_rate=12"]);
        ensure!(quotas_of(world, &neighbour).await? == ["producer_byte_rate=13"]);
        let described = ["--describe", "--entity-type", "users", "--entity-default"];
        let told = world.kafka_tool("kafka-configs.sh", &described).await?;
        ensure!(told.contains("producer_byte_rate"), "{told}");
        Ok(())
    });
}

#[test]
fn the_policy_limits_quotas_at_admission_and_in_the_controller() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("limited").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let greedy = json!({ "produces": topic, "producer-byte-rate": "100MB/s" });
        world.create_client(&namespace, "early", greedy.clone()).await?;
        let early = format!("topicops.{namespace}.early");
        world.until_secret(&namespace, "early-kafka-credentials").await?;
        until_quotas(world, &early, &["producer_byte_rate=100000000"]).await?;
        world
            .put_policy(
                "namespaces:\n  limited-*:\n    defaults: { request-percentage: 50% }\n    limits:\n      \
                 producer-byte-rate: { max: 10MB/s }\n      consumer-byte-rate: { max: 5MB/s, action: adjust }\n",
            )
            .await?;
        // It was there before the limit was: it is held to that, told, and may still be edited.
        until_quotas(world, &early, &["producer_byte_rate=10000000", "request_percentage=50"]).await?;
        let note = world.until_event(&namespace, "early", "QuotaRefused").await?;
        ensure!(note.contains("\"100MB/s\": 10MB/s at most") && note.contains("10MB/s counts"), "{note}");
        world.annotate(&namespace, "early", json!({ "consumer-byte-rate": "1GB/s" })).await?;
        let held = ["consumer_byte_rate=5000000", "producer_byte_rate=10000000", "request_percentage=50"];
        until_quotas(world, &early, &held).await?;
        let note = world.until_event(&namespace, "early", "QuotaOutOfBounds").await?;
        ensure!(note.contains("adjusted to 5MB/s"), "{note}");

        let told = support::refusal(world.create_client(&namespace, "late", greedy).await)?;
        let says = "topic.kafka.nb/producer-byte-rate: \"100MB/s\": 10MB/s at most, says the operator's policy \
                    (namespaces.limited-*.limits.producer-byte-rate)";
        ensure!(told.contains(says), "{told}");
        let scale = json!({ "metadata": { "labels": { "team": "a" } } });
        let api = world.api::<Deployment>(&namespace);
        api.patch("early", &PatchParams::default(), &Patch::Merge(scale)).await?;
        world.create_client(&namespace, "silent", json!({ "produces": topic })).await?;
        world.until_secret(&namespace, "silent-kafka-credentials").await?;
        until_quotas(world, &format!("topicops.{namespace}.silent"), &["request_percentage=50"]).await
    });
}

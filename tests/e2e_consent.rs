//! What an administrator may set about access, end to end: denial at admission, grants open to everybody, and an address for
//! clients at which there is no broker.

mod support;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use serde_json::json;
use support::{PATIENCE, SETTINGS, World, alone_in_the_world, in_the_world, metric, refusal, wait};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

fn set() {
    SETTINGS
        .get_or_init(|| vec![("TOPICOPS_ADMISSION", "deny"), ("TOPICOPS_CLIENT_BOOTSTRAP_SERVERS", NOWHERE)]);
}

/// Creates a workload that reads a topic, once whichever replica answers has heard of what is declared and granted.
async fn until_admitted(world: &World, namespace: &str, name: &str, topic: &str) -> Result<()> {
    wait::until(format!("{namespace}/{name} to be admitted"), PATIENCE, || async {
        world.create_client(namespace, name, json!({ "consumes": topic })).await.map(drop)
    })
    .await
}

/// Waits until a workload that reads a topic is refused with these words.
async fn until_refused(world: &World, namespace: &str, name: &str, topic: &str, says: &str) -> Result<()> {
    wait::until(format!("{namespace}/{name} to be refused"), PATIENCE, || async {
        let told = refusal(world.create_client(namespace, name, json!({ "consumes": topic })).await)?;
        ensure!(told.contains(says), "{told}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn until_read_is(world: &World, allowed: bool, username: &str, topic: &str) -> Result<()> {
    wait::until(format!("{username} may read {topic}: {allowed}"), PATIENCE, || async {
        let acls = world.acls_of(username).await?;
        ensure!(acls.contains(&format!("Read Topic {topic}")) == allowed, "{acls:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A Secret's content with the brokers' true address.
async fn reachable(world: &World, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
    let mut data = world.until_secret(namespace, &format!("{name}-kafka-credentials")).await?;
    ensure!(data["bootstrap.servers"] == NOWHERE, "{}", data["bootstrap.servers"]);
    data.insert("bootstrap.servers".to_owned(), world.bed.kafka()?.bootstrap_servers().to_owned());
    Ok(data)
}

#[test]
fn where_admission_denies_what_is_not_granted_is_refused_and_what_runs_already_may_still_be_scaled() {
    set();
    in_the_world(async |world| {
        let (owner, guest) = (world.namespace("owner").await?, world.namespace("guest").await?);
        let topic = world.topic("orders");
        world.declare(&owner, &topic, json!({}), json!({})).await?;
        world.until_ready(&owner, &topic).await?;
        let missing = format!(
            "TopicNotGranted: topic {topic} is owned by ConfigMap {owner}/{topic}, which does not list {guest}/app: \
             add \"{guest}/app\" to its data key \"consumers\""
        );
        until_refused(world, &guest, "app", &topic, &missing).await?;
        ensure!(world.api::<Deployment>(&guest).get_opt("app").await?.is_none(), "it is there");

        let grant = json!({ "data": { "consumers": format!("{guest}/app") } });
        world.patch_topic(&owner, &topic, grant).await?;
        until_admitted(world, &guest, "app", &topic).await?;
        let username = format!("topicops.{guest}.app");
        world.until_secret(&guest, "app-kafka-credentials").await?;
        until_read_is(world, true, &username, &topic).await?;

        world.patch_topic(&owner, &topic, json!({ "data": { "consumers": null } })).await?;
        until_read_is(world, false, &username, &topic).await?;
        let scale = |replicas: i32| json!({ "spec": { "replicas": replicas } }).to_string();
        let patch = ["--namespace", &guest, "patch", "deployment", "app", "--type=merge", "--patch"];
        wait::until("it to be scaled, with a warning", PATIENCE, || async {
            let told = world.kubectl(&[patch.as_slice(), &[&scale(1)]].concat(), "").await?;
            ensure!(told.code == Some(0) && told.err.contains(&missing), "{told:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.until_rolled_out(&guest, "app", PATIENCE).await?;
        wait::until("what asks for something else to be refused", PATIENCE, || async {
            let more = json!({ "groups": world.topic("more") });
            let told = refusal(world.annotate(&guest, "app", more).await)?;
            ensure!(told.contains(&missing), "{told}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.delete_client(&guest, "app").await?;
        world.until_gone::<Secret>(&guest, "app-kafka-credentials").await
    });
}

#[test]
fn where_grants_are_open_workloads_of_all_namespaces_read_what_is_declared_and_nothing_else() {
    set();
    alone_in_the_world(async |world| {
        world.set_variables(&[("TOPICOPS_GRANTS", "open")]).await?;
        let open = async {
            let (owner, guest) = (world.namespace("owner").await?, world.namespace("guest").await?);
            let topic = world.topic("orders");
            world.declare(&owner, &topic, json!({ "partitions": "1" }), json!({})).await?;
            world.until_ready(&owner, &topic).await?;
            until_admitted(world, &guest, "app", &topic).await?;
            let mut administrator = BTreeMap::new();
            let properties = std::fs::read_to_string(world.bed.kafka()?.admin_properties())?;
            administrator.insert("client.properties".to_owned(), properties);
            let servers = world.bed.kafka()?.bootstrap_servers().to_owned();
            administrator.insert("bootstrap.servers".to_owned(), servers);
            let wrote = world.produce_as(&administrator, &topic, "hello").await?;
            ensure!(!wrote.contains("Exception"), "{wrote}");
            let app = reachable(world, &guest, "app").await?;
            wait::until("the guest to read", PATIENCE, || async {
                let read = world.consume_as(&app, &topic).await?;
                ensure!(read.contains("hello"), "{read}");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
            let undeclared = world.topic("undeclared");
            let says = format!("no ConfigMap or KafkaTopic declares topic {undeclared}");
            until_refused(world, &guest, "lost", &undeclared, &says).await?;
            world.delete_client(&guest, "app").await
        };
        let result = open.await;
        // Others are tested with the grants of namespaces.
        world.set_variables(&[("TOPICOPS_GRANTS", "namespace")]).await?;
        result
    });
}

#[test]
fn an_address_at_which_clients_find_no_broker_is_told_although_topicops_reaches_them_by_its_own() {
    set();
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("nowhere").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        until_admitted(world, &namespace, "app", &topic).await?;
        reachable(world, &namespace, "app").await?;
        world.until_event(&namespace, "app", "CredentialsReady").await?;
        // It is tried five times within half a minute, because brokers may take a while to know new credentials.
        let note = wait::until("a client to be missed", PATIENCE * 3, || {
            world.until_event(&namespace, "app", "VerificationFailed")
        })
        .await?;
        ensure!(note.contains("app-kafka-credentials") && note.contains(NOWHERE), "{note}");
        wait::until("the metric to say so", PATIENCE, || async {
            let (_, metrics) = world.probe(&world.until_leader().await?, "/metrics").await?;
            let failed = metric(&metrics, "topicops_verifications_total{state=\"failed\"}");
            ensure!(failed.is_some_and(|failed| failed >= 1.0), "{failed:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

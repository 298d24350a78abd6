//! Ways to reach the brokers, end to end: another CA, other listeners and mechanisms for clients, and every way in which topicops
//! itself logs in; tried with Kafka's own Java clients.

mod support;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;
use support::{Options, PATIENCE, World, give_acls, in_a_world_of_its_own, metric, wait};
use topicops::kafka::{Cluster, ScramKeys, ScramMechanism};
use topicops_contract::{Password, PropertiesText};

/// A certificate authority of a test's own.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self { pem: params.self_signed(&key)?.pem(), issuer: Issuer::new(params, key) })
    }

    /// Certificate and key for a name and, for servers, their addresses.
    fn issue(&self, name: &str, hosts: Vec<String>) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}

/// topicops' own client.properties, as they are now.
async fn own_properties(world: &World) -> Result<BTreeMap<String, String>> {
    let secret = world.api::<Secret>("topicops").get("topicops-kafka").await?;
    let text = secret.data.unwrap_or_default().remove("client.properties").context("no client.properties")?;
    Ok(PropertiesText::parse("client.properties", &String::from_utf8(text.0)?)?)
}

async fn put_own_properties(world: &World, properties: &BTreeMap<String, String>) -> Result<()> {
    let pairs = properties.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let text = PropertiesText::render(pairs);
    let patch = json!({ "stringData": { "client.properties": text } });
    let api = world.api::<Secret>("topicops");
    api.patch("topicops-kafka", &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Gives the brokers' CA to topicops and waits until the Secrets hold it.
async fn trust(world: &World, namespace: &str, clients: &[&str], pem: &str) -> Result<()> {
    let mut properties = own_properties(world).await?;
    properties.insert("ssl.truststore.certificates".to_owned(), pem.to_owned());
    put_own_properties(world, &properties).await?;
    for client in clients {
        wait::until(format!("the CA in the Secret of {client}"), PATIENCE, || async {
            let data = world.until_secret(namespace, &format!("{client}-kafka-credentials")).await?;
            ensure!(data["ssl.truststore.crt"] == pem, "{}", data["ssl.truststore.crt"]);
            let inline = PropertiesText::parse("client.properties", &data["client.properties"])?;
            ensure!(inline["ssl.truststore.certificates"] == pem, "{}", data["client.properties"]);
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    Ok(())
}

/// Changes settings of the broker's client listener at run time, as an administrator does.
async fn alter_broker(world: &World, settings: &str) -> Result<()> {
    let alter = ["--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", settings];
    world.kafka_tool("kafka-configs.sh", &alter).await.map(drop)
}

/// What a Java client sees of the topics, with the Secret's own properties.
async fn sees(world: &World, namespace: &str, client: &str, topic: &str) -> Result<()> {
    wait::until(format!("{client} to see {topic}"), PATIENCE, || async {
        let data = world.until_secret(namespace, &format!("{client}-kafka-credentials")).await?;
        let seen = world.topics_seen_by(&data).await?;
        ensure!(seen == [topic.to_owned()], "{seen:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// The checks of the replica that leads, and whether the files about the brokers count.
async fn config_is_valid(world: &World) -> Result<(bool, String)> {
    let leader = world.until_leader().await?;
    let (_, metrics) = world.probe(&leader, "/metrics").await?;
    let valid = metric(&metrics, "topicops_kafka_config_valid") == Some(1.0);
    Ok((valid, world.probe(&leader, "/readyz/kafka-config").await?.1))
}

fn written(folder: &Path, name: &str, text: &str) -> Result<String> {
    let file = folder.join(name);
    std::fs::write(&file, text)?;
    Ok(file.display().to_string())
}

#[test]
fn a_brokers_new_ca_reaches_topicops_and_every_secret_and_a_broken_one_nobody() {
    in_a_world_of_its_own(Options::default(), async |world| {
        let (namespace, topic) = (world.namespace("ca").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        let clients = ["one", "two", "three"];
        for client in clients {
            world.create_client(&namespace, client, json!({ "consumes": topic })).await?;
        }
        let mut passwords = Vec::new();
        for client in clients {
            let data = world.until_secret(&namespace, &format!("{client}-kafka-credentials")).await?;
            passwords.push(data["password"].clone());
        }
        let old = world.bed.kafka()?.ca_pem().to_owned();
        let authority = Authority::new("the brokers' next CA")?;
        let host = world.bed.kafka()?.bootstrap_servers().split(':').next().unwrap_or_default().to_owned();
        host.parse::<IpAddr>().context("one broker, by its address")?;
        let folder = tempfile::tempdir()?;
        let both = format!("{old}{}", authority.pem);
        // Brokers take a new certificate at run time when it is for the same names as the one before.
        let names =
            ["localhost", "kafka.kafka.svc", "kafka.kafka.svc.cluster.local", "kafka.kafka", "127.0.0.1"];
        let names = names.into_iter().map(str::to_owned).chain([host]).collect();
        let (certificate, key) = authority.issue("broker-1", names)?;
        let keystore = written(folder.path(), "broker.pem", &format!("{key}{certificate}"))?;
        let truststore = written(folder.path(), "both.pem", &both)?;

        // What is no CA at all, and one that vouches for no broker of today: each is told, and changes nothing.
        for (wrong, says) in
            [("no certificate", "ssl.truststore.certificates"), (authority.pem.as_str(), "TLS")]
        {
            let mut properties = own_properties(world).await?;
            properties.insert("ssl.truststore.certificates".to_owned(), wrong.to_owned());
            put_own_properties(world, &properties).await?;
            wait::until("the mistake to be told", PATIENCE, || async {
                let (valid, told) = config_is_valid(world).await?;
                ensure!(!valid && told.contains(says) && told.contains("goes on"), "{valid} {told}");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
            let data = world.until_secret(&namespace, "one-kafka-credentials").await?;
            ensure!(data["ssl.truststore.crt"] == old, "{}", data["ssl.truststore.crt"]);
            world.until_event(&namespace, "one", "CredentialsReady").await?;
        }

        trust(world, &namespace, &clients, &both).await?;
        ensure!(config_is_valid(world).await?.0, "{:?}", config_is_valid(world).await?);
        let listener = "listener.name.clients.ssl";
        // The broker takes the certificate only once it trusts who signed it.
        for (store, path) in [("truststore", &truststore), ("keystore", &keystore)] {
            let setting = format!("{listener}.{store}.location={path}");
            wait::until(format!("another {store}"), PATIENCE, || alter_broker(world, &setting)).await?;
        }
        sees(world, &namespace, "one", &topic).await?;
        trust(world, &namespace, &clients, &authority.pem).await?;
        for (client, password) in clients.iter().zip(passwords) {
            let data = world.until_secret(&namespace, &format!("{client}-kafka-credentials")).await?;
            ensure!(data["password"] == password, "{client} has another password");
            sees(world, &namespace, client, &topic).await?;
        }
        // topicops itself goes on, too.
        let next = world.topic("orders");
        world.declare(&namespace, &next, json!({}), json!({})).await?;
        world.until_ready(&namespace, &next).await?;
        Ok(())
    });
}

#[test]
fn a_ca_for_clients_that_is_wrong_from_the_start_gets_into_no_secret_until_it_is_mended() {
    in_a_world_of_its_own(Options::default(), async |world| {
        let (namespace, topic) = (world.namespace("start").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.create_client(&namespace, "before", json!({ "consumes": topic })).await?;
        let before = world.until_secret(&namespace, "before-kafka-credentials").await?;
        let right = world.bed.kafka()?.ca_pem().to_owned();
        // A folder that topicops' Pods have, too.
        let folder = world.bed.info().directory.join("fail-points");
        written(&folder, "clients-ca.pem", &Authority::new("nobody's CA")?.pem)?;
        world.set_variables(&[("TOPICOPS_CLIENT_CA", "/fail-points/clients-ca.pem")]).await?;

        wait::until("the mistake to be told", PATIENCE, || async {
            let (valid, told) = config_is_valid(world).await?;
            let says = told.contains("--client-ca") && told.contains("Secrets stay as they are");
            ensure!(!valid && says, "{valid} {told}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.create_client(&namespace, "after", json!({ "consumes": topic })).await?;
        let note = world.until_event(&namespace, "after", "VerificationFailed").await?;
        ensure!(note.contains("--client-ca"), "{note}");
        let secrets = world.api::<Secret>(&namespace);
        ensure!(secrets.get_opt("after-kafka-credentials").await?.is_none(), "it has credentials");
        let now = world.until_secret(&namespace, "before-kafka-credentials").await?;
        ensure!(now == before && now["ssl.truststore.crt"] == right, "{}", now["ssl.truststore.crt"]);

        written(&folder, "clients-ca.pem", &right)?;
        sees(world, &namespace, "after", &topic).await?;
        ensure!(config_is_valid(world).await?.0, "{:?}", config_is_valid(world).await?);
        Ok(())
    });
}

const MUTUAL_PORT: u16 = 9095;
const OPEN_PORT: u16 = 9096;
const OTHER_PORT: u16 = 9097;
const PASSWORD: &str = "of-topicops-in-other-ways";

/// A broker with a listener for certificates, one without TLS, and one for the mechanisms that the usual one does not take.
fn every_way(truststore: String) -> Options {
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    let bearer = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
    Options::default()
        .listener("MUTUAL", "SSL", MUTUAL_PORT)
        .listener("OPEN", "SASL_PLAINTEXT", OPEN_PORT)
        .listener("OTHER", "SASL_SSL", OTHER_PORT)
        .broker_setting("listener.name.mutual.ssl.client.auth", "required")
        .broker_setting("listener.name.mutual.ssl.truststore.type", "PEM")
        .broker_setting("listener.name.mutual.ssl.truststore.location", truststore)
        .broker_setting("listener.name.open.sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512")
        .broker_setting("listener.name.open.scram-sha-256.sasl.jaas.config", scram)
        .broker_setting("listener.name.open.scram-sha-512.sasl.jaas.config", scram)
        .broker_setting("listener.name.other.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,OAUTHBEARER")
        .broker_setting(
            "listener.name.other.plain.sasl.jaas.config",
            format!("{plain} user_topicops=\"{PASSWORD}\";"),
        )
        .broker_setting("listener.name.other.scram-sha-256.sasl.jaas.config", scram)
        .broker_setting(
            "listener.name.other.oauthbearer.sasl.jaas.config",
            format!("{bearer} unsecuredLoginStringClaim_sub=\"broker\";"),
        )
}

/// Has topicops log in in another way, at another listener, and waits until both replicas do. `nth` of them since they started.
async fn log_in(world: &World, port: u16, how: &[(&str, &str)], nth: usize) -> Result<()> {
    let servers = world.bed.kafka()?.bootstrap_servers().replace(":9093", &format!(":{port}"));
    let mut properties = own_properties(world).await?;
    properties.retain(|key, _| {
        !["sasl.", "security.", "ssl.keystore."].iter().any(|beginning| key.starts_with(beginning))
    });
    properties.insert("bootstrap.servers".to_owned(), servers);
    properties.extend(how.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    put_own_properties(world, &properties).await?;
    wait::until(format!("both replicas to log in with {:?}", how.first()), PATIENCE, || async {
        for pod in world.pods("topicops", "app.kubernetes.io/name=topicops").await? {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let log = world.bed.logs("topicops", name, "topicops")?;
            let taken = log.matches("connections to the brokers are made as the files say now").count();
            ensure!(taken >= nth, "{taken} of {nth}: {log}");
        }
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A token that nobody signed, which brokers take where nothing says whose signature they want.
fn token(subject: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = format!(r#"{{"sub":"{subject}","iat":{now},"exp":{}}}"#, now + 24 * 3_600);
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    Ok(format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims)))
}

#[test]
fn clients_may_use_another_listener_and_mechanism_however_topicops_itself_logs_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("the operators' CA").expect("an authority");
    let truststore = written(folder.path(), "operators.pem", &authority.pem).expect("a trust store");
    in_a_world_of_its_own(every_way(truststore), async |world| {
        let (namespace, topic) = (world.namespace("reach").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        world.create_client(&namespace, "before", json!({ "consumes": topic })).await?;
        let before = world.until_secret(&namespace, "before-kafka-credentials").await?;
        ensure!(before["sasl.mechanism"] == "SCRAM-SHA-512" && before["security.protocol"] == "SASL_SSL");

        let clients = world.bed.kafka()?.bootstrap_servers().replace(":9093", &format!(":{OPEN_PORT}"));
        world
            .set_variables(&[
                ("TOPICOPS_CLIENT_BOOTSTRAP_SERVERS", clients.as_str()),
                ("TOPICOPS_CLIENT_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
                ("TOPICOPS_CLIENT_SASL_MECHANISM", "SCRAM-SHA-256"),
            ])
            .await?;
        // The clients' listener is plain text, so a login goes through topicops' own that knows no SCRAM-SHA-256.
        wait::until("the Secret to say how", PATIENCE, || async {
            let data = world.until_secret(&namespace, "before-kafka-credentials").await?;
            ensure!(data["bootstrap.servers"] == clients, "{}", data["bootstrap.servers"]);
            ensure!(data["sasl.mechanism"] == "SCRAM-SHA-256", "{}", data["sasl.mechanism"]);
            ensure!(
                data["security.protocol"] == "SASL_PLAINTEXT" && !data.contains_key("ssl.truststore.crt")
            );
            ensure!(data["password"] == before["password"], "another password");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        sees(world, &namespace, "before", &topic).await?;
        // Who runs with what the Secret held before goes on.
        ensure!(world.topics_seen_by(&before).await?.concat() == topic);

        // topicops is no super user, whatever it shows, and each time a client that is new gets what works.
        let kafka = world.bed.kafka()?;
        give_acls(kafka, "CN=topicops").await?;
        let (certificate, key) = authority.issue("topicops", Vec::new())?;
        let keys = ScramKeys::derive(ScramMechanism::Sha256, 4096, &Password::new(PASSWORD))?;
        let made = world.cluster()?.upsert_scram_users(&[("topicops".to_owned(), keys)]).await?;
        made.into_iter().collect::<Result<Vec<()>, _>>()?;
        // A folder that topicops' Pods have, too.
        written(&world.bed.info().directory.join("fail-points"), "token", &token("topicops")?)?;
        let module = |module: &str| {
            format!(
                "org.apache.kafka.common.security.{module} required username=\"topicops\" password=\"{PASSWORD}\";"
            )
        };
        let (plain, scram) = (module("plain.PlainLoginModule"), module("scram.ScramLoginModule"));
        let with = |mechanism, key, value| {
            vec![("sasl.mechanism", mechanism), ("security.protocol", "SASL_SSL"), (key, value)]
        };
        let ways = [
            // Nobody can log in with SASL there: clients' logins are tried at their own listener.
            (
                "certificate",
                MUTUAL_PORT,
                vec![
                    ("security.protocol", "SSL"),
                    ("ssl.keystore.type", "PEM"),
                    ("ssl.keystore.certificate.chain", certificate.as_str()),
                    ("ssl.keystore.key", &key),
                ],
            ),
            ("plain", OTHER_PORT, with("PLAIN", "sasl.jaas.config", &plain)),
            ("scram-sha-256", OTHER_PORT, with("SCRAM-SHA-256", "sasl.jaas.config", &scram)),
            (
                "token",
                OTHER_PORT,
                with("OAUTHBEARER", "sasl.oauthbearer.token.endpoint.url", "file:///fail-points/token"),
            ),
        ];
        for (nth, (way, port, how)) in ways.into_iter().enumerate() {
            log_in(world, port, &how, nth + 1).await?;
            world.create_client(&namespace, way, json!({ "consumes": topic })).await?;
            sees(world, &namespace, way, &topic).await.with_context(|| format!("by {way}"))?;
        }
        Ok(())
    });
}

//! Clients that are not Java: librdkafka, with the single keys of the same Secret.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tokio::task::spawn_blocking;
use topicops::kafka::{ClientProperties, PemSource};
use topicops_testbed::KafkaVersion::{V3_9, V4_3};

use crate::{
    row::{Denial, Row},
    scene::{Given, Scene},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The administrator's `client.properties` in librdkafka's names.
pub(crate) fn administrator(text: &str) -> Result<ClientConfig> {
    let properties =
        ClientProperties::parse("client.properties", text).map_err(|error| anyhow!("{error}"))?;
    let (sasl, tls) = (properties.sasl.context("no login")?, properties.tls.context("no TLS")?);
    let servers: Vec<String> = properties.bootstrap_servers.iter().map(ToString::to_string).collect();
    let Some(PemSource::File(ca)) = tls.trust else { bail!("no trust store") };
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers.join(","))
        .set("security.protocol", "sasl_ssl")
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", sasl.username)
        .set("sasl.password", sasl.password.reveal())
        .set("ssl.ca.location", ca.display().to_string());
    Ok(config)
}

/// What a Python or Go program does with the Secret: each setting from a key, as it stands there, and the CA from its file.
fn of(scene: &Scene<'_>, given: &Given) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    for (setting, key) in [
        ("bootstrap.servers", "bootstrap.servers"),
        ("security.protocol", "security.protocol"),
        ("sasl.mechanism", "sasl.mechanism"),
        ("sasl.username", "username"),
        ("sasl.password", "password"),
        ("group.id", "group.id"),
    ] {
        config.set(setting, given.data.get(key).with_context(|| format!("no key {key}"))?);
    }
    let ca = scene.place("ssl.truststore.crt");
    std::fs::write(&ca, given.data.get("ssl.truststore.crt").context("no key ssl.truststore.crt")?)?;
    config.set("ssl.ca.location", ca.display().to_string());
    Ok(config)
}

fn code(denial: Denial) -> RDKafkaErrorCode {
    match denial {
        Denial::Topic => RDKafkaErrorCode::TopicAuthorizationFailed,
        Denial::Group => RDKafkaErrorCode::GroupAuthorizationFailed,
        Denial::TransactionalId => RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
        Denial::Cluster => RDKafkaErrorCode::ClusterAuthorizationFailed,
    }
}

fn is_denied<T>(outcome: Result<T, KafkaError>, denial: Denial) -> Result<()> {
    let error = outcome.err().with_context(|| format!("no {}", denial.code()))?;
    ensure!(error.rdkafka_error_code() == Some(code(denial)), "{error} is no {}", denial.code());
    Ok(())
}

pub(crate) async fn producer(scene: &Scene<'_>) -> Result<Option<Row>> {
    let annotations = [("produces", "orders"), ("transactional-ids", "desk")];
    let given = scene.give("desk", &annotations).await?;
    let send = async |idempotent: &str, topic: &str| {
        let producer: FutureProducer = of(scene, &given)?.set("enable.idempotence", idempotent).create()?;
        let record = FutureRecord::<(), _>::to(topic).payload("hello");
        let sent = producer.send(record, PATIENCE).await;
        Ok::<_, anyhow::Error>(sent.map(drop).map_err(|(error, _)| error))
    };
    for idempotent in ["false", "true"] {
        send(idempotent, "orders").await??;
    }
    transaction(scene, &given, "desk").await??;
    scene.nothing_was_denied(&given)?;
    is_denied(send("true", "refunds").await?, Denial::Topic)?;
    is_denied(transaction(scene, &given, "desk-2").await?, Denial::TransactionalId)?;
    let works = "writes `orders`, idempotent or not and in transactions of `desk`";
    let row = Row::new("librdkafka, producer", &[V4_3, V3_9], &annotations, works)
        .denied("writes `refunds`", Denial::Topic)
        .denied("transactions of `desk-2`", Denial::TransactionalId);
    Ok(Some(row))
}

async fn transaction(scene: &Scene<'_>, given: &Given, id: &str) -> Result<Result<(), KafkaError>> {
    let producer: FutureProducer = of(scene, given)?.set("transactional.id", id).create()?;
    spawn_blocking(move || {
        if let Err(error) = producer.init_transactions(PATIENCE) {
            return Ok(Err(error));
        }
        producer.begin_transaction()?;
        let record = FutureRecord::<(), _>::to("orders").payload("hello");
        producer.send_result(record).map_err(|(error, _)| error)?;
        producer.commit_transaction(PATIENCE)?;
        Ok(Ok(()))
    })
    .await?
}

pub(crate) async fn classic(scene: &Scene<'_>) -> Result<Option<Row>> {
    let given = scene.give("tally", &[("consumes", "orders")]).await?;
    consume(scene, &given, "classic", ["shop.tally_all", "shop.tallying"]).await?;
    let works = "reads `orders` in the group `shop.tally_all`";
    let row =
        Row::new("librdkafka, consumer group, classic", &[V4_3, V3_9], &[("consumes", "orders")], works)
            .denied("reads `refunds`", Denial::Topic)
            .denied("reads `orders` in the group `shop.tallying`", Denial::Group);
    Ok(Some(row))
}

pub(crate) async fn new_protocol(scene: &Scene<'_>) -> Result<Option<Row>> {
    if scene.kafka == V3_9 {
        return Ok(None);
    }
    let annotations = [("consumes", "orders"), ("groups", "sums-*")];
    let given = scene.give("sums", &annotations).await?;
    consume(scene, &given, "consumer", ["sums-all", "sums"]).await?;
    let works = "reads `orders` in the group `sums-all`";
    let row = Row::new("librdkafka, consumer group, `group.protocol=consumer`", &[V4_3], &annotations, works)
        .denied("reads `refunds`", Denial::Topic)
        .denied("reads `orders` in the group `sums`", Denial::Group);
    Ok(Some(row))
}

async fn consume(
    scene: &Scene<'_>,
    given: &Given,
    protocol: &'static str,
    [own, other]: [&str; 2],
) -> Result<()> {
    let text = read(scene, given, protocol, own, "orders").await??;
    ensure!(text == "hello", "{text}");
    scene.nothing_was_denied(given)?;
    is_denied(read(scene, given, protocol, own, "refunds").await?, Denial::Topic)?;
    is_denied(read(scene, given, protocol, other, "orders").await?, Denial::Group)
}

/// The first record of a topic, read in a group.
async fn read(
    scene: &Scene<'_>,
    given: &Given,
    protocol: &str,
    group: &str,
    topic: &str,
) -> Result<Result<String, KafkaError>> {
    let consumer: BaseConsumer = of(scene, given)?
        .set("group.id", group)
        .set("group.protocol", protocol)
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[topic])?;
    spawn_blocking(move || {
        // Other errors than these are told while it connects and looks for the coordinator.
        let denials = [Denial::Topic, Denial::Group].map(|denial| Some(code(denial)));
        let until = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < until {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(record)) => {
                    return Ok(
                        Ok(String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned()),
                    );
                }
                Some(Err(error)) if denials.contains(&error.rdkafka_error_code()) => return Ok(Err(error)),
                _ => {}
            }
        }
        bail!("neither a record nor a denial within {PATIENCE:?}")
    })
    .await?
}

//! Java producers.

use anyhow::{Result, ensure};
use topicops_testbed::KafkaVersion::{V3_9, V4_3};

use crate::{
    row::{Denial, Row},
    scene::{Given, Scene},
    support::{PATIENCE, wait},
};

/// Beside what the Secret says: not to be patient where nothing will come.
const IMPATIENT: [(&str, &str); 1] = [("max.block.ms", "60000")];

pub(crate) async fn idempotent(scene: &Scene<'_>) -> Result<Option<Row>> {
    let annotations = [("produces", "orders")];
    let given = scene.give("producer", &annotations).await?;
    let plain = scene.config(&given, &[("enable.idempotence", "false"), ("acks", "1")])?;
    let idempotent = scene.config(&given, &[("enable.idempotence", "true"), IMPATIENT[0]])?;
    for config in [&plain, &idempotent] {
        let said = write(scene, &given, &config.display().to_string(), "orders", None).await?;
        ensure!(!said.contains("Exception"), "{said}");
    }
    scene.nothing_was_denied(&given)?;
    let idempotent = idempotent.display().to_string();
    write(scene, &given, &idempotent, "refunds", Some(Denial::Topic)).await?;
    let (flag, servers) = (scene.config_option("consumer"), given.servers());
    let alone = scene.config(&given, &[("group.id", "")])?.display().to_string();
    let arguments = ["--bootstrap-server", servers, &flag, &alone, "--topic", "orders"];
    let arguments = [arguments.as_slice(), &["--partition", "0", "--offset", "earliest"]].concat();
    scene.denied("kafka-console-consumer.sh", &arguments, None, Denial::Topic).await?;
    let row = Row::new("producer, idempotent or not", &[V4_3, V3_9], &annotations, "writes `orders`")
        .denied("writes `refunds`", Denial::Topic)
        .denied("reads `orders`", Denial::Topic);
    Ok(Some(row))
}

pub(crate) async fn transactional(scene: &Scene<'_>) -> Result<Option<Row>> {
    let annotations = [("produces", "orders"), ("transactional-ids", "till-*")];
    let given = scene.give("till", &annotations).await?;
    let config = scene.config(&given, &IMPATIENT)?.display().to_string();
    let transaction = async |id: &str, topic: &str, denial: Option<Denial>| {
        let flag = scene.config_option("producer");
        let arguments = ["--topic", topic, "--num-records", "3", "--record-size", "5", "--throughput", "-1"];
        let arguments = [
            arguments.as_slice(),
            &["--transactional-id", id, "--transaction-duration-ms", "2000", &flag, &config],
        ]
        .concat();
        let tool = "kafka-producer-perf-test.sh";
        match denial {
            None => scene.works(tool, &arguments, None).await.map(drop),
            Some(denial) => scene.denied(tool, &arguments, None, denial).await,
        }
    };
    transaction("till-1", "orders", None).await?;
    until_committed(scene, "till-1").await?;
    scene.nothing_was_denied(&given)?;
    transaction("till", "orders", Some(Denial::TransactionalId)).await?;
    transaction("till-1", "refunds", Some(Denial::Topic)).await?;
    let works = "writes `orders` in transactions of `till-1`";
    let row = Row::new("producer, transactional", &[V4_3, V3_9], &annotations, works)
        .denied("transactions of `till`", Denial::TransactionalId)
        .denied("writes `refunds` in one of its own", Denial::Topic);
    Ok(Some(row))
}

async fn until_committed(scene: &Scene<'_>, id: &str) -> Result<()> {
    wait::until(format!("a transaction of {id}"), PATIENCE, || async {
        let described =
            scene.world.kafka_tool("kafka-transactions.sh", &["describe", "--transactional-id", id]).await?;
        ensure!(described.contains("CompleteCommit"), "{described}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// Writes a record with the console producer.
pub(crate) async fn write(
    scene: &Scene<'_>,
    given: &Given,
    config: &str,
    topic: &str,
    denial: Option<Denial>,
) -> Result<String> {
    let flag = scene.config_option("producer");
    let arguments = ["--bootstrap-server", given.servers(), "--topic", topic, &flag, config];
    let tool = "kafka-console-producer.sh";
    match denial {
        None => scene.works(tool, &arguments, Some("hello")).await,
        Some(denial) => scene.denied(tool, &arguments, Some("hello"), denial).await.map(|()| String::new()),
    }
}

//! Java consumers: in groups of every protocol, by pattern, and in share groups.

use anyhow::{Result, ensure};
use topicops_testbed::KafkaVersion::{V3_9, V4_3};

use crate::{
    producers,
    row::{Denial, Row},
    running::Running,
    scene::{Given, Scene},
};

const BY_NAME: &str = "--topic";

/// Reads one record with the console consumer, from the beginning.
async fn read(
    scene: &Scene<'_>,
    given: &Given,
    what: [&str; 2],
    changes: &[(&str, &str)],
    denial: Option<Denial>,
) -> Result<()> {
    let config = scene.config(given, changes)?.display().to_string();
    let flag = scene.config_option("consumer");
    let arguments = ["--bootstrap-server", given.servers(), &flag, &config];
    let limits = ["--from-beginning", "--max-messages", "1", "--timeout-ms", "60000"];
    let arguments = [arguments.as_slice(), &what, &limits].concat();
    let tool = "kafka-console-consumer.sh";
    match denial {
        Some(denial) => scene.denied(tool, &arguments, None, denial).await,
        None => {
            let said = scene.works(tool, &arguments, None).await?;
            ensure!(said.lines().any(|line| line == "hello"), "{said}");
            Ok(())
        }
    }
}

pub(crate) async fn classic(scene: &Scene<'_>) -> Result<Option<Row>> {
    let annotations = [("consumes", "orders")];
    let given = scene.give("reader", &annotations).await?;
    read(scene, &given, [BY_NAME, "orders"], &[], None).await?;
    read(scene, &given, [BY_NAME, "orders"], &[("group.id", "shop.reader_again")], None).await?;
    scene.nothing_was_denied(&given)?;
    read(scene, &given, [BY_NAME, "refunds"], &[], Some(Denial::Topic)).await?;
    read(scene, &given, [BY_NAME, "orders"], &[("group.id", "shop.readers")], Some(Denial::Group)).await?;
    let config = scene.config(&given, &[("enable.idempotence", "true")])?.display().to_string();
    producers::write(scene, &given, &config, "orders", Some(Denial::Cluster)).await?;
    let works = "reads `orders` in the groups `shop.reader` and `shop.reader_again`";
    let row = Row::new("consumer group, classic", &[V4_3, V3_9], &annotations, works)
        .denied("reads `refunds`", Denial::Topic)
        .denied("reads `orders` in the group `shop.readers`", Denial::Group)
        .denied("writes `orders`", Denial::Cluster);
    Ok(Some(row))
}

pub(crate) async fn new_protocol(scene: &Scene<'_>) -> Result<Option<Row>> {
    if scene.kafka == V3_9 {
        // A preview there, and off.
        return Ok(None);
    }
    let annotations = [("consumes", "orders"), ("groups", "legacy-*")];
    let given = scene.give("modern", &annotations).await?;
    let protocol = ("group.protocol", "consumer");
    let (own, other) = (("group.id", "legacy-orders"), ("group.id", "legacy"));
    read(scene, &given, [BY_NAME, "orders"], &[protocol, own], None).await?;
    scene.nothing_was_denied(&given)?;
    read(scene, &given, [BY_NAME, "refunds"], &[protocol, own], Some(Denial::Topic)).await?;
    read(scene, &given, [BY_NAME, "orders"], &[protocol, other], Some(Denial::Group)).await?;
    let works = "reads `orders` in the group `legacy-orders`";
    let client = "consumer group, `group.protocol=consumer`";
    let row = Row::new(client, &[V4_3], &annotations, works)
        .denied("reads `refunds`", Denial::Topic)
        .denied("reads `orders` in the group `legacy`", Denial::Group);
    Ok(Some(row))
}

pub(crate) async fn pattern(scene: &Scene<'_>) -> Result<Option<Row>> {
    let annotations = [("consumes", "events.*")];
    let given = scene.give("watcher", &annotations).await?;
    read(scene, &given, ["--include", "events\\..*"], &[], None).await?;
    let seen = scene.world.topics_seen_by(&given.data).await?;
    ensure!(seen == ["events.one"], "{seen:?}");
    scene.nothing_was_denied(&given)?;
    read(scene, &given, [BY_NAME, "events.secret"], &[], Some(Denial::Topic)).await?;
    let works = "subscribes to `events\\..*`, and finds `events.one`";
    let row = Row::new("consumer of a pattern", &[V4_3, V3_9], &annotations, works)
        .denied("reads `events.secret` of another namespace", Denial::Topic);
    Ok(Some(row))
}

pub(crate) async fn share(scene: &Scene<'_>) -> Result<Option<Row>> {
    if scene.kafka == V3_9 {
        return Ok(None);
    }
    let annotations = [("consumes", "orders")];
    let given = scene.give("sharer", &annotations).await?;
    // Else it begins with what comes after it.
    let from_the_beginning = ["--alter", "--entity-type", "groups", "--entity-name", "shop.sharer_share"];
    let from_the_beginning =
        [from_the_beginning.as_slice(), &["--add-config", "share.auto.offset.reset=earliest"]].concat();
    scene.world.kafka_tool("kafka-configs.sh", &from_the_beginning).await?;
    let share = async |topic: &str, group: &str, denial: Option<Denial>| {
        let config = scene.config(&given, &[("group.id", group)])?.display().to_string();
        let arguments =
            ["--bootstrap-server", given.servers(), "--command-config", &config, "--topic", topic];
        let tool = "kafka-console-share-consumer.sh";
        let Some(denial) = denial else {
            let look = async |running: Running| {
                running
                    .until("a record", |said| said.lines().any(|line| line == "hello").then_some(()))
                    .await?;
                scene.until_read_by(group, topic).await
            };
            return scene.run(tool, &arguments, None, look).await;
        };
        let limits = ["--max-messages", "1", "--timeout-ms", "60000"];
        scene.denied(tool, &[arguments.as_slice(), &limits].concat(), None, denial).await
    };
    share("orders", "shop.sharer_share", None).await?;
    scene.nothing_was_denied(&given)?;
    share("refunds", "shop.sharer_more", Some(Denial::Topic)).await?;
    share("orders", "shop.share", Some(Denial::Group)).await?;
    let works = "shares `orders` in the group `shop.sharer_share`";
    let row = Row::new("share group", &[V4_3], &annotations, works)
        .denied("shares `refunds`", Denial::Topic)
        .denied("shares `orders` in the group `shop.share`", Denial::Group);
    Ok(Some(row))
}

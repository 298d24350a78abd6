//! Kafka Streams: the word count of Kafka's own examples, exactly once.

use anyhow::Result;
use topicops_testbed::KafkaVersion::{self, V3_9, V4_3};

use crate::{
    row::{Denial, Row},
    running::Running,
    scene::{Given, Scene},
};

/// The example has a store and topics of these names, in every version.
const REPARTITION: &str = "KSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition";
const CHANGELOG: &str = "KSTREAM-AGGREGATE-STATE-STORE-0000000003-changelog";

/// The one with the classic protocol.
pub(crate) const WORKLOAD: &str = "words";
pub(crate) const APPLICATION: &str = "shop.words";

/// Five words, and the end of a transaction.
const RECORDS: i64 = 6;

pub(crate) async fn classic(scene: &Scene<'_>) -> Result<Option<Row>> {
    let kind = Kind {
        client: "Kafka Streams, `exactly_once_v2`",
        kafka: &[V4_3, V3_9],
        workload: WORKLOAD,
        application: APPLICATION,
        other: "shop.word",
        settings: &[],
        works: "counts words, with internal topics that it makes: `shop.words-…-repartition`, `shop.words-…-changelog`",
        denied: ["runs as `shop.word`", "makes the topic `shop.words`"],
    };
    act(scene, kind).await
}

pub(crate) async fn new_protocol(scene: &Scene<'_>) -> Result<Option<Row>> {
    if scene.kafka == V3_9 {
        return Ok(None);
    }
    let kind = Kind {
        client: "Kafka Streams, `exactly_once_v2`, `group.protocol=streams`",
        kafka: &[V4_3],
        workload: "fresh",
        application: "shop.fresh",
        other: "shop.fres",
        settings: &[("group.protocol", "streams")],
        works: "counts words, with internal topics that the brokers make for it",
        denied: ["runs as `shop.fres`", "makes the topic `shop.fresh`"],
    };
    act(scene, kind).await
}

struct Kind {
    client: &'static str,
    kafka: &'static [KafkaVersion],
    workload: &'static str,
    application: &'static str,
    other: &'static str,
    settings: &'static [(&'static str, &'static str)],
    works: &'static str,
    denied: [&'static str; 2],
}

async fn act(scene: &Scene<'_>, kind: Kind) -> Result<Option<Row>> {
    let annotations = [
        ("consumes", "streams-plaintext-input"),
        ("produces", "streams-wordcount-output"),
        ("streams-application-id", kind.application),
    ];
    let given = scene.give(kind.workload, &annotations).await?;
    let running = run(scene, &given, kind.application, kind.settings)?;
    for part in [REPARTITION, CHANGELOG] {
        scene.until_in(&format!("{}-{part}", kind.application), RECORDS).await?;
    }
    // In the same transactions as the changelog.
    scene.until_in("streams-wordcount-output", RECORDS).await?;
    scene.until_read_by(kind.application, "streams-plaintext-input").await?;
    drop(running);
    scene.nothing_was_denied(&given)?;
    let refused = run(scene, &given, kind.other, kind.settings)?;
    // Its thread may end with what it was refused about its group first; then its log alone tells of the topic.
    let told =
        |said: &str| [Denial::Topic.exception(), Denial::Topic.code()].iter().any(|word| said.contains(word));
    refused.until(Denial::Topic.code(), |said| told(said).then_some(())).await?;
    drop(refused);
    let config = scene.config(&given, &[])?.display().to_string();
    let arguments = ["--bootstrap-server", given.servers(), "--command-config", &config, "--create"];
    let arguments = [arguments.as_slice(), &["--topic", kind.application]].concat();
    scene.denied("kafka-topics.sh", &arguments, None, Denial::Topic).await?;
    let [as_another, outside] = kind.denied;
    let row = Row::new(kind.client, kind.kafka, &annotations, kind.works)
        .denied(as_another, Denial::Topic)
        .denied(outside, Denial::Topic);
    Ok(Some(row))
}

fn run(scene: &Scene<'_>, given: &Given, application: &str, settings: &[(&str, &str)]) -> Result<Running> {
    let state = scene.place("state").display().to_string();
    let own = [
        ("application.id", application),
        ("processing.guarantee", "exactly_once_v2"),
        ("state.dir", &state),
        ("auto.offset.reset", "earliest"),
        ("commit.interval.ms", "200"),
    ];
    let config = scene.config(given, &[own.as_slice(), settings].concat())?.display().to_string();
    scene.start("streams-wordcount.sh", &[&config], &[("KAFKA_HEAP_OPTS", "-Xmx256m")])
}

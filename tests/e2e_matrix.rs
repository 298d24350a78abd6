//! The enforcement matrix: a client of every kind works with the very `client.properties` of its Secret, and is denied one
//! step beyond. What it comes to is a table of the README, which is compared with what happened.
#![cfg(feature = "verify")]

mod support;

#[path = "e2e_matrix/connect.rs"]
mod connect;
#[path = "e2e_matrix/consumers.rs"]
mod consumers;
#[path = "e2e_matrix/librdkafka.rs"]
mod librdkafka;
#[path = "e2e_matrix/producers.rs"]
mod producers;
#[path = "e2e_matrix/row.rs"]
mod row;
#[path = "e2e_matrix/running.rs"]
mod running;
#[path = "e2e_matrix/scene.rs"]
mod scene;
#[path = "e2e_matrix/streams.rs"]
mod streams;

use anyhow::{Context as _, Result, ensure};
use futures::{FutureExt, future::LocalBoxFuture, future::join_all};
use row::Row;
use scene::Scene;
use support::{Options, in_a_world_of_its_own, repository};
use topicops_testbed::KafkaVersion;

#[test]
fn on_kafka_4_3_every_kind_of_client_may_do_what_the_readme_says() {
    the_readme_tells_what_happens_on(KafkaVersion::V4_3);
}

#[test]
fn on_kafka_3_9_every_kind_of_client_may_do_what_the_readme_says() {
    the_readme_tells_what_happens_on(KafkaVersion::V3_9);
}

fn the_readme_tells_what_happens_on(kafka: KafkaVersion) {
    in_a_world_of_its_own(Options::default().kafka(kafka), async |world| {
        let scene = Scene::set(world, kafka).await?;
        let mut found = Vec::new();
        let mut wrong = Vec::new();
        for outcome in join_all(acts(&scene)).await {
            match outcome {
                Ok(row) => found.extend(row.filter(|row| row.is_of(kafka)).map(|row| row.to_string())),
                Err(error) => wrong.push(format!("{error:#}")),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        scene.until_all_are_verified().await?;
        scene.verify_shows_each().await?;
        let told = told_of(kafka)?;
        ensure!(
            told == found,
            "the README's rows for Kafka {} differ from what happened, which is:\n{}\n{}",
            kafka.line(),
            row::HEAD,
            found.join("\n")
        );
        Ok(())
    });
}

/// All kinds, side by side: each waits for its own programs most of the time.
fn acts<'s>(scene: &'s Scene<'s>) -> Vec<LocalBoxFuture<'s, Result<Option<Row>>>> {
    vec![
        producers::idempotent(scene).boxed_local(),
        producers::transactional(scene).boxed_local(),
        consumers::classic(scene).boxed_local(),
        consumers::new_protocol(scene).boxed_local(),
        consumers::pattern(scene).boxed_local(),
        consumers::share(scene).boxed_local(),
        streams::classic(scene).boxed_local(),
        streams::new_protocol(scene).boxed_local(),
        connect::workers(scene).boxed_local(),
        librdkafka::producer(scene).boxed_local(),
        librdkafka::classic(scene).boxed_local(),
        librdkafka::new_protocol(scene).boxed_local(),
    ]
}

/// The README's rows that speak of this version.
fn told_of(kafka: KafkaVersion) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(repository().join("README.md"))?;
    let (_, rest) = text.split_once("<!-- matrix -->\n").context("the README has no <!-- matrix -->")?;
    let (table, _) = rest.split_once("<!-- /matrix -->").context("the README has no <!-- /matrix -->")?;
    let rows = table.strip_prefix(row::HEAD).context("the matrix has another head")?.lines();
    let speaks = |row: &&str| {
        let versions = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        versions.split(", ").any(|version| version == kafka.line())
    };
    Ok(rows.filter(speaks).map(str::to_owned).collect())
}

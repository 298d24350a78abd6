//! Two Kubernetes clusters, each with a topicops of its own, and one Kafka cluster for both.

mod moves_support;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use moves_support::{described, fill, listed, throttles, until_placed};
use serde_json::json;
use support::{Options, PATIENCE, SETTINGS, World, alone_in_the_world_of, in_the_world_of, metric, wait};
use tokio::sync::OnceCell;
use topicops::kafka::{Cluster, ConfigKeys, TopicDescription};
use topicops_contract::{State, Status};

static SECOND: OnceCell<World> = OnceCell::const_new();
const SECOND_ID: &str = "second";

fn bed() -> Options {
    SETTINGS.get_or_init(|| vec![("TOPICOPS_MOVE_THROTTLE", "1MB/s"), ("TOPICOPS_RESYNC", "1s")]);
    Options::default().brokers(2).broker_heap_mib(256)
}

/// Runs a test with both.
fn with_both<F>(test: F)
where
    F: AsyncFnOnce(&'static World, &'static World) -> Result<()>,
{
    in_the_world_of(bed(), async |first| test(first, second(first).await?).await);
}

async fn second(first: &World) -> Result<&'static World> {
    SECOND.get_or_try_init(|| first.beside(SECOND_ID)).await
}

/// A namespace of the same name in both.
async fn namespace_in_both(first: &World, second: &World, name: &str) -> Result<String> {
    let name = first.namespace(name).await?;
    second.bed.create_namespace(&name).await?;
    Ok(name)
}

async fn until_both_looked(first: &World, second: &World) -> Result<()> {
    let both = [first, second].map(|world| Box::pin(world.until_all_looked_at()));
    try_join_all(both).await.map(drop)
}

/// Waits until the client sees this topic alone, whichever broker it asks.
async fn until_seen(world: &World, namespace: &str, topic: &str) -> Result<()> {
    let secret = world.until_secret(namespace, "app-kafka-credentials").await?;
    wait::until(format!("{} to see {topic} alone", world.operator_id), PATIENCE, || async {
        let seen = world.topics_seen_by(&secret).await?;
        ensure!(seen == [topic], "{seen:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn found(world: &World, topic: &str) -> Result<TopicDescription> {
    let found = world.cluster()?.describe_topics(&[topic.parse()?], &ConfigKeys::All).await?;
    found.into_iter().next().context("no answer")??.with_context(|| format!("there is no {topic}"))
}

async fn id_of(world: &World, topic: &str) -> Result<String> {
    wait::until(format!("{topic} to be shown"), PATIENCE, || async {
        Ok::<_, anyhow::Error>(found(world, topic).await?.id)
    })
    .await
}

/// That a topic has so many partitions, and nothing set but this retention.
async fn ensure_is(world: &World, topic: &str, partitions: i32, hours: i64) -> Result<()> {
    let retention = BTreeMap::from([("retention.ms".to_owned(), (hours * 3_600_000).to_string())]);
    wait::until(format!("{topic} as it was declared"), PATIENCE, || async {
        let found = found(world, topic).await?;
        ensure!(found.partitions() == partitions && found.configs == retention, "{found:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn delete(world: &World, namespace: &str, name: &str) -> Result<()> {
    world.api::<ConfigMap>(namespace).delete(name, &DeleteParams::default()).await?;
    world.until_gone::<ConfigMap>(namespace, name).await
}

#[test]
fn each_keeps_its_own_topics_and_users_and_neither_touches_those_of_the_other() {
    with_both(async |first, second| {
        let namespace = namespace_in_both(first, second, "shop").await?;
        let topics = [first.topic("ours"), first.topic("theirs")];
        let worlds = [first, second];
        for (world, topic) in worlds.iter().zip(&topics) {
            let annotations = json!({ "deletion-policy": "delete" });
            world.declare(&namespace, topic, json!({ "retention": "1h" }), annotations).await?;
            world.create_client(&namespace, "app", json!({ "produces": topic })).await?;
        }
        for (world, topic) in worlds.iter().zip(&topics) {
            world.until_ready(&namespace, topic).await?;
            let secret = world.until_secret(&namespace, "app-kafka-credentials").await?;
            ensure!(secret["username"].starts_with(&format!("{}.{namespace}.app", world.operator_id)));
            until_seen(world, &namespace, topic).await?;
        }
        let theirs = id_of(first, &topics[1]).await?;
        for world in worlds {
            let kept = own_config_maps(world).await?;
            let others = worlds.iter().filter(|other| other.operator_id != world.operator_id);
            let strange = others.filter(|other| kept.iter().any(|name| name.starts_with(other.operator_id)));
            ensure!(
                strange.count() == 0 && kept.contains(&format!("{}-ledger-0", world.operator_id)),
                "{kept:?}"
            );
        }

        first.delete_client(&namespace, "app").await?;
        let user = format!("{}.{namespace}.", first.operator_id);
        wait::until("the user to go", PATIENCE, || async {
            let users = first.scram_users(&user).await?;
            ensure!(users.is_empty(), "{users:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        delete(first, &namespace, &topics[0]).await?;
        first.until_no_topic(&topics[0]).await?;
        until_both_looked(first, second).await?;

        ensure!(id_of(second, &topics[1]).await? == theirs, "{} is another topic now", topics[1]);
        second.until_ready(&namespace, &topics[1]).await?;
        until_seen(second, &namespace, &topics[1]).await
    });
}

#[test]
fn a_name_declared_in_both_is_whose_topic_was_made_first_and_free_for_the_other_once_it_is_deleted() {
    with_both(async |first, second| {
        let namespace = namespace_in_both(first, second, "shop").await?;
        let topic = first.topic("orders");
        let to_go = || json!({ "deletion-policy": "delete" });
        // So that there is always something to look at.
        let bystander = first.topic("bystander");
        first.declare(&namespace, &bystander, json!({}), json!({})).await?;
        first.declare(&namespace, &topic, json!({ "retention": "1h" }), to_go()).await?;
        let made = first.until_ready(&namespace, &topic).await?;
        let theirs = json!({ "retention": "2h", "partitions": "3" });
        second.declare(&namespace, &topic, theirs.clone(), to_go()).await?;
        let status = second.until_refused(&namespace, &topic, "AdoptionNotAllowed").await?;
        ensure!(
            status.state == State::Refused && status.message.contains("was not made by this topicops"),
            "{status:?}"
        );

        // Nor does it go with what was refused.
        delete(second, &namespace, &topic).await?;
        second.declare(&namespace, &topic, theirs, to_go()).await?;
        until_both_looked(first, second).await?;
        let now = first.until_ready(&namespace, &topic).await?;
        ensure!(now.topic_id == made.topic_id, "{now:?}");
        ensure_is(first, &topic, 1, 1).await?;

        delete(first, &namespace, &topic).await?;
        let taken = second.until_ready(&namespace, &topic).await?;
        ensure!(taken.topic_id != made.topic_id && taken.partitions == Some(3), "{taken:?}");
        first.declare(&namespace, &topic, json!({ "retention": "1h" }), to_go()).await?;
        first.until_refused(&namespace, &topic, "AdoptionNotAllowed").await?;
        delete(first, &namespace, &topic).await?;
        until_both_looked(first, second).await?;
        ensure_is(second, &topic, 3, 2).await?;
        let id = taken.topic_id.context("no topic id")?;
        ensure!(id_of(second, &topic).await? == id, "it is another topic now");
        Ok(())
    });
}

#[test]
fn of_two_who_declare_a_name_at_the_same_time_one_has_it_and_the_other_is_told() {
    with_both(async |first, second| {
        let namespace = namespace_in_both(first, second, "race").await?;
        let topics: Vec<String> = (0..10).map(|_| first.topic("raced")).collect();
        let declare = async |world: &World, hours: &str| {
            let declared = topics
                .iter()
                .map(|topic| world.declare(&namespace, topic, json!({ "retention": hours }), json!({})));
            try_join_all(declared).await
        };
        tokio::try_join!(declare(first, "1h"), declare(second, "2h"))?;
        for topic in &topics {
            let settled = async |world: &World| {
                let settled = |status: &Status| status.state != State::Pending;
                world.until_status(&namespace, topic, "settled", settled).await
            };
            let (one, other) = tokio::try_join!(settled(first), settled(second))?;
            let (has, refused, hours) = match one.state {
                State::Ready => (one, other, 1),
                _ => (other, one, 2),
            };
            ensure!(has.state == State::Ready, "nobody has {topic}: {has:?}, {refused:?}");
            ensure!(refused.reason == "AdoptionNotAllowed", "both have {topic}: {refused:?}");
            ensure_is(first, topic, 1, hours).await?;
            ensure!(has.topic_id == Some(id_of(first, topic).await?), "{has:?}");
        }
        Ok(())
    });
}

#[test]
fn factors_that_both_change_end_right_one_after_the_other_and_at_the_same_time_with_no_throttle_left() {
    // Moves of one are in the way of the other, whatever it is that is tested.
    alone_in_the_world_of(bed(), async |first| {
        let second = second(first).await?;
        let namespace = namespace_in_both(first, second, "factor").await?;
        let topics = [first.topic("ours"), first.topic("theirs")];
        let worlds = [first, second];
        // The first is to take a while, so that the second is asked for meanwhile.
        for ((world, topic), mebibytes) in worlds.iter().zip(&topics).zip([10, 1]) {
            let data = json!({ "partitions": "2", "replication-factor": "1" });
            world.declare(&namespace, topic, data, json!({})).await?;
            world.until_ready(&namespace, topic).await?;
            fill(world, topic, 2, mebibytes).await?;
        }
        let change = async |which: usize, factor: &str| {
            let patch = json!({ "data": { "replication-factor": factor } });
            worlds[which].patch_topic(&namespace, &topics[which], patch).await
        };

        change(0, "2").await?;
        wait::until("the first move", PATIENCE, || async {
            ensure!(!listed(first).await?.is_empty(), "nothing moves");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        change(1, "2").await?;
        second.until_refused(&namespace, &topics[1], "WaitingForAnotherMove").await?;
        wait::until("both to be there", PATIENCE, || async {
            let moving: BTreeSet<String> =
                listed(first).await?.iter().map(|one| one.partition.topic.to_string()).collect();
            if moving.len() > 1 {
                // As an answer, so that it is waited for no longer.
                return Ok(Err(anyhow::anyhow!("both move at once: {moving:?}")));
            }
            for topic in &topics {
                let replicas = described(first, topic).await?.replicas;
                ensure!(
                    moving.is_empty() && replicas.iter().all(|one| one.len() == 2),
                    "{replicas:?}, {moving:?}"
                );
            }
            Ok::<_, anyhow::Error>(Ok(()))
        })
        .await??;
        until_at_rest(worlds, &namespace, &topics, 2).await?;

        tokio::try_join!(change(0, "1"), change(1, "1"))?;
        until_at_rest(worlds, &namespace, &topics, 1).await?;
        tokio::try_join!(change(0, "2"), change(1, "2"))?;
        until_at_rest(worlds, &namespace, &topics, 2).await
    });
}

/// Waits until both have what they asked for, are told so, and nothing is left of the moves.
async fn until_at_rest(
    worlds: [&World; 2],
    namespace: &str,
    topics: &[String; 2],
    factor: i16,
) -> Result<()> {
    for (world, topic) in worlds.iter().zip(topics) {
        until_placed(world, topic, |replicas| i16::try_from(replicas.len()) == Ok(factor)).await?;
        let ready =
            |status: &Status| status.state == State::Ready && status.replication_factor == Some(factor);
        world.until_status(namespace, topic, "at rest", ready).await?;
    }
    wait::until("the throttles to go", PATIENCE, || async {
        for (world, topic) in worlds.iter().zip(topics) {
            let left = throttles(world, topic).await?;
            ensure!(left.is_empty(), "{left:?}");
            let (_, metrics) = world.probe(&world.until_leader().await?, "/metrics").await?;
            let own = metric(&metrics, "topicops_move_throttles");
            ensure!(own == Some(0.0), "{} has {own:?}", world.operator_id);
        }
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// What topicops keeps in its own namespace.
async fn own_config_maps(world: &World) -> Result<Vec<String>> {
    let all = world.api::<ConfigMap>("topicops").list(&ListParams::default()).await?;
    Ok(all.items.iter().map(ResourceExt::name_any).filter(|name| !name.starts_with("kube-")).collect())
}

//! topicops killed by SIGKILL at every step of a pass over topics: started again, it ends where it would have ended.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::DeleteParams;
use serde_json::json;
use support::{PATIENCE, World, alone_in_the_world, wait};
use topicops::{
    fail_point,
    kafka::{Cluster, ConfigChange, ConfigKeys, NewTopic, TopicDescription},
};
use topicops_contract::State;

/// What the rounds share: namespaces, and a topic that is nobody's business.
struct Stage {
    namespace: String,
    rival: String,
    undeclared: String,
}

/// The topics of one round: one to be changed, one to be deleted, one to be made.
struct Round {
    place: &'static str,
    old: String,
    doomed: String,
    new: String,
}

#[test]
fn killed_at_each_step_of_a_pass_over_topics_it_ends_as_declared_with_nothing_lost() {
    alone_in_the_world(async |world| {
        let stage = Stage {
            namespace: world.namespace("steps").await?,
            rival: world.namespace("rival").await?,
            undeclared: world.topic("undeclared"),
        };
        let places = fail_point::NAMES.iter().filter(|name| name.starts_with("topics/"));
        let rounds: Vec<Round> = places
            .map(|place| Round {
                place,
                old: world.topic("old"),
                doomed: world.topic("doomed"),
                new: world.topic("new"),
            })
            .collect();
        prepare(world, &stage, &rounds).await?;
        let bystander =
            described(world, &stage.undeclared).await?.context("the undeclared topic is not there")?;
        for round in &rounds {
            play(world, &stage, round).await.with_context(|| format!("killed at {}", round.place))?;
        }
        let now = described(world, &stage.undeclared).await?;
        ensure!(now.as_ref() == Some(&bystander), "a topic nobody declared became {now:?}");
        Ok(())
    });
}

/// What is there before the first kill.
async fn prepare(world: &World, stage: &Stage, rounds: &[Round]) -> Result<()> {
    let cluster = world.cluster()?;
    let by_hand = NewTopic {
        name: stage.undeclared.parse()?,
        partitions: Some(2.try_into()?),
        replication_factor: Some(1.try_into()?),
        placement: None,
        configs: BTreeMap::from([("segment.ms".to_owned(), "7000000".to_owned())]),
    };
    cluster.create_topics(&[by_hand]).await?.remove(0)?;
    for round in rounds {
        let data = json!({ "partitions": "1", "retention": "1h", "properties": "segment.ms=3600000" });
        world.declare(&stage.namespace, &round.old, data, json!({})).await?;
        let doomed = json!({ "deletion-policy": "delete" });
        world.declare(&stage.namespace, &round.doomed, json!({}), doomed).await?;
    }
    for round in rounds {
        world.until_ready(&stage.namespace, &round.old).await?;
        world.until_ready(&stage.namespace, &round.doomed).await?;
        let set = BTreeMap::from([("max.message.bytes".to_owned(), "55555".to_owned())]);
        let foreign = ConfigChange { set, ..ConfigChange::default() };
        cluster.alter_configs(&[(round.old.parse()?, foreign)]).await?.remove(0)?;
    }
    Ok(())
}

/// A topic is changed, one deleted and one made; whoever does it is killed at the round's place.
async fn play(world: &World, stage: &Stage, round: &Round) -> Result<()> {
    let namespace = &stage.namespace;
    let before = described(world, &round.old).await?.context("the topic to be changed is not there")?;
    let restarts = restarts(world).await?;
    world
        .killed_at(round.place, async || {
            world.api::<ConfigMap>(namespace).delete(&round.doomed, &DeleteParams::default()).await?;
            let change = json!({ "data": { "partitions": "3", "retention": "2h", "properties": null } });
            world.patch_topic(namespace, &round.old, change).await?;
            world.declare(namespace, &round.new, json!({ "partitions": "2" }), json!({})).await.map(drop)
        })
        .await?;

    world.until_ready(namespace, &round.new).await?;
    let grown =
        |status: &topicops_contract::Status| status.state == State::Ready && status.partitions == Some(3);
    world.until_status(namespace, &round.old, "ready with 3 partitions", grown).await?;
    world.until_gone::<ConfigMap>(namespace, &round.doomed).await?;
    wait::until("the brokers to have what is declared", PATIENCE, || async {
        let old = described(world, &round.old).await?.context("the changed topic is gone")?;
        ensure!(old.id == before.id, "it is another topic now: {old:?}, was {before:?}");
        ensure!(old.replicas[..1] == before.replicas, "its partition moved: {old:?}, was {before:?}");
        let configs: Vec<_> = old.configs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        // The one that its author took out is gone, the one that somebody else set is not.
        let right = [("max.message.bytes", "55555"), ("retention.ms", "7200000")];
        ensure!(old.partitions() == 3 && configs == right, "{old:?}");
        let new = described(world, &round.new).await?.context("the new topic is not there")?;
        ensure!(new.partitions() == 2, "{new:?}");
        let doomed = described(world, &round.doomed).await?;
        ensure!(doomed.is_none(), "it is still there: {doomed:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    // Whose they are is remembered: nobody else gets them.
    for topic in [&round.old, &round.new] {
        world.declare(&stage.rival, topic, json!({}), json!({})).await?;
    }
    for topic in [&round.old, &round.new] {
        world.until_refused(&stage.rival, topic, "OwnedByNamespace").await?;
    }
    ensure_killed_once(world, restarts).await
}

async fn described(world: &World, topic: &str) -> Result<Option<TopicDescription>> {
    Ok(world.cluster()?.describe_topics(&[topic.parse()?], &ConfigKeys::All).await?.remove(0)?)
}

async fn pods(world: &World) -> Result<Vec<Pod>> {
    world.pods("topicops", "app.kubernetes.io/name=topicops").await
}

fn statuses(pods: &[Pod]) -> impl Iterator<Item = &k8s_openapi::api::core::v1::ContainerStatus> {
    pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()).flatten()
}

async fn restarts(world: &World) -> Result<i32> {
    Ok(statuses(&pods(world).await?).map(|status| status.restart_count).sum())
}

/// One process died, and by SIGKILL; the others and its successor went on.
async fn ensure_killed_once(world: &World, before: i32) -> Result<()> {
    wait::until("the restart to be told", PATIENCE, || async {
        let pods = pods(world).await?;
        let after = restarts(world).await?;
        ensure!(after == before + 1, "{} restarts instead of one", after - before);
        for status in statuses(&pods).filter(|status| status.restart_count > 0) {
            let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let code = ended.map(|ended| ended.exit_code);
            ensure!(code == Some(137), "it ended with {code:?}, not by SIGKILL");
        }
        Ok::<_, anyhow::Error>(())
    })
    .await
}

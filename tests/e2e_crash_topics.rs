//! topicops killed by SIGKILL at every step of a pass over topics: started again, it ends where it would have ended.

#[path = "crash_topics/departures.rs"]
mod departures;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use support::{
    PATIENCE, World, alone_in_the_world,
    kafka_topics::{create, until},
    wait,
};
use topicops::{
    KafkaTopic, fail_point,
    kafka::{Cluster, ConfigChange, ConfigKeys, NewTopic, TopicDescription},
};
use topicops_contract::{State, Status};

const FINALIZER: &str = "topic.kafka.nb/topic";
/// Places by which no ConfigMap comes that can wait for its topic and is topicops' alone: they have tests of their own.
const APART: [&str; 3] =
    ["topics/deletion-remembered", "topics/claim-taken-back", "topics/finalizer-written"];

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
        let places = places.filter(|name| !APART.contains(name));
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
            let filler = match round.place {
                "topics/page-written" => fill_the_ledger(world).await?,
                _ => BTreeSet::new(),
            };
            play(world, &stage, round).await.with_context(|| format!("killed at {}", round.place))?;
            until_each_once_in_the_ledger(world, &filler).await?;
        }
        let now = described(world, &stage.undeclared).await?;
        ensure!(now.as_ref() == Some(&bystander), "a topic nobody declared became {now:?}");
        Ok(())
    });
}

#[test]
fn killed_between_the_writes_of_a_custom_resource_it_has_its_topic_made_and_deleted_once() {
    alone_in_the_world(async |world| {
        let (namespace, other) = (world.namespace("custom").await?, world.namespace("after").await?);
        let (claimed, deleted) = (world.topic("claimed"), world.topic("deleted"));
        let spec = json!({ "partitions": 2, "deletionPolicy": "delete" });
        let api = world.api::<KafkaTopic>(&namespace);
        let make = async || create(world, &namespace, &claimed, spec.clone()).await;
        let look = async || {
            let object = api.get(&claimed).await?;
            let has_status = object.status.as_object().is_some_and(|status| !status.is_empty());
            ensure!(object.finalizers() == [FINALIZER] && !has_status, "{object:?}");
            world.until_topic(&claimed).await?;
            Ok(described(world, &claimed).await?.context("no topic")?.id)
        };
        let id = world.killed_at_and_kept_away("topics/finalizer-written", make, look).await?;
        create(world, &namespace, &deleted, spec.clone()).await?;
        let ready = |status: &Status| status.state == State::Ready;
        let (object, status) = until(world, &namespace, &claimed, "ready", ready).await?;
        ensure!(object.finalizers() == [FINALIZER] && status.topic_id.as_ref() == Some(&id), "{object:?}");
        world.until_topic(&claimed).await?;
        let now = described(world, &claimed).await?.context("no topic")?;
        ensure!(now.id == id && now.partitions() == 2, "{now:?}, was {id}");
        until(world, &namespace, &deleted, "ready", ready).await?;

        // As a backup, or a GitOps tool that took the live object for the source, would.
        let copy = json!({ "apiVersion": "topic.kafka.nb/v1beta1", "kind": "KafkaTopic",
            "metadata": { "name": claimed, "finalizers": [FINALIZER] } });
        api.patch(&claimed, &PatchParams::apply("gitops").force(), &Patch::Apply(copy)).await?;
        for (name, place) in [(&claimed, "topics/claim-taken-back"), (&deleted, "topics/deleted")] {
            let before = described(world, name).await?.context("no topic")?.id;
            let delete = async || Ok(api.delete(name, &DeleteParams::default()).await.map(drop)?);
            let look = async || {
                let object = api.get(name).await?;
                ensure!(object.finalizers() == [FINALIZER], "{object:?}");
                world.until_no_topic(name).await
            };
            world.killed_at_and_kept_away(place, delete, look).await.context(place)?;
            world.until_gone::<KafkaTopic>(&namespace, name).await.context(place)?;
            // The name is free, and what goes by it now stays.
            create(world, &other, name, json!({})).await?;
            let (_, status) = until(world, &other, name, "ready", ready).await?;
            ensure!(status.topic_id.is_some_and(|id| id != before), "{name} is {before} still");
        }
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
            let properties = "delete.retention.ms=7200000";
            let change =
                json!({ "data": { "partitions": "3", "retention": "2h", "properties": properties } });
            world.patch_topic(namespace, &round.old, change).await?;
            world.declare(namespace, &round.new, json!({ "partitions": "2" }), json!({})).await.map(drop)
        })
        .await?;

    world.until_ready(namespace, &round.new).await?;
    let grown = |status: &Status| status.state == State::Ready && status.partitions == Some(3);
    world.until_status(namespace, &round.old, "ready with 3 partitions", grown).await?;
    world.until_gone::<ConfigMap>(namespace, &round.doomed).await?;
    wait::until("the brokers to have what is declared", PATIENCE, || async {
        let old = described(world, &round.old).await?.context("the changed topic is gone")?;
        ensure!(old.id == before.id, "it is another topic now: {old:?}, was {before:?}");
        ensure!(old.replicas[..1] == before.replicas, "its partition moved: {old:?}, was {before:?}");
        let configs: Vec<_> = old.configs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        // The one that its author took out is gone, the one that somebody else set is not.
        let right =
            [("delete.retention.ms", "7200000"), ("max.message.bytes", "55555"), ("retention.ms", "7200000")];
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

/// Has the ledger's only page grow by hand so much that topics have to go to others when it is written next.
async fn fill_the_ledger(world: &World) -> Result<BTreeSet<String>> {
    // After all others, which go first therefore.
    let filler: BTreeSet<String> = (0..2_200).map(|n| format!("zz-{n:04}-{}", "z".repeat(240))).collect();
    // Topics that nobody declares any more, and that were measured: until the next look at everything they are let be.
    let lines: String = filler.iter().map(|topic| format!("{topic} elsewhere  left=1/1\n")).collect();
    let api = world.api::<ConfigMap>("topicops");
    wait::until("the ledger to be written over", PATIENCE, || async {
        let page = api.get("topicops-ledger-0").await?;
        let text = page.data.as_ref().and_then(|data| data.get("topics")).context("an empty page")?;
        let patch = json!({
            "metadata": { "resourceVersion": page.metadata.resource_version },
            "data": { "topics": format!("{text}{lines}") },
        });
        api.patch("topicops-ledger-0", &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    Ok(filler)
}

async fn until_each_once_in_the_ledger(world: &World, topics: &BTreeSet<String>) -> Result<()> {
    wait::until("each topic to be in one page", PATIENCE, || async {
        let pages = ledger(world).await?;
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for line in pages.iter().flat_map(|page| page.lines()) {
            *found.entry(line.split(' ').next().unwrap_or_default()).or_default() += 1;
        }
        ensure!(topics.is_empty() || pages.len() > 1, "one page holds them all");
        let lost = topics.iter().filter(|topic| !found.contains_key(topic.as_str())).count();
        let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).take(3).collect();
        ensure!(lost == 0 && twice.is_empty(), "{lost} are lost; more than once: {twice:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// The texts of its pages.
async fn ledger(world: &World) -> Result<Vec<String>> {
    let pages = ListParams::default().labels("topic.kafka.nb/ledger=topicops");
    let pages = world.api::<ConfigMap>("topicops").list(&pages).await?.items;
    Ok(pages.into_iter().filter_map(|page| page.data?.remove("topics")).collect())
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

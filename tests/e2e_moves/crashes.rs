//! topicops is killed at each step of a move.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use topicops::{
    fail_point,
    kafka::{Cluster, TopicPartition},
    moves::Side,
};

use crate::{
    at_rest,
    moves_support::{
        Load, bed, described, fill, listed, make, placements, rebalance, set_rate, throttled_by_somebody,
        throttles,
    },
    support::{PATIENCE, World, alone_in_the_world_of, wait},
};

#[test]
fn killed_at_each_step_of_a_move_it_ends_as_declared_and_with_the_throttles_that_were_there_before() {
    alone_in_the_world_of(bed(), async |world| {
        let (namespace, topic) = (world.namespace("adopter").await?, world.topic("steps"));
        let properties = "min.insync.replicas=2";
        let data = json!({ "partitions": "3", "replication-factor": "2", "properties": properties });
        world.declare(&namespace, &topic, data, json!({})).await?;
        // On every broker, and all led by one, so that a rebalance has nothing to do but to elect others.
        let led = world.topic("led");
        make(world, &led, &vec![vec![1, 2, 3, 4]; 4]).await?;
        world.declare(&namespace, &led, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        world.until_ready(&namespace, &led).await?;
        let before = throttled_by_somebody(world, &topic).await?;
        let load = Load::begin(world, &topic)?;
        let patch = async |topic: &str, factor: &str| {
            world.patch_topic(&namespace, topic, json!({ "data": { "replication-factor": factor } })).await
        };
        let mut places: Vec<&str> =
            fail_point::NAMES.iter().copied().filter(|name| name.starts_with("moves/")).collect();
        for place in ["moves/request-taken", "moves/elections-due", "moves/leaders-elected"] {
            places.retain(|other| *other != place);
            make_led_by_one(world, &led).await?;
            let ask = async || rebalance(world, &["--topics", &led]).await;
            let asked = world.killed_at(place, ask).await.context(place)?;
            ensure!(asked.status.success(), "{asked:?}");
            until_led_by_many(world, &led).await.context(place)?;
        }
        // Large enough to be called off before it has arrived.
        let large = world.topic("large");
        let data = json!({ "partitions": "1", "replication-factor": "1" });
        world.declare(&namespace, &large, data, json!({})).await?;
        world.until_ready(&namespace, &large).await?;
        fill(world, &large, 1, 64).await?;
        let large_before = throttles(world, &large).await?;
        call_off_before_anybody_looks(world, &namespace, &large).await?;
        for place in ["moves/cancellation-noted", "moves/cancelled"] {
            places.retain(|other| *other != place);
            patch(&large, "2").await?;
            wait::until("the move to begin", PATIENCE, || async {
                ensure!(!listed(world).await?.is_empty(), "nothing moves");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
            world.killed_at(place, async || patch(&large, "1").await).await.context(place)?;
            at_rest(world, &large, 1, &large_before).await.context(place)?;
        }
        // What comes by without copying and throttles, too, in every other move.
        let also_down = ["moves/factor-planned", "moves/end-noted", "moves/nothing-left"];
        places.retain(|place| !also_down.contains(place));
        let mut also_down = also_down.into_iter();
        for place in places {
            world.killed_at(place, async || patch(&topic, "3").await).await.context(place)?;
            at_rest(world, &topic, 3, &before).await.context(place)?;
            match also_down.next() {
                Some(place) => world.killed_at(place, async || patch(&topic, "2").await).await.context(place),
                None => patch(&topic, "2").await,
            }?;
            at_rest(world, &topic, 2, &before).await.context(place)?;
        }
        ensure!(also_down.next().is_none(), "places are left");
        world.until_ready(&namespace, &topic).await?;
        set_rate(world, 1, Side::Leader, None).await?;
        load.end(world).await
    });
}

/// Kafka was asked to move it, whoever asked is killed, and the author takes it back before anybody has looked.
async fn call_off_before_anybody_looks(world: &World, namespace: &str, topic: &str) -> Result<()> {
    let patch = async |factor: &str| {
        world.patch_topic(namespace, topic, json!({ "data": { "replication-factor": factor } })).await
    };
    let (before, throttled) = (placements(world, topic).await?, throttles(world, topic).await?);
    let load = Load::begin(world, topic)?;
    let take_back = async || {
        ensure!(!listed(world).await?.is_empty(), "nothing moves");
        patch("1").await
    };
    world.killed_at_and_kept_away("moves/submitted", async || patch("2").await, take_back).await?;
    wait::until("the move to end", PATIENCE, || async {
        let moving = listed(world).await?;
        ensure!(moving.is_empty(), "{moving:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let arrived = described(world, topic).await?;
    ensure!(arrived.in_sync.iter().all(|brokers| brokers.len() == 1), "it went on: {arrived:?}");
    at_rest(world, topic, 1, &throttled).await?;
    world.until_event(namespace, topic, "MoveCancelled").await?;
    world.until_ready(namespace, topic).await?;
    wait::until("everything to be as before", PATIENCE, || async {
        let (moving, now) = (listed(world).await?, placements(world, topic).await?);
        ensure!(moving.is_empty() && now == before, "{moving:?}, {now:?}, was {before:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    load.end(world).await
}

async fn make_led_by_one(world: &World, topic: &str) -> Result<()> {
    let cluster = world.cluster()?;
    let replicas = placements(world, topic).await?;
    let mut changes = Vec::new();
    for (partition, replicas) in (0..).zip(replicas) {
        let first = replicas.iter().copied().filter(|broker| *broker == 1);
        let others = replicas.iter().copied().filter(|broker| *broker != 1);
        let partition = TopicPartition { topic: topic.parse()?, partition };
        changes.push((partition, Some(first.chain(others).collect())));
    }
    for result in cluster.alter_reassignments(&changes).await? {
        result?;
    }
    let partitions: Vec<TopicPartition> = changes.into_iter().map(|(partition, _)| partition).collect();
    wait::until("one broker to lead", PATIENCE, || async {
        for result in cluster.elect_preferred_leaders(&partitions).await? {
            result?;
        }
        let described = described(world, topic).await?;
        // A broker may show those of before for a moment.
        let mut led = described.replicas.iter().zip(&described.leaders);
        let by_one = led.all(|(replicas, leader)| replicas.first() == Some(&1) && *leader == Some(1));
        ensure!(by_one, "{described:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn until_led_by_many(world: &World, topic: &str) -> Result<()> {
    wait::until("the preferred leaders to lead", PATIENCE, || async {
        let status = String::from_utf8(rebalance(world, &["--status"]).await?.stdout)?;
        ensure!(status.starts_with("done"), "{status}");
        let described = described(world, topic).await?;
        let leaders: BTreeSet<_> = described.leaders.iter().flatten().collect();
        let preferred = described.replicas.iter().zip(&described.leaders);
        ensure!(leaders.len() > 1, "{described:?}");
        ensure!(
            preferred.clone().all(|(replicas, leader)| *leader == replicas.first().copied()),
            "{described:?}"
        );
        Ok::<_, anyhow::Error>(())
    })
    .await
}

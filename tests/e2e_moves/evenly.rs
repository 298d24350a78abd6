//! Brokers that hold more than others, and what a rebalance makes of that.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use topicops::kafka::{Cluster, ConfigKeys};
use topicops_contract::TopicName;

use crate::{
    moves_support::{
        Load, bed, described, fill, listed, make, placements, racks, rebalance, throttles, until_placed,
        until_throttled_as,
    },
    support::{PATIENCE, World, alone_in_the_world_of, wait},
};

/// What a broker holds of all topics.
#[derive(Clone, Copy, Debug, Default)]
struct Holds {
    replicas: u64,
    /// Partitions that it is to lead.
    leaders: u64,
    bytes: u64,
}

#[test]
fn a_rebalance_evens_out_replicas_leaders_and_bytes_and_called_off_midway_leaves_all_as_it_was() {
    alone_in_the_world_of(bed(), async |world| {
        let (namespace, topic) = (world.namespace("adopter").await?, world.topic("uneven"));
        let level = levelling(holdings(world).await?)?;
        if !level.is_empty() {
            make(world, &world.topic("level"), &level).await?;
        }
        // As if this broker had been added just now.
        let least = holdings(world).await?.into_iter().min_by_key(|(id, holds)| (holds.bytes, Reverse(*id)));
        let new = least.context("no brokers")?.0;
        make(world, &topic, &without(new)).await?;
        let data = json!({ "properties": "min.insync.replicas=2" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        wait::until("min.insync.replicas to be seen", PATIENCE, || async {
            let keys = ConfigKeys::Only(["min.insync.replicas".to_owned()].into());
            let seen = world.cluster()?.describe_topics(&[topic.parse()?], &keys).await?.remove(0)?;
            let configs = seen.context("no topic")?.configs;
            ensure!(configs.get("min.insync.replicas").is_some_and(|value| value == "2"), "{configs:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        fill(world, &topic, 8, 3).await?;
        fill(world, &topic, 2, 9).await?;
        let load = Load::begin(world, &topic)?;
        load.until_written(100).await?;
        let (holders, throttled) = (holders(world, &topic).await?, throttles(world, &topic).await?);
        let before = holdings(world).await?;
        let ask =
            async |more: &[&str]| rebalance(world, &[&["--topics", topic.as_str()], more].concat()).await;

        // Slow enough for nothing to arrive before it is called off.
        ensure!(ask(&["--throttle", "50000"]).await?.status.success());
        wait::until("replicas to be copied", PATIENCE, || async {
            let (moving, now) = (listed(world).await?, throttles(world, &topic).await?);
            ensure!(moving.iter().any(|one| one.adding.contains(&new)), "{moving:?}");
            ensure!(now.values().any(|value| value == "50000"), "{now:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let called_off = rebalance(world, &["--cancel", "--wait"]).await?;
        let told = String::from_utf8(called_off.stdout)?;
        ensure!(called_off.status.success() && told.contains("called off"), "{told}");
        wait::until("all to be where it was", PATIENCE, || async {
            let (moving, now) = (listed(world).await?, self::holders(world, &topic).await?);
            ensure!(moving.is_empty() && now == holders, "{moving:?}, {now:?}, not {holders:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        until_throttled_as(world, &topic, &throttled).await?;

        let done = ask(&["--throttle", "100MB/s", "--wait"]).await?;
        ensure!(done.status.success(), "{done:?}");
        until_placed(world, &topic, |replicas| replicas.len() == 2 && racks(replicas) == 2).await?;
        wait::until("all brokers to hold about the same", PATIENCE, || async {
            let now = holdings(world).await?;
            ensure!(apart(&now, |holds| holds.replicas) <= 1, "{now:?}");
            ensure!(apart(&now, |holds| holds.leaders) <= 1, "{now:?}");
            ensure!(uneven_bytes(&now) < uneven_bytes(&before), "{now:?}, and before {before:?}");
            let topic = described(world, &topic).await?;
            let preferred = topic.replicas.iter().map(|replicas| replicas.first().copied());
            ensure!(preferred.eq(topic.leaders.iter().copied()), "{topic:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        until_throttled_as(world, &topic, &throttled).await?;

        let written = load.stop().await?;
        let mut again = ask(&["--dry-run"]).await?;
        if again.status.code() == Some(3) {
            // What was written while it was planned has come to count; now nothing is written any more.
            ensure!(ask(&["--throttle", "100MB/s", "--wait"]).await?.status.success());
            again = ask(&["--dry-run"]).await?;
        }
        ensure!(again.status.success(), "a second plan is not empty: {again:?}");
        written.read_back(world).await
    });
}

/// Partitions of two replicas in two racks, some brokers with more of them than others, and none on this one.
fn without(new: i32) -> Vec<Vec<i32>> {
    let others = || (1..=4).filter(|broker| *broker != new);
    let pairs = others().flat_map(|one| others().map(move |other| vec![one, other]));
    let pairs: Vec<Vec<i32>> = pairs.filter(|pair| racks(pair) == 2).collect();
    pairs.iter().cycle().take(8).cloned().collect()
}

/// Whose replicas each partition has, in whatever order.
async fn holders(world: &World, topic: &str) -> Result<Vec<BTreeSet<i32>>> {
    Ok(placements(world, topic).await?.into_iter().map(|replicas| replicas.into_iter().collect()).collect())
}

/// Partitions with which everybody has as many replicas, and leads as many, whatever other tests left behind.
fn levelling(mut held: BTreeMap<i32, Holds>) -> Result<Vec<Vec<i32>>> {
    let mut partitions = Vec::new();
    while apart(&held, |holds| holds.replicas) > 1 || apart(&held, |holds| holds.leaders) > 1 {
        if partitions.len() > 200 {
            bail!("it never becomes level: {held:?}");
        }
        let leader = held.iter().min_by_key(|(_, holds)| (holds.leaders, holds.replicas));
        let leader = *leader.context("no brokers")?.0;
        let others = held.iter().filter(|(id, _)| **id != leader);
        let follower = *others.min_by_key(|(_, holds)| holds.replicas).context("no other broker")?.0;
        for broker in [leader, follower] {
            let holds = held.entry(broker).or_default();
            holds.replicas += 1;
            holds.leaders += u64::from(broker == leader);
        }
        partitions.push(vec![leader, follower]);
    }
    Ok(partitions)
}

async fn holdings(world: &World) -> Result<BTreeMap<i32, Holds>> {
    let cluster = world.cluster()?;
    let mut held: BTreeMap<i32, Holds> = (1..=4).map(|broker| (broker, Holds::default())).collect();
    let names = cluster.list_topics().await?;
    let names = names.iter().map(|name| name.parse()).collect::<Result<Vec<TopicName>, _>>()?;
    for described in cluster.describe_topics(&names, &ConfigKeys::Only(BTreeSet::new())).await? {
        for replicas in described?.context("a topic is gone")?.replicas {
            for (place, broker) in replicas.into_iter().enumerate() {
                let holds = held.entry(broker).or_default();
                holds.replicas += 1;
                holds.leaders += u64::from(place == 0);
            }
        }
    }
    for (broker, disks) in cluster.describe_log_dirs().await? {
        let replicas = disks?.dirs.into_iter().flat_map(|dir| dir.replicas);
        held.entry(broker).or_default().bytes = replicas.map(|(_, size)| size.bytes).sum();
    }
    Ok(held)
}

/// The difference of the most and the least.
fn apart(held: &BTreeMap<i32, Holds>, what: impl Fn(&Holds) -> u64) -> u64 {
    let all = || held.values().map(&what);
    all().max().unwrap_or_default() - all().min().unwrap_or_default()
}

/// How far the brokers are from holding the same bytes: the sum of squares.
fn uneven_bytes(held: &BTreeMap<i32, Holds>) -> u128 {
    let mean = held.values().map(|holds| holds.bytes).sum::<u64>() / held.len() as u64;
    held.values().map(|holds| u128::from(holds.bytes.abs_diff(mean)).pow(2)).sum()
}

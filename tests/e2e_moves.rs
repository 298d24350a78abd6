//! Moves of replicas, end to end: brokers with racks, topics that are written to meanwhile.

#[path = "e2e_moves/crashes.rs"]
mod crashes;
#[path = "e2e_moves/evenly.rs"]
mod evenly;
mod moves_support;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use moves_support::{
    Load, alter_topic, bed, described, fill, listed, make, placements, racks, rebalance, set_rate,
    throttled_by_somebody, throttles, until_placed, until_throttled_as,
};
use serde_json::json;
use support::{PATIENCE, World, alone_in_the_world_of, in_the_world_of, wait};
use topicops::{
    kafka::{Cluster, Reassignment, TopicPartition},
    moves::Side,
};
use topicops_contract::{State, Status};

#[test]
fn the_replication_factor_goes_up_and_down_under_load_and_racks_hold() {
    in_the_world_of(bed(), async |world| {
        let (namespace, topic) = (world.namespace("factor").await?, world.topic("factor"));
        let data = json!({ "partitions": "4", "replication-factor": "1" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let load = Load::begin(world, &topic)?;
        load.until_written(100).await?;

        let patch = |factor: &str| json!({ "data": { "replication-factor": factor } });
        world.patch_topic(&namespace, &topic, patch("3")).await?;
        let up = until_placed(world, &topic, |replicas| replicas.len() == 3).await?;
        ensure!(up.iter().all(|replicas| racks(replicas) == 3), "racks: {up:?}");
        until_factor(world, &namespace, &topic, 3).await?;
        let note = world.until_event(&namespace, &topic, "Moved").await?;
        ensure!(note == "the replication factor is 3 now, it was 1: 4 partitions changed", "{note}");

        let data = json!({ "data": { "replication-factor": "2", "properties": "min.insync.replicas=2" } });
        world.patch_topic(&namespace, &topic, data).await?;
        let down = until_placed(world, &topic, |replicas| replicas.len() == 2).await?;
        ensure!(down.iter().all(|replicas| racks(replicas) == 2), "racks: {down:?}");
        for (three, two) in up.iter().zip(&down) {
            ensure!(
                two.iter().all(|broker| three.contains(broker)),
                "copied to shrink: {three:?} to {two:?}"
            );
        }
        until_factor(world, &namespace, &topic, 2).await?;

        // Somebody gives a partition a third replica by hand; the next look at the topic takes it back.
        let partition = TopicPartition { topic: topic.parse()?, partition: 0 };
        let third = (1..=4).find(|broker| !down[0].contains(broker)).context("no broker is left")?;
        let by_hand = down[0].iter().copied().chain([third]).collect();
        world.cluster()?.alter_reassignments(&[(partition, Some(by_hand))]).await?.remove(0)?;
        wait::until("the third replica", PATIENCE, || async {
            let (moving, replicas) = (listed(world).await?, placements(world, &topic).await?);
            ensure!(moving.is_empty() && replicas[0].len() == 3, "{moving:?} {replicas:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let looked_at = json!({ "data": { "retention": "9h" } });
        world.patch_topic(&namespace, &topic, looked_at).await?;
        let note = world.until_event(&namespace, &topic, "DriftCorrected").await?;
        ensure!(note.contains("replication-factor: 3 -> 2"), "{note}");
        until_placed(world, &topic, |replicas| replicas.len() == 2).await?;
        world.until_ready(&namespace, &topic).await?;

        world.patch_topic(&namespace, &topic, patch("1")).await?;
        world.until_refused(&namespace, &topic, "BelowMinInsyncReplicas").await?;
        world.patch_topic(&namespace, &topic, patch("7")).await?;
        world.until_refused(&namespace, &topic, "TooFewBrokers").await?;
        load.end(world).await
    });
}

#[test]
fn a_drained_broker_is_emptied_under_throttles_that_are_gone_afterwards_and_those_of_others_stay() {
    alone_in_the_world_of(bed(), async |world| {
        let namespace = world.namespace("drain").await?;
        let (topic, undeclared) = (world.topic("drain"), world.topic("undeclared"));
        let properties = "min.insync.replicas=2";
        let data = json!({ "partitions": "4", "replication-factor": "2", "properties": properties });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        fill(world, &topic, 4, 12).await?;
        at_rest(world, &topic, 2, &BTreeMap::new()).await?;
        make(world, &undeclared, &[vec![4, 1]]).await?;
        let before = throttled_by_somebody(world, &topic).await?;
        let load = Load::begin(world, &topic)?;

        let dry = rebalance(world, &["--drain", "4", "--dry-run"]).await?;
        ensure!(dry.status.code() == Some(3), "{dry:?}");
        let told = String::from_utf8(dry.stdout)?;
        ensure!(told.contains(&format!("{topic}-")) && told.contains("BROKER"), "{told}");
        ensure!(told.contains("of topics that nobody declares"), "{told}");
        ensure!(throttles(world, &topic).await? == before && listed(world).await?.is_empty());

        ensure!(rebalance(world, &["--drain", "4"]).await?.status.success());
        wait::until("throttles for what moves", PATIENCE, || async {
            let now = throttles(world, &topic).await?;
            let follows = now.get(Side::Follower.list_key()).context("no list")?;
            let moving = listed(world).await?;
            ensure!(!moving.is_empty(), "nothing moves");
            let ours = moving.iter().filter(|one| one.partition.topic.as_str() == topic);
            let listed = |which: fn(&Reassignment) -> Vec<i32>| {
                let items = ours.clone().flat_map(move |one| {
                    let number = one.partition.partition;
                    which(one).into_iter().map(move |broker| format!("{number}:{broker}"))
                });
                items.collect::<BTreeSet<String>>()
            };
            let items = |list: &str| list.split(',').map(str::to_owned).collect::<BTreeSet<String>>();
            // What moves, and of the leaders' list what somebody else had there: nothing more.
            let come = listed(|one| one.adding.clone());
            ensure!(items(follows) == come, "{follows}: {come:?}");
            let leads = now.get(Side::Leader.list_key()).context("no list")?;
            ensure!(leads.starts_with("0:9,"), "somebody's entry is gone: {leads}");
            let mut held = listed(|one| {
                one.replicas.iter().copied().filter(|broker| !one.adding.contains(broker)).collect()
            });
            held.insert("0:9".to_owned());
            ensure!(items(leads) == held, "{leads}: {held:?}");
            ensure!(now.get("1 leader.replication.throttled.rate").is_some_and(|rate| rate == "7777777"));
            ensure!(now.values().any(|value| value == "1000000"), "{now:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        // Its author has what he declares all the while.
        let status = world.until_status(&namespace, &topic, "there", |_| true).await?;
        ensure!(status.state == State::Ready && !listed(world).await?.is_empty(), "{status:?}");
        let on_its_way = rebalance(world, &["--status"]).await?;
        ensure!(on_its_way.status.code() == Some(3), "{on_its_way:?}");
        let waited = rebalance(world, &["--status", "--wait"]).await?;
        let told = String::from_utf8(waited.stdout)?;
        ensure!(
            waited.status.success() && told.lines().last().is_some_and(|line| line.starts_with("done")),
            "{told}"
        );
        let moved = until_placed(world, &topic, |replicas| !replicas.contains(&4)).await?;
        ensure!(moved.iter().all(|replicas| racks(replicas) == 2), "racks: {moved:?}");
        until_throttled_as(world, &topic, &before).await?;
        let over = rebalance(world, &["--status"]).await?;
        let told = String::from_utf8(over.stdout)?;
        ensure!(
            over.status.success() && told.starts_with("done") && told.contains("nobody declares"),
            "{told}"
        );
        ensure!(placements(world, &undeclared).await? == [[4, 1]], "what nobody declares was moved");

        // As long as the request stands, the broker gets nothing new.
        let new = world.topic("new");
        let data = json!({ "partitions": "6", "replication-factor": "1" });
        world.declare(&namespace, &new, data, json!({})).await?;
        world.until_ready(&namespace, &new).await?;
        world.until_topic(&new).await?;
        let placed = placements(world, &new).await?;
        ensure!(placed.iter().all(|replicas| replicas != &[4]), "{placed:?}");
        ensure!(rebalance(world, &["--cancel", "--wait"]).await?.status.success());
        set_rate(world, 1, Side::Leader, None).await?;
        load.end(world).await
    });
}

#[test]
fn a_replication_factor_set_back_calls_the_move_off_and_everything_is_as_before() {
    alone_in_the_world_of(bed(), async |world| {
        let (namespace, topic) = (world.namespace("cancel").await?, world.topic("cancel"));
        let data = json!({ "partitions": "2", "replication-factor": "1" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        fill(world, &topic, 2, 24).await?;
        let before = placements(world, &topic).await?;
        let patch = |factor: &str| json!({ "data": { "replication-factor": factor } });
        world.patch_topic(&namespace, &topic, patch("3")).await?;
        let moving = |status: &Status| {
            let told = status.message.contains("MiB left to copy, about ");
            status.reason == "Moving" && told && status.message.contains(" of 2 partitions moved")
        };
        world.until_status(&namespace, &topic, "moving", moving).await?;
        let note = world.until_event(&namespace, &topic, "MoveBegun").await?;
        let numbers = note.strip_prefix("replication factor 1 to 3: 2 partitions, ");
        let numbers = numbers.and_then(|numbers| numbers.split_once(" to copy, about "));
        let (bytes, time) = numbers.with_context(|| note.clone())?;
        ensure!(bytes.starts_with("96.") && bytes.ends_with(" MiB"), "{note}");
        let (time, unit) = time.split_once(' ').with_context(|| note.clone())?;
        ensure!(time.parse::<u64>().is_ok_and(|time| time > 0) && ["s", "min"].contains(&unit), "{note}");
        wait::until("the move to begin", PATIENCE, || async {
            let moving = listed(world).await?;
            ensure!(!moving.is_empty(), "nothing moves");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.patch_topic(&namespace, &topic, patch("1")).await?;
        world.until_ready(&namespace, &topic).await?;
        let note = world.until_event(&namespace, &topic, "MoveCancelled").await?;
        let called_off = "the change of the replication factor from 1 to 3 was called off: 2 partitions are where they were";
        ensure!(note == called_off, "{note}");
        wait::until("everything to be as before", PATIENCE, || async {
            let (moving, now) = (listed(world).await?, placements(world, &topic).await?);
            ensure!(moving.is_empty() && now == before, "{moving:?}, {now:?}, was {before:?}");
            let left = throttles(world, &topic).await?;
            ensure!(left.is_empty(), "{left:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn topicops_waits_for_the_moves_of_others_and_gives_way_to_them() {
    alone_in_the_world_of(bed(), async |world| {
        let namespace = world.namespace("others").await?;
        let (topic, theirs) = (world.topic("ours"), world.topic("theirs"));
        let data = json!({ "partitions": "1", "replication-factor": "1" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        make(world, &theirs, &[vec![1]]).await?;
        fill(world, &theirs, 1, 24).await?;
        fill(world, &topic, 1, 24).await?;
        // Somebody's move that does not get on, at a thousand bytes per second.
        set_rate(world, 2, Side::Follower, Some(1_000)).await?;
        alter_topic(world, &theirs, Side::Follower, "0:2").await?;
        wait::until("somebody's throttle to be seen", PATIENCE, || async {
            let now = throttles(world, &theirs).await?;
            ensure!(now.contains_key("2 follower.replication.throttled.rate"), "{now:?}");
            ensure!(now.contains_key(Side::Follower.list_key()), "{now:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let cluster = world.cluster()?;
        let foreign = TopicPartition { topic: theirs.parse()?, partition: 0 };
        cluster.alter_reassignments(&[(foreign.clone(), Some(vec![2]))]).await?.remove(0)?;

        let patch = |factor: &str| json!({ "data": { "replication-factor": factor } });
        world.patch_topic(&namespace, &topic, patch("2")).await?;
        let status = world.until_refused(&namespace, &topic, "WaitingForAnotherMove").await?;
        ensure!(status.message.contains(&theirs), "{status:?}");
        let running = listed(world).await?;
        ensure!(running.iter().all(|one| one.partition == foreign), "{running:?}");
        cluster.alter_reassignments(&[(foreign, None)]).await?.remove(0)?;
        set_rate(world, 2, Side::Follower, None).await?;

        // Now ours begins, and somebody sends the same partition elsewhere.
        let partition = TopicPartition { topic: topic.parse()?, partition: 0 };
        let ours = wait::until("our move to begin", PATIENCE, || async {
            listed(world).await?.into_iter().find(|one| one.partition == partition).context("nothing moves")
        })
        .await?;
        let elsewhere: Vec<i32> = (1..=4).filter(|broker| !ours.replicas.contains(broker)).take(1).collect();
        cluster.alter_reassignments(&[(partition.clone(), Some(elsewhere.clone()))]).await?.remove(0)?;
        world.until_event(&namespace, &topic, "WaitingForAnotherMove").await?;
        let status = world.until_refused(&namespace, &topic, "WaitingForAnotherMove").await?;
        ensure!(status.message.contains("somebody else moves"), "{status:?}");
        wait::holds("their move", std::time::Duration::from_secs(3), || async {
            for one in listed(world).await?.iter().filter(|one| one.partition == partition) {
                ensure!(one.target() == elsewhere, "theirs was replaced: {one:?}");
            }
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        // When theirs has ended, ours is planned anew.
        until_placed(world, &topic, |replicas| replicas.len() == 2).await?;
        world.until_ready(&namespace, &topic).await?;
        Ok(())
    });
}

#[test]
fn a_move_whose_broker_dies_says_so_and_goes_on_when_that_is_back_and_what_that_held_is_drained_meanwhile() {
    alone_in_the_world_of(bed(), async |world| {
        let namespace = world.namespace("adopter").await?;
        let (topic, held) = (world.topic("stuck"), world.topic("held"));
        let properties = "min.insync.replicas=2";
        let data = json!({ "partitions": "1", "replication-factor": "2", "properties": properties });
        world.declare(&namespace, &topic, data, json!({})).await?;
        // Whichever broker dies holds some of it.
        make(world, &held, &[vec![1, 2], vec![2, 3], vec![3, 1], vec![4, 2]]).await?;
        world.declare(&namespace, &held, json!({}), json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        world.until_ready(&namespace, &held).await?;
        fill(world, &topic, 1, 14).await?;
        let before = throttles(world, &topic).await?;
        let load = Load::begin(world, &topic)?;
        let patch = json!({ "data": { "replication-factor": "3" } });
        world.patch_topic(&namespace, &topic, patch).await?;
        let to = wait::until("the move to begin", PATIENCE, || async {
            let moving = listed(world).await?;
            moving.first().and_then(|one| one.adding.first().copied()).context("nothing moves")
        })
        .await?;
        world.bed.kill_broker(u8::try_from(to)?).await?;
        let while_dead = async {
            let status = world.until_refused(&namespace, &topic, "MoveStuck").await?;
            ensure!(status.message.contains(&format!("[{to}]")), "{status:?}");
            let drain = ["--drain", &to.to_string(), "--topics", &held, "--wait"];
            let drained = rebalance(world, &drain).await?;
            ensure!(drained.status.success(), "{drained:?}");
            until_placed(world, &held, |replicas| racks(replicas) == 2 && !replicas.contains(&to)).await?;
            wait::until("all of what was drained to be in sync", PATIENCE, || async {
                let now = described(world, &held).await?;
                ensure!(now.in_sync.iter().all(|brokers| brokers.len() == 2), "{now:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await
        };
        let while_dead = while_dead.await;
        world.bed.start_broker(u8::try_from(to)?).await?;
        while_dead?;
        at_rest(world, &topic, 3, &before).await?;
        world.until_ready(&namespace, &topic).await?;
        ensure!(rebalance(world, &["--cancel", "--wait"]).await?.status.success());
        load.end(world).await
    });
}

/// Ready since it has this many replicas, and not still since before.
async fn until_factor(world: &World, namespace: &str, topic: &str, factor: i16) -> Result<()> {
    let there = |status: &Status| status.state == State::Ready && status.replication_factor == Some(factor);
    world.until_status(namespace, topic, "ready with another factor", there).await.map(drop)
}

/// All is moved, and what is throttled is as it was before.
async fn at_rest(world: &World, topic: &str, factor: usize, before: &BTreeMap<String, String>) -> Result<()> {
    until_placed(world, topic, |replicas| replicas.len() == factor).await?;
    until_throttled_as(world, topic, before).await
}

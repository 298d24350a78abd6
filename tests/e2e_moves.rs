//! Moves of replicas, end to end: brokers with racks, topics that are written to meanwhile.

mod moves_support;
mod support;

use anyhow::ensure;
use moves_support::{Load, bed, until_placed};
use serde_json::json;
use support::in_the_world_of;

#[test]
fn the_replication_factor_goes_up_and_down_under_load_and_racks_hold() {
    in_the_world_of(bed(), async |world| {
        let (namespace, topic) = (world.namespace("factor").await?, world.topic("factor"));
        let data = json!({ "partitions": "4", "replication-factor": "1" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.until_ready(&namespace, &topic).await?;
        let load = Load::begin(world, &topic)?;
        load.until_written(200).await?;

        let patch = |factor: &str| json!({ "data": { "replication-factor": factor } });
        world.patch_topic(&namespace, &topic, patch("3")).await?;
        let up = until_placed(world, &topic, |replicas| replicas.len() == 3).await?;
        ensure!(up.iter().all(|replicas| moves_support::racks(replicas) == 3), "racks: {up:?}");
        let status = world.until_ready(&namespace, &topic).await?;
        ensure!(status.replication_factor == Some(3), "{status:?}");
        world.until_event(&namespace, &topic, "Moved").await?;

        let data = json!({ "data": { "replication-factor": "2", "properties": "min.insync.replicas=2" } });
        world.patch_topic(&namespace, &topic, data).await?;
        let down = until_placed(world, &topic, |replicas| replicas.len() == 2).await?;
        ensure!(down.iter().all(|replicas| moves_support::racks(replicas) == 2), "racks: {down:?}");
        for (three, two) in up.iter().zip(&down) {
            ensure!(
                two.iter().all(|broker| three.contains(broker)),
                "copied to shrink: {three:?} to {two:?}"
            );
        }
        world.until_ready(&namespace, &topic).await?;

        world.patch_topic(&namespace, &topic, patch("1")).await?;
        world.until_refused(&namespace, &topic, "BelowMinInsyncReplicas").await?;
        world.patch_topic(&namespace, &topic, patch("7")).await?;
        world.until_refused(&namespace, &topic, "TooFewBrokers").await?;
        load.end(world).await
    });
}

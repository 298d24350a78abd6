//! ConfigMaps in, topics on the broker out.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use topicops_contract::State;
use topicops_testbed::wait;

use crate::{report::Report, stage::Stage};

const TOPICS: [(&str, &str); 3] = [("shop", "orders"), ("shop", "payments"), ("shipping", "parcels")];

pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<()> {
    report.heading("A shop and its shipping: topics in two namespaces");
    for file in ["deploy/examples/1-shop.yaml", "deploy/examples/2-shipping.yaml"] {
        let applied = stage.kubectl(["apply", "-f", file]).await?;
        report.show(&(applied.out + &applied.err));
    }
    report.step("waiting until topicops says that all three are in order", in_order(stage)).await?;
    for (namespace, name) in TOPICS {
        let status = stage.status(namespace, name).await?.context("no status")?;
        report.show(&format!("{namespace}/{name}: {}", serde_json::to_string(&status)?));
    }

    let described = stage.kafka()?.tool("kafka-topics.sh", ["--describe", "--exclude-internal"]).await?;
    report.note("and kafka-topics.sh --describe:");
    report.show(&described);
    for (topic, partitions, time, retention) in [
        ("orders", "3 partitions", "7 days", 7 * DAY),
        ("payments", "1 partition", "90 days", 90 * DAY),
        ("parcels", "2 partitions", "36 hours", 36 * DAY / 24),
    ] {
        let line = described.lines().find(|line| line.contains(&format!("Topic: {topic}\tTopicId:")));
        let line = line.unwrap_or("it is not there");
        let count = partitions.split(' ').next().unwrap_or_default();
        let held = line.contains(&format!("PartitionCount: {count}\t"))
            && line.contains(&format!("retention.ms={retention}"));
        let claim = format!("{topic} has {partitions} and keeps records for {time}");
        report.claim(&claim, held, line);
    }
    Ok(())
}

const DAY: i64 = 24 * 60 * 60 * 1000;

async fn in_order(stage: &Stage) -> Result<()> {
    for (namespace, name) in TOPICS {
        wait::until(format!("topic {namespace}/{name}"), Duration::from_secs(60), || async {
            let status = stage.status(namespace, name).await?.context("it has no status yet")?;
            ensure!(status.state == State::Ready, "{:?}: {} {}", status.state, status.reason, status.message);
            anyhow::Ok(())
        })
        .await?;
    }
    Ok(())
}

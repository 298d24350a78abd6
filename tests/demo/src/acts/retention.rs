//! An edit of a ConfigMap arrives on the broker.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use topicops_contract::State;
use topicops_testbed::wait;

use crate::{report::Report, stage::Stage};

pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<()> {
    report.heading("Orders are kept for a day instead of seven");
    let before = stage.status("shop", "orders").await?.context("no status")?;
    let patch = r#"{"data":{"retention":"1d"}}"#;
    let edit = ["-n", "shop", "patch", "configmap", "orders", "--type=merge", "-p", patch];
    report.show(&stage.kubectl(edit).await?.out);
    let done = wait::until("a status of the new text", Duration::from_secs(30), || async {
        let now = stage.status("shop", "orders").await?.context("no status")?;
        ensure!(now.hash != before.hash, "the status still speaks of the old text");
        ensure!(now.state == State::Ready, "{}: {}", now.reason, now.message);
        anyhow::Ok(())
    });
    report.step("waiting until topicops says that it is done", done).await?;
    let configs = wait::until("the new retention", Duration::from_secs(60), || async {
        let described = stage.kafka()?.tool("kafka-topics.sh", ["--describe", "--topic", "orders"]).await?;
        let line = described.lines().next().unwrap_or_default().to_owned();
        ensure!(line.contains("retention.ms=86400000"), "{line}");
        anyhow::Ok(line)
    });
    report.show(&configs.await?);
    report.claim("the broker keeps orders for a day", true, "");
    Ok(())
}

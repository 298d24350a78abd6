//! Records from one service to the other, written and read by Kafka's own console clients.

use std::time::Duration;

use anyhow::{Result, ensure};
use topicops_testbed::wait;

use crate::{report::Report, stage::Stage};

/// So many that it is no accident.
const ENOUGH: usize = 5;

pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<()> {
    report.heading("Records from shop/order-service to shipping/packer");
    let received = wait::until("orders in the packer's log", Duration::from_secs(120), || async {
        let log = stage.logs("shipping", "packer").await?;
        let orders: Vec<String> =
            log.lines().filter(|line| line.starts_with("order ")).map(str::to_owned).collect();
        ensure!(orders.len() >= ENOUGH, "{} orders; the log ends with: {}", orders.len(), end_of(&log));
        anyhow::Ok(orders)
    });
    let received = report.step("waiting for the packer's log", received).await?;
    report.show(&received[received.len() - ENOUGH..].join("\n"));
    report.claim("orders arrive", true, "");

    let parcels = wait::until("parcels on the broker", Duration::from_secs(60), || async {
        let offsets = stage.kafka()?.tool("kafka-get-offsets.sh", ["--topic", "parcels"]).await?;
        let written: u64 =
            offsets.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok()).sum();
        ensure!(written > 0, "offsets: {offsets}");
        anyhow::Ok(offsets)
    });
    report.show(&parcels.await?);
    report.claim("the packer writes parcels with the same credentials", true, "");
    Ok(())
}

fn end_of(log: &str) -> &str {
    log.lines().last().unwrap_or_default()
}

use anyhow::Result;
use serde::Serialize;

use crate::row::Row;

/// What a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) n: usize,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
    /// Resident memory of topicops when all was done, and the most it ever had, in MiB.
    pub(crate) rss_mib: f64,
    pub(crate) peak_mib: f64,
    /// CPU seconds of topicops over the whole run.
    pub(crate) cpu_s: f64,
}

#[allow(clippy::print_stdout)]
pub(crate) fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!("medians of {} rounds, {} items each\n", report.rounds, report.n);
    println!("| work | floor: API writes | floor: raw admin | topicops | ratio | aim |");
    println!("|---|---|---|---|---|---|");
    for row in &report.rows {
        let aim = row.aim_s.map_or_else(|| "-".to_owned(), |aim| format!("{aim:.1} s"));
        println!(
            "| {} | {:.2} s | {:.2} s | {:.2} s | {:.2} | {aim} |",
            row.work, row.api_floor_s, row.kafka_floor_s, row.topicops_s, row.ratio
        );
    }
    println!(
        "\ntopicops: {:.1} MiB resident, {:.1} MiB at its peak, {:.1} s of CPU",
        report.rss_mib, report.peak_mib, report.cpu_s
    );
    println!("There are no webhook configurations here: admission is not in these figures.");
    Ok(())
}

use anyhow::Result;
use serde::Serialize;

use crate::row::{Figure, Row};

/// What a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) title: String,
    pub(crate) n: usize,
    pub(crate) brokers: u8,
    pub(crate) rounds: usize,
    /// Work beside its floor.
    pub(crate) rows: Vec<Row>,
    /// What has no floor: memory, passes, requests.
    pub(crate) figures: Vec<Figure>,
}

#[allow(clippy::print_stdout)]
pub(crate) fn print(reports: &[Report], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(reports)?);
        return Ok(());
    }
    for report in reports {
        let rounds = if report.rounds == 1 {
            "one round".to_owned()
        } else {
            format!("medians of {} rounds", report.rounds)
        };
        println!("{} ({rounds})\n", report.title);
        if !report.rows.is_empty() {
            println!("| work | floor: API writes | floor: raw admin | topicops | ratio | aim |");
            println!("|---|---|---|---|---|---|");
        }
        for row in &report.rows {
            let aim = row.aim_s.map_or_else(|| "-".to_owned(), |aim| format!("{aim:.1} s"));
            println!(
                "| {} | {:.2} s | {:.2} s | {:.2} s | {:.2} | {aim} |",
                row.work, row.api_floor_s, row.kafka_floor_s, row.topicops_s, row.ratio
            );
        }
        if !report.figures.is_empty() {
            println!("\n| of topicops | measured | aim |");
            println!("|---|---|---|");
        }
        for figure in &report.figures {
            println!(
                "| {} | {} | {} |",
                figure.what,
                figure.shown(figure.value),
                figure.aim.map_or_else(|| "-".to_owned(), |aim| figure.shown(aim))
            );
        }
        println!();
    }
    println!("There are no webhook configurations here: admission is not in these figures.");
    Ok(())
}

//! `./dev demo`: a small shop on topicops, on a real API server and a real broker, shown as a person would want to see it.
//!
//! Every claim that is shown is checked; the exit code is 0 only when all of them held.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "showing is what this program is for")]

mod acts;
mod report;
mod stage;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{report::Report, stage::Stage};

/// Shows topicops at work, from an empty cluster to revoked credentials.
#[derive(Debug, Parser)]
struct Arguments {
    /// Leave everything up at the end, until Ctrl-C or SIGTERM, and print how to reach it.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut report = Report::default();
    if let Err(error) = run(&arguments, &mut report).await {
        report.failed("the demo runs to its end", &error);
    }
    report.verdict()
}

async fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let stage = Stage::set(report).await?;
    let outcome = acts::all(&stage, report).await;
    if outcome.is_err() || report.has_failures() {
        let evidence = std::env::temp_dir().join(format!("topicops-demo-{}.txt", std::process::id()));
        std::fs::write(&evidence, stage.bed.dump().await).context("writing the evidence")?;
        report.note(&format!("objects, Events and logs of this run: {}", evidence.display()));
    }
    if arguments.keep {
        report.heading("It stays up until Ctrl-C");
        report.show(&stage.how_to_reach());
        wait_to_be_stopped().await?;
    }
    outcome
}

async fn wait_to_be_stopped() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context("watching for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

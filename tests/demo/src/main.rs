//! `./dev demo`: a small shop on topicops, on a real API server and a real broker, shown as a person would want to see it.
//!
//! Every claim that is shown is checked; the exit code is 0 only when all of them held.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "showing is what this program is for")]

mod acts;
mod report;
mod stage;

use std::{path::PathBuf, process::ExitCode};

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
    let stage = match Stage::set(&mut report).await {
        Ok(stage) => stage,
        Err(error) => {
            report.failed("a cluster and a broker start", &error);
            return report.verdict();
        }
    };
    if let Err(error) = acts::all(&stage, &mut report).await {
        report.failed("topicops is installed", &error);
    }
    if report.has_failures() {
        match evidence(&stage).await {
            Ok(file) => report.note(&format!("objects, Events and logs of this run: {}", file.display())),
            Err(error) => report.note(&format!("there is no evidence: {error:#}")),
        }
    }
    let verdict = report.verdict();
    if arguments.keep {
        println!("\nEverything stays up until Ctrl-C (or SIGTERM to process {}):\n", std::process::id());
        println!("{}", stage.how_to_reach());
        if let Err(error) = wait_to_be_stopped().await {
            println!("{error:#}");
        }
    }
    verdict
}

/// What whoever looks for the cause of a failure wants to see, in a file that outlives this run.
async fn evidence(stage: &Stage) -> Result<PathBuf> {
    let file = std::env::temp_dir().join(format!("topicops-demo-{}.txt", std::process::id()));
    std::fs::write(&file, stage.bed.dump().await).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

async fn wait_to_be_stopped() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context("watching for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

//! How fast topicops is, beside the floor measured in the same run: the same API writes with nobody listening, and the same
//! changes as raw batched admin requests.
#![forbid(unsafe_code)]

mod bench;
mod clients;
mod process;
mod report;
mod row;
mod topics;
mod writer;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about, name = "dev bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Topics declared, changed and deleted.
    Topics {
        #[arg(long, default_value_t = 1_000)]
        n: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Clients declared and removed.
    Clients {
        #[arg(long, default_value_t = 500)]
        n: usize,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Common {
    /// Rounds of everything; the medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let (n, common, topics) = match Arguments::parse().what {
        What::Topics { n, common } => (n, common, true),
        What::Clients { n, common } => (n, common, false),
    };
    let mut bench = bench::Bench::start(n, usize::from(common.rounds)).await?;
    let rows = if topics { topics::run(&mut bench).await? } else { clients::run(&mut bench).await? };
    let usage = bench.usage()?;
    let report = report::Report {
        n,
        rounds: usize::from(common.rounds),
        rows,
        rss_mib: usage.rss_mib,
        peak_mib: usage.peak_mib,
        cpu_s: usage.cpu_s,
    };
    report::print(&report, common.json)
}

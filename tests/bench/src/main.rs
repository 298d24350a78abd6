//! How fast topicops is, beside the floor measured in the same run: the same API writes with nobody listening, and the same
//! changes as raw batched admin requests.
#![forbid(unsafe_code)]

mod bench;
mod clients;
mod first_login;
mod idle;
mod idle_clients;
mod process;
mod report;
mod row;
mod setup;
mod topics;
mod writer;

use anyhow::Result;
use clap::{Parser, Subcommand};

use setup::Setup;

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
        /// Each topic has as many replicas as there are brokers.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
        brokers: u8,
        /// 1,000 topics on one broker, 1,000 on three, 10,000 on one, and what an idle pass over those asks for.
        #[arg(long, conflicts_with_all = ["n", "brokers"])]
        all: bool,
        #[command(flatten)]
        common: Common,
    },
    /// What a pass over topics that nobody changed costs, and whom it asks for what.
    Idle {
        #[arg(long, default_value_t = 10_000)]
        n: usize,
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
        brokers: u8,
        #[command(flatten)]
        common: Common,
    },
    /// Clients declared and removed, and how soon a single one has its first login.
    Clients {
        #[arg(long, default_value_t = 500)]
        n: usize,
        /// 500 clients, 2,000, and what an idle pass over those asks for.
        #[arg(long, conflicts_with = "n")]
        all: bool,
        #[command(flatten)]
        common: Common,
    },
    /// What a pass over clients that nobody changed costs, and whom it asks for what.
    IdleClients {
        #[arg(long, default_value_t = 2_000)]
        n: usize,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Common {
    /// Rounds of everything; the medians are shown. Default: 3, and one where there are more than 5,000 topics.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: Option<u8>,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Common {
    fn setup(self, n: usize, brokers: u8) -> Setup {
        let rounds = self.rounds.map_or(if n > 5_000 { 1 } else { 3 }, usize::from);
        Setup { n, brokers, rounds }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (common, reports) = match Arguments::parse().what {
        What::Topics { all: true, common, .. } => {
            let mut reports = Vec::new();
            for (n, brokers) in [(1_000, 1), (1_000, 3), (10_000, 1)] {
                reports.push(topics::run(common.setup(n, brokers)).await?);
            }
            reports.push(idle::run(common.setup(10_000, 1)).await?);
            (common, reports)
        }
        What::Topics { n, brokers, common, .. } => {
            (common, vec![topics::run(common.setup(n, brokers)).await?])
        }
        What::Idle { n, brokers, common } => (common, vec![idle::run(common.setup(n, brokers)).await?]),
        What::Clients { all: true, common, .. } => {
            let mut reports = Vec::new();
            for n in [500, 2_000] {
                reports.push(clients::run(common.setup(n, 1)).await?);
            }
            reports.push(idle_clients::run(common.setup(2_000, 1)).await?);
            (common, reports)
        }
        What::Clients { n, common, .. } => (common, vec![clients::run(common.setup(n, 1)).await?]),
        What::IdleClients { n, common } => (common, vec![idle_clients::run(common.setup(n, 1)).await?]),
    };
    report::print(&reports, common.json)
}

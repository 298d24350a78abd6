//! A command line for tests.

use clap::Parser;

use super::PreflightSettings;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    settings: PreflightSettings,
}

pub(super) fn settings(flags: &[&str]) -> PreflightSettings {
    Command::parse_from(["t"].iter().chain(flags)).settings
}

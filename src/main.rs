#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use topicops::cli::{self, LogFormat, ReleaseSettings, Settings};
use tracing_subscriber::EnvFilter;

/// Topics as code, and credentials by annotation, for Apache Kafka on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "topicops", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs controller and webhook together.
    Run(Box<Settings>),

    /// Takes topicops' finalizer and status from every object: before, or after, it is uninstalled.
    Release(ReleaseSettings),
}

/// Exit codes: 0 done, 1 error, 2 usage.
fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let logging = match &command {
        Command::Run(settings) => log_to_stderr(settings),
        Command::Release(_) => Ok(()),
    };
    if let Err(message) = logging {
        report(&message);
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&format!("the runtime cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match command {
            Command::Run(settings) => cli::run(*settings).await,
            Command::Release(settings) => cli::release(&settings, &mut std::io::stdout()).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(settings: &Settings) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|error| format!("--log {}: {error}", settings.log))?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Human => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

#[allow(clippy::print_stderr)]
fn report(message: &str) {
    eprintln!("topicops: {message}");
}

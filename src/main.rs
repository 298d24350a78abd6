#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use topicops::cli::{
    self, ImportSettings, LogFormat, PlanSettings, RebalanceSettings, Rebalanced, ReleaseSettings,
    RotateSettings, Rotated, Settings, Verdict,
};
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

    /// Writes a manifest for every topic that is on the brokers, which declares it as it is.
    Import(Box<ImportSettings>),

    /// Tells what topicops would do if these manifests were applied, and changes nothing: 0 nothing, 3 something.
    Plan(Box<PlanSettings>),

    /// Asks topicops to move replicas: evenly over brokers and racks, or away from some.
    Rebalance(Box<RebalanceSettings>),

    /// Asks for new credentials of a workload, which its Pods change over to one after the other.
    Rotate(RotateSettings),

    /// Takes topicops' finalizer and status from every object: before, or after, it is uninstalled.
    Release(ReleaseSettings),
}

/// Exit codes: 0 done, 1 error, 2 usage; of `plan`, `rebalance` and `rotate` also 3, something to do.
fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let logging = match &command {
        Command::Run(settings) => log_to_stderr(settings),
        Command::Import(_)
        | Command::Plan(_)
        | Command::Rebalance(_)
        | Command::Rotate(_)
        | Command::Release(_) => Ok(()),
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
        let (mut out, mut remarks) = (std::io::stdout(), std::io::stderr());
        let done = |()| ExitCode::SUCCESS;
        match command {
            Command::Run(settings) => cli::run(*settings).await.map(done),
            Command::Import(settings) => cli::import(&settings, &mut out, &mut remarks).await.map(done),
            Command::Plan(settings) => cli::plan(&settings, &mut out).await.map(|verdict| match verdict {
                Verdict::InSync => ExitCode::SUCCESS,
                Verdict::Refused => ExitCode::FAILURE,
                Verdict::Pending => ExitCode::from(3),
            }),
            Command::Rebalance(settings) => {
                cli::rebalance(&settings, &mut out).await.map(|rebalanced| match rebalanced {
                    Rebalanced::Done => ExitCode::SUCCESS,
                    Rebalanced::Refused => ExitCode::FAILURE,
                    Rebalanced::Pending => ExitCode::from(3),
                })
            }
            Command::Rotate(settings) => {
                cli::rotate(&settings, &mut out).await.map(|rotated| match rotated {
                    Rotated::Done => ExitCode::SUCCESS,
                    Rotated::Pending => ExitCode::from(3),
                })
            }
            Command::Release(settings) => cli::release(&settings, &mut out).await.map(done),
        }
    });
    match result {
        Ok(code) => code,
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

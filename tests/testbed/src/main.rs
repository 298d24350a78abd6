//! The testbed's command line: a bed to try things in by hand, and what beds consist of.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its user")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use topicops_testbed::internal::{
    self, FINGERPRINT, InitArguments, Lifetime, Request, Residence, SupervisorArguments,
};
use topicops_testbed::{BedInfo, Cache, KafkaVersion, Options, Program, wait};

/// As container runtimes say that there was nothing to run.
const START_ERROR: u8 = 128;

#[derive(Debug, Parser)]
#[command(
    name = "topicops-testbed",
    about = "A real API server, real brokers and a node, without containers"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build what beds are made of (minutes the first time, then nothing).
    Build,
    /// Start a bed that goes on running.
    Up {
        #[arg(long, default_value = "dev")]
        name: String,
        #[arg(long, default_value_t = 1)]
        brokers: u8,
        /// Kafka of this version: 4.3, or 3.9.
        #[arg(long, default_value = "4.3", value_parser = kafka_version)]
        kafka: KafkaVersion,
        /// IMAGE=PROGRAM@PATH: let an image name stand for a local binary, found at PATH in containers.
        #[arg(long = "image", value_name = "IMAGE=PROGRAM@PATH")]
        images: Vec<String>,
        /// Print where everything is as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Stop a bed that `up` started.
    Down {
        #[arg(long, default_value = "dev")]
        name: String,
    },
    /// Say which beds run, and where the named one has its things.
    Status {
        #[arg(long, default_value = "dev")]
        name: String,
        #[arg(long)]
        json: bool,
    },
    #[command(hide = true)]
    Fingerprint,
    #[command(hide = true)]
    Init(InitArguments),
    #[command(hide = true)]
    Supervise(SupervisorArguments),
    #[command(hide = true)]
    Container { specification: PathBuf },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("topicops-testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build => {
            println!("{}", Cache::ready()?.root().display());
        }
        Command::Up { name, brokers, kafka, images, json } => {
            up(&name, &Options::default().brokers(brokers).kafka(kafka), kafka, &images, json)?;
        }
        Command::Down { name } => down(&name)?,
        Command::Status { name, json } => return status(&name, json),
        Command::Fingerprint => println!("{FINGERPRINT}"),
        Command::Init(arguments) => internal::run_init(&arguments)?,
        Command::Supervise(arguments) => runtime()?.block_on(internal::run_supervisor(arguments))?,
        Command::Container { specification } => {
            eprintln!("{:#}", internal::enter_container(&specification));
            return Ok(ExitCode::from(START_ERROR));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(name: &str, options: &Options, kafka: KafkaVersion, images: &[String], json: bool) -> Result<()> {
    let images = images.iter().map(|text| image(text)).collect::<Result<Vec<_>>>()?;
    let cache = Cache::ready_for(kafka)?;
    let launched = internal::launch(&cache, options, &Lifetime::Named(name.to_owned()))?;
    runtime()?.block_on(async {
        for (image, program) in images {
            ask(name, &Request::MapImage { image, program }).await?;
        }
        anyhow::Ok(())
    })?;
    print(launched.info(), name, json)
}

fn kafka_version(text: &str) -> Result<KafkaVersion> {
    let known = KafkaVersion::ALL.into_iter().find(|version| version.line() == text);
    known.with_context(|| format!("{text} is not there: {:?} are", KafkaVersion::ALL.map(KafkaVersion::line)))
}

fn image(text: &str) -> Result<(String, Program)> {
    let (image, rest) =
        text.split_once('=').with_context(|| format!("{text}: IMAGE=PROGRAM@PATH expected"))?;
    let (program, path) =
        rest.rsplit_once('@').with_context(|| format!("{text}: IMAGE=PROGRAM@PATH expected"))?;
    let program = std::fs::canonicalize(program).with_context(|| format!("looking for {program}"))?;
    Ok((image.to_owned(), Program::binary(program, path)))
}

fn down(name: &str) -> Result<()> {
    let residence = Residence::open()?;
    let bed = format!("named-{name}");
    if !residence.running()?.contains(&bed) {
        println!("no bed of the name {name} runs");
        return Ok(());
    }
    runtime()?.block_on(async {
        ask(name, &Request::Shutdown).await?;
        wait::until(format!("bed {name} to end"), Duration::from_secs(20), || async {
            if residence.running()?.contains(&bed) { bail!("it still runs") } else { Ok(()) }
        })
        .await
    })
}

fn status(name: &str, json: bool) -> Result<ExitCode> {
    let running = Residence::open()?.running()?;
    if !running.contains(&format!("named-{name}")) {
        eprintln!("no bed of the name {name} runs; running: [{}]", running.join(", "));
        return Ok(ExitCode::FAILURE);
    }
    let answer = runtime()?.block_on(ask(name, &Request::Info))?;
    print(&serde_json::from_value(answer)?, name, json)?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(name: &str, request: &Request) -> Result<serde_json::Value> {
    let socket = Residence::open()?.bed(&format!("named-{name}")).join("control.sock");
    internal::call(&socket, request).await
}

fn print(info: &BedInfo, name: &str, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(info)?);
        return Ok(());
    }
    println!("export KUBECONFIG={}", info.kubeconfig.display());
    println!("kubectl:      {}", info.kubectl.display());
    println!("API server:   {}", info.api_server);
    if let Some(kafka) = &info.kafka {
        println!("brokers:      {} (in Pods also kafka.kafka.svc:9093)", kafka.bootstrap_servers);
        println!("admin client: {}", kafka.admin_properties.display());
        println!("Kafka tools:  {}", kafka.tools.display());
    }
    println!("logs:         {}", info.directory.join("logs").display());
    println!("stop it with: topicops-testbed down --name {name}");
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

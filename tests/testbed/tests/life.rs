//! How beds begin and end: side by side, without a part, and without leaving anything behind.
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use rustix::process::{Pid, Signal, kill_process};
use topicops_testbed::{BedInfo, Options, Program, Testbed, wait};

const A_WHILE: Duration = Duration::from_secs(120);

/// The processes that have this directory among their arguments, as `number command`.
fn processes_of(directory: &Path) -> Result<Vec<(i32, String)>> {
    let needle = directory.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&needle) && u32::try_from(number)? != std::process::id() {
            found.push((number, line));
        }
    }
    Ok(found)
}

async fn nothing_is_left(directory: &Path) -> Result<()> {
    wait::until("nothing to be left", A_WHILE, || async {
        let left = processes_of(directory)?;
        ensure!(left.is_empty(), "{left:?}");
        ensure!(!directory.exists(), "{} is still there", directory.display());
        Ok(())
    })
    .await
}

fn kill(processes: &[(i32, String)], what: &str) -> Result<()> {
    let (number, _) = processes.iter().find(|(_, line)| line.contains(what)).context("nobody to kill")?;
    Ok(kill_process(Pid::from_raw(*number).context("no number")?, Signal::KILL)?)
}

#[tokio::test]
async fn two_beds_run_side_by_side_and_end_with_their_owners() -> Result<()> {
    let options = Options::default().without_kafka();
    let (first, second) = tokio::try_join!(Testbed::start(options.clone()), Testbed::start(options))?;
    first.create_namespace("only-in-the-first").await?;
    let namespaces: Api<Namespace> = Api::all(second.client().await?);
    ensure!(namespaces.get_opt("only-in-the-first").await?.is_none());
    ensure!(first.info().service_range != second.info().service_range);

    let directory = first.info().directory.clone();
    drop(first);
    nothing_is_left(&directory).await?;
    ensure!(namespaces.get_opt("default").await?.is_some());
    Ok(())
}

/// In the environment of a process that is to hold a bed until it is killed.
const HOLD: &str = "TOPICOPS_TESTBED_HOLD_A_BED";

/// Holds a bed, with a Pod in it, until this process is killed.
async fn hold_a_bed() -> Result<()> {
    let bed = Testbed::start(Options::default()).await?;
    bed.map_image("shell", Program::host_tools()).await?;
    let directory = bed.info().directory.display().to_string();
    bed.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: stubborn, namespace: default}}
spec:
  containers:
  - name: stubborn
    image: shell
    command: [sh, -c, 'trap : TERM; setsid sh -c \"sleep 1000; : {directory}\" & sh -c \"sleep 1000; : {directory}\"']
"
    ))
    .await?;
    wait::until("the Pod's processes", A_WHILE, || async {
        let running = processes_of(Path::new(&directory))?;
        ensure!(running.iter().filter(|(_, line)| line.contains("sleep 1000")).count() >= 3, "{running:?}");
        Ok(())
    })
    .await?;
    let mut output = std::io::stderr().lock();
    writeln!(output, "HELD {}", serde_json::to_string(bed.info())?)?;
    output.flush()?;
    std::future::pending().await
}

#[tokio::test]
async fn nothing_outlives_a_test_that_is_killed() -> Result<()> {
    // The test that is killed is this very one, in a process of its own.
    if env::var_os(HOLD).is_some() {
        return hold_a_bed().await;
    }
    let mut holder = Command::new(env::current_exe()?)
        .args(["--exact", "nothing_outlives_a_test_that_is_killed", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(holder.stderr.take().context("no standard error")?).lines();
    let mut said = Vec::new();
    let mut held = None;
    for line in lines {
        let line = line?;
        if let Some(info) = line.strip_prefix("HELD ") {
            held = Some(serde_json::from_str::<BedInfo>(info)?);
            break;
        }
        said.push(line);
    }
    let Some(info) = held else { bail!("no bed was held: {said:?}") };
    let running = processes_of(&info.directory)?;
    for part in ["etcd", "kube-apiserver", "kube-controller-manager", "kafka.Kafka", "supervise", "sleep"] {
        ensure!(running.iter().any(|(_, line)| line.contains(part)), "{part} is not among {running:?}");
    }
    holder.kill()?;
    holder.wait()?;
    nothing_is_left(&info.directory).await
}

#[tokio::test]
async fn nothing_outlives_a_supervisor_that_is_killed() -> Result<()> {
    let bed = Testbed::start(Options::default().without_kafka().without_node()).await?;
    let directory = bed.info().directory.clone();
    kill(&processes_of(&directory)?, " supervise ")?;
    nothing_is_left(&directory).await
}

#[tokio::test]
async fn what_a_killed_first_process_leaves_is_removed_by_the_next_bed() -> Result<()> {
    let options = Options::default().without_kafka().without_node();
    let bed = Testbed::start(options.clone()).await?;
    let directory = bed.info().directory.clone();
    // The one inside the namespace: its arguments begin with the testbed's own binary.
    let running = processes_of(&directory)?;
    let inner: Vec<_> = running.into_iter().filter(|(_, line)| !line.starts_with("unshare")).collect();
    kill(&inner, " init ")?;
    wait::until("every process to end", A_WHILE, || async {
        let left = processes_of(&directory)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await?;
    ensure!(directory.exists());
    drop(bed);
    let next = Testbed::start(options).await?;
    ensure!(!directory.exists());
    drop(next);
    Ok(())
}

#[tokio::test]
async fn a_bed_without_kafka_says_so() -> Result<()> {
    let bed = Testbed::start(Options::default().without_kafka().without_node()).await?;
    ensure!(bed.kafka().is_err_and(|error| error.to_string().contains("without Kafka")));
    ensure!(bed.stop_broker(1).await.is_err());
    bed.stop_api_server().await?;
    ensure!(bed.client().await?.apiserver_version().await.is_err());
    bed.start_api_server().await?;
    bed.client().await?.apiserver_version().await?;
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_does_not_come_up_without_etcd_says_so_at_once() -> Result<()> {
    let bed = Testbed::start(Options::default().without_kafka().without_node()).await?;
    bed.stop_api_server().await?;
    kill(&processes_of(&bed.info().directory)?, "/etcd --data-dir=")?;
    let told = match bed.start_api_server().await {
        Ok(()) => bail!("it came up"),
        Err(error) => format!("{error:#}"),
    };
    for says in ["etcd ended (signal: 9 (SIGKILL))", "kube-apiserver is not ready; its log ends:"] {
        ensure!(told.contains(says), "\"{says}\" is missing: {told}");
    }
    ensure!(!told.contains("waited"), "it waited in vain: {told}");
    Ok(())
}

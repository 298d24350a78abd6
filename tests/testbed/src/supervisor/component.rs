//! A process that the bed consists of, such as etcd or a broker.
use std::fmt::Display;
use std::fs::OpenOptions;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::{tail, wait};

const READY_PATIENCE: Duration = Duration::from_secs(180);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const LINES_IN_ERRORS: usize = 25;

#[derive(Debug)]
pub(super) struct Component {
    name: String,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Component {
    pub(super) fn new(bed: &Path, name: impl Into<String>, program: PathBuf, args: Vec<String>) -> Self {
        let name = name.into();
        let log = tail::component_log(bed, &name);
        Self { name, program, args, log, child: Mutex::new(None) }
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    pub(super) async fn start(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        if let Some(running) = child.as_mut()
            && running.try_wait()?.is_none()
        {
            bail!("{} runs already", self.name);
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let started = Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {} ({})", self.name, self.program.display()))?;
        *child = Some(started);
        Ok(())
    }

    /// Waits until `check` succeeds; gives up at once when the process ends.
    pub(super) async fn ready<T, E, F, Fut>(&self, check: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Display,
    {
        self.ready_on(&[], check).await
    }

    /// The same for a process that comes to nothing without these: gives up at once when one of them ends, too.
    pub(super) async fn ready_on<T, E, F, Fut>(&self, others: &[&Self], mut check: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Display,
    {
        let outcome = wait::until(&self.name, READY_PATIENCE, || {
            let checked = check();
            async move {
                for one in [self].iter().chain(others) {
                    if let Some(ending) = one.ending().await? {
                        return Ok(Err(anyhow!("{} ended: {ending}", one.name)));
                    }
                }
                checked.await.map(Ok).map_err(|error| anyhow!("{error:#}"))
            }
        })
        .await;
        outcome
            .and_then(|ready| ready)
            .with_context(|| format!("{} is not ready; its log ends:\n{}", self.name, self.last_lines()))
    }

    /// The end of its log.
    pub(super) fn last_lines(&self) -> String {
        tail::last_lines(&self.log, LINES_IN_ERRORS)
    }

    /// Ends it with SIGTERM, and with SIGKILL when it takes too long.
    pub(super) async fn stop(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        let Some(running) = child.as_mut() else { return Ok(()) };
        if let Some(pid) = pid_of(running) {
            kill_process(pid, Signal::TERM)?;
            // One that is frozen would not hear it.
            kill_process(pid, Signal::CONT)?;
        }
        if tokio::time::timeout(STOP_PATIENCE, running.wait()).await.is_err() {
            running.kill().await?;
        }
        *child = None;
        Ok(())
    }

    pub(super) async fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().await;
        if let Some(running) = child.as_mut() {
            running.kill().await?;
        }
        *child = None;
        Ok(())
    }

    pub(super) async fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.lock().await;
        let pid = child.as_ref().and_then(pid_of).with_context(|| format!("{} does not run", self.name))?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// How it ended; `None`: it runs.
    pub(super) async fn ending(&self) -> Result<Option<String>> {
        let mut child = self.child.lock().await;
        match child.as_mut() {
            None => Ok(Some("it was stopped".to_owned())),
            Some(running) => Ok(running.try_wait()?.map(|status| status.to_string())),
        }
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

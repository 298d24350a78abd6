//! A container's running process.
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

use super::enter::{ContainerSpecification, namespace_of};
use crate::wait;

const SPECIFICATION: &str = "container.json";
const START_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct ContainerProcess {
    child: Child,
    pid: Pid,
    handle: ProcessHandle,
}

/// What may be done to a running container from elsewhere: running commands in it.
#[derive(Debug, Clone)]
pub(super) struct ProcessHandle {
    pid: u32,
    specification: ContainerSpecification,
}

impl ContainerProcess {
    /// Starts it in `folder`, which is this instance's own; its output goes to `log`.
    pub(super) fn start(folder: &Path, specification: ContainerSpecification, log: &Path) -> Result<Self> {
        fs::create_dir_all(&specification.scratch)?;
        if specification.namespace_file.exists() {
            fs::remove_file(&specification.namespace_file)?;
        }
        let file = folder.join(SPECIFICATION);
        fs::write(&file, serde_json::to_vec(&specification)?)?;
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent)?;
        }
        let log = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(std::env::current_exe()?)
            .arg("container")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            // A group of its own, so that it can be ended with all its children.
            .process_group(0)
            .spawn()
            .context("starting the container's process")?;
        let id = child.id().context("the container's process has ended already")?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("the container's process has no number")?;
        Ok(Self { child, pid, handle: ProcessHandle { pid: id, specification } })
    }

    /// Waits until the container's own program runs in its own mounts: before that, a probe's command
    /// would see the machine.
    pub(super) async fn entered(&self, folder: &Path) -> Result<()> {
        let specification = folder.join(SPECIFICATION).display().to_string();
        let cmdline = format!("/proc/{}/cmdline", self.handle.pid);
        wait::until("the container's program to start", START_PATIENCE, || async {
            // Gone, or a zombie without arguments: it has run.
            let arguments = fs::read(&cmdline).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments);
            if arguments.contains(&specification) { Err(arguments.replace('\0', " ")) } else { Ok(()) }
        })
        .await
    }

    pub(super) fn handle(&self) -> ProcessHandle {
        self.handle.clone()
    }

    /// Waits for its end, and ends what it left behind.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await?;
        // There may be nobody left, which is well.
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.end_stragglers()?;
        Ok(status)
    }

    /// Ends those that left the process group.
    fn end_stragglers(&self) -> Result<()> {
        let Ok(namespace) = fs::read_to_string(&self.handle.specification.namespace_file) else {
            // It ended before it was a container.
            return Ok(());
        };
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = number.and_then(Pid::from_raw)
                && namespace_of(&entry.path()).is_ok_and(|other| other == namespace)
            {
                // It may have ended since the listing.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        Ok(())
    }

    /// Asks it to end, and insists after `grace`.
    pub(super) async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        if !grace.is_zero() {
            // It may have ended since; the wait tells.
            let _ = kill_process(self.pid, Signal::TERM);
            if let Ok(ended) = tokio::time::timeout(grace, self.ended()).await {
                return ended;
            }
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.ended().await
    }
}

impl ProcessHandle {
    /// Runs a command inside the container, as an exec probe does.
    ///
    /// # Errors
    /// When it fails, with what it printed.
    pub(super) async fn exec(&self, command: &[String]) -> Result<()> {
        let (program, args) = command.split_first().context("no command specified")?;
        let ContainerSpecification { env, working_dir, user, group, .. } = &self.specification;
        let mut entering = Command::new(nsenter()?);
        entering.arg(format!("--target={}", self.pid)).args(["--mount", "--root"]);
        // `env -C` changes to the folder after the root has changed.
        if let Some(user) = user {
            entering.arg(format!("--setuid={user}")).arg(format!("--setgid={}", group.unwrap_or(*user)));
        }
        entering.args(["--", "/usr/bin/env", "-C"]).arg(working_dir).arg(program).args(args);
        let output = entering
            .env_clear()
            .envs(env)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("running nsenter (Debian and Ubuntu: package util-linux)")?;
        if output.status.success() {
            return Ok(());
        }
        let printed = [output.stdout, output.stderr].concat();
        bail!("{}: {}", output.status, String::from_utf8_lossy(&printed).trim())
    }
}

/// Its full path, because it is started with the container's PATH.
fn nsenter() -> Result<PathBuf> {
    ["/usr/bin/nsenter", "/bin/nsenter", "/usr/sbin/nsenter", "/usr/local/bin/nsenter"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
        .context("nsenter is missing (Debian and Ubuntu: package util-linux)")
}

/// How long a restart waits: short, because tests wait for it too.
#[derive(Debug)]
pub(super) struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self(Duration::from_millis(200))
    }
}

impl BackOff {
    const LONGEST: Duration = Duration::from_secs(2);
    /// What ran for longer is not in a crash loop: tests that kill it again and again get it back at once.
    const RAN_WELL: Duration = Duration::from_millis(500);

    pub(super) fn note_run(&mut self, span: Duration) {
        if span > Self::RAN_WELL {
            *self = Self::default();
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Self::LONGEST);
        now
    }

    /// Lets it pass, unless `interruption` comes first.
    pub(super) async fn pause(&mut self, interruption: impl Future) {
        wait::pause_unless(self.next(), interruption).await;
    }
}

//! Starts a bed's processes, from a test or from the command line.
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::bed_info::BedInfo;
use crate::cache::Cache;
use crate::internal::FINGERPRINT;
use crate::residence::Residence;
use crate::supervisor::Announcement;
use crate::{Options, wait};

/// A start takes seconds; a busy machine gets a multiple of that.
const START_PATIENCE: Duration = Duration::from_secs(400);
const END_PATIENCE: Duration = Duration::from_secs(20);

/// How long a bed lives.
#[derive(Debug, Clone)]
pub enum Lifetime {
    /// Until the process that started it ends, however it ends.
    ThisProcess,
    /// Under a name, until somebody stops it.
    Named(String),
}

/// A started bed; dropping it ends a bed that lives as long as this process.
#[derive(Debug)]
pub struct Launched {
    info: BedInfo,
    child: Child,
    lifetime: Lifetime,
}

impl Launched {
    #[must_use]
    pub fn info(&self) -> &BedInfo {
        &self.info
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if matches!(self.lifetime, Lifetime::Named(_)) {
            return;
        }
        drop(self.child.stdin.take());
        let ended = wait::until_blocking("the bed to end", END_PATIENCE, || match self.child.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it still runs".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        if ended.is_err() {
            // `unshare --kill-child`: this takes the whole namespace with it.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Starts a bed and waits until all of it serves.
///
/// # Errors
/// When a part does not start: which one, and the end of its log.
pub fn launch(cache: &Cache, options: &Options, lifetime: &Lifetime) -> Result<Launched> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the testbed needs root for its mounts and for low ports: run it as root (sudo -E, or in a user's own VM)"
    );
    let started = Instant::now();
    let name = match lifetime {
        Lifetime::ThisProcess => format!("test-{}-{:08x}", std::process::id(), random()),
        Lifetime::Named(name) => format!("named-{name}"),
    };
    let directory = Residence::open()?.bed(&name);
    let mut complaints = tempfile::tempfile()?;
    let mut command = Command::new("unshare");
    command
        .args([
            "--pid",
            "--fork",
            "--kill-child=SIGKILL",
            "--mount",
            "--mount-proc",
            "--propagation",
            "private",
        ])
        .arg(binary()?)
        .arg("init")
        .arg("--directory")
        .arg(&directory)
        .arg("--cache")
        .arg(cache.root())
        .arg("--options")
        .arg(serde_json::to_string(options)?)
        .stdout(Stdio::piped())
        .stderr(complaints.try_clone()?)
        // Ctrl-C reaches whoever started the bed; the lifeline tells the bed.
        .process_group(0);
    match lifetime {
        Lifetime::ThisProcess => command.arg("--lifeline").stdin(Stdio::piped()),
        Lifetime::Named(_) => command.stdin(Stdio::null()),
    };
    let mut child = command.spawn().context("running `unshare` (Debian and Ubuntu: package util-linux)")?;
    let output = child.stdout.take().context("the bed has no standard output")?;
    let announcement = first_line(output).and_then(|line| Ok(serde_json::from_str(&line)?));
    match announcement {
        Ok(Announcement::Ready(mut info)) => {
            info.started_in_ms = u64::try_from(started.elapsed().as_millis())?;
            Ok(Launched { info: *info, child, lifetime: lifetime.clone() })
        }
        Ok(Announcement::Failed(message)) => {
            drop(child.stdin.take());
            child.wait()?;
            Err(anyhow!(message).context("the testbed did not start"))
        }
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            let mut text = String::new();
            complaints.rewind()?;
            complaints.read_to_string(&mut text)?;
            Err(error.context(format!("the testbed did not start: {}", text.trim())))
        }
    }
}

fn first_line(output: impl std::io::Read + Send + 'static) -> Result<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let outcome = BufReader::new(output).read_line(&mut line).map(|_| line);
        // Nobody listens any more after a time-out.
        let _ = sender.send(outcome);
    });
    let line = receiver
        .recv_timeout(START_PATIENCE)
        .map_err(|_| anyhow!("it said nothing within {START_PATIENCE:.0?}"))??;
    ensure!(!line.is_empty(), "it ended before it was ready");
    Ok(line)
}

fn random() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    // Each RandomState is seeded anew.
    u32::try_from(RandomState::new().hash_one(0) & 0xffff_ffff).unwrap_or_default()
}

/// The testbed's binary, of the same sources as this library; built when it is missing or older.
fn binary() -> Result<PathBuf> {
    let this = env::current_exe()?;
    if is_current(&this) {
        return Ok(this);
    }
    let folder = this.parent().context("this program is nowhere")?;
    let profile_folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let binary = profile_folder.join("topicops-testbed");
    if is_current(&binary) {
        return Ok(binary);
    }
    let profile = match profile_folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", "topicops-testbed", "--bin", "topicops-testbed"])
        .args(["--profile", profile, "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(profile_folder.parent().unwrap_or(profile_folder))
        .output()
        .context("running cargo to build the testbed's binary")?;
    if !output.status.success() {
        bail!("building the testbed's binary: {}", String::from_utf8_lossy(&output.stderr));
    }
    ensure!(
        is_current(&binary),
        "{} is not of the same sources as this test, even after a build; build the test again",
        binary.display()
    );
    Ok(binary)
}

/// A test binary asked for its fingerprint would run its tests: only our own name is asked.
fn is_current(binary: &Path) -> bool {
    if binary.file_name().is_none_or(|name| name != "topicops-testbed")
        || !fs::exists(binary).unwrap_or(false)
    {
        return false;
    }
    match Command::new(binary).arg("fingerprint").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim() == FINGERPRINT,
        Err(_) => false,
    }
}

//! The first process of a bed's process namespace.
//!
//! It is small on purpose, because everything ends with it: when it exits, or is killed, the kernel
//! kills every other process of the namespace. It watches the lifeline (a pipe from whoever started the
//! bed), collects orphans, and cleans up.
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use crate::residence::{self, Residence};
use crate::wait::until_blocking;

#[derive(Debug, Args)]
pub struct InitArguments {
    #[arg(long)]
    pub directory: PathBuf,
    #[arg(long)]
    pub cache: PathBuf,
    /// The bed's options, as JSON.
    #[arg(long)]
    pub options: String,
    /// End when standard input does.
    #[arg(long)]
    pub lifeline: bool,
}

/// Runs a bed until its supervisor ends or the lifeline is cut.
///
/// # Errors
/// When the bed cannot be set up, or was not started as the first process of a namespace.
pub fn run(arguments: &InitArguments) -> Result<()> {
    if std::process::id() != 1 {
        bail!("this is for the testbed itself, which starts it in a process namespace of its own");
    }
    let claim = Residence::open()?.claim(&arguments.directory)?;
    let log = File::create(arguments.directory.join("supervisor.log"))?;
    let supervisor = Command::new(env::current_exe()?)
        .arg("supervise")
        .arg("--directory")
        .arg(&arguments.directory)
        .arg("--cache")
        .arg(&arguments.cache)
        .arg("--options")
        .arg(&arguments.options)
        .arg("--slot")
        .arg(claim.slot.0.to_string())
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .context("starting the supervisor")?;
    let supervisor = Pid::from_child(&supervisor);
    if arguments.lifeline {
        thread::spawn(move || {
            await_end_of(io::stdin());
            // It may have ended by itself in the meantime.
            let _ = kill_process(supervisor, Signal::KILL);
        });
    }
    await_child(supervisor)?;
    end_all_others()?;
    unmount_all_below(&arguments.directory)?;
    residence::vacate(&arguments.directory)
        .with_context(|| format!("removing {}", arguments.directory.display()))
}

fn await_end_of(mut pipe: impl io::Read) {
    let mut ignored = [0; 256];
    loop {
        match pipe.read(&mut ignored) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Waits for one child and collects every orphan that ends before it.
fn await_child(child: Pid) -> Result<()> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid == child => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the supervisor"),
        }
    }
}

/// Ends whatever else runs in this namespace, so that nobody writes into the directory any more.
fn end_all_others() -> Result<()> {
    until_blocking("the bed's processes to end", Duration::from_secs(10), || {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let others = other_processes().map_err(|error| error.to_string())?;
        if others.is_empty() {
            return Ok(());
        }
        for pid in &others {
            // It may have ended since the listing.
            let _ = kill_process(*pid, Signal::KILL);
        }
        Err(format!("{} still run", others.len()))
    })
}

/// The brokers' disks: a folder that something is mounted on cannot be removed.
fn unmount_all_below(directory: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for point in points.filter(|point| point.starts_with(directory)) {
        unmount(point, UnmountFlags::DETACH).with_context(|| format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

fn other_processes() -> io::Result<Vec<Pid>> {
    let mut others = Vec::new();
    for entry in fs::read_dir(Path::new("/proc"))? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number.filter(|number| *number != 1) {
            others.extend(Pid::from_raw(number));
        }
    }
    Ok(others)
}

//! Where beds live on this machine, and which addresses each may use.
//!
//! Everything is guarded by file locks, which the kernel releases when their holder dies: a directory
//! whose lock is free belongs to a dead bed.
use std::fs::{self, File, OpenOptions};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::{env, io};

use anyhow::{Context, Result, bail};

/// Beds that can run side by side on one machine; the last one uses 127.178 and 127.179.
const SLOTS: u8 = 40;
const FIRST_NETWORK: u8 = 100;
const KEEP_MARKER: &str = "keep";
const LOCK: &str = "lock";

/// The folder of all beds of this machine.
#[derive(Debug, Clone)]
pub struct Residence {
    root: PathBuf,
}

impl Residence {
    /// # Errors
    /// When the folder cannot be created.
    pub fn open() -> Result<Self> {
        let root = env::temp_dir().join("topicops-testbed");
        for folder in ["beds", "slots"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        Ok(Self { root })
    }

    /// The directory of the bed of that name, whether it exists or not.
    #[must_use]
    pub fn bed(&self, name: &str) -> PathBuf {
        self.root.join("beds").join(name)
    }

    /// The names of the beds that run now.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn running(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join("beds"))? {
            let entry = entry?;
            if is_running(&entry.path())? {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes what dead beds left, creates `bed` and locks it together with a slot of addresses.
    pub(crate) fn claim(&self, bed: &Path) -> Result<Claim> {
        let gate = File::create(self.root.join("gate.lock"))?;
        gate.lock().context("waiting for another bed's start")?;
        self.sweep()?;
        if bed.exists() {
            bail!("{} exists: a bed of that name runs, or was kept; stop or remove it first", bed.display());
        }
        fs::create_dir(bed).with_context(|| format!("creating {}", bed.display()))?;
        let lock = File::create(bed.join(LOCK))?;
        lock.lock()?;
        for number in 0..SLOTS {
            let slot = File::create(self.root.join("slots").join(format!("{number}.lock")))?;
            if slot.try_lock().is_ok() {
                return Ok(Claim { slot: Slot(number), _locks: [lock, slot] });
            }
        }
        bail!("{SLOTS} beds run on this machine already");
    }

    fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(self.root.join("beds"))? {
            let bed = entry?.path();
            if !bed.join(KEEP_MARKER).exists() && !is_running(&bed)? {
                // Its owner is dead; what cannot be removed now is tried again at the next start.
                let _ = fs::remove_dir_all(&bed);
            }
        }
        Ok(())
    }
}

fn is_running(bed: &Path) -> Result<bool> {
    match OpenOptions::new().write(true).open(bed.join(LOCK)) {
        Ok(lock) => Ok(lock.try_lock().is_err()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("opening the lock of {}", bed.display())),
    }
}

/// Marks a bed's directory as one to leave in place.
pub(crate) fn keep(bed: &Path) -> Result<()> {
    fs::write(bed.join(KEEP_MARKER), "").with_context(|| format!("marking {} to be kept", bed.display()))
}

/// Removes a bed's directory, unless it is to be kept.
pub(crate) fn vacate(bed: &Path) -> io::Result<()> {
    if bed.join(KEEP_MARKER).exists() {
        return Ok(());
    }
    // The lock goes last: as long as it is there and held, the bed counts as running.
    for entry in fs::read_dir(bed)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(bed)
}

/// A bed's hold on its directory and addresses.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) slot: Slot,
    _locks: [File; 2],
}

/// Two loopback networks of a bed's own: one for Services, one for Pods and for the bed's own parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u8);

impl Slot {
    pub(crate) fn service_range(self) -> String {
        format!("127.{}.0.0/16", self.service_network())
    }

    pub(crate) fn pod_range(self) -> String {
        format!("127.{}.0.0/16", self.pod_network())
    }

    /// The API server gives itself the first address of the range.
    pub(crate) fn kubernetes_service(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.service_network(), 0, 1)
    }

    /// The n-th Pod's address; they come round again after some 65,000 Pods.
    pub(crate) fn pod(self, n: u16) -> Ipv4Addr {
        let n = n % (255 * 254);
        let [high, low] = [n / 254, n % 254 + 1].map(|part| u8::try_from(part).unwrap_or(u8::MAX));
        Ipv4Addr::new(127, self.pod_network(), high, low)
    }

    pub(crate) fn node(self) -> Ipv4Addr {
        self.part(1)
    }

    /// Addresses of the bed's own parts, which no Pod gets; the first is the node's.
    pub(crate) fn part(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.pod_network(), 255, host)
    }

    fn service_network(self) -> u8 {
        FIRST_NETWORK + 2 * self.0
    }

    fn pod_network(self) -> u8 {
        FIRST_NETWORK + 2 * self.0 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_never_get_an_address_of_the_beds_parts() {
        let slot = Slot(1);
        assert_eq!(slot.pod(0), Ipv4Addr::new(127, 103, 0, 1));
        assert_eq!(slot.pod(254), Ipv4Addr::new(127, 103, 1, 1));
        for n in 0..=u16::MAX {
            let [_, _, high, low] = slot.pod(n).octets();
            assert!(high < 255 && (1..=254).contains(&low), "{n}");
        }
    }
}

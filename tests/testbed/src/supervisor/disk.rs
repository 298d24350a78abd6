//! A broker's own disk: a file system in memory, with a log directory on it.
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, mount, mount_remount};

/// Mounted below a folder of its own, so that renaming that folder takes the disk from its path, whoever uses it.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    pub(super) fn of(kafka: &Path, broker: u8) -> Self {
        Self { folder: kafka.join(format!("disk-{broker}")) }
    }

    pub(super) fn log_directory(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub(super) fn made(self, mebibytes: u32) -> Result<Self> {
        let target = self.log_directory();
        fs::create_dir_all(&target)?;
        mount("tmpfs", &target, "tmpfs", MountFlags::empty(), size(mebibytes)?.as_c_str())
            .with_context(|| format!("mounting {}", target.display()))?;
        Ok(self)
    }

    pub(super) fn resize(&self, mebibytes: u32) -> Result<()> {
        let target = self.log_directory();
        mount_remount(&target, MountFlags::empty(), size(mebibytes)?.as_c_str())
            .with_context(|| format!("resizing {} to {mebibytes} MiB", target.display()))
    }

    pub(super) fn pull(&self) -> Result<()> {
        fs::rename(&self.folder, self.pulled()).with_context(|| format!("pulling {}", self.folder.display()))
    }

    pub(super) fn put_back(&self) -> Result<()> {
        ensure!(self.pulled().is_dir(), "{} was not pulled", self.folder.display());
        // A broker may have made its log directory anew.
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        fs::rename(self.pulled(), &self.folder)
            .with_context(|| format!("putting back {}", self.folder.display()))
    }

    fn pulled(&self) -> PathBuf {
        self.folder.with_extension("pulled")
    }
}

fn size(mebibytes: u32) -> Result<CString> {
    Ok(CString::new(format!("size={mebibytes}m"))?)
}

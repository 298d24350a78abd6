//! Becomes a container: the last thing that happens before its own program runs.
//!
//! It is started in a mount namespace of its own (`unshare --mount`), so none of these mounts are seen
//! anywhere else. The root is an overlay of the machine's file system with a layer in memory on top:
//! mount points can be made anywhere, and the machine's files never change.
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Error, Result, anyhow};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, mount_remount, unmount};
use rustix::process::chroot;
use serde::{Deserialize, Serialize};

/// Where mounts wait, inside the new root, until their places can be made.
const STAGE: &str = "/.testbed";

/// All that a container's process is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContainerSpecification {
    /// An empty folder to build the root in.
    pub(super) scratch: PathBuf,
    /// Where to note the mount namespace, for whoever ends the container.
    pub(super) namespace_file: PathBuf,
    pub(super) mounts: Vec<ContainerMount>,
    /// The folder that holds the hosts file.
    pub(super) hosts: PathBuf,
    pub(super) command: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) working_dir: PathBuf,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContainerMount {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

/// Does not return when all goes well: the container's program takes this process over.
#[must_use]
pub fn enter_container(specification: &Path) -> Error {
    match prepare(specification) {
        Ok(mut command) => anyhow!(command.exec()).context(format!("starting {:?}", command.get_program())),
        Err(error) => error,
    }
}

fn prepare(specification: &Path) -> Result<Command> {
    let text = fs::read(specification).with_context(|| format!("reading {}", specification.display()))?;
    let specification: ContainerSpecification = serde_json::from_slice(&text)?;
    // Whoever is in this namespace belongs to the container, wherever its processes went.
    fs::write(&specification.namespace_file, namespace_of(Path::new("/proc/self"))?)?;
    let root = overlay(&specification.scratch).context("mounting the container's root")?;
    for folder in ["proc", "sys", "dev"] {
        let target = root.join(folder);
        mount_bind_recursive(Path::new("/").join(folder), &target)
            .with_context(|| format!("mounting {}", target.display()))?;
    }
    let hosts = ContainerMount {
        source: specification.hosts.clone(),
        target: Path::new(STAGE).join("hosts"),
        read_only: true,
    };
    stage(&root, "hosts", &hosts)?;
    for (index, mount) in specification.mounts.iter().enumerate() {
        stage(&root, &index.to_string(), mount)?;
    }
    // From here on paths are the container's, links in them included (`/var/run` is one).
    chroot(&root).context("changing the root")?;
    std::env::set_current_dir("/")?;
    for (folder, mode) in [("/tmp", 0o1777), ("/run", 0o755)] {
        memory(Path::new(folder)).with_context(|| format!("mounting {folder}"))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(mode))?;
    }
    // A whole folder is mounted, and the file is a link into it, so that it can be swapped.
    fs::remove_file("/etc/hosts").or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    symlink(Path::new(STAGE).join("hosts/hosts"), "/etc/hosts")?;
    for (index, mount) in specification.mounts.iter().enumerate() {
        place(&index.to_string(), mount).with_context(|| format!("mounting {}", mount.target.display()))?;
    }
    command(&specification)
}

/// What names the mount namespace of a process.
pub(super) fn namespace_of(process: &Path) -> Result<String> {
    Ok(fs::read_link(process.join("ns/mnt"))?.display().to_string())
}

fn overlay(scratch: &Path) -> Result<PathBuf> {
    memory(scratch)?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| scratch.join(name));
    for folder in [&upper, &work, &root] {
        fs::create_dir(folder)?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    mount("overlay", &root, "overlay", MountFlags::empty(), CString::new(options)?.as_c_str())?;
    Ok(root)
}

fn memory(target: &Path) -> Result<()> {
    Ok(mount("tmpfs", target, "tmpfs", MountFlags::empty(), c"mode=755")?)
}

fn stage(root: &Path, name: &str, mount: &ContainerMount) -> Result<()> {
    let target = root.join(STAGE.trim_start_matches('/')).join(name);
    make_place(&target, mount.source.is_dir())?;
    mount_bind_recursive(&mount.source, &target)
        .with_context(|| format!("mounting {}", mount.source.display()))
}

fn place(name: &str, mount: &ContainerMount) -> Result<()> {
    let staged = Path::new(STAGE).join(name);
    make_place(&mount.target, staged.is_dir())?;
    mount_bind_recursive(&staged, &mount.target)?;
    if mount.read_only {
        mount_remount(&mount.target, MountFlags::BIND | MountFlags::RDONLY, c"")?;
    }
    Ok(unmount(&staged, UnmountFlags::DETACH)?)
}

fn make_place(target: &Path, folder: bool) -> Result<()> {
    if target.exists() {
        return Ok(());
    }
    if folder {
        fs::create_dir_all(target)?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::File::create(target)?;
    }
    Ok(())
}

fn command(specification: &ContainerSpecification) -> Result<Command> {
    let (program, args) = specification.command.split_first().context("no command specified")?;
    if !specification.working_dir.exists() {
        fs::create_dir_all(&specification.working_dir)?;
    }
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(&specification.env).current_dir(&specification.working_dir);
    if let Some(group) = specification.group.or(specification.user) {
        command.gid(group);
    }
    if let Some(user) = specification.user {
        command.uid(user);
    }
    Ok(command)
}

//! Makes Kafka's tools start twice as fast: an archive of their classes, as the JVM has loaded them.
//!
//! The first bed with brokers makes it in the background, by running a tool once; the JVM itself
//! checks that jars and archive belong together, and goes without the archive when they do not.
use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::brokers::{JVM_FLAGS, class_path};
use crate::bed_info::KafkaInfo;
use crate::cache::Cache;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(super) struct ClassArchive {
    folder: PathBuf,
    file: PathBuf,
}

impl ClassArchive {
    pub(super) fn new(cache: &Cache) -> Result<Self> {
        let folder = cache.kafka_archives();
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let file = folder.join(format!("tools-{:016x}.jsa", this_java()));
        Ok(Self { folder, file })
    }

    /// The folder to show to containers, at the same place.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Makes the archive unless it is there, or somebody else makes it now.
    pub(super) async fn make(&self, cache: &Cache, kafka: &KafkaInfo) -> Result<()> {
        let lock = File::create(self.folder.join("lock"))?;
        if self.file.exists() || lock.try_lock().is_err() {
            return Ok(());
        }
        let unfinished = self.folder.join("unfinished.jsa");
        let mut command = Command::new("nice");
        command.args(["-n", "19", "java", "-Xmx128m"]).args(JVM_FLAGS);
        command.arg(format!("-XX:ArchiveClassesAtExit={}", unfinished.display()));
        command.arg("-cp").arg(class_path(cache)).arg("org.apache.kafka.tools.TopicCommand");
        command.args(["--list", "--bootstrap-server", &kafka.bootstrap_servers, "--command-config"]);
        command.arg(&kafka.admin_properties).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await??;
        ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        fs::rename(&unfinished, &self.file).context("moving the finished archive to its place")
    }
}

/// Tells this JVM from others that there were or will be.
fn this_java() -> u64 {
    let mut hasher = DefaultHasher::new();
    let path = env::var_os("PATH").unwrap_or_default();
    let java = env::split_paths(&path)
        .map(|folder| folder.join("java"))
        .find_map(|java| fs::canonicalize(java).ok());
    if let Some(java) = java {
        java.hash(&mut hasher);
        fs::metadata(&java).and_then(|metadata| metadata.modified()).ok().hash(&mut hasher);
    }
    hasher.finish()
}

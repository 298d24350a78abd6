//! What is built once and used by every bed: outside the repository, keyed by versions.
//!
//! Each artifact is built in a temporary folder beside its final place and renamed, so that a place
//! which exists is complete; a file lock lets one process build while the others wait for it.
mod artifact;
mod etcd;
mod go_module;
mod kafka;
mod kubernetes;
mod tool;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, io};

use anyhow::{Context, Result};

use artifact::Artifact;

use crate::KafkaVersion;

/// The programs that beds are made of.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    kafka: KafkaVersion,
}

impl Cache {
    /// The cache, with whatever it lacked built: some 7 minutes the first time, then nothing.
    ///
    /// # Errors
    /// When Go, Maven or Java is missing, saying what to install, or a build fails, with its output.
    pub fn ready() -> Result<Self> {
        Self::ready_for(KafkaVersion::default())
    }

    /// The same for beds with another Kafka than the newest.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub fn ready_for(kafka: KafkaVersion) -> Result<Self> {
        let root = root()?;
        fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
        let cache = Self { root, kafka };
        for artifact in Artifact::all(kafka) {
            cache.ensure(artifact)?;
        }
        Ok(cache)
    }

    /// A cache that is known to be ready.
    pub(crate) fn at(root: PathBuf, kafka: KafkaVersion) -> Self {
        Self { root, kafka }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn etcd(&self) -> PathBuf {
        self.place(Artifact::Etcd).join("etcd")
    }

    #[must_use]
    pub fn kube_apiserver(&self) -> PathBuf {
        self.place(Artifact::KubeApiserver).join("kube-apiserver")
    }

    #[must_use]
    pub fn kube_controller_manager(&self) -> PathBuf {
        self.place(Artifact::KubeControllerManager).join("kube-controller-manager")
    }

    #[must_use]
    pub fn kubectl(&self) -> PathBuf {
        self.place(Artifact::Kubectl).join("kubectl")
    }

    #[must_use]
    pub fn kafka_version(&self) -> KafkaVersion {
        self.kafka
    }

    /// The folder of Kafka's jars.
    #[must_use]
    pub fn kafka_libs(&self) -> PathBuf {
        self.place(Artifact::Kafka(self.kafka)).join("libs")
    }

    /// A folder beside Kafka's jars for what the JVM makes of them.
    #[must_use]
    pub fn kafka_archives(&self) -> PathBuf {
        self.root.join(format!("{}-archives", Artifact::Kafka(self.kafka).folder()))
    }

    fn place(&self, artifact: Artifact) -> PathBuf {
        self.root.join(artifact.folder())
    }

    fn ensure(&self, artifact: Artifact) -> Result<()> {
        let place = self.place(artifact);
        if place.is_dir() {
            return Ok(());
        }
        let lock_file = self.root.join(format!("{}.lock", artifact.folder()));
        let lock = File::create(&lock_file).with_context(|| format!("opening {}", lock_file.display()))?;
        if lock.try_lock().is_err() {
            say(&format!("another process builds {}, waiting for it", artifact.title()));
            lock.lock().with_context(|| format!("locking {}", lock_file.display()))?;
        }
        if place.is_dir() {
            return Ok(());
        }
        say(&format!("building {} (about {}, once)", artifact.title(), artifact.expected_time()));
        let folder = tempfile::Builder::new().prefix(".building-").tempdir_in(&self.root)?;
        artifact.build(folder.path()).with_context(|| format!("building {}", artifact.title()))?;
        fs::rename(folder.path(), &place)
            .with_context(|| format!("moving the finished build to {}", place.display()))?;
        // The folder it would remove has moved away.
        let _ = folder.keep();
        Ok(())
    }
}

fn root() -> Result<PathBuf> {
    if let Some(chosen) = env::var_os("TOPICOPS_TESTBED_CACHE") {
        return Ok(PathBuf::from(chosen));
    }
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => env::home_dir()
            .context("neither TOPICOPS_TESTBED_CACHE nor HOME says where to keep the testbed's programs")?
            .join(".cache"),
    };
    Ok(base.join("topicops-testbed"))
}

/// Progress goes to standard error as it is, past the test harness, which would hold it back until the
/// end of a test that takes minutes.
fn say(message: &str) {
    // Nobody to tell is no reason not to build.
    let _ = writeln!(io::stderr(), "topicops-testbed: {message}");
}

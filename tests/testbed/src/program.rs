//! What stands behind an image name.
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The local program that an image name stands for: what to find where in the container's file
/// system, and what to run when the manifest names no command.
///
/// ```
/// # use topicops_testbed::Program;
/// let topicops = Program::binary("target/debug/topicops", "/usr/local/bin/topicops");
/// let shell = Program::host_tools();
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub(crate) mounts: Vec<(PathBuf, PathBuf)>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: Option<PathBuf>,
}

impl Program {
    /// An image without an entry point: its containers see the machine's own tools (`sh`, `cat`, …)
    /// and must name a command.
    #[must_use]
    pub fn host_tools() -> Self {
        Self::default()
    }

    /// One binary, found at `inside`, which is also the entry point.
    #[must_use]
    pub fn binary(outside: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Self {
        let inside = inside.into();
        let entrypoint = vec![inside.display().to_string()];
        Self::host_tools().mount(outside, inside).entrypoint(entrypoint)
    }

    /// Shows a file or folder of this machine, read-only, at `inside` in the container.
    #[must_use]
    pub fn mount(mut self, outside: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Self {
        self.mounts.push((outside.into(), inside.into()));
        self
    }

    /// The image's ENTRYPOINT: what `command` in a manifest replaces.
    #[must_use]
    pub fn entrypoint<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        Self { entrypoint: words.into_iter().map(Into::into).collect(), ..self }
    }

    /// The image's CMD: what `args` in a manifest replaces.
    #[must_use]
    pub fn cmd<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        Self { cmd: words.into_iter().map(Into::into).collect(), ..self }
    }

    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn working_dir(self, inside: impl Into<PathBuf>) -> Self {
        Self { working_dir: Some(inside.into()), ..self }
    }
}

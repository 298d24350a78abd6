//! Runs the tools that fill the cache.
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// A tool of the machine: its name, and what to install when it is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    name: &'static str,
    remedy: &'static str,
}

pub(super) const GO: Tool = Tool {
    name: "go",
    remedy: "install Go 1.26 or newer (an older one from 1.21 on fetches it by itself) so that `go version` works",
};
pub(super) const MAVEN: Tool = Tool {
    name: "mvn",
    remedy: "install Apache Maven 3.8 or newer (Debian and Ubuntu: apt install maven) so that `mvn --version` works",
};
pub(super) const JAVA: Tool = Tool {
    name: "java",
    remedy: "install a Java runtime, 17 or newer (Debian and Ubuntu: apt install openjdk-17-jre-headless) \
             so that `java -version` works",
};

impl Tool {
    /// Runs the tool in `folder` and returns its standard output.
    pub(super) fn run<S: AsRef<OsStr>>(
        self,
        folder: &Path,
        args: impl IntoIterator<Item = S>,
        env: &[(&str, &str)],
    ) -> Result<Vec<u8>> {
        let mut command = Command::new(self.name);
        command.args(args).current_dir(folder).envs(env.iter().copied()).stdin(Stdio::null());
        let output = command.output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("`{}` is missing: {}", self.name, self.remedy),
            _ => anyhow!(error).context(format!("running {}", self.name)),
        })?;
        if !output.status.success() {
            bail!(
                "{command:?}: {}\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output.stdout)
    }

    pub(super) fn must_exist(self, version_flag: &str) -> Result<()> {
        self.run(Path::new("/"), [version_flag], &[])
            .map(drop)
            .with_context(|| format!("looking for {}", self.name))
    }
}

//! Builds a command of a published Go module.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::tool::GO;

/// A module at a version, and the modules that have to come from elsewhere than it says.
#[derive(Debug)]
pub(super) struct GoModule {
    pub(super) path: &'static str,
    pub(super) version: &'static str,
    pub(super) replacements: Vec<(String, String)>,
}

impl GoModule {
    /// Compiles `package` to `folder/binary`, without C and without paths of this machine.
    pub(super) fn build(&self, package: &str, linker_flags: &str, folder: &Path, binary: &str) -> Result<()> {
        let scratch = tempfile::tempdir()?;
        fs::write(scratch.path().join("go.mod"), self.go_mod())?;
        let output = folder.join(binary);
        let output = output.to_str().context("the cache's path is not UTF-8")?;
        let args = [
            "build",
            "-mod=mod",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            linker_flags,
            "-o",
            output,
            package,
        ];
        // A go.work further up, or flags somebody set for other work, are not ours to build with.
        let env = [("CGO_ENABLED", "0"), ("GOWORK", "off"), ("GOFLAGS", "")];
        GO.run(scratch.path(), args, &env).map(drop)
    }

    fn go_mod(&self) -> String {
        let mut text = format!("module testbed\n\ngo 1.26.0\n\nrequire {} {}\n", self.path, self.version);
        for (module, version) in &self.replacements {
            text.push_str(&format!("replace {module} => {module} {version}\n"));
        }
        text
    }
}

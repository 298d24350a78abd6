//! The commands of the Go module k8s.io/kubernetes.
//!
//! That module's own go.mod points its staging modules (k8s.io/api and so on) at folders which the
//! published module lacks; the same code is published as modules of their own, one version for all.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::go_module::GoModule;
use super::tool::GO;

pub(super) const VERSION: &str = "1.36.3";
const MODULE_VERSION: &str = "v1.36.3";
const STAGING_VERSION: &str = "v0.36.3";
const LINKER_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
                            -X k8s.io/component-base/version.gitMajor=1 \
                            -X k8s.io/component-base/version.gitMinor=36";

pub(super) fn build(folder: &Path, command: &str) -> Result<()> {
    let replacements =
        staging_modules()?.into_iter().map(|module| (module, STAGING_VERSION.to_owned())).collect();
    let module = GoModule { path: "k8s.io/kubernetes", version: MODULE_VERSION, replacements };
    module.build(&format!("k8s.io/kubernetes/cmd/{command}"), LINKER_FLAGS, folder, command)
}

/// The modules that k8s.io/kubernetes replaces by folders of its repository.
fn staging_modules() -> Result<Vec<String>> {
    let scratch = tempfile::tempdir()?;
    fs::write(scratch.path().join("go.mod"), "module testbed\n")?;
    let module = format!("k8s.io/kubernetes@{MODULE_VERSION}");
    let answer = GO.run(scratch.path(), ["mod", "download", "-json", &module], &[("GOWORK", "off")])?;
    let download: Download =
        serde_json::from_slice(&answer).context("reading what `go mod download` says")?;
    let text = fs::read_to_string(&download.go_mod)
        .with_context(|| format!("reading {}", download.go_mod.display()))?;
    let modules = replaced_by_folders(&text);
    ensure!(!modules.is_empty(), "k8s.io/kubernetes {MODULE_VERSION} names no staging modules in its go.mod");
    Ok(modules)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Download {
    go_mod: PathBuf,
}

fn replaced_by_folders(go_mod: &str) -> Vec<String> {
    go_mod
        .lines()
        .filter_map(|line| {
            let (module, target) = line.trim().trim_start_matches("replace ").split_once("=>")?;
            target.trim().starts_with("./").then(|| module.trim().to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_modules_are_those_replaced_by_folders() {
        let go_mod = "require k8s.io/api v0.0.0\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\
                      \texample.org/fork => example.org/other v1.2.3\n)\n\
                      replace k8s.io/kubectl => ./staging/src/k8s.io/kubectl\n";
        assert_eq!(replaced_by_folders(go_mod), ["k8s.io/api", "k8s.io/kubectl"]);
    }
}

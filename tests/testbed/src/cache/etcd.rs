//! etcd, the API server's storage.
use std::path::Path;

use anyhow::Result;

use super::go_module::GoModule;

pub(super) const VERSION: &str = "3.6.8";

pub(super) fn build(folder: &Path) -> Result<()> {
    let module = GoModule { path: "go.etcd.io/etcd/server/v3", version: "v3.6.8", replacements: Vec::new() };
    module.build("go.etcd.io/etcd/server/v3", "-s -w", folder, "etcd")
}

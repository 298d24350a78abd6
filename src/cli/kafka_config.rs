use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow};

use crate::kafka::{ClientProperties, WireCluster};

/// What stands in the file of `--kafka-config`.
pub(super) fn properties(file: &Path) -> Result<ClientProperties> {
    let shown = file.display().to_string();
    let text = fs::read_to_string(file).with_context(|| format!("--kafka-config {shown}: cannot be read"))?;
    parsed(file, &text)
}

/// The same when it was read already.
pub(super) fn parsed(file: &Path, text: &str) -> Result<ClientProperties> {
    let shown = file.display().to_string();
    ClientProperties::parse(&shown, text).map_err(|problems| anyhow!("--kafka-config {shown}: {problems}"))
}

/// The cluster that it leads to.
pub(super) fn cluster(file: &Path) -> Result<WireCluster> {
    WireCluster::new(properties(file)?).context("setting up the connection to Kafka")
}

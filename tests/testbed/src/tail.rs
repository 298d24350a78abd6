//! Reads the logs of a bed's directory.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where the logs of one container are: one file per instance, numbered from 0.
pub(crate) fn container_folder(bed: &Path, namespace: &str, pod: &str, container: &str) -> PathBuf {
    bed.join("logs/pods").join(namespace).join(pod).join(container)
}

pub(crate) fn component_log(bed: &Path, component: &str) -> PathBuf {
    bed.join("logs").join(format!("{component}.log"))
}

/// The name of a broker among the components.
pub(crate) fn broker(id: u8) -> String {
    format!("broker-{id}")
}

/// The instances' log files in order.
pub(crate) fn instance_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_stem()?.to_str()?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

pub(crate) fn instances(bed: &Path, namespace: &str, pod: &str, container: &str) -> Result<Vec<String>> {
    instance_files(&container_folder(bed, namespace, pod, container))
        .iter()
        .map(|file| {
            let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect()
}

/// The last lines of a log, or why there are none.
pub(crate) fn last_lines(file: &Path, count: usize) -> String {
    match std::fs::read(file) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(count)..].join("\n")
        }
        Err(error) => format!("({}: {error})", file.display()),
    }
}

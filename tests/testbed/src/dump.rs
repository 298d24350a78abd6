//! Gathers evidence when a test fails.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::bed_info::BedInfo;
use crate::tail;

const LINES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(15);
const OBJECTS: &str = "namespaces,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs,pods,services,\
                       configmaps,secrets,mutatingwebhookconfigurations,validatingwebhookconfigurations";

/// Objects, Events, and the end of every log. Secrets are listed by name, without their content.
pub(crate) async fn everything(info: &BedInfo) -> String {
    let mut text = format!("bed in {}\n", info.directory.display());
    section(&mut text, "objects", &kubectl(info, &["get", OBJECTS, "-A", "-o", "wide"]).await);
    section(&mut text, "Pods", &kubectl(info, &["describe", "pods", "-A"]).await);
    section(&mut text, "Events", &kubectl(info, &["events", "-A"]).await);
    let mut files = Vec::new();
    collect(&info.directory.join("logs"), &mut files);
    files.sort();
    for file in files {
        let name = file.strip_prefix(&info.directory).unwrap_or(&file).display().to_string();
        section(&mut text, &name, &tail::last_lines(&file, LINES));
    }
    text
}

fn section(text: &mut String, title: &str, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n---- {title}\n{}", content.trim_end());
}

async fn kubectl(info: &BedInfo, args: &[&str]) -> String {
    let mut command = Command::new(&info.kubectl);
    command.arg("--kubeconfig").arg(&info.kubeconfig).arg("--request-timeout=10s").args(args);
    match tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await {
        Ok(Ok(output)) => {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        Ok(Err(error)) => format!("(kubectl: {error})"),
        Err(_) => format!("(kubectl took longer than {PATIENCE:.0?})"),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

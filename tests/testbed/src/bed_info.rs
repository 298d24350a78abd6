//! Where everything of a running bed is.
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where everything of a running bed is; also what `topicops-testbed up --json` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BedInfo {
    pub directory: PathBuf,
    pub kubeconfig: PathBuf,
    pub kubectl: PathBuf,
    pub api_server: String,
    /// Services get their cluster IPs from this range of loopback addresses.
    pub service_range: String,
    /// Pods get their addresses from this range of loopback addresses.
    pub pod_range: String,
    pub kafka: Option<KafkaInfo>,
    /// How long the start took, in milliseconds.
    pub started_in_ms: u64,
}

/// How to reach the bed's brokers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KafkaInfo {
    pub bootstrap_servers: String,
    pub admin_user: String,
    pub admin_password: String,
    pub ca_file: PathBuf,
    pub admin_properties: PathBuf,
    /// Kafka's own command line tools (`kafka-topics.sh`, …).
    pub tools: PathBuf,
}

impl BedInfo {
    pub(crate) fn control_socket(directory: &Path) -> PathBuf {
        directory.join("control.sock")
    }
}

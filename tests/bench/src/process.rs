use std::{fs, path::Path};

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

/// The topicops under measurement: a plain local process.
pub(crate) struct Topicops {
    child: Child,
}

/// Memory in MiB and CPU in seconds.
pub(crate) struct Usage {
    pub(crate) rss_mib: f64,
    pub(crate) peak_mib: f64,
    pub(crate) cpu_s: f64,
}

impl Topicops {
    pub(crate) fn start(kubeconfig: &Path, kafka_config: &Path, arguments: &[String]) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("topicops");
        anyhow::ensure!(
            binary.exists(),
            "{} is not built: cargo build --release --bin topicops",
            binary.display()
        );
        // Killed with this process, however this one ends. setpriv becomes topicops: the process id is topicops' own.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&binary)
            .arg("run")
            .arg("--kafka-config")
            .arg(kafka_config)
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("TOPICOPS_LOG", std::env::var("TOPICOPS_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        Ok(Self { child })
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let pid = self.child.id().context("topicops has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading topicops' memory")?;
        let mib = |key: &str| -> f64 {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN)
                / 1024.0
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the command in parentheses: user and system time in hundredths of a second are the 12th and 13th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
        Ok(Usage { rss_mib: mib("VmRSS:"), peak_mib: mib("VmHWM:"), cpu_s: (ticks(11) + ticks(12)) / 100.0 })
    }
}

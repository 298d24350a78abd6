use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

/// The topicops under measurement: a plain local process.
pub(crate) struct Topicops {
    child: Child,
    metrics: SocketAddr,
}

/// Memory in MiB and CPU in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) rss_mib: f64,
    pub(crate) peak_mib: f64,
    /// Of the resident memory, what is of the program's own file: the kernel maps more or less of it, and may take it back.
    pub(crate) file_mib: f64,
    pub(crate) cpu_s: f64,
}

/// Longer than `--shutdown-delay`, `--shutdown-drain` and giving the lease back take together.
const END: Duration = Duration::from_secs(30);

impl Topicops {
    pub(crate) fn start(kubeconfig: &Path, kafka_config: &Path, arguments: &[&str]) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("topicops");
        ensure!(binary.exists(), "{} is not built: cargo build --release --bin topicops", binary.display());
        // Free now, and nobody else on this machine looks for a port there.
        let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        // Killed with this process, however this one ends. setpriv becomes topicops: the process id is topicops' own.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&binary)
            .args(["run", "--namespace=topicops", "--webhook-listen=127.0.0.1:0", "--shutdown-delay=0s"])
            .arg(format!("--metrics-listen={metrics}"))
            .arg("--kafka-config")
            .arg(kafka_config)
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("TOPICOPS_LOG", std::env::var("TOPICOPS_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        Ok(Self { child, metrics })
    }

    /// Ends it as Kubernetes would, so that it gives its lease back.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().context("topicops has ended")?;
        let sent = Command::new("kill").arg(pid.to_string()).status().await?;
        ensure!(sent.success(), "topicops could not be sent SIGTERM");
        timeout(END, self.child.wait()).await.context("topicops does not end")??;
        Ok(())
    }

    /// The value of one line of `/metrics`; 0 while there is no such line yet.
    pub(crate) async fn metric(&self, series: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(self.metrics).await.context("asking topicops for its metrics")?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: topicops\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let line = answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(Ok(0.0), |value| value.trim().parse().with_context(|| format!("{series} {value}")))
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
        Ok(Usage {
            rss_mib: mib("VmRSS:"),
            peak_mib: mib("VmHWM:"),
            file_mib: mib("RssFile:"),
            cpu_s: (ticks(11) + ticks(12)) / 100.0,
        })
    }
}

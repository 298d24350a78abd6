//! One probe of a container, and when its answers count.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::container_process::ProcessHandle;
use crate::http_get::HttpGet;
use crate::wait;

#[derive(Debug)]
pub(super) struct Prober {
    action: Action,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: i32,
    failures: i32,
}

#[derive(Debug)]
enum Action {
    Http(HttpGet),
    Tcp(SocketAddr),
    Exec(ProcessHandle, Vec<String>),
    Unknown(String),
}

/// A probe's verdict: enough successes, or enough failures with what the last one said.
#[derive(Debug)]
pub(super) enum Verdict {
    Good,
    Bad(String),
}

impl Prober {
    pub(super) fn new(probe: &Probe, container: &Container, address: IpAddr, process: ProcessHandle) -> Self {
        let actions = Actions { container, address };
        let action = if let Some(http) = &probe.http_get {
            actions.http(http)
        } else if let Some(tcp) = &probe.tcp_socket {
            actions.tcp(tcp)
        } else if let Some(exec) = &probe.exec {
            Ok(Action::Exec(process, exec.command.clone().unwrap_or_default()))
        } else {
            Err(anyhow!("the testbed's node does not know this kind of probe"))
        };
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
        };
        Self {
            action: action.unwrap_or_else(|error| Action::Unknown(format!("{error:#}"))),
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            successes: probe.success_threshold.unwrap_or(1).max(1),
            failures: probe.failure_threshold.unwrap_or(3).max(1),
        }
    }

    /// Probes on and on, and gives a verdict each time that one is reached.
    pub(super) async fn run(&self, mut verdict: impl FnMut(Verdict) -> bool) {
        wait::pause_unless(self.initial_delay, std::future::pending::<()>()).await;
        let (mut good, mut bad) = (0, 0);
        let mut decided = false;
        loop {
            match tokio::time::timeout(self.timeout, self.once()).await {
                Ok(Ok(())) => (good, bad) = (good + 1, 0),
                outcome => {
                    (good, bad) = (0, bad + 1);
                    let error = match outcome {
                        Ok(Err(error)) => format!("{error:#}"),
                        _ => format!("no answer within {:.0?}", self.timeout),
                    };
                    if bad >= self.failures {
                        decided = true;
                        if !verdict(Verdict::Bad(error)) {
                            return;
                        }
                    }
                }
            }
            if good >= self.successes {
                decided = true;
                if !verdict(Verdict::Good) {
                    return;
                }
            }
            // As kubelet does nearly: a container that just started is looked at more often, because a
            // whole period before the first success is time that every roll-out waits.
            let period = if decided { self.period } else { self.period.min(Duration::from_millis(500)) };
            wait::pause_unless(period, std::future::pending::<()>()).await;
        }
    }

    async fn once(&self) -> Result<()> {
        match &self.action {
            Action::Http(get) => get.succeed().await,
            Action::Tcp(address) => {
                TcpStream::connect(address).await.map(drop).with_context(|| format!("dial tcp {address}"))
            }
            Action::Exec(process, command) => process.exec(command).await,
            Action::Unknown(message) => Err(anyhow!(message.clone())),
        }
    }
}

/// Runs a container's `preStop`.
pub(super) async fn run_hook(
    hook: &k8s_openapi::api::core::v1::LifecycleHandler,
    container: &Container,
    address: IpAddr,
    process: &ProcessHandle,
) -> Result<()> {
    if let Some(ExecAction { command: Some(command) }) = &hook.exec {
        process.exec(command).await?;
    }
    if let Some(http) = &hook.http_get
        && let Action::Http(get) = (Actions { container, address }).http(http)?
    {
        get.succeed().await?;
    }
    if let Some(sleep) = &hook.sleep {
        let span = Duration::from_secs(u64::try_from(sleep.seconds)?);
        wait::pause_unless(span, std::future::pending::<()>()).await;
    }
    Ok(())
}

struct Actions<'a> {
    container: &'a Container,
    address: IpAddr,
}

impl Actions<'_> {
    fn http(&self, http: &HTTPGetAction) -> Result<Action> {
        let address = self.target(http.host.as_deref(), &http.port)?;
        let path = http.path.as_deref().unwrap_or("/");
        let mut host = address.to_string();
        let mut headers = Vec::new();
        for header in http.http_headers.iter().flatten() {
            if header.name.eq_ignore_ascii_case("host") {
                host.clone_from(&header.value);
            } else {
                headers.push((header.name.clone(), header.value.clone()));
            }
        }
        let tls = http.scheme.as_deref() == Some("HTTPS");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Action::Http(HttpGet { address, tls, host, path, headers }))
    }

    fn tcp(&self, tcp: &TCPSocketAction) -> Result<Action> {
        self.target(tcp.host.as_deref(), &tcp.port).map(Action::Tcp)
    }

    fn target(&self, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr> {
        let address = match host {
            None | Some("") => self.address,
            Some("localhost") => IpAddr::from([127, 0, 0, 1]),
            Some(host) => host.parse().with_context(|| format!("{host:?} is no address"))?,
        };
        let number = match port {
            IntOrString::Int(number) => *number,
            IntOrString::String(name) => {
                let mut ports = self.container.ports.iter().flatten();
                ports
                    .find(|port| port.name.as_deref() == Some(name))
                    .with_context(|| format!("the container has no port {name:?}"))?
                    .container_port
            }
        };
        Ok(SocketAddr::new(address, u16::try_from(number)?))
    }
}

//! Runs one container of a Pod: starts it, watches its health, restarts it, ends it.
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use std::os::unix::process::ExitStatusExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::container_process::{BackOff, ContainerProcess, ProcessHandle};
use super::context::Context;
use super::enter::{ContainerMount, ContainerSpecification};
use super::environment;
use super::expansion::expand;
use super::pod_state::{Ended, PodState, State};
use super::probe::{Prober, Verdict, run_hook};
use super::volumes::Volumes;
use crate::program::Program;
use crate::{tail, wait};

/// As container runtimes say that there was nothing to run.
const START_ERROR: i32 = 128;
const LINES_IN_STATUS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

#[derive(Clone)]
pub(super) struct ContainerRunner {
    pub(super) context: Context,
    pub(super) pod: watch::Receiver<Arc<Pod>>,
    pub(super) container: Container,
    pub(super) restart: Restart,
    pub(super) address: IpAddr,
    /// The Pod's folder.
    pub(super) folder: PathBuf,
    pub(super) volumes: Volumes,
    pub(super) state: Arc<PodState>,
    pub(super) stop: CancellationToken,
}

/// Why a container does not run yet.
struct NotYet {
    reason: &'static str,
    error: anyhow::Error,
}

impl ContainerRunner {
    /// Runs the container until it is not to be started again; answers its last exit code.
    pub(super) async fn run(&self) -> i32 {
        let mut back_off = BackOff::default();
        let mut told = String::new();
        loop {
            if self.stop.is_cancelled() {
                return 0;
            }
            match self.prepare() {
                Ok(specification) => {
                    let exit_code = match self.run_once(specification).await {
                        Ok(ended) => {
                            back_off.note_run(ended.started.duration_until(ended.finished).unsigned_abs());
                            self.note_end(ended)
                        }
                        Err(error) => {
                            self.waits("RunContainerError", &format!("{error:#}"));
                            1
                        }
                    };
                    let again = match self.restart {
                        Restart::Always => true,
                        Restart::OnFailure => exit_code != 0,
                        Restart::Never => false,
                    };
                    if self.stop.is_cancelled() || !again {
                        return exit_code;
                    }
                    let pause = back_off.next();
                    self.waits(
                        "CrashLoopBackOff",
                        &format!("back-off {pause:.1?} restarting container {}", self.container.name),
                    );
                    wait::pause_unless(pause, self.stop.cancelled()).await;
                    self.state.update(&self.container.name, |record| record.restarts += 1);
                }
                Err(NotYet { reason, error }) => {
                    let message = format!("{error:#}");
                    self.waits(reason, &message);
                    if told != message {
                        self.tell(EventType::Warning, "Failed", message.clone());
                        told = message;
                    }
                    self.something_changes().await;
                }
            }
        }
    }

    fn prepare(&self) -> Result<ContainerSpecification, NotYet> {
        let image = self.container.image.as_deref().unwrap_or_default();
        let program = self.context.images.find(image).with_context(|| {
            format!(
                "no program stands for the image {image:?} in this testbed: map_image() says which one does"
            )
        });
        let program = program.map_err(|error| NotYet { reason: "ErrImagePull", error })?;
        self.specify(&program).map_err(|error| NotYet { reason: "CreateContainerConfigError", error })
    }

    fn specify(&self, program: &Program) -> Result<ContainerSpecification> {
        let pod = Arc::clone(&self.pod.borrow());
        let address = self.address.to_string();
        let env = environment::build(&self.context, &pod, &address, &self.container, program)?;
        let words = |own: Option<&Vec<String>>, image: &[String]| match own {
            Some(own) => own.iter().map(|word| expand(word, &env)).collect(),
            None => image.to_vec(),
        };
        let mut command: Vec<String> = words(self.container.command.as_ref(), &program.entrypoint);
        // Naming a command takes the image's own arguments away, as it does for kubelet.
        let default_args: &[String] = if self.container.command.is_some() { &[] } else { &program.cmd };
        command.extend(words(self.container.args.as_ref(), default_args));
        let mut mounts: Vec<ContainerMount> = program
            .mounts
            .iter()
            .map(|(source, target)| ContainerMount {
                source: source.clone(),
                target: target.clone(),
                read_only: true,
            })
            .collect();
        for mount in self.container.volume_mounts.iter().flatten() {
            let mut source = self.volumes.source(&mount.name)?;
            let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
                (Some(path), _) => Some(path.clone()),
                (None, Some(expression)) => Some(expand(expression, &env)),
                (None, None) => None,
            };
            if let Some(path) = sub_path {
                // What the link leads to now: such a mount does not follow changes.
                source = std::fs::canonicalize(source.join(&path))
                    .with_context(|| format!("subPath {path:?} of volume {:?}", mount.name))?;
            }
            let read_only = mount.read_only.unwrap_or(false);
            mounts.push(ContainerMount { source, target: PathBuf::from(&mount.mount_path), read_only });
        }
        let (user, group) = identity(pod.spec.as_ref(), &self.container);
        let folder = self.folder.join("containers").join(&self.container.name);
        let working_dir = self.container.working_dir.as_ref().map(PathBuf::from);
        Ok(ContainerSpecification {
            scratch: folder.join("scratch"),
            namespace_file: folder.join("namespace"),
            mounts,
            hosts: self.folder.join("hosts"),
            command,
            env,
            working_dir: working_dir.or_else(|| program.working_dir.clone()).unwrap_or_else(|| "/".into()),
            user,
            group,
        })
    }

    async fn run_once(&self, specification: ContainerSpecification) -> Result<Ended> {
        let pod = Arc::clone(&self.pod.borrow());
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let logs = tail::container_folder(&self.context.directory, &namespace, &name, &self.container.name);
        let log = logs.join(format!("{}.log", tail::instance_files(&logs).len()));
        let folder = self.folder.join("containers").join(&self.container.name);
        let mut process = ContainerProcess::start(&folder, specification, &log)?;
        process.entered(&folder).await?;
        let started = Timestamp::now();
        let handle = process.handle();
        self.state.update(&self.container.name, |record| record.state = State::Running { since: started });
        let end = tokio::select! {
            status = process.ended() => End::Exited(status?),
            reason = self.watch_health(&handle) => End::Unhealthy(reason),
            () = self.stop.cancelled() => End::Asked,
        };
        let status = match end {
            End::Exited(status) => status,
            End::Unhealthy(reason) => {
                self.tell(EventType::Normal, "Killing", reason);
                self.end(&mut process, &handle, self.grace()).await?
            }
            End::Asked => self.end(&mut process, &handle, self.grace()).await?,
        };
        Ok(ended(status, started, &log))
    }

    /// preStop, SIGTERM, SIGKILL: together within the grace period.
    async fn end(
        &self,
        process: &mut ContainerProcess,
        handle: &ProcessHandle,
        grace: Duration,
    ) -> Result<ExitStatus> {
        let begun = std::time::Instant::now();
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(hook) = hook.filter(|_| !grace.is_zero()) {
            let running = run_hook(hook, &self.container, self.address, handle);
            let outcome = tokio::select! {
                outcome = tokio::time::timeout(grace, running) => outcome,
                status = process.ended() => return status,
            };
            if let Ok(Err(error)) = outcome {
                self.tell(EventType::Warning, "FailedPreStopHook", format!("{error:#}"));
            }
        }
        // Kubelet leaves two seconds even after a hook that took all the time there was.
        let left = grace.saturating_sub(begun.elapsed()).max(grace.min(Duration::from_secs(2)));
        tokio::select! {
            status = process.terminate(left) => return status,
            () = self.object_gone() => {}
        }
        process.terminate(Duration::ZERO).await
    }

    /// A Pod that is deleted by force has no grace left.
    async fn object_gone(&self) {
        let mut pod = self.pod.clone();
        while pod.changed().await.is_ok() {}
    }

    fn grace(&self) -> Duration {
        let pod = self.pod.borrow();
        let wished = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let seconds = pod.metadata.deletion_grace_period_seconds.or(wished).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }

    /// Follows the probes; answers when the container has to be restarted.
    async fn watch_health(&self, process: &ProcessHandle) -> String {
        let name = &self.container.name;
        let prober = |probe| Prober::new(probe, &self.container, self.address, process.clone());
        if let Some(probe) = &self.container.startup_probe {
            let mut failure = None;
            prober(probe)
                .run(|verdict| {
                    if let Verdict::Bad(message) = verdict {
                        failure = Some(message);
                    }
                    false
                })
                .await;
            if let Some(message) = failure {
                self.tell(EventType::Warning, "Unhealthy", format!("Startup probe failed: {message}"));
                return format!("Container {name} failed startup probe, will be restarted");
            }
        }
        let readiness = self.container.readiness_probe.as_ref().map(prober);
        self.state.update(name, |record| {
            record.started = true;
            record.ready = readiness.is_none();
        });
        let ready = async {
            if let Some(prober) = &readiness {
                let mut told = false;
                prober
                    .run(|verdict| {
                        if let Verdict::Bad(message) = &verdict
                            && !std::mem::replace(&mut told, true)
                        {
                            self.tell(
                                EventType::Warning,
                                "Unhealthy",
                                format!("Readiness probe failed: {message}"),
                            );
                        }
                        let good = matches!(verdict, Verdict::Good);
                        self.state.update(name, |record| record.ready = good);
                        true
                    })
                    .await;
            }
            std::future::pending::<String>().await
        };
        let live = async {
            let Some(probe) = &self.container.liveness_probe else { return std::future::pending().await };
            let mut failure = String::new();
            prober(probe)
                .run(|verdict| match verdict {
                    Verdict::Good => true,
                    Verdict::Bad(message) => {
                        failure = message;
                        false
                    }
                })
                .await;
            self.tell(EventType::Warning, "Unhealthy", format!("Liveness probe failed: {failure}"));
            format!("Container {name} failed liveness probe, will be restarted")
        };
        tokio::select! {
            reason = ready => reason,
            reason = live => reason,
        }
    }

    fn note_end(&self, ended: Ended) -> i32 {
        let exit_code = ended.exit_code;
        self.state.update(&self.container.name, |record| {
            record.state = State::Ended(ended);
            record.ready = false;
            record.started = false;
        });
        exit_code
    }

    fn waits(&self, reason: &str, message: &str) {
        self.state.update(&self.container.name, |record| {
            if let State::Ended(ended) = &record.state {
                record.last = Some(ended.clone());
            }
            record.state = State::Waiting { reason: reason.to_owned(), message: message.to_owned() };
        });
    }

    async fn something_changes(&self) {
        let mut images = self.context.images.changes();
        let mut secrets = self.context.secrets.changes();
        let mut config_maps = self.context.config_maps.changes();
        let change = async {
            tokio::select! {
                _ = images.changed() => {}
                _ = secrets.changed() => {}
                _ = config_maps.changed() => {}
                () = self.stop.cancelled() => {}
            }
        };
        wait::pause_unless(wait::SHORT_WHILE, change).await;
    }

    fn tell(&self, type_: EventType, reason: &str, message: String) {
        self.context.tell(&self.pod.borrow(), type_, reason, message);
    }
}

enum End {
    Exited(ExitStatus),
    Unhealthy(String),
    Asked,
}

fn ended(status: ExitStatus, started: Timestamp, log: &Path) -> Ended {
    let exit_code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    let (reason, log) = match exit_code {
        0 => ("Completed", String::new()),
        START_ERROR => ("StartError", tail::last_lines(log, LINES_IN_STATUS)),
        _ => ("Error", tail::last_lines(log, LINES_IN_STATUS)),
    };
    Ended { exit_code, reason: reason.to_owned(), started, finished: Timestamp::now(), log }
}

/// Who the container runs as: its own security context first, then the Pod's.
fn identity(spec: Option<&PodSpec>, container: &Container) -> (Option<u32>, Option<u32>) {
    let own = container.security_context.as_ref();
    let shared = spec.and_then(|spec| spec.security_context.as_ref());
    let number = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
    let user = own.and_then(|own| own.run_as_user).or_else(|| shared.and_then(|shared| shared.run_as_user));
    let group =
        own.and_then(|own| own.run_as_group).or_else(|| shared.and_then(|shared| shared.run_as_group));
    // Without a group of its own, a file's group is how fsGroup lets it read.
    let group = group.or_else(|| shared.and_then(|shared| shared.fs_group));
    (number(user), number(group))
}

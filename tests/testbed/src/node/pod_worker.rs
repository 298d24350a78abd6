//! Runs one Pod, from its volumes to the removal of its object.
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::container::{ContainerRunner, Restart};
use super::container_process::BackOff;
use super::context::Context;
use super::pod_state::{PodState, State};
use super::registration;
use super::reporter::Reporter;
use super::volumes::Volumes;
use crate::wait;

pub(super) struct PodWorker {
    context: Context,
    pod: watch::Receiver<Arc<Pod>>,
    address: Ipv4Addr,
    folder: PathBuf,
    state: Arc<PodState>,
    volumes: Volumes,
    /// The Pod is being deleted.
    stop: CancellationToken,
}

impl PodWorker {
    pub(super) fn new(context: Context, pod: watch::Receiver<Arc<Pod>>) -> Self {
        let object = Arc::clone(&pod.borrow());
        let address = context.next_pod_address();
        let folder = context.directory.join("pods").join(object.uid().unwrap_or_default());
        let host = registration::address(context.slot).to_string();
        let state = Arc::new(PodState::new(&object, address.to_string(), host));
        let volumes = Volumes::new(context.clone(), pod.clone(), address.to_string(), folder.join("volumes"));
        Self { context, pod, address, folder, state, volumes, stop: CancellationToken::new() }
    }

    /// Returns when the Pod's object is gone and nothing of it is left.
    pub(super) async fn run(self) {
        let reporter = Reporter::new(&self.context, self.pod.clone(), Arc::clone(&self.state));
        let living = async {
            let finished = Box::pin(self.live()).await;
            if let Some(well) = finished {
                self.state.finished(well);
            }
            self.stop.cancelled().await;
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(living, self.await_deletion()) } => {}
            () = reporter.run() => {}
        }
        reporter.finish().await;
        if let Err(error) = reporter.remove().await {
            tracing::warn!(error = format!("{error:#}"), "a Pod's object remains");
        }
        self.context.hosts.remove(&self.pod.borrow().uid().unwrap_or_default());
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::debug!(%error, "a Pod's folder remains until the bed ends");
        }
    }

    async fn await_deletion(&self) {
        let mut pod = self.pod.clone();
        // An error means that nobody tells us any more: the object is gone.
        let _ = pod.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()).await;
        self.stop.cancel();
    }

    /// Runs all containers; answers how the Pod ended if it did so by itself.
    async fn live(&self) -> Option<bool> {
        let pod = Arc::clone(&self.pod.borrow());
        if let Err(error) =
            self.context.hosts.add(&pod, &self.address.to_string(), &self.folder.join("hosts"))
        {
            self.tell("FailedCreatePodSandBox", &error);
        }
        if !self.mount().await {
            return None;
        }
        tokio::select! {
            ended = self.run_containers(&pod) => ended,
            () = self.volumes.follow() => None,
        }
    }

    /// Writes the volumes, waiting for what is missing; false when the Pod is deleted first.
    async fn mount(&self) -> bool {
        let mut back_off = BackOff::default();
        let mut told = String::new();
        let mut secrets = self.context.secrets.changes();
        let mut config_maps = self.context.config_maps.changes();
        while let Err(error) = self.volumes.write().await {
            let message = format!("{error:#}");
            if told != message {
                self.tell("FailedMount", &error);
                told = message;
            }
            let change = async {
                tokio::select! {
                    _ = secrets.changed() => {}
                    _ = config_maps.changed() => {}
                    () = self.stop.cancelled() => {}
                }
            };
            back_off.pause(change).await;
            if self.stop.is_cancelled() {
                return false;
            }
        }
        !self.stop.is_cancelled()
    }

    async fn run_containers(&self, pod: &Pod) -> Option<bool> {
        let spec = pod.spec.clone().unwrap_or_default();
        let restart = match spec.restart_policy.as_deref() {
            Some("Never") => Restart::Never,
            Some("OnFailure") => Restart::OnFailure,
            _ => Restart::Always,
        };
        // Sidecars live until the containers proper have ended.
        let sidecars_stop = CancellationToken::new();
        let mut sidecars = Vec::new();
        let mut initialized = true;
        for container in spec.init_containers.into_iter().flatten() {
            if container.restart_policy.as_deref() == Some("Always") {
                let name = container.name.clone();
                let runner = self.runner(container, Restart::Always, sidecars_stop.clone());
                sidecars.push(tokio::spawn(async move { runner.run().await }));
                self.await_start(&name).await;
            } else {
                let retry = if restart == Restart::Never { Restart::Never } else { Restart::OnFailure };
                let name = container.name.clone();
                initialized = self.runner(container, retry, self.stop.child_token()).run().await == 0;
                self.state.update(&name, |record| record.ready = initialized);
            }
            if !initialized || self.stop.is_cancelled() {
                break;
            }
        }
        let mut well = initialized;
        if initialized && !self.stop.is_cancelled() {
            self.state.initialized();
            for container in &spec.containers {
                self.state.update(&container.name, |record| {
                    record.state =
                        State::Waiting { reason: "ContainerCreating".to_owned(), message: String::new() };
                });
            }
            let runners: Vec<ContainerRunner> = spec
                .containers
                .into_iter()
                .map(|container| self.runner(container, restart, self.stop.child_token()))
                .collect();
            let codes = join_all(runners.iter().map(ContainerRunner::run)).await;
            well = codes.iter().all(|code| *code == 0);
        }
        sidecars_stop.cancel();
        for sidecar in sidecars {
            if let Err(error) = sidecar.await {
                tracing::warn!(%error, "a sidecar's runner");
            }
        }
        (!self.stop.is_cancelled()).then_some(well)
    }

    async fn await_start(&self, container: &str) {
        let mut changes = self.state.changes();
        while !self.state.has_started(container) && !self.stop.is_cancelled() {
            let change = async {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = self.stop.cancelled() => {}
                }
            };
            wait::pause_unless(wait::SHORT_WHILE, change).await;
        }
    }

    fn runner(&self, container: Container, restart: Restart, stop: CancellationToken) -> ContainerRunner {
        ContainerRunner {
            context: self.context.clone(),
            pod: self.pod.clone(),
            container,
            restart,
            address: IpAddr::V4(self.address),
            folder: self.folder.clone(),
            volumes: self.volumes.clone(),
            state: Arc::clone(&self.state),
            stop,
        }
    }

    fn tell(&self, reason: &str, error: &anyhow::Error) {
        self.context.tell(&self.pod.borrow(), EventType::Warning, reason, format!("{error:#}"));
    }
}

/// Binds a Pod that waits for a node to ours: there is no choice to make.
pub(super) async fn bind(context: &Context, pod: &Pod) -> Result<()> {
    use k8s_openapi::api::core::v1::{Binding, ObjectReference};
    use kube::api::{Api, ObjectMeta, PostParams};

    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    let binding = Binding {
        metadata: ObjectMeta { name: Some(name.clone()), uid: pod.uid(), ..ObjectMeta::default() },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(super::NODE_NAME.to_owned()),
            ..ObjectReference::default()
        },
    };
    let _: serde_json::Value =
        pods.create_subresource("binding", &name, &PostParams::default(), &binding).await?;
    Ok(())
}

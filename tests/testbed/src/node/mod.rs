//! The bed's one node: it runs Pods as kubelet would, as local processes instead of containers.
//!
//! Pods are bound to it, their volumes written, their containers started in mount namespaces of their
//! own with the machine's file system underneath, probed, restarted and ended, and their status reported.
//!
//! What it does not do, and real nodes do:
//! * Isolation: containers share network, processes and users with the machine. Pods have addresses of
//!   their own from a loopback range, but a program that listens on 0.0.0.0 listens for all of them.
//! * Resources: requests and limits are ignored. So are runAsNonRoot, readOnlyRootFilesystem,
//!   capabilities, seccomp; runAsUser, runAsGroup and fsGroup are followed.
//! * Scheduling: every Pod lands here at once; affinities, taints and topology spread are ignored.
//! * Volumes: emptyDir, secret, configMap, downwardAPI, projected, hostPath; no claims, no CSI.
//! * postStart hooks, gRPC probes, ephemeral containers, `kubectl exec`, `attach` and `kubectl port-forward`,
//!   Service environment variables other than those of the API server.
//! * File systems: a container sees the machine's root file system with a layer of its own on top, but
//!   none that are mounted further down (a separate /home, say), and empty /tmp and /run.
//! * Names are resolved by a hosts file: no DNS, so no SRV records and no ExternalName.
//! * Back-off is short (0.2 s to 2 s), and a new container is probed every half second until its
//!   first verdict, because tests wait for both.
mod atomic_folder;
mod container;
mod container_process;
mod context;
mod downward;
mod enter;
mod environment;
mod expansion;
mod hosts;
mod images;
mod log_server;
mod pod_state;
mod pod_worker;
mod probe;
mod registration;
mod reporter;
mod volume_files;
mod volumes;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Result;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_events};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use context::Context;
pub use enter::enter_container;
use hosts::Hosts;
pub(crate) use images::Images;
use log_server::LogServer;
use pod_worker::PodWorker;

use crate::residence::Slot;
use crate::services::ServiceProxy;
use crate::wait;

pub(crate) const NODE_NAME: &str = "testbed";

/// How often a Pod is offered to the API server for binding before it is left alone.
const BINDING_ATTEMPTS: u32 = 20;

pub(crate) struct NodeSettings {
    pub(crate) client: Client,
    pub(crate) directory: PathBuf,
    pub(crate) slot: Slot,
    pub(crate) images: Arc<Images>,
}

/// Follows the Pods and has a worker for each.
pub(crate) struct Node {
    context: Context,
    workers: HashMap<String, watch::Sender<Arc<Pod>>>,
    binding: HashSet<String>,
    listed: HashSet<String>,
}

impl Node {
    /// Registers the node and runs it in the background from now on.
    pub(crate) async fn start(settings: NodeSettings, proxy: ServiceProxy) -> Result<()> {
        registration::register(&settings.client, settings.slot).await?;
        let pods: Api<Pod> = Api::all(settings.client.clone());
        let address = SocketAddr::from((registration::address(settings.slot), log_server::PORT));
        LogServer::start(&settings.directory, address, proxy.pods().clone()).await?;
        let context = Context::new(settings, Hosts::start(proxy)).await?;
        let node = Self { context, workers: HashMap::new(), binding: HashSet::new(), listed: HashSet::new() };
        tokio::spawn(node.run(pods));
        Ok(())
    }

    async fn run(mut self, pods: Api<Pod>) {
        let mut events = pin!(watch_events(pods, watcher::Config::default()).default_backoff());
        loop {
            match events.try_next().await {
                Ok(Some(event)) => self.note(event),
                Ok(None) => return,
                // The API server may be away for a while; Pods go on running.
                Err(error) => tracing::debug!(%error, "watching Pods"),
            }
        }
    }

    fn note(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(pod.uid().unwrap_or_default());
                self.see(pod);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.forget(|uid| !listed.contains(uid));
            }
            Event::Apply(pod) => self.see(pod),
            Event::Delete(pod) => {
                let gone = pod.uid().unwrap_or_default();
                self.forget(|uid| uid == gone);
            }
        }
    }

    fn see(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let pod = Arc::new(pod);
        if let Some(worker) = self.workers.get(&uid) {
            worker.send_replace(pod);
            return;
        }
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if node == Some(NODE_NAME) {
            self.binding.remove(&uid);
            let (sender, receiver) = watch::channel(pod);
            self.workers.insert(uid, sender);
            tokio::spawn(PodWorker::new(self.context.clone(), receiver).run());
        } else if node.is_none() && !is_gated(&pod) && self.binding.insert(uid) {
            tokio::spawn(bind(self.context.clone(), pod));
        }
    }

    /// A Pod whose object is gone has no grace: its worker is told once more, and then no more.
    fn forget(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.binding.retain(|uid| !is_gone(uid));
        self.workers.retain(|uid, worker| {
            if !is_gone(uid) {
                return true;
            }
            worker.send_modify(|pod| {
                let mut last = Pod::clone(pod);
                last.metadata.deletion_grace_period_seconds = Some(0);
                *pod = Arc::new(last);
            });
            false
        });
    }
}

fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.scheduling_gates.iter().flatten().next().is_some())
}

async fn bind(context: Context, pod: Arc<Pod>) {
    for _ in 0..BINDING_ATTEMPTS {
        match pod_worker::bind(&context, &pod).await {
            Ok(()) => return,
            Err(error) => {
                let code = match error.downcast_ref::<kube::Error>() {
                    Some(kube::Error::Api(status)) => status.code,
                    _ => 0,
                };
                // Gone, or bound by somebody else.
                if code == 404 || code == 409 {
                    return;
                }
                tracing::debug!(pod = pod.name_any(), error = format!("{error:#}"), "binding");
                wait::pause_unless(wait::SHORT_WHILE, std::future::pending::<()>()).await;
            }
        }
    }
    tracing::warn!(pod = pod.name_any(), "gave up binding");
}

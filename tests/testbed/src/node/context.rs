//! What every Pod's worker needs of the node.
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Result;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource as _};

use super::hosts::Hosts;
use super::{Images, NodeSettings};
use crate::residence::Slot;
use crate::watched::Watched;

#[derive(Clone)]
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) directory: PathBuf,
    pub(super) slot: Slot,
    pub(super) images: Arc<Images>,
    pub(super) secrets: Watched<Secret>,
    pub(super) config_maps: Watched<ConfigMap>,
    pub(super) hosts: Arc<Hosts>,
    recorder: Recorder,
    pods_so_far: Arc<AtomicU16>,
}

impl Context {
    pub(super) async fn new(settings: NodeSettings, hosts: Arc<Hosts>) -> Result<Self> {
        let NodeSettings { client, directory, slot, images } = settings;
        let (secrets, config_maps) = tokio::try_join!(
            Watched::start(Api::all(client.clone())),
            Watched::start(Api::all(client.clone()))
        )?;
        let reporter =
            Reporter { controller: "kubelet".to_owned(), instance: Some(super::NODE_NAME.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        let pods_so_far = Arc::new(AtomicU16::new(0));
        Ok(Self { client, directory, slot, images, secrets, config_maps, hosts, recorder, pods_so_far })
    }

    pub(super) fn next_pod_address(&self) -> Ipv4Addr {
        self.slot.pod(self.pods_so_far.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes an Event about a Pod, in the background: Events are help, nothing waits for them.
    pub(super) fn tell(&self, pod: &Pod, type_: EventType, reason: &str, message: String) {
        let reference = pod.object_ref(&());
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(message),
            action: reason.to_owned(),
            secondary: None,
        };
        let recorder = self.recorder.clone();
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                tracing::debug!(%error, reason = event.reason, "an Event was not written");
            }
        });
    }
}

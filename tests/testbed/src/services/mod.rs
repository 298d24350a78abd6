//! Makes Services work: listens at each cluster IP and port, and forwards to the Pods behind it.
mod backend;
mod forwarder;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client};

use backend::Backend;
pub(crate) use backend::{TARGETS_ANNOTATION, matches};
use forwarder::Forwarder;

use crate::wait;
use crate::watched::Watched;

#[derive(Debug, Clone)]
pub(crate) struct ServiceProxy {
    services: Watched<Service>,
    pods: Watched<Pod>,
    api_server: SocketAddr,
}

impl ServiceProxy {
    pub(crate) async fn start(client: &Client, api_server: SocketAddr) -> Result<Self> {
        let (services, pods) = tokio::try_join!(
            Watched::start(Api::all(client.clone())),
            Watched::start(Api::all(client.clone()))
        )?;
        let proxy = Self { services, pods, api_server };
        tokio::spawn(proxy.clone().run());
        Ok(proxy)
    }

    pub(crate) fn services(&self) -> &Watched<Service> {
        &self.services
    }

    pub(crate) fn pods(&self) -> &Watched<Pod> {
        &self.pods
    }

    async fn run(self) {
        let mut changes = self.services.changes();
        let mut forwarders: BTreeMap<SocketAddr, Forwarder> = BTreeMap::new();
        loop {
            let wanted = self.wanted();
            forwarders.retain(|address, _| wanted.contains_key(address));
            let mut all_listen = true;
            for (address, backend) in wanted {
                if let Some(forwarder) = forwarders.get(&address) {
                    forwarder.lead_to(backend);
                    continue;
                }
                match Forwarder::start(address, backend, self.pods.clone()).await {
                    Ok(forwarder) => {
                        forwarders.insert(address, forwarder);
                    }
                    Err(error) => {
                        all_listen = false;
                        tracing::warn!(%address, error = format!("{error:#}"), "a Service is not reachable");
                    }
                }
            }
            if all_listen {
                if changes.changed().await.is_err() {
                    return;
                }
            } else {
                wait::pause_unless(wait::SHORT_WHILE, changes.changed()).await;
            }
        }
    }

    fn wanted(&self) -> BTreeMap<SocketAddr, Arc<Backend>> {
        let mut wanted = BTreeMap::new();
        for service in self.services.all() {
            let Some(spec) = &service.spec else { continue };
            let Some(Ok(address)) = spec.cluster_ip.as_deref().map(str::parse::<IpAddr>) else { continue };
            for port in spec.ports.iter().flatten() {
                if port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
                    continue;
                }
                let Ok(number) = u16::try_from(port.port) else { continue };
                let backend = Backend::of(&service, port, self.api_server);
                wanted.insert(SocketAddr::new(address, number), Arc::new(backend));
            }
        }
        wanted
    }
}

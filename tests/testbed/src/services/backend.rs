//! What stands behind one port of a Service.
use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

use crate::watched::Watched;

/// On a Service without a selector: `address:port`s, comma-separated, that every port leads to.
pub(crate) const TARGETS_ANNOTATION: &str = "testbed.topicops/targets";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Addresses that are always there.
    Fixed(Vec<SocketAddr>),
    Pods {
        namespace: String,
        selector: BTreeMap<String, String>,
        port: IntOrString,
        /// `publishNotReadyAddresses`
        even_unready: bool,
    },
}

impl Backend {
    pub(super) fn of(service: &Service, port: &ServicePort, api_server: SocketAddr) -> Self {
        let namespace = service.namespace().unwrap_or_default();
        if namespace == "default" && service.name_any() == "kubernetes" {
            return Self::Fixed(vec![api_server]);
        }
        let spec = service.spec.as_ref();
        match spec.and_then(|spec| spec.selector.clone()).filter(|selector| !selector.is_empty()) {
            Some(selector) => Self::Pods {
                namespace,
                selector,
                port: port.target_port.clone().unwrap_or(IntOrString::Int(port.port)),
                even_unready: spec.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false),
            },
            None => {
                let targets = service.annotations().get(TARGETS_ANNOTATION).map_or("", String::as_str);
                Self::Fixed(targets.split(',').filter_map(|target| target.trim().parse().ok()).collect())
            }
        }
    }

    /// Where a connection may go now.
    pub(super) fn targets(&self, pods: &Watched<Pod>) -> Vec<SocketAddr> {
        match self {
            Self::Fixed(targets) => targets.clone(),
            Self::Pods { namespace, selector, port, even_unready } => {
                let mut targets: Vec<SocketAddr> = pods
                    .all()
                    .iter()
                    .filter(|pod| pod.namespace().as_deref() == Some(namespace) && matches(pod, selector))
                    .filter(|pod| serves(pod, *even_unready))
                    .filter_map(|pod| {
                        let address = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
                        Some(SocketAddr::new(address, port_of(pod, port)?))
                    })
                    .collect();
                targets.sort();
                targets
            }
        }
    }
}

pub(crate) fn matches(pod: &Pod, selector: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
}

fn serves(pod: &Pod, even_unready: bool) -> bool {
    let ready = || {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    };
    even_unready || (pod.metadata.deletion_timestamp.is_none() && ready())
}

fn port_of(pod: &Pod, port: &IntOrString) -> Option<u16> {
    let name = match port {
        IntOrString::Int(number) => return u16::try_from(*number).ok(),
        IntOrString::String(name) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let mut ports =
        spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some(name))?;
    u16::try_from(named.container_port).ok()
}

//! The Node object: what the API server knows of the machine.
//!
//! No heartbeat is needed: the controller that would miss it is left out of the controller manager.
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::NODE_NAME;
use crate::residence::Slot;

pub(super) fn address(slot: Slot) -> Ipv4Addr {
    slot.node()
}

pub(super) async fn register(client: &Client, slot: Slot) -> anyhow::Result<()> {
    let address = address(slot).to_string();
    let nodes: Api<Node> = Api::all(client.clone());
    let node = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": NODE_NAME, "labels": {
            "kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        } },
    }))?;
    nodes.create(&PostParams::default(), &node).await?;
    let resources = json!({ "cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "10000" });
    let status = json!({ "status": {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [
            { "type": "InternalIP", "address": address },
            { "type": "Hostname", "address": NODE_NAME },
        ],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": super::log_server::PORT } },
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the testbed's node runs",
        }],
        "nodeInfo": {
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "processes://1",
            "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "v1.36.3",
            "machineID": "", "operatingSystem": "linux", "osImage": "topicops testbed", "systemUUID": "",
        },
    } });
    nodes.patch_status(NODE_NAME, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

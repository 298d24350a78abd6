//! The bed's one node.
mod images;
mod registration;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use kube::Client;

pub(crate) use images::Images;

use crate::residence::Slot;
use crate::services::ServiceProxy;

pub(crate) const NODE_NAME: &str = "testbed";

pub(crate) struct NodeSettings {
    pub(crate) client: Client,
    pub(crate) directory: PathBuf,
    pub(crate) slot: Slot,
    pub(crate) images: Arc<Images>,
}
pub(crate) struct Node;
impl Node {
    pub(crate) async fn start(settings: NodeSettings, _proxy: ServiceProxy) -> Result<()> {
        registration::register(&settings.client, settings.slot).await
    }
}
pub fn enter_container(_s: &std::path::Path) -> anyhow::Error {
    anyhow::anyhow!("x")
}

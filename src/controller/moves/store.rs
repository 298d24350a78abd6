use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use thiserror::Error;
use topicops_contract::OperatorId;

use crate::moves::{MoveState, RebalanceRequest, RebalanceStatus};

/// Where the state of moves is kept.
#[async_trait]
pub trait MoveStore: Send + Sync + 'static {
    /// The state and its version; `None` when nothing was ever written.
    async fn load(&self) -> Result<Option<(MoveState, String)>, MoveStoreError>;

    /// Writes over the version that was read; gives the new one.
    async fn write(&self, state: &MoveState, version: Option<&str>) -> Result<String, MoveStoreError>;

    /// Tells how a rebalance stands, beside its request.
    async fn tell(&self, status: &RebalanceStatus) -> Result<(), MoveStoreError>;
}

#[derive(Debug, Error)]
pub enum MoveStoreError {
    #[error("ConfigMap {name} could not be {doing}")]
    Kubernetes { name: String, doing: &'static str, source: Box<kube::Error> },
    #[error("ConfigMap {name} cannot be read: {message}")]
    Unreadable { name: String, message: String },
}

/// Keeps the state in the ConfigMap `<operator-id>-moves`, and takes requests from `<operator-id>-rebalance`.
#[derive(Clone)]
pub struct ConfigMapMoveStore {
    api: Api<ConfigMap>,
    operator: OperatorId,
}

const STATE_KEY: &str = "moves";
pub(super) const REQUEST_KEY: &str = "request";
const STATUS_KEY: &str = "status";

impl ConfigMapMoveStore {
    pub fn new(client: Client, namespace: &str, operator: OperatorId) -> Self {
        Self { api: Api::namespaced(client, namespace), operator }
    }

    pub fn request_name(operator: &OperatorId) -> String {
        format!("{operator}-rebalance")
    }

    fn state_name(&self) -> String {
        format!("{}-moves", self.operator)
    }

    /// Leaves a request for the replica that leads, in the place of an earlier one.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn leave(&self, request: &RebalanceRequest) -> Result<(), MoveStoreError> {
        let name = Self::request_name(&self.operator);
        let text = serde_json::to_string(request)
            .map_err(|error| MoveStoreError::Unreadable { name: name.clone(), message: error.to_string() })?;
        let apply = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
            "data": { REQUEST_KEY: text } });
        let params = PatchParams::apply("topicops-rebalance").force();
        let written = self.api.patch(&name, &params, &Patch::Apply(&apply)).await;
        written.map(drop).map_err(|error| failed(&name, "written", error))
    }

    /// The request that stands, and what was last said of one.
    ///
    /// # Errors
    /// When the API server does not answer, or what stands there is not ours.
    pub async fn requested(
        &self,
    ) -> Result<(Option<RebalanceRequest>, Option<RebalanceStatus>), MoveStoreError> {
        let name = Self::request_name(&self.operator);
        let found = self.api.get_opt(&name).await.map_err(|error| failed(&name, "read", error))?;
        let data = found.and_then(|config_map| config_map.data).unwrap_or_default();
        let unreadable = |error: serde_json::Error| MoveStoreError::Unreadable {
            name: name.clone(),
            message: error.to_string(),
        };
        let request = data.get(REQUEST_KEY).map(|text| serde_json::from_str(text)).transpose();
        let status = data.get(STATUS_KEY).map(|text| serde_json::from_str(text)).transpose();
        Ok((request.map_err(unreadable)?, status.map_err(unreadable)?))
    }
}

fn failed(name: &str, doing: &'static str, error: kube::Error) -> MoveStoreError {
    MoveStoreError::Kubernetes { name: name.to_owned(), doing, source: Box::new(error) }
}

impl std::fmt::Debug for ConfigMapMoveStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConfigMapMoveStore({})", self.operator)
    }
}

#[async_trait]
impl MoveStore for ConfigMapMoveStore {
    async fn load(&self) -> Result<Option<(MoveState, String)>, MoveStoreError> {
        let name = self.state_name();
        let found = self.api.get_opt(&name).await.map_err(|error| failed(&name, "read", error))?;
        let Some(config_map) = found else { return Ok(None) };
        let version = config_map.metadata.resource_version.unwrap_or_default();
        let state = match config_map.data.unwrap_or_default().get(STATE_KEY) {
            Some(text) => {
                MoveState::take_over(text).map_err(|message| MoveStoreError::Unreadable { name, message })?
            }
            None => MoveState::new(),
        };
        Ok(Some((state, version)))
    }

    async fn write(&self, state: &MoveState, version: Option<&str>) -> Result<String, MoveStoreError> {
        let name = self.state_name();
        let text =
            state.to_text().map_err(|message| MoveStoreError::Unreadable { name: name.clone(), message })?;
        let config_map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                resource_version: version.map(str::to_owned),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(STATE_KEY.to_owned(), text)])),
            ..ConfigMap::default()
        };
        let params = PostParams::default();
        let written = match version {
            Some(_) => self.api.replace(&name, &params, &config_map).await,
            None => self.api.create(&params, &config_map).await,
        };
        let written = written.map_err(|error| failed(&name, "written", error))?;
        Ok(written.metadata.resource_version.unwrap_or_default())
    }

    async fn tell(&self, status: &RebalanceStatus) -> Result<(), MoveStoreError> {
        let name = Self::request_name(&self.operator);
        let text = serde_json::to_string(status)
            .map_err(|error| MoveStoreError::Unreadable { name: name.clone(), message: error.to_string() })?;
        let patch = json!({ "data": { STATUS_KEY: text } });
        match self.api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            // Nobody asks any more.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(failed(&name, "written", error)),
        }
    }
}

use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use topicops_contract::OperatorId;

use super::{LedgerError, LedgerStore, Page};

/// Keeps the pages as ConfigMaps in the operator's own namespace.
#[derive(Clone)]
pub struct ConfigMapLedger {
    api: Api<ConfigMap>,
    operator: OperatorId,
}

const LEDGER_LABEL: &str = "topic.kafka.nb/ledger";
const LEDGER_KEY: &str = "topics";

impl ConfigMapLedger {
    pub fn new(client: Client, namespace: &str, operator: OperatorId) -> Self {
        Self { api: Api::namespaced(client, namespace), operator }
    }

    fn object_name(&self, page: &str) -> String {
        format!("{}-ledger-{page}", self.operator)
    }

    fn error(&self, page: &str, doing: &'static str, source: kube::Error) -> LedgerError {
        LedgerError::Kubernetes { name: self.object_name(page), doing, source: Box::new(source) }
    }
}

impl std::fmt::Debug for ConfigMapLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConfigMapLedger({})", self.operator)
    }
}

#[async_trait]
impl LedgerStore for ConfigMapLedger {
    async fn load(&self) -> Result<Vec<Page>, LedgerError> {
        let params = ListParams::default().labels(&format!("{LEDGER_LABEL}={}", self.operator));
        let list = self.api.list(&params).await.map_err(|error| self.error("*", "read", error))?;
        let prefix = self.object_name("");
        let pages = list.items.into_iter().filter_map(|config_map| {
            let name = config_map.metadata.name?.strip_prefix(&prefix)?.to_owned();
            let text = config_map.data.and_then(|mut data| data.remove(LEDGER_KEY)).unwrap_or_default();
            Some(Page { name, version: config_map.metadata.resource_version?, text })
        });
        Ok(pages.collect())
    }

    async fn write(&self, name: &str, version: Option<&str>, text: String) -> Result<String, LedgerError> {
        let object_name = self.object_name(name);
        let config_map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(object_name.clone()),
                labels: Some(BTreeMap::from([(LEDGER_LABEL.to_owned(), self.operator.to_string())])),
                resource_version: version.map(str::to_owned),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(LEDGER_KEY.to_owned(), text)])),
            ..ConfigMap::default()
        };
        let params = PostParams::default();
        let written = match version {
            Some(_) => self.api.replace(&object_name, &params, &config_map).await,
            None => self.api.create(&params, &config_map).await,
        };
        let written = written.map_err(|error| self.error(name, "written", error))?;
        Ok(written.metadata.resource_version.unwrap_or_default())
    }
}

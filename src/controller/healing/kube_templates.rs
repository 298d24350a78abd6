use async_trait::async_trait;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::Value;
use topicops_contract::{Workload, WorkloadKind, keys};

use super::{Patched, StoredTemplate, Templates};
use crate::{
    controller::{Scope, scope::is_of_no_namespace},
    workload_resource::workload_resource,
};

/// Workloads in Kubernetes.
#[allow(missing_debug_implementations)]
pub struct KubeTemplates {
    client: Client,
    scope: Scope,
}

/// Whole objects that are asked for at once: some kilobytes each.
const PAGE: u32 = 100;
/// Under which the API server remembers what was put in afterwards.
const FIELD_MANAGER: &str = "topicops-healing";
/// Between the namespace of a page and its token.
const SEPARATOR: char = '\n';

impl KubeTemplates {
    pub fn new(client: Client, scope: Scope) -> Self {
        Self { client, scope }
    }

    fn api(&self, workload: &Workload) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), workload.namespace(), &workload_resource(workload.kind()))
    }

    /// Where pages are asked for, one after the other.
    fn places(&self) -> Vec<Option<&str>> {
        match &self.scope {
            Scope::All => vec![None],
            Scope::Only(namespaces) => namespaces.iter().map(|namespace| Some(namespace.as_str())).collect(),
        }
    }
}

#[async_trait]
impl Templates for KubeTemplates {
    async fn read(&self, workload: &Workload) -> Result<Option<StoredTemplate>, kube::Error> {
        let found = self.api(workload).get_opt(workload.name()).await?;
        Ok(found.and_then(|object| stored(workload.kind(), &object)))
    }

    async fn page(
        &self,
        kind: WorkloadKind,
        after: Option<String>,
    ) -> Result<(Vec<StoredTemplate>, Option<String>), kube::Error> {
        let (place, token) = match after.as_deref().and_then(|after| after.split_once(SEPARATOR)) {
            Some((place, token)) => (place.parse().unwrap_or_default(), token),
            None => (0, ""),
        };
        let places = self.places();
        let resource = workload_resource(kind);
        let api: Api<DynamicObject> = match places.get(place) {
            Some(Some(namespace)) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            Some(None) => Api::all_with(self.client.clone(), &resource),
            None => return Ok((Vec::new(), None)),
        };
        let labels = format!("{}={}", keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE);
        let mut params = ListParams::default().labels(&labels).limit(PAGE);
        if !token.is_empty() {
            params = params.continue_token(token);
        }
        let next_place = (place + 1 < places.len()).then(|| format!("{}{SEPARATOR}", place + 1));
        let list = match api.list(&params).await {
            Ok(list) => list,
            Err(error) if is_of_no_namespace(&self.client, api.namespace(), &error).await => {
                return Ok((Vec::new(), next_place));
            }
            Err(error) => return Err(error),
        };
        let next = match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => Some(format!("{place}{SEPARATOR}{token}")),
            None => next_place,
        };
        Ok((list.items.iter().filter_map(|object| stored(kind, object)).collect(), next))
    }

    async fn patch(&self, workload: &Workload, operations: &Value) -> Result<Patched, kube::Error> {
        let patch = serde_json::from_value(operations.clone()).map_err(kube::Error::SerdeError)?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.api(workload).patch_metadata(workload.name(), &params, &Patch::Json::<()>(patch)).await {
            Ok(_) => Ok(Patched::Done),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Patched::Overtaken),
            Err(error) => Err(error),
        }
    }
}

fn stored(kind: WorkloadKind, object: &DynamicObject) -> Option<StoredTemplate> {
    let meta = &object.metadata;
    let workload = Workload::new(
        meta.namespace.clone().unwrap_or_default(),
        kind,
        meta.name.clone().unwrap_or_default(),
    );
    Some(StoredTemplate {
        workload,
        uid: meta.uid.clone()?,
        resource_version: meta.resource_version.clone()?,
        json: serde_json::to_string(object).ok()?,
    })
}

//! Applies YAML as `kubectl apply --server-side` does.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{self, ApiCapabilities, ApiResource, Scope};
use serde::Deserialize as _;

const FIELD_MANAGER: &str = "topicops-testbed";

pub(crate) async fn apply(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut kinds = BTreeMap::new();
    let mut applied = Vec::new();
    for (index, document) in serde_norway::Deserializer::from_str(yaml).enumerate() {
        let position = format!("YAML document {}", index + 1);
        let value = serde_json::Value::deserialize(document).with_context(|| position.clone())?;
        if value.is_null() {
            continue;
        }
        let object: DynamicObject =
            serde_json::from_value(value).with_context(|| format!("{position} is no Kubernetes object"))?;
        applied.push(apply_one(client, &mut kinds, &object).await.with_context(|| describe(&object))?);
    }
    Ok(applied)
}

pub(crate) async fn apply_path(client: &Client, path: &Path) -> Result<Vec<DynamicObject>> {
    let mut applied = Vec::new();
    for file in files(path).with_context(|| format!("reading {}", path.display()))? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        applied.extend(apply(client, &text).await.with_context(|| format!("applying {}", file.display()))?);
    }
    Ok(applied)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

type Kinds = BTreeMap<(String, String), (ApiResource, ApiCapabilities)>;

async fn apply_one(client: &Client, kinds: &mut Kinds, object: &DynamicObject) -> Result<DynamicObject> {
    let types = object.types.as_ref().context("apiVersion and kind are missing")?;
    let name = object.metadata.name.as_deref().context("metadata.name is missing")?;
    let key = (types.api_version.clone(), types.kind.clone());
    let (resource, capabilities) = match kinds.get(&key) {
        Some(known) => known.clone(),
        None => {
            let kind = GroupVersionKind::try_from(types)?;
            let found = discovery::pinned_kind(client, &kind).await.with_context(|| {
                format!("the API server does not know {} {}", types.api_version, types.kind)
            })?;
            kinds.insert(key, found.clone());
            found
        }
    };
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    };
    Ok(api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(object)).await?)
}

fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| types.kind.as_str());
    let namespace = object.metadata.namespace.as_deref().unwrap_or("-");
    format!("applying {kind} {namespace}/{}", object.metadata.name.as_deref().unwrap_or("(no name)"))
}

//! The environment of a container: what its manifest says, and nothing of the machine's.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};
use kube::ResourceExt as _;

use super::context::Context;
use super::downward;
use super::expansion::expand;
use crate::program::Program;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// # Errors
/// What a variable refers to and is missing; the container waits for it.
pub(super) fn build(
    context: &Context,
    pod: &Pod,
    address: &str,
    container: &Container,
    program: &Program,
) -> Result<BTreeMap<String, String>> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
        ("HOSTNAME".to_owned(), pod.name_any()),
        ("KUBERNETES_SERVICE_HOST".to_owned(), context.slot.kubernetes_service().to_string()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), "443".to_owned()),
        ("KUBERNETES_SERVICE_PORT_HTTPS".to_owned(), "443".to_owned()),
    ]);
    env.extend(program.env.clone());
    let namespace = pod.namespace().unwrap_or_default();
    let lookup = Lookup { context, pod, address, namespace: &namespace, container: &container.name };
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let mut pairs = BTreeMap::new();
        if let Some(reference) = &source.secret_ref {
            pairs.extend(lookup.whole_secret(&reference.name, reference.optional)?);
        }
        if let Some(reference) = &source.config_map_ref {
            pairs.extend(lookup.whole_config_map(&reference.name, reference.optional)?);
        }
        env.extend(pairs.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &env)),
            Some(source) => {
                lookup.value(source).with_context(|| format!("environment variable {}", variable.name))?
            }
        };
        if let Some(value) = value {
            env.insert(variable.name.clone(), value);
        }
    }
    Ok(env)
}

struct Lookup<'a> {
    context: &'a Context,
    pod: &'a Pod,
    address: &'a str,
    namespace: &'a str,
    container: &'a str,
}

impl Lookup<'_> {
    fn value(&self, source: &EnvVarSource) -> Result<Option<String>> {
        if let Some(reference) = &source.field_ref {
            return downward::field(self.pod, self.address, &reference.field_path).map(Some);
        }
        if let Some(reference) = &source.resource_field_ref {
            return downward::resource(self.pod, self.container, reference).map(Some);
        }
        if let Some(reference) = &source.secret_key_ref {
            let mut pairs = self.whole_secret(&reference.name, reference.optional)?;
            return key(&mut pairs, "Secret", &reference.name, &reference.key, reference.optional);
        }
        if let Some(reference) = &source.config_map_key_ref {
            let mut pairs = self.whole_config_map(&reference.name, reference.optional)?;
            return key(&mut pairs, "ConfigMap", &reference.name, &reference.key, reference.optional);
        }
        Err(anyhow!("the testbed's node does not know this source"))
    }

    fn whole_secret(&self, name: &str, optional: Option<bool>) -> Result<BTreeMap<String, String>> {
        match self.context.secrets.get(self.namespace, name) {
            Some(secret) => Ok(secret
                .data
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned()))
                .collect()),
            None if optional.unwrap_or(false) => Ok(BTreeMap::new()),
            None => Err(anyhow!("secret {name:?} not found")),
        }
    }

    fn whole_config_map(&self, name: &str, optional: Option<bool>) -> Result<BTreeMap<String, String>> {
        match self.context.config_maps.get(self.namespace, name) {
            Some(map) => Ok(map.data.clone().unwrap_or_default()),
            None if optional.unwrap_or(false) => Ok(BTreeMap::new()),
            None => Err(anyhow!("configmap {name:?} not found")),
        }
    }
}

fn key(
    pairs: &mut BTreeMap<String, String>,
    kind: &str,
    object: &str,
    key: &str,
    optional: Option<bool>,
) -> Result<Option<String>> {
    match pairs.remove(key) {
        Some(value) => Ok(Some(value)),
        None if optional.unwrap_or(false) => Ok(None),
        None => Err(anyhow!("couldn't find key {key} in {kind} {object}")),
    }
}

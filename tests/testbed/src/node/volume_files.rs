//! What is in a volume: files of Secrets, ConfigMaps, the downward API and service account tokens.
use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccount, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};

use super::atomic_folder::{FileContent, Files};
use super::context::Context;
use super::downward;

const DEFAULT_MODE: i32 = 0o644;
const DEFAULT_TOKEN_LIFE: i64 = 3600;

/// Tokens that were fetched, and until when they are good enough.
#[derive(Debug, Default)]
pub(super) struct Tokens(HashMap<String, (String, Instant)>);

/// Whether the node writes files for this volume, rather than the Pod.
pub(super) fn has_files(volume: &Volume) -> bool {
    volume.secret.is_some()
        || volume.config_map.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

/// The files that belong into a volume now.
///
/// # Errors
/// What is missing, in kubelet's words; the Pod waits for it.
pub(super) async fn collect(
    context: &Context,
    pod: &Pod,
    address: &str,
    volume: &Volume,
    tokens: &mut Tokens,
) -> Result<Files> {
    let source = Source { context, pod, address };
    let mut files = Files::new();
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let mode = secret.default_mode.unwrap_or(DEFAULT_MODE);
        source.secret(&mut files, name, secret.items.as_deref(), secret.optional, mode)?;
    }
    if let Some(map) = &volume.config_map {
        let mode = map.default_mode.unwrap_or(DEFAULT_MODE);
        source.config_map(&mut files, &map.name, map.items.as_deref(), map.optional, mode)?;
    }
    if let Some(downward) = &volume.downward_api {
        let mode = downward.default_mode.unwrap_or(DEFAULT_MODE);
        source.downward(&mut files, downward.items.as_deref(), mode)?;
    }
    if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        for projection in projected.sources.iter().flatten() {
            source.projection(&mut files, projection, mode, tokens).await?;
        }
    }
    Ok(files)
}

struct Source<'a> {
    context: &'a Context,
    pod: &'a Pod,
    address: &'a str,
}

impl Source<'_> {
    fn namespace(&self) -> String {
        self.pod.namespace().unwrap_or_default()
    }

    async fn projection(
        &self,
        files: &mut Files,
        projection: &VolumeProjection,
        mode: i32,
        tokens: &mut Tokens,
    ) -> Result<()> {
        if let Some(secret) = &projection.secret {
            self.secret(files, &secret.name, secret.items.as_deref(), secret.optional, mode)?;
        }
        if let Some(map) = &projection.config_map {
            self.config_map(files, &map.name, map.items.as_deref(), map.optional, mode)?;
        }
        if let Some(downward) = &projection.downward_api {
            self.downward(files, downward.items.as_deref(), mode)?;
        }
        if let Some(wanted) = &projection.service_account_token {
            let token = self.token(wanted, tokens).await?;
            files.insert(wanted.path.clone(), content(token.into_bytes(), mode));
        }
        if projection.cluster_trust_bundle.is_some() {
            bail!("the testbed's node has no cluster trust bundles");
        }
        Ok(())
    }

    fn secret(
        &self,
        files: &mut Files,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
    ) -> Result<()> {
        let Some(secret) = self.context.secrets.get(&self.namespace(), name) else {
            return absent(optional, || anyhow!("secret {name:?} not found"));
        };
        let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
        place(files, &data, items, optional, mode).with_context(|| format!("secret {name:?}"))
    }

    fn config_map(
        &self,
        files: &mut Files,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
    ) -> Result<()> {
        let Some(map) = self.context.config_maps.get(&self.namespace(), name) else {
            return absent(optional, || anyhow!("configmap {name:?} not found"));
        };
        let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
        place(files, &text.chain(binary).collect(), items, optional, mode)
            .with_context(|| format!("configmap {name:?}"))
    }

    fn downward(&self, files: &mut Files, items: Option<&[DownwardAPIVolumeFile]>, mode: i32) -> Result<()> {
        for item in items.unwrap_or_default() {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(reference), _) => downward::field(self.pod, self.address, &reference.field_path)?,
                (None, Some(reference)) => downward::resource(self.pod, "", reference)?,
                (None, None) => String::new(),
            };
            files.insert(item.path.clone(), content(value.into_bytes(), item.mode.unwrap_or(mode)));
        }
        Ok(())
    }

    async fn token(&self, wanted: &ServiceAccountTokenProjection, tokens: &mut Tokens) -> Result<String> {
        let audience = wanted.audience.clone().unwrap_or_default();
        let key = format!("{}\0{audience}", wanted.path);
        if let Some((token, good_until)) = tokens.0.get(&key)
            && Instant::now() < *good_until
        {
            return Ok(token.clone());
        }
        let life = wanted.expiration_seconds.unwrap_or(DEFAULT_TOKEN_LIFE);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: if audience.is_empty() { Vec::new() } else { vec![audience] },
                expiration_seconds: Some(life),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: self.pod.metadata.name.clone(),
                    uid: self.pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let account = account.unwrap_or("default");
        let accounts: Api<ServiceAccount> = Api::namespaced(self.context.client.clone(), &self.namespace());
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("failed to fetch a token for service account {account:?}"))?;
        let token = answer.status.context("the API server answered without a token")?.token;
        // Kubelet, too, renews when four fifths of a token's life are over.
        let good_for = Duration::from_secs(u64::try_from(life * 4 / 5)?);
        tokens.0.insert(key, (token.clone(), Instant::now() + good_for));
        Ok(token)
    }
}

fn absent(optional: Option<bool>, error: impl FnOnce() -> anyhow::Error) -> Result<()> {
    if optional.unwrap_or(false) { Ok(()) } else { Err(error()) }
}

fn place(
    files: &mut Files,
    data: &HashMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<()> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        files.extend(data.iter().map(|(key, bytes)| (key.clone(), content(bytes.clone(), mode))));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => {
                files.insert(item.path.clone(), content(bytes.clone(), item.mode.unwrap_or(mode)));
            }
            None => absent(optional, || anyhow!("references non-existent key {:?}", item.key))?,
        }
    }
    Ok(())
}

fn content(bytes: Vec<u8>, mode: i32) -> FileContent {
    FileContent { bytes, mode: u32::try_from(mode).unwrap_or(0o644) & 0o777 }
}

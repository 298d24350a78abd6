use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::{StreamExt, stream};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams},
};
use serde_json::{Value, json};
use topicops_contract::{OperatorId, keys};

use crate::{
    KafkaTopic, ObjectKey,
    controller::{leader, topics::other_finalizers},
};

/// The settings of `topicops release`.
#[derive(Args, Clone, Debug)]
pub struct ReleaseSettings {
    /// Only the objects of this namespace. Default: those of all namespaces.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Only objects that lost their label config=kafka-topic while topicops did not run: may be done while it runs.
    #[arg(long)]
    pub unlabelled: bool,

    /// Changes nothing, and says what would be done.
    #[arg(long)]
    pub dry_run: bool,

    /// Does it although a replica leads, which puts back what is taken from objects that are topics still.
    #[arg(long)]
    pub force: bool,

    /// The --operator-id of the topicops whose Lease says whether it runs.
    #[arg(long, env = "TOPICOPS_OPERATOR_ID", default_value = "topicops")]
    pub operator_id: OperatorId,
}

/// How many objects are asked for at once: an answer has their metadata alone, but of every ConfigMap there is.
const PAGE: u32 = 500;
/// Patches under way at the same time.
const IN_FLIGHT: usize = 8;
/// Against somebody who writes the same object all the time.
const TRIES: u32 = 10;

/// `topicops release`: takes topicops' finalizer and status from every object, so that none waits for a topicops that does
/// not run any more. Topics, users and Secrets stay as they are. Says to `out` what it did; doing it again does nothing.
///
/// # Errors
/// A replica leads, or the API server refuses.
pub async fn release(settings: &ReleaseSettings, out: &mut (dyn Write + Send)) -> Result<()> {
    let config = Config::infer().await.context("finding the Kubernetes API server")?;
    let client = Client::try_from(config).context("setting up the Kubernetes client")?;
    if !settings.force && !settings.unlabelled && !settings.dry_run {
        refuse_while_led(&client, settings).await?;
    }
    for kind in kinds(settings.unlabelled) {
        release_kind(&client, settings, &kind, out).await?;
    }
    Ok(())
}

/// The kinds of object that topicops writes a finalizer to. A KafkaTopic has no label to lose.
fn kinds(unlabelled: bool) -> Vec<ApiResource> {
    let mut kinds = vec![ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&())];
    if !unlabelled {
        kinds.push(ApiResource::erase::<KafkaTopic>(&()));
    }
    kinds
}

async fn refuse_while_led(client: &Client, settings: &ReleaseSettings) -> Result<()> {
    let lease = settings.operator_id.as_str();
    let leader = leader(client, lease).await.with_context(|| {
        format!("asking for the Lease {lease}, to see whether topicops runs (--force does without)")
    })?;
    if let Some(leader) = leader {
        bail!(
            "{leader} leads, and would put back what is taken away: delete the Deployment of topicops first, or use --force"
        );
    }
    Ok(())
}

async fn release_kind(
    client: &Client,
    settings: &ReleaseSettings,
    kind: &ApiResource,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let api: Api<DynamicObject> = match &settings.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, kind),
        None => Api::all_with(client.clone(), kind),
    };
    let (mut looked_at, mut released) = (0_usize, 0_usize);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = match api.list_metadata(&page).await {
            Ok(list) => list,
            // The custom resource is not installed.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("listing {}s", kind.kind)),
        };
        looked_at += list.items.len();
        let ours = list
            .items
            .into_iter()
            .map(|object| object.metadata)
            .filter(|meta| change(meta).is_some() && (!settings.unlabelled || !has_label(meta)));
        let mut done = stream::iter(ours)
            .map(|meta| async move {
                let key = ObjectKey::of(&meta);
                let result =
                    if settings.dry_run { Ok(true) } else { release_one(client, kind, &key, meta).await };
                (key, result)
            })
            .buffer_unordered(IN_FLIGHT);
        while let Some((key, result)) = done.next().await {
            let word = if settings.dry_run { "would release" } else { "released" };
            if result.with_context(|| format!("releasing {} {key}", kind.kind))? {
                writeln!(out, "{word} {} {key}", kind.kind)?;
                released += 1;
            }
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    let would = if settings.dry_run { "to be released" } else { "released" };
    writeln!(out, "{released} of {looked_at} {}s {would}", kind.kind)?;
    Ok(())
}

/// Whether there was anything to take away by the time it was taken.
async fn release_one(client: &Client, kind: &ApiResource, key: &ObjectKey, seen: ObjectMeta) -> Result<bool> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, kind);
    let mut meta = seen;
    for _ in 0..TRIES {
        let Some(patch) = change(&meta) else { return Ok(false) };
        match api.patch_metadata(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
            // Somebody wrote it since it was read.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
        match api.get_metadata_opt(&key.name).await? {
            Some(now) => meta = now.metadata,
            None => return Ok(false),
        }
    }
    bail!("somebody else wrote it each time")
}

/// What takes our finalizer and our status away, and nothing that others put there; `None` when neither is there.
fn change(meta: &ObjectMeta) -> Option<Value> {
    let others = other_finalizers(meta);
    let has_status = meta.annotations.as_ref().is_some_and(|all| all.contains_key(keys::topic::STATUS));
    if others.is_none() && !has_status {
        return None;
    }
    // The version, so that a finalizer that somebody adds meanwhile is not lost.
    let mut metadata = json!({ "resourceVersion": meta.resource_version });
    if let Some(others) = others {
        metadata["finalizers"] = json!(others);
    }
    if has_status {
        metadata["annotations"] = json!({ keys::topic::STATUS: Value::Null });
    }
    Some(json!({ "metadata": metadata }))
}

fn has_label(meta: &ObjectMeta) -> bool {
    let label = meta.labels.as_ref().and_then(|labels| labels.get(keys::CONFIG_LABEL));
    label.is_some_and(|value| value == keys::CONFIG_LABEL_TOPIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(finalizers: &[&str], annotations: &[(&str, &str)]) -> ObjectMeta {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ObjectMeta {
            resource_version: Some("7".to_owned()),
            finalizers: Some(finalizers.iter().map(|name| (*name).to_owned()).collect()),
            annotations: Some(annotations.collect()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn what_others_put_there_stays() {
        let change =
            change(&meta(&["a/b", keys::TOPIC_FINALIZER, "c/d"], &[("x", "y"), (keys::topic::STATUS, "{}")]))
                .unwrap();
        assert_eq!(change["metadata"]["finalizers"], json!(["a/b", "c/d"]));
        assert_eq!(change["metadata"]["resourceVersion"], "7");
        assert_eq!(change["metadata"]["annotations"], json!({ keys::topic::STATUS: null }));
    }

    #[test]
    fn an_object_without_anything_of_ours_is_left_alone() {
        assert_eq!(change(&meta(&["a/b"], &[(keys::topic::PAUSED, "true")])), None);
        assert!(change(&meta(&[], &[(keys::topic::STATUS, "{}")])).is_some());
        assert!(change(&meta(&[keys::TOPIC_FINALIZER], &[])).is_some());
    }
}

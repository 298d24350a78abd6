//! What the metadata of a credentials Secret says.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use topicops_contract::keys;

use crate::{ObjectKey, access::Client};

pub(super) fn is_labelled(meta: &ObjectMeta) -> bool {
    let label = meta.labels.as_ref().and_then(|labels| labels.get(keys::CONFIG_LABEL));
    label.is_some_and(|value| value == keys::CONFIG_LABEL_CREDENTIALS)
}

pub(super) fn username(meta: &ObjectMeta) -> Option<&str> {
    annotation(meta, keys::secret::USERNAME)
}

pub(super) fn fingerprint(meta: &ObjectMeta) -> Option<&str> {
    annotation(meta, keys::secret::FINGERPRINT)
}

pub(super) fn previous(meta: &ObjectMeta) -> Option<&str> {
    annotation(meta, keys::secret::PREVIOUS)
}

/// When the password in it was made; of one that does not say, when the Secret was.
pub(super) fn made(meta: &ObjectMeta) -> Option<Timestamp> {
    says_made(meta).or_else(|| meta.creation_timestamp.as_ref().map(|time| time.0))
}

/// When it says that the password in it was made.
pub(super) fn says_made(meta: &ObjectMeta) -> Option<Timestamp> {
    annotation(meta, keys::secret::MADE)?.parse().ok()
}

pub(super) fn made_for(meta: &ObjectMeta) -> Option<&str> {
    annotation(meta, keys::secret::MADE_FOR)
}

/// The uid of the one workload that it belongs to.
pub(super) fn owner_uid(meta: &ObjectMeta) -> Option<&str> {
    match meta.owner_references.as_deref() {
        Some([owner]) => Some(&owner.uid),
        _ => None,
    }
}

/// Whether a Secret is the one that we made for this user.
pub(super) fn is_ours(meta: &ObjectMeta, user: &str) -> bool {
    is_labelled(meta) && username(meta) == Some(user)
}

/// What a Secret says of its password.
#[derive(Clone, Debug, Default)]
pub(super) struct Making {
    pub(super) made: Option<Timestamp>,
    pub(super) made_for: Option<String>,
    pub(super) previous: Option<String>,
}

/// The metadata to write: what others put on the Secret stays, but for owners, which would keep it alive or take it away.
pub(super) fn ours(
    base: Option<&ObjectMeta>,
    key: &ObjectKey,
    user: &str,
    fingerprint: String,
    making: &Making,
    owner: &Client,
) -> ObjectMeta {
    let mut labels = base.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(keys::CONFIG_LABEL.to_owned(), keys::CONFIG_LABEL_CREDENTIALS.to_owned());
    let mut annotations = base.and_then(|meta| meta.annotations.clone()).unwrap_or_default();
    annotations.insert(keys::secret::USERNAME.to_owned(), user.to_owned());
    annotations.insert(keys::secret::FINGERPRINT.to_owned(), fingerprint);
    for (key, value) in [
        (keys::secret::MADE, making.made.map(|made| made.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
        (keys::secret::MADE_FOR, making.made_for.clone()),
        (keys::secret::PREVIOUS, making.previous.clone()),
    ] {
        match value {
            Some(value) => annotations.insert(key.to_owned(), value),
            None => annotations.remove(key),
        };
    }
    ObjectMeta {
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        resource_version: base.and_then(|meta| meta.resource_version.clone()),
        uid: base.and_then(|meta| meta.uid.clone()),
        finalizers: base.and_then(|meta| meta.finalizers.clone()),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: Some(vec![owner_reference(owner)]),
        ..ObjectMeta::default()
    }
}

/// The garbage collector takes the Secret with its workload, even when we are not there to do it.
fn owner_reference(owner: &Client) -> OwnerReference {
    OwnerReference {
        api_version: owner.workload.kind().api_version().to_owned(),
        kind: owner.workload.kind().as_str().to_owned(),
        name: owner.workload.name().to_owned(),
        uid: owner.uid.clone(),
        block_owner_deletion: None,
        controller: None,
    }
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{core::PartialObjectMeta, runtime::watcher::Config};
use tokio::sync::watch;
use topicops_contract::keys;

use super::secret_meta;
use crate::{
    ObjectKey,
    access::{Client, ObservedSecret, SecretContent},
    controller::{Index, Watch, Watches},
};

/// All Secrets with our label, without their content; and of which of them the content was looked at.
#[derive(Debug)]
pub struct SecretIndex {
    secrets: Mutex<BTreeMap<ObjectKey, Entry>>,
    revision: watch::Sender<u64>,
    /// Counts changes of our own, too.
    all_revisions: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    resource_version: String,
    observed: ObservedSecret,
    /// When its own words are that the password in it was made.
    says_made: Option<Timestamp>,
}

impl Default for SecretIndex {
    fn default() -> Self {
        let (revision, all_revisions) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { secrets: Mutex::default(), revision, all_revisions }
    }
}

impl SecretIndex {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Entry>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of changes by others; what was noted here before it came over the watch is none.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Tells of changes by whomever.
    pub fn all_changes(&self) -> watch::Receiver<u64> {
        self.all_revisions.subscribe()
    }

    /// When the password in it was made.
    pub(super) fn made(&self, key: &ObjectKey) -> Option<Timestamp> {
        self.lock().get(key)?.observed.made
    }

    /// The same in its own words.
    pub(super) fn says_made(&self, key: &ObjectKey) -> Option<Timestamp> {
        self.lock().get(key)?.says_made
    }

    /// Whether what a workload would mount is there, is its own and was seen to hold what it should.
    pub fn has_that_of(&self, client: &Client) -> bool {
        let Ok(Some(request)) = &client.request else { return false };
        let key = ObjectKey::new(client.workload.namespace(), &request.secret_name);
        self.lock().get(&key).is_some_and(|entry| {
            entry.observed.content == SecretContent::Current
                && entry.observed.owner_uid.as_ref() == Some(&client.uid)
        })
    }

    pub fn observed(&self) -> BTreeMap<ObjectKey, ObservedSecret> {
        self.lock().iter().map(|(key, entry)| (key.clone(), entry.observed.clone())).collect()
    }

    /// Whether a user's Secret is there and was seen to hold what it should.
    pub fn is_current(&self, key: &ObjectKey, username: &str) -> bool {
        self.lock().get(key).is_some_and(|entry| {
            entry.observed.content == SecretContent::Current
                && entry.observed.username.as_deref() == Some(username)
        })
    }

    /// Notes what a read or a write of our own showed of a Secret, ahead of the watch.
    pub fn note(&self, meta: &ObjectMeta, content: SecretContent) {
        let key = ObjectKey::of(meta);
        let mut secrets = self.lock();
        let new = entry(meta, content);
        // The watch may have told of a later change already.
        let overtaken = secrets.get(&key).is_some_and(|before| {
            before.observed.uid == new.observed.uid
                && is_older(&new.resource_version, &before.resource_version)
        });
        match (overtaken, secret_meta::is_labelled(meta)) {
            (true, _) => {}
            (false, true) => {
                secrets.insert(key, new);
            }
            (false, false) => {
                secrets.remove(&key);
            }
        }
        drop(secrets);
        count(&self.all_revisions);
    }

    /// What is to stand in Secrets is another from now on.
    pub fn outdate(&self) {
        for entry in self.lock().values_mut() {
            if entry.observed.content == SecretContent::Current {
                entry.observed.content = SecretContent::Outdated;
            }
        }
    }

    /// Notes that Kubernetes says a Secret is not there, or not the one of this uid any more.
    pub fn note_gone(&self, key: &ObjectKey, uid: &str) {
        let mut secrets = self.lock();
        if secrets.get(key).is_some_and(|entry| entry.observed.uid == uid) {
            secrets.remove(key);
        }
    }

    /// Notes that Kubernetes says there is none of this name.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    /// What keeps it up to date.
    pub fn watches(self: &Arc<Self>, watches: &Watches) -> Vec<Watch> {
        let labels = format!("{}={}", keys::CONFIG_LABEL, keys::CONFIG_LABEL_CREDENTIALS);
        let index: Arc<dyn Index<PartialObjectMeta<Secret>>> = Arc::clone(self) as _;
        watches.of(&Config::default().labels(&labels), &index)
    }

    /// What the watch tells of; in an order of its own after what was noted.
    pub(super) fn apply_meta(&self, meta: &ObjectMeta) {
        let key = ObjectKey::of(meta);
        let new = entry(meta, SecretContent::Unread);
        let mut secrets = self.lock();
        if let Some(before) = secrets.get(&key)
            && before.observed.uid == new.observed.uid
            && !is_older(&before.resource_version, &new.resource_version)
        {
            return;
        }
        secrets.insert(key, new);
        drop(secrets);
        self.changed();
    }

    fn changed(&self) {
        count(&self.revision);
        count(&self.all_revisions);
    }
}

fn count(revision: &watch::Sender<u64>) {
    revision.send_modify(|revision| *revision = revision.wrapping_add(1));
}

fn entry(meta: &ObjectMeta, content: SecretContent) -> Entry {
    Entry {
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        says_made: secret_meta::says_made(meta),
        observed: ObservedSecret {
            username: secret_meta::username(meta).map(str::to_owned),
            uid: meta.uid.clone().unwrap_or_default(),
            owner_uid: secret_meta::owner_uid(meta).map(str::to_owned),
            content,
            made: secret_meta::made(meta),
            made_for: secret_meta::made_for(meta).map(str::to_owned),
            previous: secret_meta::previous(meta).map(str::to_owned),
        },
    }
}

/// Whether a version comes before another. They are numbers with every API server there is; where they are not, any
/// other version counts as newer, which costs one read.
fn is_older(one: &str, other: &str) -> bool {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => one != other,
    }
}

impl Index<PartialObjectMeta<Secret>> for SecretIndex {
    fn apply(&self, object: PartialObjectMeta<Secret>) {
        self.apply_meta(&object.metadata);
    }

    fn remove(&self, key: &ObjectKey) {
        if self.lock().remove(key).is_some() {
            self.changed();
        }
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, version: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some("s".to_owned()),
            namespace: Some("shop".to_owned()),
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_owned()),
            labels: Some([(keys::CONFIG_LABEL.to_owned(), keys::CONFIG_LABEL_CREDENTIALS.to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    fn content(index: &SecretIndex) -> Option<SecretContent> {
        index.observed().values().next().map(|secret| secret.content)
    }

    #[test]
    fn the_echo_of_a_write_of_our_own_is_no_change_and_what_follows_is() {
        let index = SecretIndex::default();
        let changes = index.changes();
        index.note(&meta("u", "10"), SecretContent::Current);
        index.apply_meta(&meta("u", "9"));
        index.apply_meta(&meta("u", "10"));
        assert_eq!((content(&index), *changes.borrow()), (Some(SecretContent::Current), 0));
        index.apply_meta(&meta("u", "11"));
        assert_eq!((content(&index), *changes.borrow()), (Some(SecretContent::Unread), 1));
        index.note(&meta("u", "11"), SecretContent::Current);
        index.apply_meta(&meta("v", "12"));
        assert_eq!((content(&index), *changes.borrow()), (Some(SecretContent::Unread), 2));
    }

    #[test]
    fn a_secret_without_our_label_is_none_of_ours() {
        let index = SecretIndex::default();
        index.note(&meta("u", "1"), SecretContent::Current);
        index.note(&ObjectMeta { labels: None, ..meta("u", "2") }, SecretContent::Current);
        assert_eq!(content(&index), None);
    }

    #[test]
    fn only_the_secret_that_was_meant_is_noted_as_gone() {
        let index = SecretIndex::default();
        index.note(&meta("new", "1"), SecretContent::Current);
        let key = ObjectKey::new("shop", "s");
        index.note_gone(&key, "old");
        assert!(content(&index).is_some());
        index.note_gone(&key, "new");
        assert!(content(&index).is_none());
    }
}

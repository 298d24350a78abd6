use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use topicops_contract::{Problems, Status, TopicManifest, TopicName, TopicSource, keys};

use crate::{
    ObjectKey,
    controller::Index,
    topic::{Declaration, Refusal, TopicGrant, TopicGrants},
};

/// A topic ConfigMap, trimmed to what is needed of it.
#[derive(Clone, Debug)]
pub struct TopicObject {
    pub key: ObjectKey,
    pub uid: String,
    pub created: i64,
    pub deleting: bool,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// Of its data and annotations, as in [`Status::hash`].
    pub hash: String,
    pub manifest: Option<Arc<TopicManifest>>,
    pub problems: Problems,
    /// What its status annotation says now.
    pub status: Option<Status>,
    /// The last two statuses that we wrote: what else stands there is somebody else's.
    written: [Option<Status>; 2],
}

/// A ConfigMap that is not watched any more: it was deleted, or it lost its label.
#[derive(Debug)]
pub struct Gone {
    pub key: ObjectKey,
    pub uid: String,
    pub finalizer: bool,
}

/// The topic ConfigMaps of the cluster, and which topics have to be looked at because one of them changed.
#[derive(Debug, Default)]
pub struct TopicIndex {
    inner: Mutex<Inner>,
    /// Woken when something became dirty.
    pub changed: Notify,
    /// Whether something is dirty, or being dealt with.
    unsettled: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: HashMap<ObjectKey, TopicObject>,
    by_topic: BTreeMap<TopicName, BTreeSet<ObjectKey>>,
    dirty: BTreeSet<TopicName>,
    gone: Vec<Gone>,
    /// Whether this replica leads: only then is there somebody to take what is noted.
    leading: bool,
    /// Objects that name no topic one could look at, and have to be told so.
    nameless: BTreeSet<ObjectKey>,
    /// Whom the ConfigMaps let in, as their statuses tell who owns a topic.
    grants: TopicGrants,
}

impl TopicIndex {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom the ConfigMaps let in, as every replica can tell from its caches: for what admission says. Who owns a topic is
    /// decided by the replica that leads, and read from the statuses here; access itself follows the decision.
    pub fn with_grants<T>(&self, look: impl FnOnce(&TopicGrants) -> T) -> T {
        look(&self.lock().grants)
    }

    /// What has to be looked at since the last call, at most `limit` topics of it.
    pub fn take_dirty(&self, limit: usize) -> (Vec<TopicName>, Vec<ObjectKey>) {
        let mut inner = self.lock();
        let rest = match inner.dirty.iter().nth(limit).cloned() {
            Some(first_left) => inner.dirty.split_off(&first_left),
            None => BTreeSet::new(),
        };
        let taken = std::mem::replace(&mut inner.dirty, rest);
        (taken.into_iter().collect(), std::mem::take(&mut inner.nameless).into_iter().collect())
    }

    /// Whether what changes is to be noted for the controller.
    pub fn lead(&self, leading: bool) {
        let mut inner = self.lock();
        inner.leading = leading;
        if !leading {
            inner.gone.clear();
            inner.dirty.clear();
            inner.nameless.clear();
        }
    }

    /// What is not watched any more since the last call.
    pub fn take_gone(&self) -> Vec<Gone> {
        std::mem::take(&mut self.lock().gone)
    }

    /// Notes that our finalizer was taken off.
    pub fn note_released(&self, key: &ObjectKey, uid: &str) {
        if let Some(object) = self.lock().objects.get_mut(key).filter(|object| object.uid == uid) {
            object.finalizer = false;
        }
    }

    /// The controller has dealt with all that it took.
    pub fn dealt_with(&self) {
        let settled = !self.has_dirty();
        self.unsettled.send_if_modified(|unsettled| std::mem::replace(unsettled, !settled) == settled);
    }

    /// Waits, at most for `patience`, until every change that is known now has been dealt with: so that a workload that came
    /// together with its topics is not told that they do not exist.
    pub async fn settled(&self, patience: Duration) {
        let mut unsettled = self.unsettled.subscribe();
        let _ = timeout(patience, unsettled.wait_for(|unsettled| !unsettled)).await;
    }

    fn wake(&self) {
        self.unsettled.send_if_modified(|unsettled| !std::mem::replace(unsettled, true));
        self.changed.notify_one();
    }

    pub fn has_dirty(&self) -> bool {
        self.dirty() > 0
    }

    /// How much waits to be looked at.
    pub fn dirty(&self) -> usize {
        let inner = self.lock();
        inner.dirty.len() + inner.nameless.len()
    }

    pub fn mark<'a>(&self, topics: impl IntoIterator<Item = &'a TopicName>) {
        let grew = {
            let mut inner = self.lock();
            let before = inner.dirty.len();
            inner.dirty.extend(topics.into_iter().cloned());
            inner.dirty.len() > before
        };
        if grew {
            self.wake();
        }
    }

    /// Everything is to be looked at: at the start of leadership, and at each resync.
    pub fn mark_all(&self) {
        {
            let mut inner = self.lock();
            inner.dirty = inner.by_topic.keys().cloned().collect();
            let nameless = inner.objects.values().filter(|object| object.manifest.is_none());
            inner.nameless = nameless.map(|object| object.key.clone()).collect();
        }
        self.wake();
    }

    /// All declared topics.
    pub fn topics(&self) -> BTreeSet<TopicName> {
        self.lock().by_topic.keys().cloned().collect()
    }

    /// The ConfigMaps that declare a topic.
    pub fn declarations(&self, topic: &TopicName) -> Vec<Declaration> {
        let inner = self.lock();
        let keys = inner.by_topic.get(topic).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key)).filter_map(declaration).collect()
    }

    pub fn object(&self, key: &ObjectKey) -> Option<TopicObject> {
        self.lock().objects.get(key).cloned()
    }

    /// Notes a status that was written, so that it is not written again before the watch tells of it.
    pub fn note_status(&self, key: &ObjectKey, uid: &str, status: Status, finalizer: bool) {
        let mut inner = self.lock();
        let Some(object) = inner.objects.get_mut(key).filter(|object| object.uid == uid) else { return };
        object.written = [Some(status.clone()), object.written[0].take()];
        object.status = Some(status);
        object.finalizer = finalizer;
        if let Some(topic) = object.manifest.as_ref().map(|manifest| manifest.topic.clone()) {
            inner.grant(&topic);
        }
    }

    /// How many ConfigMaps are in each state, by their status.
    pub fn states(&self) -> BTreeMap<&'static str, i64> {
        let mut states = BTreeMap::from([("ready", 0), ("pending", 0), ("refused", 0), ("paused", 0)]);
        for object in self.lock().objects.values() {
            let state = match object.status.as_ref().map(|status| status.state) {
                Some(topicops_contract::State::Ready) => "ready",
                Some(topicops_contract::State::Refused) => "refused",
                Some(topicops_contract::State::Paused) => "paused",
                Some(topicops_contract::State::Pending) | None => "pending",
            };
            *states.entry(state).or_default() += 1;
        }
        states
    }
}

impl Index<ConfigMap> for TopicIndex {
    fn apply(&self, config_map: ConfigMap) {
        let mut object = trim(&config_map);
        let changed = {
            let mut inner = self.lock();
            if let Some(before) = inner.objects.get_mut(&object.key).filter(|before| before.uid == object.uid)
            {
                object.written = std::mem::take(&mut before.written);
            }
            let changed = inner.objects.get(&object.key).is_none_or(|before| differs(before, &object));
            if changed {
                inner.forget(&object.key);
                inner.mark(&object);
            }
            let topic = object.manifest.as_ref().map(|manifest| manifest.topic.clone());
            inner.objects.insert(object.key.clone(), object);
            if let Some(topic) = topic {
                inner.grant(&topic);
            }
            changed
        };
        if changed {
            self.wake();
        }
    }

    fn remove(&self, key: &ObjectKey) {
        let mut inner = self.lock();
        if let Some(object) = inner.objects.get(key).filter(|_| inner.leading) {
            let gone = Gone { key: key.clone(), uid: object.uid.clone(), finalizer: object.finalizer };
            inner.gone.push(gone);
        }
        inner.forget(key);
        drop(inner);
        self.wake();
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.lock().objects.keys().cloned().collect()
    }
}

impl Inner {
    fn mark(&mut self, object: &TopicObject) {
        match &object.manifest {
            Some(manifest) => {
                self.by_topic.entry(manifest.topic.clone()).or_default().insert(object.key.clone());
                if self.leading {
                    self.dirty.insert(manifest.topic.clone());
                }
            }
            None if self.leading => {
                self.nameless.insert(object.key.clone());
            }
            None => {}
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.nameless.remove(key);
        let Some(topic) = self
            .objects
            .remove(key)
            .and_then(|object| object.manifest)
            .map(|manifest| manifest.topic.clone())
        else {
            return;
        };
        if let Some(keys) = self.by_topic.get_mut(&topic) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_topic.remove(&topic);
            }
        }
        self.grant(&topic);
        if self.leading {
            self.dirty.insert(topic);
        }
    }

    /// Of those that were not refused the topic, the oldest has it.
    fn grant(&mut self, topic: &TopicName) {
        let objects = self.by_topic.get(topic).into_iter().flatten().filter_map(|key| self.objects.get(key));
        let may_own = |object: &&TopicObject| {
            let reason = object.status.as_ref().map_or("", |status| status.reason.as_str());
            !object.deleting && !Refusal::OWNERSHIP.iter().any(|refused| *refused == reason)
        };
        let owner = objects.filter(may_own).min_by_key(|object| (object.created, &object.key));
        let grant = owner.and_then(|owner| {
            let manifest = owner.manifest.as_ref()?;
            Some(TopicGrant {
                namespace: owner.key.namespace.clone(),
                config_map: owner.key.name.clone(),
                consumers: manifest.consumers.clone(),
                producers: manifest.producers.clone(),
            })
        });
        self.grants.set(topic, grant);
    }
}

/// Whether a change matters to the topic; that of the status annotation does not.
fn differs(before: &TopicObject, now: &TopicObject) -> bool {
    (&before.uid, &before.hash, before.deleting) != (&now.uid, &now.hash, now.deleting)
        // Somebody took our finalizer or our status away: they are put back.
        || (before.finalizer && !now.finalizer)
        || (before.status.is_some() && now.status.is_none())
        // Or wrote another in its place.
        || (now.written[0].is_some() && now.status != before.status && !now.written.contains(&now.status))
}

fn declaration(object: &TopicObject) -> Option<Declaration> {
    object.manifest.as_ref().map(|manifest| Declaration {
        object: object.key.clone(),
        created: object.created,
        manifest: Arc::clone(manifest),
        problems: object.problems.clone(),
        deleting: object.deleting,
    })
}

fn trim(config_map: &ConfigMap) -> TopicObject {
    let meta = &config_map.metadata;
    let none = BTreeMap::new();
    let annotations = meta.annotations.as_ref().unwrap_or(&none);
    let data = config_map.data.as_ref().unwrap_or(&none);
    let binary_keys: Vec<String> =
        config_map.binary_data.as_ref().map(|data| data.keys().cloned().collect()).unwrap_or_default();
    let source = TopicSource {
        name: meta.name.as_deref().unwrap_or_default(),
        annotations,
        data,
        binary_keys: &binary_keys,
    };
    let (manifest, problems) = TopicManifest::parse_what_is_right(source);
    TopicObject {
        key: ObjectKey::of(meta),
        uid: meta.uid.clone().unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        deleting: meta.deletion_timestamp.is_some(),
        finalizer: meta.finalizers.iter().flatten().any(|finalizer| finalizer == keys::TOPIC_FINALIZER),
        hash: hash(annotations, data, &binary_keys),
        manifest: manifest.map(Arc::new),
        problems,
        // One that cannot be read is somebody's hand-written text: it is replaced.
        status: annotations.get(keys::topic::STATUS).and_then(|text| serde_json::from_str(text).ok()),
        written: [None, None],
    }
}

fn hash(
    annotations: &BTreeMap<String, String>,
    data: &BTreeMap<String, String>,
    binary_keys: &[String],
) -> String {
    let ours = annotations
        .iter()
        .filter(|(key, _)| key.starts_with(keys::ANNOTATION_PREFIX) && *key != keys::topic::STATUS);
    let mut hash = Sha256::new();
    for text in ours.chain(data).flat_map(|(key, value)| [key, value]).chain(binary_keys) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map(name: &str, data: &[(&str, &str)], annotations: &[(&str, &str)]) -> ConfigMap {
        let own = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        let mut config_map = ConfigMap { data: own(data), ..ConfigMap::default() };
        config_map.metadata.name = Some(name.to_owned());
        config_map.metadata.namespace = Some("shop".to_owned());
        config_map.metadata.annotations = own(annotations);
        config_map
    }

    fn taken(index: &TopicIndex) -> Vec<String> {
        index.take_dirty(100).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_change_of_data_makes_its_topic_dirty_and_one_of_the_status_does_not() {
        let index = TopicIndex::default();
        index.lead(true);
        index.apply(config_map("orders", &[("partitions", "1")], &[]));
        assert_eq!(taken(&index), ["orders"]);
        index.apply(config_map(
            "orders",
            &[("partitions", "1")],
            &[(keys::topic::STATUS, "{}"), ("other/a", "b")],
        ));
        assert!(taken(&index).is_empty());
        index.apply(config_map("orders", &[("partitions", "2")], &[]));
        assert_eq!(taken(&index), ["orders"]);
    }

    #[test]
    fn a_renamed_topic_makes_both_names_dirty() {
        let index = TopicIndex::default();
        index.lead(true);
        index.apply(config_map("orders", &[("name", "Orders")], &[]));
        taken(&index);
        index.apply(config_map("orders", &[("name", "Orders2")], &[]));
        assert_eq!(taken(&index), ["Orders", "Orders2"]);
        assert!(index.declarations(&"Orders".parse().unwrap()).is_empty());
    }

    #[test]
    fn a_removed_config_map_leaves_its_topic_dirty() {
        let index = TopicIndex::default();
        index.lead(true);
        index.apply(config_map("orders", &[], &[]));
        taken(&index);
        index.remove(&ObjectKey::new("shop", "orders"));
        assert_eq!(taken(&index), ["orders"]);
        assert!(index.keys().is_empty());
    }

    #[test]
    fn a_config_map_that_was_refused_its_topic_lets_nobody_in() {
        let index = TopicIndex::default();
        index.lead(true);
        let refused = r#"{"state":"Refused","reason":"AdoptionNotAllowed","hash":"","time":""}"#;
        index.apply(config_map("orders", &[], &[]));
        assert!(index.with_grants(|grants| grants.owner("orders").is_some()));
        index.apply(config_map("orders", &[], &[(keys::topic::STATUS, refused)]));
        assert!(index.with_grants(TopicGrants::is_empty));
        index.apply(config_map("other", &[("name", "orders")], &[]));
        assert_eq!(
            index.with_grants(|grants| grants.owner("orders").map(|owner| owner.config_map.clone())),
            Some("other".to_owned())
        );
        index.remove(&ObjectKey::new("shop", "other"));
        assert!(index.with_grants(TopicGrants::is_empty));
    }

    #[test]
    fn a_limit_leaves_the_rest_for_later() {
        let index = TopicIndex::default();
        index.lead(true);
        for name in ["a", "b", "c"] {
            index.apply(config_map(name, &[], &[]));
        }
        assert_eq!(index.take_dirty(2).0.len(), 2);
        assert_eq!(taken(&index), ["c"]);
        assert!(!index.has_dirty());
    }
}

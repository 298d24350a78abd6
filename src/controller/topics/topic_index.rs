use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use topicops_contract::{Status, TopicName, TopicObjectKind};

use super::{Gone, Governed, Renamed, TopicObject, topic_object::fingerprint};

use crate::{
    KafkaTopic, ObjectKey, Reason, Told,
    controller::Index,
    topic::{
        Declaration, Extent, PlanContext, Refusal, TopicGrant, TopicGrants, TopicObjectKey, TopicPolicy,
        limits::OverQuota,
    },
};

/// The objects of the cluster that declare topics, and which topics have to be looked at because one of them changed.
#[derive(Debug, Default)]
pub struct TopicIndex {
    inner: Mutex<Inner>,
    /// Woken when something became dirty.
    pub changed: Notify,
    /// Whether something is dirty, or being dealt with.
    unsettled: watch::Sender<bool>,
    /// Counts changes of the policy.
    policies: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Boxed: much of a hash map is empty.
    objects: HashMap<TopicObjectKey, Box<TopicObject>>,
    /// Mostly one each.
    by_topic: BTreeMap<TopicName, Vec<TopicObjectKey>>,
    dirty: BTreeSet<TopicName>,
    gone: Vec<Gone>,
    renamed: Vec<Renamed>,
    /// Whether this replica leads: only then is there somebody to take what is noted.
    leading: bool,
    /// Objects that name no topic one could look at, and have to be told so.
    nameless: BTreeSet<TopicObjectKey>,
    /// Whom the objects let in, as their statuses tell who owns a topic; and which topics the policy protects.
    grants: TopicGrants,
    governed: Governed,
}

impl TopicIndex {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom the objects let in, as every replica can tell from its caches: for what admission says. Who owns a topic is
    /// decided by the replica that leads, and read from the statuses here; access itself follows the decision. Of topics that
    /// stayed when their objects went only the replica that leads knows.
    pub fn with_grants<T>(&self, look: impl FnOnce(&TopicGrants) -> T) -> T {
        look(&self.lock().grants)
    }

    /// The policy that counts, and what is declared under it; when the object was created, if it is known.
    pub fn with_policy<T>(
        &self,
        object: &TopicObjectKey,
        look: impl FnOnce(&Governed, Option<i64>) -> T,
    ) -> T {
        let inner = self.lock();
        look(&inner.governed, inner.objects.get(object).map(|object| object.created))
    }

    pub fn policy(&self) -> TopicPolicy {
        self.lock().governed.policy().clone()
    }

    /// Tells of other policies that count.
    pub fn policy_changes(&self) -> watch::Receiver<u64> {
        self.policies.subscribe()
    }

    /// Another policy counts from now on: everything is looked at again.
    pub fn govern(&self, policy: TopicPolicy) {
        let mut inner = self.lock();
        let Inner { governed, objects, grants, .. } = &mut *inner;
        grants.protect(policy.protected.as_slice().into());
        governed.replace(policy, objects.values().map(AsRef::as_ref));
        let leading = inner.leading;
        drop(inner);
        self.policies.send_modify(|count| *count = count.wrapping_add(1));
        if leading {
            self.mark_all();
        }
    }

    /// Forgets what was noted of topics that are there, and notes these.
    pub fn hold_only(&self, topics: impl IntoIterator<Item = (TopicName, Option<(String, Extent)>)>) {
        self.lock().governed.let_go();
        self.hold(topics);
    }

    /// Notes whose topics are and what is there of them, which only the replica that leads knows; `None`: it is nobody's, or
    /// gone. Topics that fit into their namespaces' totals only now, or no longer, are to be looked at again.
    pub fn hold(&self, topics: impl IntoIterator<Item = (TopicName, Option<(String, Extent)>)>) {
        let topics = {
            let mut inner = self.lock();
            for (topic, now) in topics {
                let now = now.as_ref().map(|(namespace, extent)| (namespace.as_str(), *extent));
                inner.governed.hold(&topic, now);
            }
            inner.reweigh().1
        };
        self.mark(&topics);
    }

    /// The context of a pass under the policy that counts now. Topics that fit into their namespaces' totals only now, or no
    /// longer, are to be looked at again.
    pub fn under_policy(&self, context: &PlanContext) -> PlanContext {
        let (policy, over_quota, topics) = {
            let mut inner = self.lock();
            let (over, topics) = inner.reweigh();
            (inner.governed.policy().clone(), over, topics)
        };
        self.mark(&topics);
        let mut context = context.clone();
        (context.policy, context.over_quota) = (policy, over_quota);
        context
    }

    /// What has to be looked at since the last call, at most `limit` topics of it.
    pub fn take_dirty(&self, limit: usize) -> (Vec<TopicName>, Vec<TopicObjectKey>) {
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
        inner.governed.let_go();
        if !leading {
            inner.gone.clear();
            inner.renamed.clear();
            inner.dirty.clear();
            inner.nameless.clear();
        }
    }

    /// What is not watched any more since the last call.
    pub fn take_gone(&self) -> Vec<Gone> {
        std::mem::take(&mut self.lock().gone)
    }

    /// Gives back what could not be dealt with.
    pub fn give_back(&self, gone: Vec<Gone>) {
        self.lock().gone.extend(gone);
    }

    /// What names another topic since the last call.
    pub fn take_renamed(&self) -> Vec<Renamed> {
        std::mem::take(&mut self.lock().renamed)
    }

    /// Notes that our finalizer was taken off.
    pub fn note_released(&self, key: &TopicObjectKey, uid: &str) {
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

    /// Whether every change that is known now has been dealt with.
    pub fn is_settled(&self) -> bool {
        !*self.unsettled.borrow()
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
            let inner = &mut *inner;
            // What waits is not among these when nobody declares it any more.
            inner.dirty.extend(inner.by_topic.keys().cloned());
            let nameless = inner.objects.values().filter(|object| object.manifest.is_none());
            inner.nameless.extend(nameless.map(|object| object.key.clone()));
        }
        self.wake();
    }

    /// All declared topics.
    pub fn topics(&self) -> BTreeSet<TopicName> {
        self.lock().by_topic.keys().cloned().collect()
    }

    /// The objects that declare a topic.
    pub fn declarations(&self, topic: &TopicName) -> Vec<Declaration> {
        let inner = self.lock();
        let keys = inner.by_topic.get(topic).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key)?.declaration()).collect()
    }

    /// The object that has a topic, for Events.
    pub fn owner_reference(&self, topic: &TopicName) -> Option<ObjectReference> {
        let inner = self.lock();
        let key = &inner.grants.owner(topic.as_str())?.owner;
        Some(key.reference(&inner.objects.get(key)?.uid))
    }

    pub fn object(&self, key: &TopicObjectKey) -> Option<TopicObject> {
        self.lock().objects.get(key).map(|object| object.as_ref().clone())
    }

    /// Notes a status that is about to be written: the watch may tell of it before its writer hears that it was.
    pub fn note_writing(&self, key: &TopicObjectKey, uid: &str, status: &Status) {
        let written = Some(fingerprint(status));
        let mut inner = self.lock();
        let object = inner.objects.get_mut(key).filter(|object| object.uid == uid);
        if let Some(object) = object.filter(|object| object.written[0] != written) {
            object.written = [written, object.written[0]];
        }
    }

    /// Notes a status that was written, so that it is not written again before the watch tells of it.
    pub fn note_status(&self, key: &TopicObjectKey, uid: &str, status: Status, finalizer: bool) {
        self.note_writing(key, uid, &status);
        let mut inner = self.lock();
        let Some(object) = inner.objects.get_mut(key).filter(|object| object.uid == uid) else { return };
        object.status = Some(status);
        object.finalizer = finalizer;
        object.held |= finalizer;
        let Inner { governed, objects, .. } = &mut *inner;
        let Some(object) = objects.get(key) else { return };
        governed.count(object);
        if let Some(topic) = object.manifest.as_ref().map(|manifest| manifest.topic.clone()) {
            inner.grant(&topic);
        }
    }

    /// How many objects are not as declared, by the reason that their status gives.
    pub fn refusals(&self) -> BTreeMap<Reason, i64> {
        let mut refusals = BTreeMap::new();
        for object in self.lock().objects.values() {
            let reason = object.status.as_ref().and_then(|status| Reason::read(&status.reason));
            if let Some(reason) = reason.filter(|reason| reason.told() == Told::Warning) {
                *refusals.entry(reason).or_default() += 1;
            }
        }
        refusals
    }

    /// How many objects are in each state, by their status.
    pub fn states(&self) -> BTreeMap<&'static str, i64> {
        let mut states =
            BTreeMap::from(["ready", "pending", "refused", "drifted", "paused"].map(|state| (state, 0)));
        for object in self.lock().objects.values() {
            let state = match object.status.as_ref().map(|status| status.state) {
                Some(topicops_contract::State::Ready) => "ready",
                Some(topicops_contract::State::Refused) => "refused",
                Some(topicops_contract::State::Drifted) => "drifted",
                Some(topicops_contract::State::Paused) => "paused",
                Some(topicops_contract::State::Pending) | None => "pending",
            };
            *states.entry(state).or_default() += 1;
        }
        states
    }
}

impl TopicIndex {
    fn put(&self, mut object: TopicObject) {
        let changed = {
            let mut inner = self.lock();
            if let Some(before) = inner.objects.get_mut(&object.key).filter(|before| before.uid == object.uid)
            {
                object.written = before.written;
                object.held |= before.held;
                let (before, now) = (before.topic().cloned(), object.topic());
                if let Some(left) =
                    before.filter(|before| now.is_some_and(|now| now != before) && inner.leading)
                {
                    let (key, uid) = (object.key.clone(), object.uid.clone());
                    inner.renamed.push(Renamed { key, uid, left });
                }
            }
            let changed = inner.objects.get(&object.key).is_none_or(|before| before.differs(&object));
            if changed {
                inner.forget(&object.key);
                inner.mark(&object);
            }
            let topic = object.manifest.as_ref().map(|manifest| manifest.topic.clone());
            inner.governed.count(&object);
            inner.objects.insert(object.key.clone(), Box::new(object));
            if let Some(topic) = topic {
                inner.grant(&topic);
            }
            changed
        };
        if changed {
            self.wake();
        }
    }

    fn take_away(&self, key: &TopicObjectKey) {
        let mut inner = self.lock();
        if let Some(object) = inner.objects.get(key).filter(|_| inner.leading) {
            let last = object.declaration().filter(|_| !object.held);
            let (uid, topic) = (object.uid.clone(), object.topic().cloned());
            let gone = Gone { key: key.clone(), uid, finalizer: object.finalizer, topic, last };
            inner.gone.push(gone);
        }
        inner.forget(key);
        drop(inner);
        self.wake();
    }

    fn keys_of(&self, kind: TopicObjectKind) -> Vec<ObjectKey> {
        let inner = self.lock();
        inner.objects.keys().filter(|key| key.kind == kind).map(TopicObjectKey::key).collect()
    }
}

impl Index<ConfigMap> for TopicIndex {
    fn apply(&self, config_map: ConfigMap) {
        self.put(TopicObject::from(&config_map));
    }

    fn remove(&self, key: &ObjectKey) {
        self.take_away(&TopicObjectKey::config_map(&key.namespace, &key.name));
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.keys_of(TopicObjectKind::ConfigMap)
    }
}

impl Index<KafkaTopic> for TopicIndex {
    fn apply(&self, topic: KafkaTopic) {
        self.put(TopicObject::from(&topic));
    }

    fn remove(&self, key: &ObjectKey) {
        self.take_away(&TopicObjectKey::new(TopicObjectKind::KafkaTopic, &key.namespace, &key.name));
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.keys_of(TopicObjectKind::KafkaTopic)
    }
}

impl Inner {
    /// What does not fit into its namespace's totals, and the topics for which that is news.
    fn reweigh(&mut self) -> (Arc<BTreeMap<TopicObjectKey, Vec<OverQuota>>>, Vec<TopicName>) {
        let (over, news) = self.governed.over();
        let of = |key| Some(self.objects.get(key)?.manifest.as_ref()?.topic.clone());
        (over, news.iter().filter_map(of).collect())
    }

    fn mark(&mut self, object: &TopicObject) {
        match &object.manifest {
            Some(manifest) => {
                let keys = self.by_topic.entry(manifest.topic.clone()).or_default();
                if let Err(at) = keys.binary_search(&object.key) {
                    keys.insert(at, object.key.clone());
                    keys.shrink_to_fit();
                }
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

    fn forget(&mut self, key: &TopicObjectKey) {
        self.nameless.remove(key);
        self.governed.forget(key);
        let Some(topic) = self
            .objects
            .remove(key)
            .and_then(|object| object.manifest)
            .map(|manifest| manifest.topic.clone())
        else {
            return;
        };
        if let Some(keys) = self.by_topic.get_mut(&topic) {
            keys.retain(|one| one != key);
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
        let keys = self.by_topic.get(topic).into_iter().flatten();
        let objects = keys.filter_map(|key| self.objects.get(key).map(AsRef::as_ref));
        let may_own = |object: &&TopicObject| {
            let reason = object.status.as_ref().map_or("", |status| status.reason.as_str());
            !object.deleting && !Refusal::OWNERSHIP.iter().any(|refused| *refused == reason)
        };
        let owner = objects.filter(may_own).min_by_key(|object| (object.created, &object.key));
        let grant = owner.and_then(|owner| {
            let manifest = owner.manifest.as_ref()?;
            Some(TopicGrant {
                owner: owner.key.clone(),
                consumers: manifest.consumers.clone(),
                producers: manifest.producers.clone(),
            })
        });
        self.grants.set(topic, grant);
    }
}

#[cfg(test)]
#[path = "topic_index_tests.rs"]
mod tests;

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::{Instant, sleep},
};
use topicops_contract::{KafkaTopicStatus, Status, TopicObjectKind, keys};
use tracing::{debug, warn};

use super::{Evidence, KubeEvidence, TopicIndex};
use crate::{KafkaTopic, controller::Scope, fail_point::fail_point, topic::TopicObjectKey};

/// What is to be written to an object that declares a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    pub key: TopicObjectKey,
    pub uid: String,
    /// `None` leaves the status out: the object is about to go.
    pub status: Option<Status>,
    pub finalizer: bool,
}

/// Writes statuses and finalizers in the background, so that no pass waits for them; a newer update of an object replaces one
/// that still waits.
///
/// Written by server-side apply under a field manager of our own, so that nobody else's fields are touched and GitOps tools
/// see no difference. The uid in it keeps an object that is gone from being made again. A ConfigMap takes status and finalizer
/// in one write; a KafkaTopic has its status in a subresource, and takes a write for each that changes.
#[derive(Clone, Debug)]
pub struct StatusWriter {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    index: Arc<TopicIndex>,
    waiting: Mutex<HashMap<TopicObjectKey, StatusUpdate>>,
    wake: Notify,
}

impl Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatusWriter")
    }
}

/// Server-side apply's name for who owns the fields.
pub const FIELD_MANAGER: &str = "topicops-status";
/// How long statuses may be held up by passes that follow one another.
const TOPICS_FIRST: Duration = Duration::from_secs(2);
/// Longer than the gaps between passes while changes go on coming in, too short for a reader of statuses to notice.
const GAP: Duration = Duration::from_millis(50);
/// Writes at the same time.
const IN_FLIGHT: usize = 8;

impl StatusWriter {
    pub fn new(client: Client, index: Arc<TopicIndex>) -> Self {
        Self { inner: Arc::new(Inner { client, index, waiting: Mutex::default(), wake: Notify::new() }) }
    }

    /// Queues an update, unless the object says the same already.
    pub fn update(&self, update: StatusUpdate) {
        if let Some(object) = self.inner.index.object(&update.key) {
            let same_status = match (&object.status, &update.status) {
                (Some(now), Some(new)) => now.says_the_same(new),
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if object.uid == update.uid && same_status && object.finalizer == update.finalizer {
                self.lock().remove(&update.key);
                return;
            }
        }
        self.lock().insert(update.key.clone(), update);
        self.inner.wake.notify_one();
    }

    /// Forgets what waits: another replica leads, and speaks, from now on.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TopicObjectKey, StatusUpdate>> {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, for ever. Updates that fail because the API server is away wait for its return.
    pub async fn run(self) {
        let room = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut writes = JoinSet::new();
        loop {
            self.inner.wake.notified().await;
            let patience = Instant::now() + TOPICS_FIRST;
            self.topics_first(patience).await;
            loop {
                if !self.inner.index.is_settled() {
                    self.topics_first(patience).await;
                }
                // The place first, the update second: what waits can be replaced by something newer until the last moment.
                let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                let next = {
                    let mut waiting = self.lock();
                    let key = waiting.keys().next().cloned();
                    key.and_then(|key| waiting.remove(&key))
                };
                let Some(update) = next else { break };
                let writer = self.clone();
                writes.spawn(async move {
                    writer.write(update).await;
                    drop(place);
                });
                while writes.try_join_next().is_some() {}
            }
        }
    }

    /// Topics first: while changes come in, the API server and the brokers have better things to do. Passes that follow each
    /// other leave gaps, which are no rest yet.
    async fn topics_first(&self, patience: Instant) {
        loop {
            self.inner.index.settled(patience.saturating_duration_since(Instant::now())).await;
            if Instant::now() >= patience {
                return;
            }
            sleep(GAP).await;
            if self.inner.index.is_settled() {
                return;
            }
        }
    }

    async fn write(&self, update: StatusUpdate) {
        if let Some(status) = &update.status {
            self.inner.index.note_writing(&update.key, &update.uid, status);
        }
        let written = match update.key.kind {
            TopicObjectKind::ConfigMap => self.write_config_map(&update).await,
            TopicObjectKind::KafkaTopic => self.write_kafka_topic(&update).await,
        };
        let gone = match &written {
            Err(kube::Error::Api(status)) if status.code == 404 => true,
            Err(kube::Error::Api(status)) if status.code == 409 => self.is_gone(&update).await,
            _ => false,
        };
        match written {
            Ok(()) => match update.status {
                Some(status) => {
                    fail_point!("topics/status-written");
                    self.inner.index.note_status(&update.key, &update.uid, status, update.finalizer);
                }
                None => {
                    fail_point!("topics/released");
                    self.inner.index.note_released(&update.key, &update.uid);
                }
            },
            Err(_) if gone => {
                debug!(object = %update.key, "the object is gone; its status is not written");
            }
            Err(kube::Error::Api(status))
                if (400..500).contains(&status.code) && !matches!(status.code, 409 | 429) =>
            {
                warn!(object = %update.key, error = %status, "the status could not be written");
            }
            Err(error) => {
                debug!(object = %update.key, error = %error, "the status could not be written; trying again");
                self.lock().entry(update.key.clone()).or_insert(update);
                // The client has its own back-off between tries; this one keeps a dead server from being hammered.
                sleep(Duration::from_secs(1)).await;
                self.inner.wake.notify_one();
            }
        }
    }

    /// Whether a conflict means that the object is gone, and maybe made anew, so that what there was to say has no reader; else
    /// somebody wrote to it meanwhile.
    async fn is_gone(&self, update: &StatusUpdate) -> bool {
        if let Some(object) = self.inner.index.object(&update.key) {
            return object.uid != update.uid;
        }
        let evidence = KubeEvidence::new(self.inner.client.clone(), Scope::All);
        evidence.is_gone(&update.key, &update.uid).await.unwrap_or(false)
    }

    async fn write_config_map(&self, update: &StatusUpdate) -> Result<(), kube::Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.inner.client.clone(), &update.key.namespace);
        let mut apply = ours(update);
        if let Some(status) = &update.status {
            let text = serde_json::to_string(status).unwrap_or_default();
            apply["metadata"]["annotations"] = json!({ keys::topic::STATUS: text });
        }
        with_finalizer(&mut apply, update.finalizer);
        self.write_metadata(&api, update, &apply).await
    }

    /// Applies metadata; where our finalizer is not wanted any more, it is gone afterwards.
    async fn write_metadata<K>(
        &self,
        api: &Api<K>,
        update: &StatusUpdate,
        apply: &Value,
    ) -> Result<(), kube::Error>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let object = api.patch_metadata(&update.key.name, &params(), &Patch::Apply(apply)).await?;
        if !update.finalizer
            && let Some(others) = other_finalizers(&object.metadata)
        {
            // Somebody else applied it, too: to take back our part of it does not take it off.
            fail_point!("topics/claim-taken-back");
            let version = &object.metadata.resource_version;
            let patch = json!({ "metadata": { "finalizers": others, "resourceVersion": version } });
            api.patch_metadata(&update.key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        Ok(())
    }

    async fn write_kafka_topic(&self, update: &StatusUpdate) -> Result<(), kube::Error> {
        let api: Api<KafkaTopic> = Api::namespaced(self.inner.client.clone(), &update.key.namespace);
        let object = self.inner.index.object(&update.key);
        // First what its deletion waits for: a status that says all is well comes after it.
        if object.as_ref().is_none_or(|object| object.finalizer != update.finalizer) {
            let mut apply = ours(update);
            with_finalizer(&mut apply, update.finalizer);
            self.write_metadata(&api, update, &apply).await?;
            if update.status.is_some() {
                fail_point!("topics/finalizer-written");
            }
        }
        let Some(status) = &update.status else { return Ok(()) };
        let said = object.as_ref().and_then(|object| object.status.as_ref());
        if said.is_some_and(|said| said.says_the_same(status)) {
            return Ok(());
        }
        let topic = object.and_then(|object| object.manifest).map(|manifest| manifest.topic.clone());
        let mut apply = ours(update);
        apply["status"] = json!(KafkaTopicStatus::of(status, topic.as_ref()));
        api.patch_status(&update.key.name, &params(), &Patch::Apply(&apply)).await.map(drop)
    }
}

fn params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

/// What every write of ours begins with.
fn ours(update: &StatusUpdate) -> Value {
    json!({
        "apiVersion": update.key.kind.api_version(),
        "kind": update.key.kind.as_str(),
        "metadata": { "name": update.key.name, "namespace": update.key.namespace, "uid": update.uid },
    })
}

fn with_finalizer(apply: &mut Value, finalizer: bool) {
    if finalizer {
        apply["metadata"]["finalizers"] = json!([keys::TOPIC_FINALIZER]);
    }
}

/// The finalizers of others on an object that has ours; `None`: it has none of ours.
pub fn other_finalizers(meta: &ObjectMeta) -> Option<Vec<&str>> {
    let finalizers = meta.finalizers.as_ref()?;
    let others: Vec<&str> =
        finalizers.iter().map(String::as_str).filter(|name| *name != keys::TOPIC_FINALIZER).collect();
    (others.len() < finalizers.len()).then_some(others)
}

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt, watcher,
        watcher::{Config, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::warn;

use super::ObjectKey;

/// What keeps the objects of one kind, trimmed to what is needed of them.
pub trait Index<K>: Send + Sync + 'static {
    /// An object is there, or has changed.
    fn apply(&self, object: K);

    /// An object is gone.
    fn remove(&self, key: &ObjectKey);

    /// The keys of all objects kept: what a new listing does not hold any more is removed.
    fn keys(&self) -> Vec<ObjectKey>;
}

/// Keeps an index up to date for ever. `synced` becomes true when the first listing is complete.
///
/// Losing the API server is no error: the index keeps what it knew, the watch resumes, and a new listing removes what went
/// meanwhile.
pub async fn keep_watching<K>(
    api: Api<K>,
    labels: String,
    index: Arc<dyn Index<K>>,
    synced: watch::Sender<bool>,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let stream = watcher(api, Config::default().labels(&labels)).default_backoff();
    pin_mut!(stream);
    let mut listed: BTreeSet<ObjectKey> = BTreeSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(ObjectKey::of(object.meta()));
                index.apply(object);
            }
            Ok(Event::InitDone) => {
                for key in index.keys().into_iter().filter(|key| !listed.contains(key)) {
                    index.remove(&key);
                }
                listed.clear();
                synced.send_replace(true);
            }
            Ok(Event::Apply(object)) => index.apply(object),
            Ok(Event::Delete(object)) => {
                index.remove(&ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any()));
            }
            Err(error) => warn!(kind, error = %error, "watching Kubernetes failed; trying again"),
        }
    }
}

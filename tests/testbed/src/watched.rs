//! A kind of objects as the API server has them, kept up to date by a watch.
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt as _;
use kube::Api;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(crate) struct Watched<K>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug,
{
    store: Store<K>,
    changes: watch::Receiver<u64>,
}

impl<K> Watched<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Starts the watch and waits for its first complete list.
    pub(crate) async fn start(api: Api<K>) -> Result<Self> {
        let (store, writer) = reflector::store();
        let (changed, changes) = watch::channel(0);
        let events = watcher(api, watcher::Config::default()).default_backoff().reflect(writer);
        tokio::spawn(events.for_each(move |event| {
            match event {
                Ok(_) => changed.send_modify(|count| *count += 1),
                // The API server may be away for a while; the watch goes on.
                Err(error) => tracing::debug!(kind = %K::kind(&()), %error, "watching"),
            }
            std::future::ready(())
        }));
        tokio::time::timeout(PATIENCE, store.wait_until_ready())
            .await
            .with_context(|| format!("no list of {} within {PATIENCE:.0?}", K::plural(&())))??;
        Ok(Self { store, changes })
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// Changes whenever anything of this kind does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

use std::{collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt, watcher,
        watcher::{Config, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{FirstListing, ObjectKey, scope::is_of_no_namespace};

/// What keeps the objects of one kind, trimmed to what is needed of them.
pub trait Index<K>: Send + Sync + 'static {
    /// An object is there, or has changed.
    fn apply(&self, object: K);

    /// An object is gone.
    fn remove(&self, key: &ObjectKey);

    /// The keys of all objects kept: what a new listing does not hold any more is removed.
    fn keys(&self) -> Vec<ObjectKey>;
}

/// How often what the API server does not have, a kind or a namespace, is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Keeps an index up to date for ever. `first` is told when the first listing is complete.
///
/// Losing the API server is no error: the index keeps what it knew, the watch resumes, and a new listing removes what went
/// meanwhile. A namespace that is not there holds nothing, and is looked for again every ten seconds.
pub async fn keep_watching<K>(api: Api<K>, config: Config, index: Arc<dyn Index<K>>, first: FirstListing)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    keep(api, config, index, first, false).await;
}

/// The same for a custom resource that may not be installed: then there are none of it, and it is looked for again every ten
/// seconds, with one request.
pub async fn keep_watching_if_served<K>(api: Api<K>, index: Arc<dyn Index<K>>, first: FirstListing)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    keep(api, Config::default(), index, first, true).await;
}

async fn keep<K>(
    api: Api<K>,
    config: Config,
    index: Arc<dyn Index<K>>,
    first: FirstListing,
    may_be_absent: bool,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let namespace = api.namespace().map(str::to_owned);
    let mut told = false;
    loop {
        // A new watcher lists anew, where an old one would go on from what it knew.
        match follow(api.clone(), config.clone(), index.as_ref(), &first, may_be_absent).await {
            Missing::Watched => told = false,
            Missing::Listed => {
                if !std::mem::replace(&mut told, true) {
                    info!(
                        kind,
                        namespace,
                        "the API server has no such kind or namespace: there are none of it until it does"
                    );
                }
                for key in keys_within(index.as_ref(), namespace.as_deref()) {
                    index.remove(&key);
                }
                first.complete(&kind);
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// What failed because the API server does not know the kind, or the namespace.
enum Missing {
    /// The listing: there are none.
    Listed,
    /// A watch of what was listed before. That it is gone is believed when it cannot be listed either.
    Watched,
}

/// Those of the keys that a watch of this namespace, or of all, tells of.
fn keys_within<K: 'static>(index: &dyn Index<K>, namespace: Option<&str>) -> Vec<ObjectKey> {
    let mut keys = index.keys();
    keys.retain(|key| namespace.is_none_or(|namespace| key.namespace == namespace));
    keys
}

/// Ends only when the kind is missing and may be, or the namespace is.
async fn follow<K>(
    api: Api<K>,
    config: Config,
    index: &dyn Index<K>,
    first: &FirstListing,
    may_be_absent: bool,
) -> Missing
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let namespace = api.namespace().map(str::to_owned);
    let client = api.clone().into_client();
    let stream = watcher(api, config).default_backoff();
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
                for key in keys_within(index, namespace.as_deref()) {
                    if !listed.contains(&key) {
                        index.remove(&key);
                    }
                }
                listed.clear();
                first.complete(&kind);
            }
            Ok(Event::Apply(object)) => index.apply(object),
            Ok(Event::Delete(object)) => {
                index.remove(&ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any()));
            }
            Err(error) => {
                if let Some(missing) = missing(&error).filter(|_| may_be_absent) {
                    return missing;
                }
                if let watcher::Error::InitialListFailed(why) | watcher::Error::WatchStartFailed(why) = &error
                    && is_of_no_namespace(&client, namespace.as_deref(), why).await
                {
                    return Missing::Listed;
                }
                first.failed(&kind, namespace.as_deref(), &error);
                warn!(kind, namespace, error = %error, "watching Kubernetes failed; trying again");
            }
        }
    }
    // A watcher's stream has no end.
    Missing::Watched
}

/// While an API server starts, and does not know its custom resources yet, it answers 503 and not 404.
fn missing(error: &watcher::Error) -> Option<Missing> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404 => {
            Some(Missing::Listed)
        }
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 404 => {
            Some(Missing::Watched)
        }
        _ => None,
    }
}

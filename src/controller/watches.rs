use std::{fmt::Debug, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use kube::{Client, Resource, core::NamespaceResourceScope, runtime::watcher::Config};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{FirstListing, Index, Scope, health::Health, keep_watching, keep_watching_if_served};

/// A watch, for ever, and what becomes true when its first listing is complete.
pub type Watch = (BoxFuture<'static, ()>, watch::Receiver<bool>);

/// Makes watches of everything that is looked after: one for a kind, or one for a kind and namespace.
#[allow(missing_debug_implementations)]
pub struct Watches {
    pub client: Client,
    pub scope: Scope,
    pub health: Health,
}

impl Watches {
    pub fn of<K>(&self, config: &Config, index: &Arc<dyn Index<K>>) -> Vec<Watch>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
        K::DynamicType: Default + Send,
    {
        let watch = |api| {
            let (first, listed) = FirstListing::new(&self.health);
            (keep_watching(api, config.clone(), Arc::clone(index), first).boxed(), listed)
        };
        self.scope.apis(&self.client).into_iter().map(watch).collect()
    }

    /// Of a custom resource that may not be installed.
    pub fn if_served<K>(&self, index: &Arc<dyn Index<K>>) -> Vec<Watch>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
        K::DynamicType: Default + Send,
    {
        let watch = |api| {
            let (first, listed) = FirstListing::new(&self.health);
            (keep_watching_if_served(api, Arc::clone(index), first).boxed(), listed)
        };
        self.scope.apis(&self.client).into_iter().map(watch).collect()
    }
}

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::watcher::Config,
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, time::Instant};
use topicops_contract::{ClientRequest, TopicName, Workload, keys};

use super::{
    kind_index::{KindIndex, KindOfWorkload, UNFINISHED, list_all},
    maker::Maker,
    strays::Strays,
};
use crate::{
    access::Client,
    controller::{Index, Scope, Watch, Watches, topics::TopicUsers},
    topic::{TopicGrant, Use},
};

/// All labelled workloads that are looked after, of all kinds, trimmed to what access is made of.
#[derive(Debug)]
pub struct ClientIndex {
    clients: Mutex<BTreeMap<Workload, Template>>,
    strays: Mutex<Strays>,
    /// Counts changes that matter to somebody's access.
    revision: watch::Sender<u64>,
    /// Counts those too, and changes of specs.
    templates: watch::Sender<u64>,
}

/// A client, and which version of its spec is there.
#[derive(Clone, Debug)]
pub struct Template {
    pub client: Arc<Client>,
    pub generation: i64,
}

impl Default for ClientIndex {
    fn default() -> Self {
        Self {
            clients: Mutex::default(),
            strays: Mutex::default(),
            revision: watch::Sender::new(0),
            templates: watch::Sender::new(0),
        }
    }
}

impl ClientIndex {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Workload, Template>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of changes; others than those of our label and annotations are none.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Tells of those, and of changes to specs.
    pub fn template_changes(&self) -> watch::Receiver<u64> {
        self.templates.subscribe()
    }

    pub fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().map(|template| Arc::clone(&template.client)).collect()
    }

    pub fn templates(&self) -> Vec<Template> {
        self.lock().values().cloned().collect()
    }

    pub fn client(&self, workload: &Workload) -> Option<Arc<Client>> {
        self.lock().get(workload).map(|template| Arc::clone(&template.client))
    }

    /// What the watches of these namespaces would list now, each with its metadata.
    ///
    /// # Errors
    /// The API server does not list one of the kinds.
    pub async fn list(client: &kube::Client, scope: &Scope) -> kube::Result<Vec<(Client, ObjectMeta)>> {
        list_all(client, scope).await
    }

    /// What keeps it up to date.
    ///
    /// A Job or Pod that has finished uses nothing any more and never will again, so it is no client from then on. Of Pods the
    /// API server itself leaves these out, and tells of one that finishes as if it were gone; of Jobs it cannot, and their
    /// metadata does not say it, so Jobs are watched whole.
    pub fn watches(self: &Arc<Self>, watches: &Watches) -> Vec<Watch> {
        let labels = format!("{}={}", keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE);
        let labelled = Config::default().labels(&labels);
        let unfinished = labelled.clone().fields(UNFINISHED);
        let jobs: Arc<dyn Index<Job>> = Arc::new(KindIndex::<Job>::of(self));
        [
            self.watch::<Deployment>(watches, &labelled),
            self.watch::<StatefulSet>(watches, &labelled),
            self.watch::<DaemonSet>(watches, &labelled),
            watches.of(&labelled, &jobs),
            self.watch::<CronJob>(watches, &labelled),
            self.watch::<Pod>(watches, &unfinished),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn watch<K>(self: &Arc<Self>, watches: &Watches, config: &Config) -> Vec<Watch>
    where
        K: KindOfWorkload
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let index: Arc<dyn Index<PartialObjectMeta<K>>> = Arc::new(KindIndex::<K>::of(self));
        watches.of(config, &index)
    }

    pub(super) fn changed(&self) {
        self.revision.send_modify(|revision| *revision = revision.wrapping_add(1));
        self.spec_changed();
    }

    fn spec_changed(&self) {
        self.templates.send_modify(|revision| *revision = revision.wrapping_add(1));
    }

    fn lock_strays(&self) -> MutexGuard<'_, Strays> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Labelled Pods and Jobs that were made for something that is no client: the label stands on a template, where it does
    /// nothing. One for each such maker. Pods of a Job are not among them before [`Self::jobs_to_look_up`] is.
    pub fn strays(&self) -> Vec<(Maker, Arc<Client>)> {
        let clients = self.lock();
        let mut strays = self.lock_strays();
        let now = Instant::now();
        strays.excuse(|maker| maker.is_among(&clients), now);
        strays.one_of_each(now).into_iter().map(|(maker, part)| (maker.clone(), Arc::clone(part))).collect()
    }

    /// When there will be more of them: what was made for a client is told of when it has not followed that.
    pub(super) fn next_stray(&self) -> Option<Instant> {
        let clients = self.lock();
        self.lock_strays().next_left(|maker| maker.is_among(&clients), Instant::now())
    }

    /// Jobs with labelled Pods that may be parts of a client, by whatever name somebody made them.
    pub(super) fn jobs_to_look_up(&self) -> Vec<Maker> {
        let clients = self.lock();
        let strays = self.lock_strays();
        strays.not_looked_up(Instant::now()).filter(|job| !job.is_among(&clients)).cloned().collect()
    }

    /// Notes what such a Job is a part of.
    pub(super) fn looked_up(&self, job: &Maker, cron_job: Option<&Workload>) {
        self.lock_strays().looked_up(job, cron_job.map_or_else(|| job.clone(), Maker::from));
    }

    pub(super) fn put_stray(&self, maker: Maker, part: Client) {
        // What was made for a client has nothing to be told.
        let of_client = maker.is_among(&self.lock());
        if self.lock_strays().put(maker, part, of_client, Instant::now()) {
            self.changed();
        }
    }

    /// All that is kept: clients, and what was led astray.
    pub(super) fn workloads(&self) -> Vec<Workload> {
        let mut workloads: Vec<Workload> = self.lock().keys().cloned().collect();
        workloads.extend(self.lock_strays().parts().cloned());
        workloads
    }

    pub(super) fn take_stray(&self, part: &Workload) {
        self.lock_strays().take(part);
    }

    #[cfg(test)]
    pub(crate) fn put(&self, client: Client) {
        self.put_version(client, 0);
    }

    pub(crate) fn put_version(&self, client: Client, generation: i64) {
        let mut clients = self.lock();
        if let Some(before) = clients.get_mut(&client.workload)
            && *before.client == client
        {
            let is_new = std::mem::replace(&mut before.generation, generation) != generation;
            drop(clients);
            if is_new {
                self.spec_changed();
            }
            return;
        }
        clients.insert(client.workload.clone(), Template { client: Arc::new(client), generation });
        drop(clients);
        self.changed();
    }

    pub(crate) fn take(&self, workload: &Workload) {
        let mut clients = self.lock();
        if !clients.contains_key(workload) {
            return;
        }
        // With it, because its name alone does not say which its parts are.
        self.lock_strays().excuse(|maker| maker.is_among(&clients), Instant::now());
        clients.remove(workload);
        drop(clients);
        self.changed();
    }
}

impl TopicUsers for ClientIndex {
    fn users_of(&self, topic: &TopicName, grant: &TopicGrant, open: bool) -> Vec<String> {
        let names = |request: &ClientRequest| {
            [(&request.consumes, Use::Consume), (&request.produces, Use::Produce)].into_iter().any(
                |(patterns, what)| {
                    patterns.iter().any(|pattern| pattern.matches(topic.as_str()))
                        && (open || grant.allows(&request.workload, what))
                },
            )
        };
        let clients = self.lock();
        let requests = clients.values().filter_map(|one| one.client.request.as_ref().ok()?.as_deref());
        requests.filter(|request| names(request)).map(|request| request.workload.to_string()).collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Self::changes(self)
    }
}

#[cfg(test)]
#[path = "client_index_tests.rs"]
mod tests;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        batch::v1::{CronJob, Job},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, api::ListParams, core::PartialObjectMeta};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use topicops_contract::{ClientRequest, TopicName, Workload, WorkloadKind, keys};

use crate::{
    ObjectKey,
    access::Client,
    controller::{FirstListing, Index, health::Health, keep_watching, topics::TopicUsers},
    topic::{TopicGrant, Use},
};

/// All labelled workloads of the cluster, of all five kinds, trimmed to what access is made of.
#[derive(Debug)]
pub struct ClientIndex {
    clients: Mutex<BTreeMap<Workload, Arc<Client>>>,
    /// Counts changes that matter to somebody's access.
    revision: watch::Sender<u64>,
}

impl Default for ClientIndex {
    fn default() -> Self {
        Self { clients: Mutex::default(), revision: watch::Sender::new(0) }
    }
}

impl ClientIndex {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Workload, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of changes; others than those of our label and annotations are none.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    pub fn client(&self, workload: &Workload) -> Option<Arc<Client>> {
        self.lock().get(workload).cloned()
    }

    /// The watches that keep it up to date, each with what becomes true when its first listing is complete.
    pub fn watches(
        self: &Arc<Self>,
        client: &kube::Client,
        health: &Health,
    ) -> Vec<(BoxFuture<'static, ()>, watch::Receiver<bool>)> {
        vec![
            self.watch::<Deployment>(client, health),
            self.watch::<StatefulSet>(client, health),
            self.watch::<DaemonSet>(client, health),
            self.watch::<Job>(client, health),
            self.watch::<CronJob>(client, health),
        ]
    }

    /// What the watches would list now, each with its metadata.
    ///
    /// # Errors
    /// The API server does not list one of the kinds.
    pub async fn list(client: &kube::Client) -> kube::Result<Vec<(Client, ObjectMeta)>> {
        let mut listed = list_kind::<Deployment>(client).await?;
        listed.extend(list_kind::<StatefulSet>(client).await?);
        listed.extend(list_kind::<DaemonSet>(client).await?);
        listed.extend(list_kind::<Job>(client).await?);
        listed.extend(list_kind::<CronJob>(client).await?);
        Ok(listed)
    }

    fn watch<K>(
        self: &Arc<Self>,
        client: &kube::Client,
        health: &Health,
    ) -> (BoxFuture<'static, ()>, watch::Receiver<bool>)
    where
        K: KindOfWorkload + Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let index: Arc<KindIndex<K>> = Arc::new(KindIndex { clients: Arc::clone(self), kind: PhantomData });
        let (first, listed) = FirstListing::new(health);
        let labels = format!("{}={}", keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE);
        let api: Api<PartialObjectMeta<K>> = Api::all(client.clone());
        (keep_watching(api, labels, index, first).boxed(), listed)
    }

    pub(crate) fn put(&self, client: Client) {
        let mut clients = self.lock();
        if clients.get(&client.workload).is_some_and(|before| **before == client) {
            return;
        }
        clients.insert(client.workload.clone(), Arc::new(client));
        drop(clients);
        self.revision.send_modify(|revision| *revision = revision.wrapping_add(1));
    }

    pub(crate) fn take(&self, workload: &Workload) {
        if self.lock().remove(workload).is_some() {
            self.revision.send_modify(|revision| *revision = revision.wrapping_add(1));
        }
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
        let requests = clients.values().filter_map(|client| client.request.as_ref().ok()?.as_deref());
        requests.filter(|request| names(request)).map(|request| request.workload.to_string()).collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Self::changes(self)
    }
}

/// Which of our kinds a Kubernetes type is.
trait KindOfWorkload {
    const KIND: WorkloadKind;
}

impl KindOfWorkload for Deployment {
    const KIND: WorkloadKind = WorkloadKind::Deployment;
}

impl KindOfWorkload for StatefulSet {
    const KIND: WorkloadKind = WorkloadKind::StatefulSet;
}

impl KindOfWorkload for DaemonSet {
    const KIND: WorkloadKind = WorkloadKind::DaemonSet;
}

impl KindOfWorkload for Job {
    const KIND: WorkloadKind = WorkloadKind::Job;
}

impl KindOfWorkload for CronJob {
    const KIND: WorkloadKind = WorkloadKind::CronJob;
}

async fn list_kind<K>(client: &kube::Client) -> kube::Result<Vec<(Client, ObjectMeta)>>
where
    K: KindOfWorkload + Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let labels = format!("{}={}", keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE);
    let api: Api<K> = Api::all(client.clone());
    let listed = api.list_metadata(&ListParams::default().labels(&labels)).await?;
    let metas = listed.items.into_iter().map(|object| object.metadata);
    Ok(metas.filter_map(|meta| Some((trim(K::KIND, &meta).ok()?, meta))).collect())
}

/// The part of the index that one kind's watch fills.
struct KindIndex<K> {
    clients: Arc<ClientIndex>,
    kind: PhantomData<fn() -> K>,
}

impl<K: KindOfWorkload + 'static> Index<PartialObjectMeta<K>> for KindIndex<K> {
    fn apply(&self, object: PartialObjectMeta<K>) {
        match trim(K::KIND, &object.metadata) {
            Ok(client) => self.clients.put(client),
            Err(workload) => self.clients.take(&workload),
        }
    }

    fn remove(&self, key: &ObjectKey) {
        self.clients.take(&Workload::new(&key.namespace, K::KIND, &key.name));
    }

    fn keys(&self) -> Vec<ObjectKey> {
        let clients = self.clients.lock();
        let kind = clients.keys().filter(|workload| workload.kind() == K::KIND);
        kind.map(|workload| ObjectKey::new(workload.namespace(), workload.name())).collect()
    }
}

/// What is kept of a workload, or which one is not to be kept: a Job of a CronJob is part of it.
fn trim(kind: WorkloadKind, meta: &ObjectMeta) -> Result<Client, Workload> {
    let key = ObjectKey::of(meta);
    let workload = Workload::new(key.namespace, kind, key.name);
    let none = BTreeMap::new();
    let labelled = ClientRequest::is_labelled(meta.labels.as_ref().unwrap_or(&none));
    let part_of_a_cron_job = kind == WorkloadKind::Job
        && meta
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && owner.kind == WorkloadKind::CronJob.as_str());
    if !labelled || part_of_a_cron_job {
        return Err(workload);
    }
    let request = ClientRequest::parse(workload.clone(), meta.annotations.as_ref().unwrap_or(&none));
    Ok(Client {
        workload,
        uid: meta.uid.clone().unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0),
        deleting: meta.deletion_timestamp.is_some(),
        request: request.map(|request| request.map(Arc::new)).map_err(Arc::new),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use kube::core::PartialObjectMetaExt;

    use super::*;
    use crate::topic::TopicObjectKey;

    fn meta(name: &str, annotations: &[(&str, &str)]) -> ObjectMeta {
        let own = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            labels: own(&[(keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE)]),
            annotations: own(annotations),
            ..ObjectMeta::default()
        }
    }

    fn index_of<K>(clients: &Arc<ClientIndex>) -> KindIndex<K> {
        KindIndex { clients: Arc::clone(clients), kind: PhantomData }
    }

    #[test]
    fn only_our_own_label_and_annotations_are_a_change() {
        let clients = Arc::new(ClientIndex::default());
        let index = index_of::<Deployment>(&clients);
        let changes = clients.changes();
        let apply = |annotations: &[(&str, &str)]| {
            index.apply(meta("orders", annotations).into_response_partial());
            *changes.borrow()
        };
        assert_eq!(apply(&[(keys::client::PRODUCES, "orders")]), 1);
        assert_eq!(
            apply(&[(keys::client::PRODUCES, "orders"), ("deployment.kubernetes.io/revision", "7")]),
            1
        );
        assert_eq!(apply(&[(keys::client::PRODUCES, "orders,payments")]), 2);
        index.remove(&ObjectKey::new("shop", "orders"));
        assert_eq!(*changes.borrow(), 3);
        assert!(clients.all().is_empty());
    }

    #[test]
    fn a_job_of_a_cron_job_is_no_client() {
        let clients = Arc::new(ClientIndex::default());
        let mut job = meta("nightly-1", &[(keys::client::PRODUCES, "orders")]);
        job.owner_references = Some(vec![OwnerReference {
            controller: Some(true),
            kind: "CronJob".to_owned(),
            ..OwnerReference::default()
        }]);
        index_of::<Job>(&clients).apply(job.clone().into_response_partial());
        assert!(clients.all().is_empty());
        job.owner_references = None;
        index_of::<Job>(&clients).apply(job.into_response_partial());
        assert_eq!(clients.all().len(), 1);
    }

    #[test]
    fn a_listing_of_one_kind_removes_none_of_another() {
        let clients = Arc::new(ClientIndex::default());
        index_of::<Deployment>(&clients).apply(meta("a", &[]).into_response_partial());
        index_of::<StatefulSet>(&clients).apply(meta("b", &[]).into_response_partial());
        assert_eq!(index_of::<StatefulSet>(&clients).keys(), [ObjectKey::new("shop", "b")]);
    }

    #[test]
    fn mistakes_are_kept_for_their_author() {
        let clients = Arc::new(ClientIndex::default());
        index_of::<CronJob>(&clients)
            .apply(meta("a", &[(keys::client::INJECT, "file")]).into_response_partial());
        assert!(clients.all()[0].request.is_err());
    }

    #[test]
    fn whoever_names_a_topic_and_is_let_in_is_its_user() {
        let clients = Arc::new(ClientIndex::default());
        index_of::<Deployment>(&clients)
            .apply(meta("reader", &[(keys::client::CONSUMES, "order*")]).into_response_partial());
        let of = |namespace: &str| TopicGrant {
            owner: TopicObjectKey::config_map(namespace, "t"),
            consumers: Vec::new(),
            producers: Vec::new(),
        };
        let orders = "orders".parse().unwrap();
        assert_eq!(clients.users_of(&orders, &of("shop"), false), ["Deployment shop/reader"]);
        assert!(clients.users_of(&orders, &of("billing"), false).is_empty(), "it is not let in");
        assert_eq!(clients.users_of(&orders, &of("billing"), true).len(), 1);
        assert!(clients.users_of(&"payments".parse().unwrap(), &of("shop"), false).is_empty());
    }
}

//! Workloads as the watches of their kinds tell of them: what of each is kept, and what is no workload of its own.

use std::{collections::BTreeMap, fmt::Debug, marker::PhantomData, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, api::ListParams, core::PartialObjectMeta};
use serde::de::DeserializeOwned;
use topicops_contract::{ClientRequest, Workload, WorkloadKind, keys};

use super::{ClientIndex, maker::Maker};
use crate::{
    ObjectKey,
    access::Client,
    controller::{Index, Scope},
};

/// Which of our kinds a Kubernetes type is.
pub(super) trait KindOfWorkload {
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

impl KindOfWorkload for Pod {
    const KIND: WorkloadKind = WorkloadKind::Pod;
}

/// As a field selector of Pods.
pub(super) const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The part of the index that one kind's watch fills.
pub(super) struct KindIndex<K> {
    clients: Arc<ClientIndex>,
    kind: PhantomData<fn() -> K>,
}

impl<K> KindIndex<K> {
    pub(super) fn of(clients: &Arc<ClientIndex>) -> Self {
        Self { clients: Arc::clone(clients), kind: PhantomData }
    }
}

impl<K: KindOfWorkload> KindIndex<K> {
    fn apply_meta(&self, meta: &ObjectMeta) {
        match trim(K::KIND, meta) {
            Trimmed::Client(client) => {
                self.clients.take_stray(&client.workload);
                self.clients.put_version(client, meta.generation.unwrap_or_default());
            }
            Trimmed::Part(maker, part) => {
                self.clients.take(&part.workload);
                self.clients.put_stray(maker, part);
            }
            Trimmed::Nothing(workload) => self.clients.take(&workload),
        }
    }

    fn remove_key(&self, key: &ObjectKey) {
        let workload = Workload::new(&key.namespace, K::KIND, &key.name);
        self.clients.take(&workload);
        self.clients.take_stray(&workload);
    }

    fn all_keys(&self) -> Vec<ObjectKey> {
        let workloads = self.clients.workloads();
        let of_kind = workloads.iter().filter(|workload| workload.kind() == K::KIND);
        of_kind.map(|workload| ObjectKey::new(workload.namespace(), workload.name())).collect()
    }
}

impl<K: KindOfWorkload + 'static> Index<PartialObjectMeta<K>> for KindIndex<K> {
    fn apply(&self, object: PartialObjectMeta<K>) {
        self.apply_meta(&object.metadata);
    }

    fn remove(&self, key: &ObjectKey) {
        self.remove_key(key);
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.all_keys()
    }
}

impl Index<Job> for KindIndex<Job> {
    fn apply(&self, job: Job) {
        if is_finished(&job) {
            self.remove_key(&ObjectKey::of(&job.metadata));
        } else {
            self.apply_meta(&job.metadata);
        }
    }

    fn remove(&self, key: &ObjectKey) {
        self.remove_key(key);
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.all_keys()
    }
}

/// Whether Kubernetes says so. Before 1.31 it may say so while Pods are ending, and then often never says when they have.
fn is_finished(job: &Job) -> bool {
    let Some(status) = &job.status else { return false };
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|one| matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True")
}

/// All clients that there are now in these namespaces, of all kinds, each with its metadata.
///
/// # Errors
/// The API server does not list one of the kinds.
pub(super) async fn list_all(
    client: &kube::Client,
    scope: &Scope,
) -> kube::Result<Vec<(Client, ObjectMeta)>> {
    let labels = format!("{}={}", keys::INJECT_LABEL, keys::INJECT_LABEL_VALUE);
    let labelled = ListParams::default().labels(&labels);
    let mut listed = list_kind(scope.apis::<Deployment>(client), &labelled).await?;
    listed.extend(list_kind(scope.apis::<StatefulSet>(client), &labelled).await?);
    listed.extend(list_kind(scope.apis::<DaemonSet>(client), &labelled).await?);
    listed.extend(list_kind(scope.apis::<CronJob>(client), &labelled).await?);
    listed.extend(list_kind(scope.apis::<Pod>(client), &labelled.clone().fields(UNFINISHED)).await?);
    for api in scope.apis::<Job>(client) {
        let jobs = api.list(&labelled).await?.items;
        let unfinished = jobs.into_iter().filter(|job| !is_finished(job)).map(|job| job.metadata);
        listed.extend(clients_of(WorkloadKind::Job, unfinished));
    }
    Ok(listed)
}

async fn list_kind<K>(apis: Vec<Api<K>>, params: &ListParams) -> kube::Result<Vec<(Client, ObjectMeta)>>
where
    K: KindOfWorkload + Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut clients = Vec::new();
    for api in apis {
        let listed = api.list_metadata(params).await?;
        clients.extend(clients_of(K::KIND, listed.items.into_iter().map(|object| object.metadata)));
    }
    Ok(clients)
}

fn clients_of(
    kind: WorkloadKind,
    metas: impl Iterator<Item = ObjectMeta>,
) -> impl Iterator<Item = (Client, ObjectMeta)> {
    metas.filter_map(move |meta| match trim(kind, &meta) {
        Trimmed::Client(client) => Some((client, meta)),
        Trimmed::Part(..) | Trimmed::Nothing(_) => None,
    })
}

/// What is kept of an object.
enum Trimmed {
    Client(Client),
    /// A part of what it was made for.
    Part(Maker, Client),
    /// It is no client, and has no label.
    Nothing(Workload),
}

fn trim(kind: WorkloadKind, meta: &ObjectMeta) -> Trimmed {
    let key = ObjectKey::of(meta);
    let workload = Workload::new(key.namespace, kind, key.name);
    let none = BTreeMap::new();
    if !ClientRequest::is_labelled(meta.labels.as_ref().unwrap_or(&none)) {
        return Trimmed::Nothing(workload);
    }
    let mut client = Client {
        workload,
        uid: meta.uid.clone().unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0),
        deleting: meta.deletion_timestamp.is_some(),
        request: Ok(None),
    };
    let mut owners = meta.owner_references.iter().flatten();
    let whole = owners.find(|owner| kind.is_part_of(&owner.kind, owner.controller == Some(true)));
    if let Some(owner) = whole {
        return Trimmed::Part(Maker::of(meta, owner), client);
    }
    let request = ClientRequest::parse(client.workload.clone(), meta.annotations.as_ref().unwrap_or(&none));
    client.request = request.map(|request| request.map(Arc::new)).map_err(Arc::new);
    Trimmed::Client(client)
}

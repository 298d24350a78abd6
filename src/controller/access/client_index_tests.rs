use jiff::Timestamp;
use k8s_openapi::{
    api::batch::v1::{JobCondition, JobStatus},
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use kube::core::PartialObjectMetaExt;

use super::*;
use crate::{ObjectKey, topic::TopicObjectKey};

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
    KindIndex::of(clients)
}

fn made_by(kind: &str, name: &str) -> Option<Vec<OwnerReference>> {
    let owner = OwnerReference {
        controller: Some(true),
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..OwnerReference::default()
    };
    Some(vec![owner])
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
    assert_eq!(apply(&[(keys::client::PRODUCES, "orders"), ("deployment.kubernetes.io/revision", "7")]), 1);
    assert_eq!(apply(&[(keys::client::PRODUCES, "orders,payments")]), 2);
    index.remove(&ObjectKey::new("shop", "orders"));
    assert_eq!(*changes.borrow(), 3);
    assert!(clients.all().is_empty());
}

#[test]
fn a_job_of_a_cron_job_is_no_client_and_one_that_has_finished_is_none_any_more() {
    let clients = Arc::new(ClientIndex::default());
    let metadata = ObjectMeta {
        owner_references: made_by("CronJob", "nightly"),
        ..meta("nightly-1", &[(keys::client::PRODUCES, "orders")])
    };
    let mut job = Job { metadata, ..Job::default() };
    let index = index_of::<Job>(&clients);
    index.apply(job.clone());
    assert!(clients.all().is_empty());
    job.metadata.owner_references = None;
    index.apply(job.clone());
    assert_eq!(clients.all().len(), 1);
    let condition = |type_: &str, status: &str| JobCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        ..JobCondition::default()
    };
    for (conditions, left) in [
        (vec![condition("Suspended", "True")], 1),
        (vec![condition("FailureTarget", "True"), condition("Failed", "False")], 1),
        (vec![condition("SuccessCriteriaMet", "True"), condition("Complete", "True")], 0),
        (vec![condition("Failed", "True")], 0),
    ] {
        job.status = Some(JobStatus { conditions: Some(conditions), ..JobStatus::default() });
        index.apply(job.clone());
        assert_eq!(clients.all().len(), left, "{:?}", job.status);
    }
    // Before Kubernetes 1.31, which may never say more.
    job.status = Some(JobStatus::default());
    index.apply(job.clone());
    let conditions = Some(vec![condition("Failed", "True")]);
    job.status = Some(JobStatus { conditions, terminating: Some(2), ..JobStatus::default() });
    index.apply(job.clone());
    assert!(clients.all().is_empty());
}

#[test]
fn a_job_that_was_made_from_a_cron_job_by_hand_is_part_of_it_by_whatever_name() {
    let clients = Arc::new(ClientIndex::default());
    let (jobs, pods) = (index_of::<Job>(&clients), index_of::<Pod>(&clients));
    let told = || clients.strays().into_iter().map(|(maker, _)| maker.to_string()).collect::<Vec<_>>();
    // As kubectl makes it, and as others do, that do not say who controls it.
    for (controller, name) in [(Some(true), "by-hand"), (None, "otherwise")] {
        let mut owners = made_by("CronJob", "nightly").unwrap();
        owners[0].controller = controller;
        let metadata = ObjectMeta { owner_references: Some(owners), ..meta(name, &[]) };
        jobs.apply(Job { metadata, ..Job::default() });
        let pod = ObjectMeta { owner_references: made_by("Job", name), ..meta(&format!("{name}-x"), &[]) };
        pods.apply(pod.into_response_partial());
    }
    assert!(clients.all().is_empty());
    assert_eq!(told(), ["CronJob shop/nightly"], "the label is on its templates alone");
    let nightly = Workload::new("shop", topicops_contract::WorkloadKind::CronJob, "nightly");
    let to_look_up = clients.jobs_to_look_up();
    assert_eq!(to_look_up.len(), 2, "{to_look_up:?}");
    to_look_up.iter().for_each(|job| clients.looked_up(job, Some(&nightly)));
    assert_eq!(told(), ["CronJob shop/nightly"]);
    assert!(clients.jobs_to_look_up().is_empty());
    index_of::<CronJob>(&clients).apply(meta("nightly", &[]).into_response_partial());
    assert!(told().is_empty(), "the CronJob has the label, too");
    index_of::<CronJob>(&clients).remove(&ObjectKey::new("shop", "nightly"));
    for name in ["by-hand", "otherwise"] {
        Index::<Job>::remove(&jobs, &ObjectKey::new("shop", name));
        assert!(told().is_empty(), "what is left of it follows it");
        pods.remove(&ObjectKey::new("shop", format!("{name}-x")));
    }
    jobs.apply(Job {
        metadata: ObjectMeta { owner_references: made_by("CronJob", "nightly"), ..meta("again", &[]) },
        ..Job::default()
    });
    assert_eq!(told(), ["CronJob shop/nightly"], "none is left of what was a client's");
}

#[tokio::test(start_paused = true)]
async fn of_what_follows_a_client_that_is_deleted_nothing_is_told_or_asked() {
    let clients = Arc::new(ClientIndex::default());
    let (deployments, jobs) = (index_of::<Deployment>(&clients), index_of::<Job>(&clients));
    let pods = index_of::<Pod>(&clients);
    let pod_of = |kind: &str, maker: &str| {
        let mut pod = meta(&format!("{maker}-x"), &[]);
        pod.owner_references = made_by(kind, maker);
        pod.labels.get_or_insert_default().insert("pod-template-hash".to_owned(), "7d9f".to_owned());
        pods.apply(pod.into_response_partial());
    };
    let once = Job { metadata: meta("once", &[]), ..Job::default() };
    let nothing = || clients.strays().is_empty() && clients.jobs_to_look_up().is_empty();
    // Whichever of them is seen first, and whether anybody looked in between or not.
    deployments.apply(meta("orders", &[]).into_response_partial());
    jobs.apply(once.clone());
    pod_of("ReplicaSet", "orders-7d9f");
    pod_of("Job", "once");
    deployments.remove(&ObjectKey::new("shop", "orders"));
    Index::<Job>::remove(&jobs, &ObjectKey::new("shop", "once"));
    assert!(nothing(), "{:?} {:?}", clients.strays(), clients.jobs_to_look_up());
    for pod in ["orders-7d9f-x", "once-x"] {
        pods.remove(&ObjectKey::new("shop", pod));
    }
    pod_of("ReplicaSet", "orders-7d9f");
    pod_of("Job", "once");
    assert_eq!((clients.strays().len(), clients.jobs_to_look_up().len()), (1, 1));
    deployments.apply(meta("orders", &[]).into_response_partial());
    jobs.apply(once);
    assert!(nothing());
    deployments.remove(&ObjectKey::new("shop", "orders"));
    assert!(clients.strays().is_empty());
    // What is being deleted has nothing to be told however long that takes; what stays, because its maker's label alone was taken
    // off, has.
    tokio::time::advance(clients.next_stray().unwrap() - Instant::now()).await;
    let left: Vec<String> =
        clients.strays().iter().map(|(_, part)| part.workload.name().to_owned()).collect();
    assert_eq!((left, clients.next_stray()), (vec!["orders-7d9f-x".to_owned()], None));
    let mut going = meta("orders-7d9f-x", &[]);
    going.owner_references = made_by("ReplicaSet", "orders-7d9f");
    going.labels.get_or_insert_default().insert("pod-template-hash".to_owned(), "7d9f".to_owned());
    going.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    pods.apply(going.into_response_partial());
    assert!(clients.strays().is_empty());
    // And so has what its maker makes from then on, at once.
    let changes = *clients.changes().borrow();
    let mut next = meta("orders-5c4b-y", &[]);
    next.owner_references = made_by("ReplicaSet", "orders-5c4b");
    next.labels.get_or_insert_default().insert("pod-template-hash".to_owned(), "5c4b".to_owned());
    pods.apply(next.into_response_partial());
    let told: Vec<String> =
        clients.strays().iter().map(|(_, part)| part.workload.name().to_owned()).collect();
    assert_eq!(told, ["orders-5c4b-y"]);
    assert!(*clients.changes().borrow() > changes, "somebody looks");
}

#[test]
fn a_pod_of_a_controller_is_no_client_and_is_told_of_unless_its_workload_is_one() {
    let clients = Arc::new(ClientIndex::default());
    let pods = index_of::<Pod>(&clients);
    pods.apply(meta("shell", &[(keys::client::CONSUMES, "orders")]).into_response_partial());
    assert_eq!(clients.all().len(), 1);
    let pod_of = |name: &str, kind: &str, maker: &str| {
        let mut pod = meta(name, &[(keys::client::CONSUMES, "orders")]);
        pod.owner_references = made_by(kind, maker);
        pod.labels.get_or_insert_default().insert("pod-template-hash".to_owned(), "7d9f".to_owned());
        pods.apply(pod.into_response_partial());
    };
    pod_of("orders-7d9f-x", "ReplicaSet", "orders-7d9f");
    let changes = *clients.changes().borrow();
    pod_of("orders-7d9f-y", "ReplicaSet", "orders-7d9f");
    assert_eq!(*clients.changes().borrow(), changes, "one Pod of a maker more");
    pod_of("db-0", "StatefulSet", "db");
    pod_of("nightly-29384-x", "Job", "nightly-29384");
    assert_eq!(clients.all().len(), 1, "they are part of something else");
    let told = || clients.strays().into_iter().map(|(maker, _)| maker.to_string()).collect::<Vec<_>>();
    let jobs = clients.jobs_to_look_up();
    assert_eq!((jobs.len(), told().len()), (1, 2), "it may be a CronJob's");
    clients.looked_up(&jobs[0], None);
    assert_eq!(told(), ["Deployment shop/orders", "Job shop/nightly-29384", "StatefulSet shop/db"]);
    pods.remove(&ObjectKey::new("shop", "orders-7d9f-x"));
    assert_eq!(told().len(), 3, "another Pod of it is there");
    index_of::<Deployment>(&clients).apply(meta("orders", &[]).into_response_partial());
    index_of::<CronJob>(&clients).apply(meta("nightly", &[]).into_response_partial());
    assert_eq!(told(), ["StatefulSet shop/db"]);
    assert!(pods.keys().contains(&ObjectKey::new("shop", "db-0")), "a new listing may tell that it is gone");
    pods.remove(&ObjectKey::new("shop", "db-0"));
    assert!(told().is_empty());
}

#[test]
fn what_a_workload_made_is_told_of_once_however_often_it_is_rolled_out() {
    let clients = Arc::new(ClientIndex::default());
    let pods = index_of::<Pod>(&clients);
    let pod_of = |template: &str| {
        let mut pod = meta(&format!("orders-{template}-x"), &[]);
        pod.owner_references = made_by("ReplicaSet", &format!("orders-{template}"));
        pod.labels.get_or_insert_default().insert("pod-template-hash".to_owned(), template.to_owned());
        pod
    };
    pods.apply(pod_of("7d9f").into_response_partial());
    let changes = *clients.changes().borrow();
    pods.apply(pod_of("5c4b").into_response_partial());
    pods.remove(&ObjectKey::new("shop", "orders-7d9f-x"));
    let strays = clients.strays();
    assert_eq!((strays.len(), *clients.changes().borrow()), (1, changes));
    assert_eq!(strays[0].0.to_string(), "Deployment shop/orders");
    assert_eq!(strays[0].1.workload.name(), "orders-5c4b-x");
    // A Pod that its controller gave up is a workload of its own.
    let released = ObjectMeta { owner_references: None, ..pod_of("5c4b") };
    pods.apply(released.into_response_partial());
    assert!(clients.strays().is_empty() && clients.all().len() == 1);
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
    index_of::<CronJob>(&clients).apply(meta("a", &[(keys::client::INJECT, "file")]).into_response_partial());
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

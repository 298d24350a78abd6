//! The loop, about labels that do nothing where they stand.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use topicops_contract::{Workload, WorkloadKind};

use super::{maker::Maker, tests::orders, world::World};
use crate::{
    ObjectKey,
    access::{Client, testing::request},
};

/// A labelled Pod of a Job.
fn put_pod_of(world: &World, job: &str) {
    let name = format!("{job}-x");
    let pod =
        ObjectMeta { name: Some(name.clone()), namespace: Some("shop".to_owned()), ..ObjectMeta::default() };
    let owner = OwnerReference { kind: "Job".to_owned(), name: job.to_owned(), ..OwnerReference::default() };
    let client = Client {
        workload: Workload::new("shop", WorkloadKind::Pod, &name),
        uid: format!("uid-{name}"),
        created: Timestamp::MAX,
        deleting: false,
        request: Ok(None),
    };
    world.clients.put_stray(Maker::of(&pod, &owner), client);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_job_that_was_made_from_a_client_by_hand_are_told_nothing_and_looked_up_once() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    let mut nightly = request("shop/nightly").consume("orders");
    nightly.workload = Workload::new("shop", WorkloadKind::CronJob, "nightly");
    world.ask(&nightly);
    let by_hand = ObjectKey::new("shop", "by-hand");
    world.jobs.cron_jobs.lock().unwrap().insert(by_hand, nightly.workload.clone());
    world.jobs.away.store(true, Ordering::Relaxed);
    let _process = world.run();
    world.settled().await;
    put_pod_of(&world, "by-hand");
    put_pod_of(&world, "nightly-29384");
    put_pod_of(&world, "somebodys");
    world.until("questions", async |world| world.jobs.asked.load(Ordering::Relaxed) >= 2).await;
    assert!(!world.heard.has("LabelOnTemplate"), "nobody knows yet");
    world.jobs.away.store(false, Ordering::Relaxed);
    world.ask(&orders());
    let told = "shop/somebodys-x LabelOnTemplate: the label kafka-operator does nothing on this Pod, because Job \
                shop/somebodys made it";
    world.until("the Event", async |world| world.heard.has(told)).await;
    world.settled().await;
    assert!(!world.heard.has("by-hand") && !world.heard.has("nightly-29384"), "{:?}", world.heard.lines);
    let asked = world.jobs.asked.load(Ordering::Relaxed);
    world.clients.take(&orders().workload);
    world.settled().await;
    assert_eq!(world.jobs.asked.load(Ordering::Relaxed), asked);
}

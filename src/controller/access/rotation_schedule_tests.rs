//! Rotations that nobody asks for but the age of the credentials.

use std::time::Duration;

use tokio::time::sleep;
use topicops_contract::{RotateAfter, keys};

use super::{
    rotation_tests::{FIRST, SECOND, SECRET, orders, running},
    world::World,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

async fn until_rotated(world: &World) {
    world.until("the end", World::is_rotated).await;
    assert!(world.heard.has("Rotating: Secret orders-kafka-credentials holds the credentials of user"));
    assert!(world.heard.has("Rotated: all Pods have the credentials of user topicops.shop.orders_2"));
}

async fn stays_for(world: &World, span: Duration) {
    let (password, asked) = (world.password(SECRET), world.asked().0);
    sleep(span).await;
    assert_eq!((world.password(SECRET), world.asked().0), (password, asked), "nothing was written");
    assert_eq!(world.mark(keys::secret::USERNAME).as_deref(), Some(FIRST));
    assert!(!world.state().await.contains(SECOND), "{}", world.state().await);
}

#[tokio::test(start_paused = true)]
async fn credentials_are_made_anew_in_the_last_tenth_of_their_age_and_not_before() {
    let mut world = running().await;
    world.rotate_after = Some(HOUR);
    let _process = world.run();
    stays_for(&world, 53 * MINUTE).await;
    sleep(7 * MINUTE).await;
    until_rotated(&world).await;
    assert!(world.pods_are_let_in().await);
}

#[tokio::test(start_paused = true)]
async fn a_workload_says_otherwise_for_itself() {
    let mut world = running().await;
    world.rotate_after = Some(HOUR);
    let mut never = orders(None);
    never.rotation.after = Some(RotateAfter::Never);
    world.ask(&never);
    let process = world.run();
    stays_for(&world, 5 * HOUR).await;
    drop(process);
    world.rotate_after = None;
    let mut sooner = orders(None);
    sooner.rotation.after = Some(RotateAfter::Age(6 * HOUR));
    world.ask(&sooner);
    let _process = world.run();
    // A tenth of six hours before they are over.
    stays_for(&world, 20 * MINUTE).await;
    sleep(40 * MINUTE).await;
    until_rotated(&world).await;
}

//! How many rotations are under way at a time, whatever keeps them from going on and whoever leads.

use std::time::Duration;

use tokio::time::sleep;
use topicops_contract::{RotateAfter, keys};

use super::world::{Process, World};
use crate::{
    access::testing::{Asking, request},
    kafka::{Call, Cluster, ItemError},
};

const WORKLOADS: usize = 25;
const AT_A_TIME: usize = 10;

fn asking(n: usize, token: Option<&str>) -> Asking {
    let mut asking = request(&format!("shop/w{n:02}")).produce("orders");
    asking.rotation.token = token.map(str::to_owned);
    asking
}

/// Many workloads with credentials and a Pod each, all of which ask for others.
async fn many() -> World {
    let world = World::new(&[("shop/orders", &[])]).await;
    for n in 0..WORKLOADS {
        world.ask(&asking(n, None));
    }
    drop({
        let process = world.run();
        world.settled().await;
        process
    });
    for n in 0..WORKLOADS {
        let workload = asking(n, None).workload.clone();
        let users = vec![format!("topicops.shop.w{n:02}")];
        world.pods.lock().unwrap().users.insert(workload, users);
        world.ask(&asking(n, Some("today")));
    }
    world
}

impl World {
    fn logins_are_refused(&self, refused: bool) {
        let error = ItemError {
            code: "SASL_AUTHENTICATION_FAILED".to_owned(),
            number: 58,
            message: "no".to_owned(),
            retriable: true,
        };
        for n in 0..WORKLOADS {
            let username = format!("topicops.shop.w{n:02}_2");
            self.cluster.refuse(Call::CheckLogins, &username, refused.then(|| error.clone()));
        }
    }

    async fn new_users(&self) -> usize {
        let users = self.cluster.describe_scram_users("").await.unwrap();
        users.iter().filter(|user| user.username.ends_with("_2")).count()
    }

    /// Secrets that say that Pods change over.
    fn change_over(&self) -> usize {
        let kept = self.kept.lock().unwrap();
        let annotations = kept.secrets.values().filter_map(|secret| secret.metadata.annotations.as_ref());
        annotations.filter(|all| all.contains_key(keys::secret::PREVIOUS)).count()
    }

    async fn until_all_are_rotated(&self, _process: &Process) {
        let told = |world: &Self| {
            let lines = world.heard.lines.lock().unwrap();
            lines.iter().filter(|line| line.contains(" Rotated: ")).count()
        };
        self.until("the end", async |world| {
            assert!(world.change_over() <= AT_A_TIME, "{} change over", world.change_over());
            told(world) == WORKLOADS && world.is_in_order().await
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_keeps_new_credentials_from_their_secrets_is_met_with_ten_of_them_and_not_with_all() {
    let world = many().await;
    world.logins_are_refused(true);
    let process = world.run();
    world.until("ten", async |world| world.new_users().await == AT_A_TIME).await;
    sleep(Duration::from_secs(500)).await;
    assert_eq!((world.new_users().await, world.change_over()), (AT_A_TIME, 0));
    world.logins_are_refused(false);
    world.until_all_are_rotated(&process).await;
}

#[tokio::test(start_paused = true)]
async fn ten_that_do_not_get_on_hold_up_others_for_ten_minutes_and_no_longer() {
    let world = many().await;
    world.logins_are_refused(true);
    let _process = world.run();
    world.until("ten", async |world| world.new_users().await == AT_A_TIME).await;
    sleep(Duration::from_secs(700)).await;
    assert_eq!(world.new_users().await, 2 * AT_A_TIME);
}

#[tokio::test(start_paused = true)]
async fn after_ten_that_do_not_get_on_one_at_a_time_is_tried_of_those_that_are_only_old_until_one_is_done() {
    let world = many().await;
    for n in 0..WORKLOADS {
        let mut asking = asking(n, None);
        asking.rotation.after = Some(RotateAfter::Age(Duration::from_secs(86_400)));
        world.ask(&asking);
    }
    for secret in world.kept.lock().unwrap().secrets.values_mut() {
        let annotations = secret.metadata.annotations.as_mut().unwrap();
        annotations.insert(keys::secret::MADE.to_owned(), "2020-01-01T00:00:00Z".to_owned());
    }
    world.logins_are_refused(true);
    let _process = world.run();
    for tried in [AT_A_TIME, AT_A_TIME + 1, AT_A_TIME + 2] {
        world.until("another", async |world| world.new_users().await == tried).await;
        sleep(Duration::from_secs(300)).await;
        assert_eq!(world.new_users().await, tried);
    }
    world.logins_are_refused(false);
    world.until("the others", async |world| world.new_users().await == WORKLOADS).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_next_begins_no_more_than_there_is_room_for() {
    let world = many().await;
    world.pods.lock().unwrap().stuck = true;
    let process = world.run();
    world.until("ten", async |world| world.change_over() == AT_A_TIME).await;
    drop(process);
    let process = world.run();
    sleep(Duration::from_secs(300)).await;
    assert_eq!((world.new_users().await, world.change_over()), (AT_A_TIME, AT_A_TIME));
    world.pods.lock().unwrap().stuck = false;
    world.until_all_are_rotated(&process).await;
}

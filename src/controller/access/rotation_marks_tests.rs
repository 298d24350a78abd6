//! What becomes of rotations when somebody writes into a Secret what is topicops' to say.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use topicops_contract::keys;

use super::{
    rotation_tests::{FIRST, SECRET, orders, running},
    world::{Process, World},
};
use crate::access::testing::at;

impl World {
    /// Somebody else's word on when the password was made; the watch tells.
    fn says_made(&self, text: Option<&str>, process: &Process) {
        let mut secret = self.secret(SECRET).unwrap();
        secret.metadata.creation_timestamp = Some(Time(at(1)));
        let annotations = secret.metadata.annotations.as_mut().unwrap();
        match text {
            Some(text) => annotations.insert(keys::secret::MADE.to_owned(), text.to_owned()),
            None => annotations.remove(keys::secret::MADE),
        };
        let secret = self.kept.lock().unwrap().put(secret);
        process.secrets.apply_meta(&secret.metadata);
    }

    /// What Pods were to have, by when it was made, and since when they were said to find it.
    fn told(&self) -> (Vec<Timestamp>, Vec<Timestamp>) {
        let pods = self.pods.lock().unwrap();
        (pods.made.clone(), pods.since.clone())
    }

    async fn until_more_looks(&self) {
        let before = self.pods.lock().unwrap().asked;
        self.until("more looks", async |world| world.pods.lock().unwrap().asked > before + 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_writes_of_when_the_password_was_made_has_no_older_pods_count_as_changed_over() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let began = world.time();
    let process = world.run();
    world.until_more_looks().await;
    let first = world.told();
    assert_eq!((first.0.len(), first.1.len()), (1, 1));
    for text in [Some("2020-01-01T00:00:00Z"), Some("yesterday"), None] {
        world.says_made(text, &process);
        world.until_more_looks().await;
        assert_eq!(world.told(), first, "{text:?}");
    }
    drop(process);
    let process = world.run();
    world.until_more_looks().await;
    // Whoever leads next does not know. By age count those that began after it saw what is in the Secret.
    let (made, since) = world.told();
    assert_eq!((made.len(), made[1]), (2, at(1)));
    assert!(since.len() == 2 && since[1] > began, "{since:?}");
    drop(process);
    world.pods.lock().unwrap().stuck = false;
    let _process = world.run();
    world.until("the end", World::is_rotated).await;
}

#[tokio::test(start_paused = true)]
async fn for_whoever_leads_next_no_pods_are_younger_than_what_it_sees_in_the_secret_whatever_that_says() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let process = world.run();
    world.until_more_looks().await;
    world.says_made(Some("2020-01-01T00:00:00Z"), &process);
    drop(process);
    let _process = world.run();
    world.until_more_looks().await;
    let (_, since) = world.told();
    assert!(since.len() == 2 && since[1] > since[0], "{since:?}");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_said_to_be_made_in_the_future_is_one_password_and_has_pods_replaced_once() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let process = world.run();
    world.until_more_looks().await;
    let future = "2100-01-01T00:00:00Z";
    world.says_made(Some(future), &process);
    world.until_more_looks().await;
    world.until_more_looks().await;
    let (made, since) = world.told();
    assert_eq!((made.len(), made[1].to_string().as_str()), (2, future));
    assert!(since.len() == 2 && since[1] <= world.time(), "{since:?}");
    world.pods.lock().unwrap().stuck = false;
    world.until("the end", World::is_rotated).await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_mended_while_pods_change_over_says_again_when_its_password_was_made() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let process = world.run();
    world.until_more_looks().await;
    let made = world.mark(keys::secret::MADE);
    let mut secret = world.secret(SECRET).unwrap();
    let annotations = secret.metadata.annotations.as_mut().unwrap();
    assert!(annotations.remove(keys::secret::MADE).is_some());
    annotations.insert(keys::secret::PREVIOUS.to_owned(), format!("{FIRST}_7"));
    let secret = world.kept.lock().unwrap().put(secret);
    process.secrets.apply_meta(&secret.metadata);
    world
        .until("its marks", async |world| world.mark(keys::secret::PREVIOUS).as_deref() == Some(FIRST))
        .await;
    assert_eq!(world.mark(keys::secret::MADE), made);
    assert!(world.pods_are_let_in().await);
}

//! Rotations from end to end, with Pods, a cluster and Secrets in memory and tokio's clock paused.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use topicops_contract::{Problem, Problems, keys};

use super::{testing::Death, world::World};
use crate::{
    ObjectKey,
    access::{
        Client,
        testing::{Asking, request},
    },
    controller::Index,
    kafka::{Acl, Call, Cluster, ItemError},
    metrics::{PassLabel, StateLabel},
};

pub(super) const SECRET: &str = "orders-kafka-credentials";
pub(super) const FIRST: &str = "topicops.shop.orders";
pub(super) const SECOND: &str = "topicops.shop.orders_2";

pub(super) fn orders(token: Option<&str>) -> Asking {
    let mut asking = request("shop/orders").consume("orders").produce("payments");
    asking.rotation.token = token.map(str::to_owned);
    asking
}

/// With credentials, and three Pods that run with them.
pub(super) async fn running() -> World {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders(None));
    drop({
        let process = world.run();
        world.settled().await;
        process
    });
    let users = vec![FIRST.to_owned(); 3];
    world.pods.lock().unwrap().users.insert(orders(None).workload.clone(), users);
    world
}

impl World {
    pub(super) fn mark(&self, key: &str) -> Option<String> {
        self.secret(SECRET)?.metadata.annotations?.get(key).cloned()
    }

    /// Whether every Pod that is there can log in, and may do what all may.
    pub(super) async fn pods_are_let_in(&self) -> bool {
        let users: Vec<String> = self
            .cluster
            .describe_scram_users("")
            .await
            .unwrap()
            .into_iter()
            .map(|user| user.username)
            .collect();
        let acls = self.cluster.describe_acls("").await.unwrap();
        let of = |username: &str| -> BTreeSet<String> {
            let own = acls.iter().filter(|acl| acl.username == username);
            own.map(|acl: &Acl| acl.to_string().replace(username, "")).collect()
        };
        let pods = self.pods.lock().unwrap();
        let first = of(FIRST).len().max(of(SECOND).len());
        pods.users.values().flatten().all(|user| users.contains(user) && of(user).len() == first)
    }

    pub(super) async fn is_rotated(&self) -> bool {
        let pods = self.pods.lock().unwrap().users.values().flatten().all(|user| user == SECOND);
        pods && self.mark(keys::secret::USERNAME).as_deref() == Some(SECOND)
            && self.mark(keys::secret::PREVIOUS).is_none()
            && self.is_in_order().await
    }
}

#[tokio::test(start_paused = true)]
async fn pods_change_over_to_a_new_user_and_the_one_before_goes_when_none_has_it() {
    let world = running().await;
    let password = world.password(SECRET);
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let _process = world.run();
    world
        .until("both users", async |world| {
            world.mark(keys::secret::PREVIOUS).as_deref() == Some(FIRST) && world.is_in_order().await
        })
        .await;
    assert_ne!(world.password(SECRET), password);
    assert_eq!(world.mark(keys::secret::MADE_FOR).as_deref(), Some("today"));
    assert!(world.heard.has(
        "Rotating: Secret orders-kafka-credentials holds the credentials of user topicops.shop.orders_2"
    ));
    sleep(Duration::from_secs(3_600)).await;
    assert!(world.pods_are_let_in().await, "{}", world.state().await);
    let waits = "RotationWaits: 3 Pods may run with the credentials of user topicops.shop.orders still";
    let times = world.heard.count(waits);
    assert!((3..=6).contains(&times), "{:?}", world.heard.lines.lock().unwrap());
    world.pods.lock().unwrap().stuck = false;
    world.until("the end", World::is_rotated).await;
    assert!(world.heard.has("Rotated: all Pods have the credentials of user topicops.shop.orders_2"));
    let asked = world.pods.lock().unwrap().asked;
    let (writes, reads) = world.asked();
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.pods.lock().unwrap().asked, asked, "what is over is not looked at");
    assert_eq!(world.asked(), (writes, reads));
    assert_eq!(world.count(Call::UpsertScramUsers), 2, "one for each password");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_a_rotation_shuts_no_pod_out_and_it_goes_on() {
    for after_effect in [false, true] {
        let mut steps = 1;
        loop {
            let world = running().await;
            world.ask(&orders(Some("today")));
            let death = Death::after(steps, after_effect);
            let process = world.start(&death);
            world.until("death or the end", async |world| death.has_come() || world.is_rotated().await).await;
            let died = death.has_come();
            drop(process);
            assert!(world.pods_are_let_in().await, "step {steps}: {}", world.state().await);
            let _process = world.run();
            world
                .until("the end", async |world| {
                    assert!(world.pods_are_let_in().await, "step {steps}: {}", world.state().await);
                    world.is_rotated().await
                })
                .await;
            if !died {
                break;
            }
            steps += 1;
        }
        assert!(
            steps > 12,
            "user, rules, login, Secret, three Pods, Secret, rules and user are steps: {steps}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_waits_for_something_else_or_again_is_told_again() {
    let world = running().await;
    let waits_for = |needs| {
        let mut pods = world.pods.lock().unwrap();
        (pods.stuck, pods.needs) = (true, needs);
    };
    let told = |what: &str| {
        world.heard.count(&format!(
            "still (topicops.shop.orders, topicops.shop.orders, topicops.shop.orders): {what}"
        ))
    };
    waits_for(Some("it is paused"));
    world.ask(&orders(Some("today")));
    let _process = world.run();
    world.until("a word", async |_| told("it is paused") == 1).await;
    waits_for(Some("somebody has to delete them"));
    let began = Instant::now();
    world.until("another word", async |_| told("somebody has to delete them") == 1).await;
    assert!(began.elapsed() < Duration::from_secs(60), "only because it was time again");
    waits_for(None);
    sleep(Duration::from_secs(120)).await;
    assert_eq!((told("it is paused"), told("somebody has to delete them")), (1, 1));
    waits_for(Some("it is paused"));
    world.until("the first word again", async |_| told("it is paused") == 2).await;
    assert!(world.pods_are_let_in().await);
}

#[tokio::test(start_paused = true)]
async fn what_kubernetes_refuses_is_told_at_once_and_the_credentials_before_stay() {
    let world = running().await;
    world.pods.lock().unwrap().refused = true;
    world.ask(&orders(Some("today")));
    let _process = world.run();
    world
        .until("a word", async |world| {
            world.heard.has(
                "RotationWaits: the Pods could not be replaced: roll out Deployment shop/orders: forbidden",
            )
        })
        .await;
    assert!(world.pods_are_let_in().await);
    world.pods.lock().unwrap().refused = false;
    world.until("the end", World::is_rotated).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_nobody_answers_about_holds_up_nobodys_access_and_is_followed_no_longer_than_it_leads()
{
    let world = running().await;
    world.pods.lock().unwrap().silent = true;
    world.ask(&orders(Some("today")));
    let process = world.run();
    let waiting = |world: &World| world.pods.lock().unwrap().waiting;
    world.until("a look", async |world| waiting(world) == 1).await;
    let began = Instant::now();
    world.ask(&request("shop/reader").consume("orders"));
    world.settled().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(waiting(&world), 1);
    process.leads.send_replace(false);
    world.until("the look to end", async |world| waiting(world) == 0).await;
    world.pods.lock().unwrap().silent = false;
    process.leads.send_replace(true);
    world.until("the end", World::is_rotated).await;
}

#[tokio::test(start_paused = true)]
async fn rotations_under_way_and_clients_are_counted_where_they_are_followed_and_nowhere_else() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let process = world.run();
    let running = &process.metrics.rotations_running;
    let told = || process.metrics.clients.get(&StateLabel { state: "ready" }).is_some();
    world.until("one", async |_| running.get() == 1 && told()).await;
    process.leads.send_replace(false);
    world.until("none", async |_| running.get() == 0 && !told()).await;
    process.leads.send_replace(true);
    world.until("one again", async |_| running.get() == 1 && told()).await;
    world.pods.lock().unwrap().stuck = false;
    world.until("none any more", async |_| running.get() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_in_an_unforeseen_way_is_told_and_made_again() {
    let world = running().await;
    world.pods.lock().unwrap().faults = 2;
    world.ask(&orders(Some("today")));
    let _process = world.run();
    world.until("the end", World::is_rotated).await;
    assert!(
        world
            .heard
            .has("RotationWaits: the Pods could not be replaced: look after the rollout of Deployment")
    );
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_goes_while_its_pods_change_over_loses_both_users() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let _process = world.run();
    world.until("both", async |world| world.mark(keys::secret::PREVIOUS).is_some()).await;
    world.clients.take(&orders(None).workload);
    world.settled().await;
    assert!(world.cluster.describe_scram_users("").await.unwrap().is_empty());
    assert!(world.secret(SECRET).is_none());
}

#[tokio::test(start_paused = true)]
async fn pods_change_over_to_the_password_that_comes_after_a_secret_that_somebody_deleted_meanwhile() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    drop({
        let process = world.run();
        world.until("both", async |world| world.mark(keys::secret::PREVIOUS).is_some()).await;
        process
    });
    let key = ObjectKey::new("shop", SECRET);
    let mut secret = world.secret(SECRET).unwrap();
    let long_ago = "2020-01-01T00:00:00Z";
    secret.metadata.annotations.as_mut().unwrap().insert(keys::secret::MADE.to_owned(), long_ago.to_owned());
    world.kept.lock().unwrap().put(secret);
    world.pods.lock().unwrap().made.clear();
    let process = world.run();
    world.until("a look", async |world| !world.pods.lock().unwrap().made.is_empty()).await;
    let password = world.password(SECRET);
    world.kept.lock().unwrap().secrets.remove(&key);
    Index::remove(process.secrets.as_ref(), &key);
    world.until("another look", async |world| world.pods.lock().unwrap().made.len() == 2).await;
    assert_ne!(world.password(SECRET), password);
    assert_eq!(world.mark(keys::secret::PREVIOUS).as_deref(), Some(FIRST));
    assert_eq!(world.pods.lock().unwrap().made[0].to_string(), long_ago);
    world.pods.lock().unwrap().stuck = false;
    world.until("the end", World::is_rotated).await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_goes_while_pods_change_over_and_nobody_leads_shuts_none_of_them_out() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    drop({
        let process = world.run();
        world.until("both", async |world| world.mark(keys::secret::PREVIOUS).is_some()).await;
        process
    });
    world.kept.lock().unwrap().secrets.remove(&ObjectKey::new("shop", SECRET));
    let _process = world.run();
    world
        .until("the Secret anew", async |world| {
            assert!(world.pods_are_let_in().await, "{}", world.state().await);
            world.mark(keys::secret::PREVIOUS).as_deref() == Some(FIRST)
        })
        .await;
    sleep(Duration::from_secs(60)).await;
    assert!(world.pods_are_let_in().await, "{}", world.state().await);
    world.pods.lock().unwrap().stuck = false;
    world.until("the end", World::is_rotated).await;
}

/// The brokers have the user, and do not let him in yet.
fn logins_are_refused(world: &World, username: &str, refused: bool) {
    let error = ItemError {
        code: "SASL_AUTHENTICATION_FAILED".to_owned(),
        number: 58,
        message: "not yet".to_owned(),
        retriable: true,
    };
    world.cluster.refuse(Call::CheckLogins, username, refused.then_some(error));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_goes_before_it_has_the_next_user_shuts_no_pod_out() {
    let world = running().await;
    logins_are_refused(&world, SECOND, true);
    world.ask(&orders(Some("today")));
    let process = world.run();
    let users = async |world: &World| world.cluster.describe_scram_users("").await.unwrap().len();
    world.until("both", async |world| users(world).await == 2).await;
    assert_eq!(world.mark(keys::secret::USERNAME).as_deref(), Some(FIRST));
    let key = ObjectKey::new("shop", SECRET);
    world.kept.lock().unwrap().secrets.remove(&key);
    Index::remove(process.secrets.as_ref(), &key);
    sleep(Duration::from_secs(60)).await;
    assert!(world.pods_are_let_in().await, "{}", world.state().await);
    logins_are_refused(&world, SECOND, false);
    world
        .until("the end", async |world| {
            assert!(world.pods_are_let_in().await, "{}", world.state().await);
            world.is_rotated().await
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_from_before_a_rotation_that_is_put_back_shuts_no_pod_out_whoever_leads() {
    let world = running().await;
    let before = world.secret(SECRET).unwrap();
    world.ask(&orders(Some("today")));
    drop({
        let process = world.run();
        world.until("a rotation", World::is_rotated).await;
        process
    });
    world.kept.lock().unwrap().put(before);
    logins_are_refused(&world, FIRST, true);
    world.pods.lock().unwrap().stuck = true;
    let asked = world.pods.lock().unwrap().asked;
    for again in [false, true] {
        let _process = world.run();
        world.until("its mark", async |world| world.mark(keys::secret::PREVIOUS).is_some()).await;
        sleep(Duration::from_secs(100)).await;
        assert!(world.pods_are_let_in().await, "{}", world.state().await);
        let looks = world.pods.lock().unwrap().asked - asked;
        assert!(again || looks == 0, "no Pod is to have what lets nobody in");
    }
    assert_eq!(world.mark(keys::secret::PREVIOUS).as_deref(), Some(SECOND));
    logins_are_refused(&world, FIRST, false);
    world.pods.lock().unwrap().stuck = false;
    let _process = world.run();
    let first =
        async |world: &World| world.pods.lock().unwrap().users.values().flatten().all(|it| it == FIRST);
    world.until("its user", first).await;
    // It was made before what was asked for last, so that comes next.
    world
        .until("the end", async |world| {
            assert!(world.pods_are_let_in().await, "{}", world.state().await);
            world.is_rotated().await
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_put_back_while_pods_change_over_shuts_no_pod_out() {
    for still_asked in [false, true] {
        let world = running().await;
        let before = world.secret(SECRET).unwrap();
        world.pods.lock().unwrap().stuck = true;
        world.ask(&orders(Some("today")));
        let process = world.run();
        world.until("the change", async |world| world.mark(keys::secret::PREVIOUS).is_some()).await;
        // One of the Pods runs with the new user already.
        world.pods.lock().unwrap().users.values_mut().for_each(|users| users[0] = SECOND.to_owned());
        if !still_asked {
            world.ask(&orders(None));
        }
        let secret = world.kept.lock().unwrap().put(before.clone());
        process.secrets.apply_meta(&secret.metadata);
        sleep(Duration::from_secs(100)).await;
        assert!(world.pods_are_let_in().await, "{}", world.state().await);
        world.pods.lock().unwrap().stuck = false;
        if still_asked {
            // It begins anew, and somebody puts it back again.
            let anew = async |world: &World| {
                process.metrics.rotations_running.get() == 1
                    && world.mark(keys::secret::PREVIOUS).as_deref() == Some(FIRST)
            };
            world.until("the next change", anew).await;
            world.pods.lock().unwrap().users.values_mut().for_each(|users| users[0] = SECOND.to_owned());
            let secret = world.kept.lock().unwrap().put(before);
            process.secrets.apply_meta(&secret.metadata);
            sleep(Duration::from_millis(500)).await;
            assert!(world.pods_are_let_in().await, "{}", world.state().await);
        }
        let last = if still_asked { SECOND } else { FIRST };
        world
            .until("the end", async |world| {
                assert!(world.pods_are_let_in().await, "{}", world.state().await);
                let all = world.pods.lock().unwrap().users.values().flatten().all(|user| user == last);
                all && world.mark(keys::secret::PREVIOUS).is_none() && world.is_in_order().await
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn new_rules_reach_both_users_while_pods_change_over() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let _process = world.run();
    world.until("both", async |world| world.mark(keys::secret::PREVIOUS).is_some()).await;
    let mut other = request("shop/orders").produce("payments");
    other.rotation.token = Some("today".to_owned());
    world.ask(&other);
    world.settled().await;
    let acls = world.cluster.describe_acls("").await.unwrap();
    for username in [FIRST, SECOND] {
        let rules: Vec<String> =
            acls.iter().filter(|acl| acl.username == username).map(ToString::to_string).collect();
        assert_eq!(rules.len(), 2, "{rules:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_waits_for_what_is_no_rollout_is_looked_at_no_more_often_than_others() {
    let world = running().await;
    world.pods.lock().unwrap().stuck = true;
    world.ask(&orders(Some("today")));
    let process = world.run();
    world.until("both", async |world| world.mark(keys::secret::PREVIOUS).is_some()).await;
    let passes = process.metrics.passes.get_or_create(&PassLabel { pass: "access" }).clone();
    let workload = orders(None).workload.clone();
    let client = world.clients.all().into_iter().find(|client| client.workload == workload).unwrap();
    // Kept by a finalizer; and with annotations that cannot be read.
    let problem = Problem::new("topic.kafka.nb/inject", "file", "files");
    let unreadable = Err(Arc::new(Problems::from(problem)));
    for other in
        [Client { deleting: true, ..(*client).clone() }, Client { request: unreadable, ..(*client).clone() }]
    {
        world.clients.put(other);
        sleep(Duration::from_secs(5)).await;
        let before = passes.get();
        sleep(Duration::from_secs(60)).await;
        assert!(passes.get() - before < 70, "{} passes in a minute", passes.get() - before);
        assert!(world.pods_are_let_in().await);
    }
    world.pods.lock().unwrap().stuck = false;
    world.clients.put((*client).clone());
    world.until("the end", World::is_rotated).await;
}

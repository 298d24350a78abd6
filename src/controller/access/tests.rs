//! The loop from end to end, with a cluster and Secrets in memory and tokio's clock paused.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use tokio::time::sleep;
use topicops_contract::{ClientEndpoint, ClientSecret, Password, Problem, Problems, keys};

use super::{AccessSettings, SecretDraft, StoredSecret, belief::LAG, testing::Death, world::World};
use crate::{
    ObjectKey,
    access::{
        Client, Granted,
        testing::{Asking, grants, request},
    },
    controller::{Index, Scope},
    kafka::{
        Acl, Call, Cluster, ClusterError, ItemError, QuotaClients, QuotaTarget, QuotaValue, ScramKeys,
        ScramMechanism, Trouble,
    },
};

pub(super) const ORDERS: &str = "orders-kafka-credentials";

pub(super) fn orders() -> Asking {
    request("shop/orders").consume("orders").produce("payments")
}

#[tokio::test(start_paused = true)]
async fn a_new_client_gets_user_rules_and_a_secret_that_works() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    let _process = world.run();
    world.ask(&orders());
    world.settled().await;
    let secret = world.secret(ORDERS).unwrap();
    let owner = &secret.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.api_version.as_str(), owner.kind.as_str()), ("apps/v1", "Deployment"));
    assert_eq!((owner.uid.as_str(), owner.block_owner_deletion), ("uid-Deployment shop/orders", None));
    assert_eq!(secret.type_.as_deref(), Some("servicebinding.io/kafka"));
    assert_eq!(secret.metadata.labels.unwrap()[keys::CONFIG_LABEL], keys::CONFIG_LABEL_CREDENTIALS);
    assert!(world.heard.has("CredentialsReady"));
    assert_eq!(world.health.check("kafka"), Some(Ok(())));
}

/// Runs a process that dies after `steps` steps, then one that lives; whether the first one did die.
async fn dies_and_heals(world: &World, steps: usize, after_effect: bool) -> bool {
    let death = Death::after(steps, after_effect);
    let process = world.start(&death);
    world.until("death or order", async |world| death.has_come() || world.is_in_order().await).await;
    let died = death.has_come();
    drop(process);
    let _process = world.run();
    world.settled().await;
    died
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_provision_heals() {
    for after_effect in [false, true] {
        let mut steps = 1;
        loop {
            let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
            world.ask(&orders().producer_byte_rate("1MB/s"));
            world.ask(&request("shop/reader").consume("orders"));
            if !dies_and_heals(&world, steps, after_effect).await {
                break;
            }
            steps += 1;
        }
        assert!(steps > 7, "quotas, upsert, rules, login and two Secrets are steps, {steps}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_revocation_heals() {
    for after_effect in [false, true] {
        let mut steps = 1;
        loop {
            let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
            world.ask(&orders().producer_byte_rate("1MB/s"));
            world.ask(&request("shop/reader").consume("orders"));
            drop({
                let process = world.run();
                world.settled().await;
                process
            });
            world.clients.take(&orders().workload);
            let reader = world.password("reader-kafka-credentials");
            let died = dies_and_heals(&world, steps, after_effect).await;
            assert_eq!(world.password("reader-kafka-credentials"), reader);
            if !died {
                break;
            }
            steps += 1;
        }
        assert!(steps > 5, "rules, quotas, user and Secret are steps, {steps}");
    }
}

#[tokio::test(start_paused = true)]
async fn changed_annotations_change_rules_and_nothing_else() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&request("shop/reader").consume("orders"));
    world.ask(&orders());
    let _process = world.run();
    world.settled().await;
    let (writes, _) = world.asked();
    world.cluster.forget_calls();
    world.ask(&request("shop/orders").consume("payments"));
    world.settled().await;
    let calls = world.cluster.calls();
    let expected = [(Call::CreateAcls, 1), (Call::DeleteAcls, 1)];
    let changes: Vec<_> = calls
        .into_iter()
        .filter(|(call, _)| {
            !matches!(call, Call::DescribeAcls | Call::DescribeQuotas | Call::DescribeScramUsers)
        })
        .collect();
    assert_eq!(changes, expected);
    assert_eq!(world.asked().0, writes);
}

#[tokio::test(start_paused = true)]
async fn when_nothing_changed_a_resync_only_looks() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders().producer_byte_rate("1MB/s"));
    let _process = world.run();
    world.settled().await;
    let asked = world.asked();
    world.cluster.forget_calls();
    sleep(AccessSettings::DEFAULT_RESYNC * 3).await;
    let calls: Vec<Call> = world.cluster.calls().into_keys().collect();
    assert_eq!(calls, [Call::DescribeAcls, Call::DescribeQuotas, Call::DescribeScramUsers]);
    assert!(world.count(Call::DescribeAcls) >= 2);
    assert_eq!(world.asked(), asked);
}

pub(super) fn producer_rate(username: &str) -> QuotaTarget {
    QuotaTarget {
        username: username.to_owned(),
        clients: QuotaClients::All,
        key: QuotaTarget::PRODUCER_BYTE_RATE.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_reads_secrets_once_and_writes_nothing() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    drop({
        let process = world.run();
        world.settled().await;
        process
    });
    let (writes, _) = world.asked();
    world.cluster.forget_calls();
    let process = world.run();
    let key = ObjectKey::new("shop", ORDERS);
    world
        .until("the Secret is read", async |_| process.secrets.is_current(&key, "topicops.shop.orders"))
        .await;
    sleep(Duration::from_secs(5)).await;
    let calls: Vec<Call> = world.cluster.calls().into_keys().collect();
    assert_eq!(calls, [Call::DescribeAcls, Call::DescribeQuotas, Call::DescribeScramUsers]);
    assert_eq!(world.asked().0, writes);
}

#[tokio::test(start_paused = true)]
async fn a_lost_user_comes_back_with_the_password_that_pods_run_with() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    let _process = world.run();
    world.settled().await;
    let (password, (writes, _)) = (world.password(ORDERS), world.asked());
    sleep(LAG).await;
    world.cluster.delete_scram_users(&["topicops.shop.orders".to_owned()]).await.unwrap();
    world.settled().await;
    assert_eq!((world.password(ORDERS), world.asked().0), (password, writes));
}

#[tokio::test(start_paused = true)]
async fn a_lost_secret_comes_back_with_a_new_password() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    let process = world.run();
    world.settled().await;
    let before = world.password(ORDERS);
    let key = ObjectKey::new("shop", ORDERS);
    world.kept.lock().unwrap().secrets.remove(&key);
    Index::remove(process.secrets.as_ref(), &key);
    world.settled().await;
    assert_ne!(world.password(ORDERS), before);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lags_costs_nobody_their_password() {
    let mut world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.watching = false;
    world.ask(&orders());
    let process = world.run();
    world.settled().await;
    let before = world.password(ORDERS);
    // A listing from before the Secret was written arrives.
    Index::remove(process.secrets.as_ref(), &ObjectKey::new("shop", ORDERS));
    sleep(Duration::from_secs(120)).await;
    assert!(world.is_in_order().await);
    assert_eq!(world.password(ORDERS), before);
    assert_eq!(world.count(Call::UpsertScramUsers), 1);
}

#[tokio::test(start_paused = true)]
async fn an_altered_secret_is_mended_and_keeps_a_good_password() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    let process = world.run();
    world.settled().await;
    for (key, value) in [("group.id", "other"), ("password", "hunter2")] {
        let before = world.password(ORDERS);
        let mut secret = world.secret(ORDERS).unwrap();
        secret.data.as_mut().unwrap().insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
        let secret = world.kept.lock().unwrap().put(secret);
        process.secrets.apply_meta(&secret.metadata);
        world
            .until("the Secret is mended", async |world| {
                let data = world.secret(ORDERS).unwrap().data.unwrap();
                data[key].0 != value.as_bytes() && world.is_in_order().await
            })
            .await;
        assert_eq!(world.password(ORDERS) == before, key != "password");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_somebody_else_made_is_left_alone_and_named() {
    for labelled in [false, true] {
        let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
        let mut theirs = Secret::default();
        theirs.metadata.name = Some(ORDERS.to_owned());
        theirs.metadata.namespace = Some("shop".to_owned());
        let label = (keys::CONFIG_LABEL.to_owned(), keys::CONFIG_LABEL_CREDENTIALS.to_owned());
        theirs.metadata.labels = labelled.then(|| [label].into());
        world.kept.lock().unwrap().put(theirs);
        let before = world.secret(ORDERS).unwrap();
        world.ask(&orders());
        let process = world.run();
        world
            .until("the finding", async |world| world.heard.has("SecretExists: Secret shop/orders-kafka"))
            .await;
        sleep(Duration::from_secs(300)).await;
        assert_eq!(world.secret(ORDERS).unwrap(), before);
        let key = ObjectKey::new("shop", ORDERS);
        world.kept.lock().unwrap().secrets.remove(&key);
        Index::remove(process.secrets.as_ref(), &key);
        world.settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_nobody_led_is_made_good_and_others_are_left_alone() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    let keys = ScramKeys::derive(ScramMechanism::Sha512, 4096, &Password::new("x")).unwrap();
    let user = |name: &str| (name.to_owned(), keys.clone());
    world
        .cluster
        .upsert_scram_users(&[user("topicops.shop.gone"), user("topicopsy"), user("alice")])
        .await
        .unwrap();
    let acls = |name: &str| -> Vec<Acl> {
        let granted = Granted { consumes: ["orders".parse().unwrap()].into(), ..Default::default() };
        granted.acls(name).into_iter().collect()
    };
    for name in ["topicops.shop.gone", "alice"] {
        world.cluster.create_acls(&acls(name)).await.unwrap();
        let quota = (producer_rate(name), Some(QuotaValue::new(1.0)));
        world.cluster.alter_quotas(&[quota]).await.unwrap();
    }
    let _process = world.run();
    world
        .until("revocation", async |world| {
            world.cluster.describe_scram_users("topicops.").await.unwrap().is_empty()
                && world.cluster.describe_acls("topicops.").await.unwrap().is_empty()
                && world.cluster.describe_quotas("topicops.").await.unwrap().is_empty()
        })
        .await;
    assert_eq!(world.cluster.describe_scram_users("").await.unwrap().len(), 2);
    assert_eq!(world.cluster.describe_acls("").await.unwrap(), acls("alice").into_iter().collect());
    assert_eq!(world.cluster.describe_quotas("").await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_before_the_listings_are_complete() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ready.send_replace(false);
    world.ask(&orders());
    let _process = world.run();
    sleep(Duration::from_secs(60)).await;
    assert!(world.cluster.calls().keys().all(|call| *call == Call::CreateTopics));
    world.ready.send_replace(true);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn one_refused_client_fails_alone_and_is_tried_again() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    let error = ItemError {
        code: "UNACCEPTABLE_CREDENTIAL".to_owned(),
        number: 93,
        message: "no".to_owned(),
        retriable: false,
    };
    world.cluster.refuse(Call::UpsertScramUsers, "topicops.shop.orders", Some(error));
    world.ask(&orders());
    world.ask(&request("shop/reader").consume("orders"));
    let _process = world.run();
    let reader = ObjectKey::new("shop", "reader-kafka-credentials");
    world.until("the other one", async |world| world.works(&reader)).await;
    world.until("the finding", async |world| world.heard.has("shop/orders KafkaRefused")).await;
    assert!(world.secret(ORDERS).is_none());
    world.cluster.refuse(Call::UpsertScramUsers, "topicops.shop.orders", None);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn no_secret_appears_before_its_credentials_work() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.cluster.freeze_reads();
    world.ask(&orders());
    let _process = world.run();
    world.until("a finding", async |world| world.heard.has("shop/orders KafkaRefused")).await;
    assert!(world.secret(ORDERS).is_none());
    assert_eq!(world.count(Call::UpsertScramUsers), 1, "a new password would have to spread all over again");
    world.cluster.thaw_reads();
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn brokers_that_go_and_come_back_are_noticed_and_lose_nothing() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    let away = || ClusterError {
        trouble: Trouble::Unreachable,
        operation: "upsert 1 user".to_owned(),
        message: "connection refused".to_owned(),
    };
    for call in [Call::DescribeAcls, Call::UpsertScramUsers, Call::CreateAcls, Call::CheckLogins] {
        for _ in 0..3 {
            world.cluster.fail(call, away());
        }
    }
    world.ask(&orders());
    let _process = world.run();
    world
        .until(
            "the health",
            async |world| matches!(world.health.check("kafka"), Some(Err(text)) if text.contains("refused")),
        )
        .await;
    world.settled().await;
    assert_eq!(world.health.check("kafka"), Some(Ok(())));
    for _ in 0..3 {
        world.cluster.fail(Call::DeleteAcls, away());
        world.cluster.fail(Call::DeleteScramUsers, away());
    }
    world.clients.take(&orders().workload);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_another_name_holds_the_same_password_and_the_old_one_goes() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    let _process = world.run();
    world.settled().await;
    let before = world.password(ORDERS);
    let mut renamed = orders();
    renamed.secret_name = "elsewhere".to_owned();
    world.ask(&renamed);
    world.settled().await;
    assert_eq!(world.password("elsewhere"), before);
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_annotations_are_told_and_take_nothing_away() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    let _process = world.run();
    world.settled().await;
    let before = world.state().await;
    let client = world.clients.client(&orders().workload).unwrap();
    let problems = Problems::from(Problem::new(keys::client::INJECT, "file", "files, env or none"));
    world.clients.put(Client { request: Err(Arc::new(problems)), ..(*client).clone() });
    world
        .until("the finding", async |world| world.heard.has("InvalidAnnotations: topic.kafka.nb/inject"))
        .await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.state().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_comes_later_adds_its_rules() {
    let world = World::new(&[("shop/orders", &[]), ("billing/payments", &[])]).await;
    world.ask(&orders());
    let _process = world.run();
    world
        .until("the finding", async |world| world.heard.has("TopicNotGranted: topic payments is owned by"))
        .await;
    world.settled().await;
    let granting = grants(&[("shop/orders", &[]), ("shop/payments", &[])]);
    world.grants.send_replace(Arc::new(granting));
    world.settled().await;
    assert!(world.cluster.describe_acls("").await.unwrap().iter().any(|acl| acl.resource.name == "payments"));
}

#[test]
fn nothing_that_holds_a_password_shows_it() {
    let secret = "hunter2-hunter2";
    let data = Some([("password".to_owned(), ByteString(secret.as_bytes().to_vec()))].into());
    let object = Secret { data, ..Secret::default() };
    let draft = SecretDraft {
        meta: object.metadata.clone(),
        content: ClientSecret {
            username: "u".to_owned(),
            password: Password::new(secret),
            endpoint: ClientEndpoint {
                bootstrap_servers: String::new(),
                security_protocol: String::new(),
                sasl_mechanism: String::new(),
                truststore_pem: None,
            },
            group_id: String::new(),
        },
    };
    let shown = format!("{:?} {draft:?} {draft:#?}", StoredSecret::new(object));
    assert!(!shown.contains(secret), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn users_of_namespaces_that_are_not_looked_after_are_left_alone() {
    let mut world = World::new(&[("shop/orders", &["*/*"])]).await;
    for namespace in ["shop", "billing", "shop-2"] {
        world.ask(&request(&format!("{namespace}/reader")).consume("orders"));
    }
    let before = world.run();
    world.settled().await;
    drop(before);
    // Nobody sees any of them now; in all namespaces but one that says nothing.
    for namespace in ["shop", "billing", "shop-2"] {
        world.clients.take(&request(&format!("{namespace}/reader")).workload);
    }
    world.scope = Scope::of(["shop".to_owned()]);
    world.kept.lock().unwrap().secrets.retain(|key, _| key.namespace == "shop");
    let _process = world.run();
    let left = async |world: &World| {
        let users = world.cluster.describe_scram_users("").await.unwrap();
        users.into_iter().map(|user| user.username).collect::<Vec<_>>()
    };
    let others = ["topicops.billing.reader", "topicops.shop-2.reader"];
    world.until("the one user to go", async |world| left(world).await == others).await;
    sleep(LAG * 20).await;
    assert_eq!(left(&world).await, others);
    let acls = world.cluster.describe_acls("").await.unwrap();
    assert!(
        acls.iter().any(|acl| acl.username == others[0]) && acls.iter().any(|acl| acl.username == others[1])
    );
}

//! The loop, when clients are to reach the brokers in another way.

use super::{
    Vouched,
    tests::{ORDERS, orders},
    world::World,
};
use crate::{
    ObjectKey,
    access::testing::request,
    controller::Index,
    kafka::{Call, Cluster, ClusterError, ScramMechanism, Trouble},
};

#[tokio::test(start_paused = true)]
async fn another_ca_reaches_every_secret_once_the_brokers_were_reached_and_changes_nothing_else() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    world.ask(&request("shop/reader").consume("orders"));
    let _process = world.run();
    world.settled().await;
    let secrets = [ORDERS, "reader-kafka-credentials"];
    let (passwords, writes) = (secrets.map(|name| world.password(name)), world.asked().0);
    world.cluster.forget_calls();
    let untrusted = || ClusterError {
        trouble: Trouble::Tls,
        operation: "describe ACLs".to_owned(),
        message: "TLS: unknown issuer".to_owned(),
    };
    for _ in 0..3 {
        world.cluster.fail(Call::DescribeAcls, untrusted());
    }
    world.reach(|endpoint| endpoint.truststore_pem = Some("NEW".to_owned()));
    world.until("a second try", async |world| world.count(Call::DescribeAcls) >= 2).await;
    assert_eq!(world.asked().0, writes, "what topicops cannot use itself reaches nobody");
    world
        .until("the new CA in all Secrets", async |world| {
            secrets.iter().all(|name| {
                world.value(name, "ssl.truststore.crt").as_deref() == Some("NEW")
                    && world.value(name, "client.properties").is_some_and(|text| text.contains("NEW"))
            })
        })
        .await;
    assert_eq!(secrets.map(|name| world.password(name)), passwords);
    assert_eq!((world.asked().0, world.count(Call::UpsertScramUsers)), (writes + 2, 0));
}

#[tokio::test(start_paused = true)]
async fn another_mechanism_brings_credentials_with_the_same_password_before_secrets_say_so() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    drop({
        let process = world.run();
        world.settled().await;
        process
    });
    let password = world.password(ORDERS);
    world.reach(|endpoint| endpoint.sasl_mechanism = "SCRAM-SHA-256".to_owned());
    let process = world.run();
    let mechanisms = async |world: &World| -> Vec<ScramMechanism> {
        let users = world.cluster.describe_scram_users("topicops.").await.unwrap();
        users.iter().flat_map(|user| user.credentials.iter().map(|(mechanism, _)| *mechanism)).collect()
    };
    world
        .until("the other mechanism", async |world| {
            let says = world.value(ORDERS, "sasl.mechanism").as_deref() == Some("SCRAM-SHA-256");
            let known = mechanisms(world).await;
            assert!(!says || known.contains(&ScramMechanism::Sha256), "the Secret says so first");
            says
        })
        .await;
    assert_eq!((world.password(ORDERS), world.count(Call::UpsertScramUsers)), (password, 2));
    assert_eq!(mechanisms(&world).await.len(), 2, "clients that run go on with the one before");
    // Nobody is to log in with a password that was given up.
    let key = ObjectKey::new("shop", ORDERS);
    world.kept.lock().unwrap().secrets.remove(&key);
    Index::remove(process.secrets.as_ref(), &key);
    world.settled().await;
    assert_eq!(mechanisms(&world).await, [ScramMechanism::Sha256]);
    drop(process);
    // Who has a credential of the mechanism before alone is revoked, too.
    world.reach(|endpoint| endpoint.sasl_mechanism = "SCRAM-SHA-512".to_owned());
    world.clients.take(&orders().workload);
    let _process = world.run();
    world.settled().await;
    assert!(mechanisms(&world).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn withdrawn_consent_counts_while_logins_cannot_be_tried_at_all() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&request("shop/reader").consume("orders"));
    let _process = world.run();
    world.settled().await;
    for _ in 0..1_000 {
        world.cluster.fail(Call::CheckLogins, away());
    }
    world.cluster.forget_calls();
    world.ask(&request("shop/fresh").consume("orders"));
    world.until("a few tries", async |world| world.count(Call::CheckLogins) >= 3).await;
    world.ask(&request("shop/reader").consume("payments"));
    let gone = async |world: &World| {
        let acls = world.cluster.describe_acls("topicops.shop.reader").await.unwrap();
        !acls.is_empty() && acls.iter().all(|acl| acl.resource.name != "orders")
    };
    world.until("the rules to go", gone).await;
    assert!(world.secret("fresh-kafka-credentials").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_secret_says_nothing_of_another_way_to_log_in_before_that_was_seen_to_work_whoever_leads() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders());
    drop({
        let process = world.run();
        world.settled().await;
        process
    });
    let password = world.password(ORDERS);
    for (key, value) in [("sasl.mechanism", "SCRAM-SHA-256"), ("security.protocol", "SASL_PLAINTEXT")] {
        world.reach(|endpoint| {
            let field = if key == "sasl.mechanism" {
                &mut endpoint.sasl_mechanism
            } else {
                &mut endpoint.security_protocol
            };
            value.clone_into(field);
        });
        let before = world.secret(ORDERS);
        // Longer than credentials are given to spread.
        const FAILURES: usize = 60;
        for _ in 0..FAILURES {
            world.cluster.fail(Call::CheckLogins, away());
        }
        world.cluster.forget_calls();
        let mut process = world.run();
        for checks in [FAILURES / 2, FAILURES] {
            world
                .until("logins to fail", async |world| {
                    assert_eq!(world.secret(ORDERS), before, "nobody was let in so");
                    world.count(Call::CheckLogins) >= checks
                })
                .await;
            drop(process);
            process = world.run();
        }
        world.until("the Secret", async |world| world.value(ORDERS, key).as_deref() == Some(value)).await;
        assert!(world.count(Call::CheckLogins) > FAILURES);
        assert_eq!(world.password(ORDERS), password);
        world.settled().await;
    }
}

fn away() -> ClusterError {
    ClusterError {
        trouble: Trouble::Unreachable,
        operation: "check 1 login".to_owned(),
        message: "no answer".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_vouches_for_no_broker_gets_into_no_secret_and_all_else_goes_on() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.reach(|endpoint| endpoint.truststore_pem = Some("OLD".to_owned()));
    world.ask(&orders());
    world.ask(&request("shop/reader").consume("orders"));
    drop({
        let process = world.run();
        world.settled().await;
        process
    });
    let (writes, password) = (world.asked().0, world.password(ORDERS));
    // A process that begins with another, of which nothing is known yet.
    world.reach(|endpoint| endpoint.truststore_pem = Some("WRONG".to_owned()));
    world.vouched.send_replace(Vouched::Unknown);
    let _process = world.run();
    world.ask(&request("shop/fresh").consume("orders"));
    world.cluster.forget_calls();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(world.count(Call::DescribeAcls), 0, "it waits for a first word");
    world.vouched.send_replace(Vouched::No("unknown issuer".into()));
    let told = "shop/fresh VerificationFailed: no client would get through, so Secret shop/fresh-kafka-credentials waits: \
                unknown issuer";
    world.until("the finding", async |world| world.heard.has(told)).await;
    assert!(world.secret("fresh-kafka-credentials").is_none());
    world.clients.take(&request("shop/reader").workload);
    world
        .until("the one that went to be revoked", async |world| {
            let users = world.cluster.describe_scram_users("topicops.shop.").await.unwrap();
            users.len() == 1 && world.secret("reader-kafka-credentials").is_none()
        })
        .await;
    world.ask(&request("shop/orders").consume("orders"));
    world
        .until("fewer rules", async |world| {
            let acls = world.cluster.describe_acls("topicops.shop.orders").await.unwrap();
            acls.iter().all(|acl| acl.resource.name != "payments")
        })
        .await;
    assert_eq!(world.value(ORDERS, "ssl.truststore.crt").as_deref(), Some("OLD"));
    assert_eq!(world.asked().0, writes + 1, "the deletion alone");
    world.reach(|endpoint| endpoint.truststore_pem = Some("NEW".to_owned()));
    world.vouched.send_replace(Vouched::Yes);
    world
        .until("both Secrets with the CA that is right", async |world| {
            [ORDERS, "fresh-kafka-credentials"]
                .iter()
                .all(|name| world.value(name, "ssl.truststore.crt").as_deref() == Some("NEW"))
        })
        .await;
    world.settled().await;
    assert_eq!(world.password(ORDERS), password);
}

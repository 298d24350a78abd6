//! The loop, about quotas.

use std::sync::Arc;

use super::{
    tests::{ORDERS, orders, producer_rate},
    world::World,
};
use crate::{
    ObjectKey,
    access::testing::request,
    kafka::{Call, Cluster, ItemError, QuotaValue},
    topic::{TopicPolicy, limits::TopicRules},
};

#[tokio::test(start_paused = true)]
async fn a_quota_is_set_changed_put_back_and_taken_away_each_in_one_request() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    let alice = (producer_rate("alice"), Some(QuotaValue::new(7.0)));
    world.cluster.alter_quotas(std::slice::from_ref(&alice)).await.unwrap().remove(0).unwrap();
    world.cluster.forget_calls();
    world.ask(&orders().producer_byte_rate("1MB/s"));
    world.ask(&request("shop/reader").consume("orders").producer_byte_rate("2MB/s"));
    let _process = world.run();
    let rates = async |world: &World| -> Vec<f64> {
        let quotas = world.cluster.describe_quotas("topicops.").await.unwrap();
        quotas.iter().map(|quota| quota.value.get()).collect()
    };
    world.until("two quotas", async |world| rates(world).await == [1e6, 2e6]).await;
    assert_eq!(world.count(Call::AlterQuotas), 1);
    let until = async |expected: &[f64], secrets: usize| {
        world
            .until("the quotas and nothing else", async |world| {
                rates(world).await == expected && world.kept.lock().unwrap().secrets.len() == secrets
            })
            .await;
    };
    until(&[1e6, 2e6], 2).await;
    let writes = world.asked().0;
    world.ask(&orders().producer_byte_rate("3MB/s"));
    until(&[3e6, 2e6], 2).await;
    // By hand, within the time that brokers may lag.
    let by_hand = (producer_rate("topicops.shop.orders"), Some(QuotaValue::new(9e9)));
    world.cluster.alter_quotas(&[by_hand]).await.unwrap();
    until(&[3e6, 2e6], 2).await;
    world.ask(&orders());
    until(&[2e6], 2).await;
    assert_eq!((world.asked().0, world.count(Call::DeleteAcls)), (writes, 0));
    world.clients.take(&request("shop/reader").workload);
    until(&[], 1).await;
    assert_eq!(world.cluster.describe_quotas("").await.unwrap().len(), 1, "alice's");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_comes_later_limits_quotas_and_says_so() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    world.ask(&orders().producer_byte_rate("100MB/s"));
    world.ask(&request("shop/silent").consume("orders"));
    let _process = world.run();
    world.settled().await;
    let rules = TopicRules::parse(
        "{ limits: { producer-byte-rate: { max: 10MB/s } }, defaults: { producer-byte-rate: 5MB/s } }",
    );
    let policy = TopicPolicy { rules: Arc::new(rules.unwrap()), ..TopicPolicy::default() };
    world.topics.govern(policy);
    world
        .until("the finding", async |world| {
            world.heard.has("shop/orders QuotaRefused: topic.kafka.nb/producer-byte-rate: \"100MB/s\"")
        })
        .await;
    world.settled().await;
    let quotas = world.cluster.describe_quotas("").await.unwrap();
    let rates: Vec<f64> = quotas.iter().map(|quota| quota.value.get()).collect();
    assert_eq!(rates, [1e7, 5e6]);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_quota_the_brokers_refuse_gets_no_secret_until_they_take_it() {
    let world = World::new(&[("shop/orders", &[]), ("shop/payments", &[])]).await;
    let error = ItemError {
        code: "INVALID_REQUEST".to_owned(),
        number: ItemError::INVALID_REQUEST,
        message: "no".to_owned(),
        retriable: false,
    };
    world.cluster.refuse(Call::AlterQuotas, "topicops.shop.orders", Some(error));
    world.ask(&orders().producer_byte_rate("1MB/s"));
    world.ask(&request("shop/reader").consume("orders"));
    let _process = world.run();
    let reader = ObjectKey::new("shop", "reader-kafka-credentials");
    world.until("the other one", async |world| world.works(&reader)).await;
    let told = "shop/orders KafkaRefused: the brokers refused to set producer_byte_rate";
    world.until("the finding", async |world| world.heard.has(told)).await;
    assert!(world.secret(ORDERS).is_none());
    world.cluster.refuse(Call::AlterQuotas, "topicops.shop.orders", None);
    world.settled().await;
}

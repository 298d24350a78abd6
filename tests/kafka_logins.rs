//! Every way to log in, against a real broker, and what a login without rights is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share may fail as they do"
)]

mod kafka_broker;
mod kafka_support;

use kafka_broker::{Broker, PLAIN_USER, broker, cluster};
use kafka_support::eventually;
use topicops::kafka::{Cluster, ScramKeys, ScramMechanism, Trouble, WireCluster};
use topicops_contract::Password;

/// The cluster as a fresh user sees it, who may log in by this mechanism and nothing else.
async fn as_nobody_in_particular(broker: &Broker, mechanism: ScramMechanism) -> WireCluster {
    // What JAAS and SCRAM each have to escape.
    let username = format!("{}.a=b,c", broker.prefix());
    let password = r#"p "quoted" \ ä=,"#;
    let keys = ScramKeys::derive(mechanism, 8192, &Password::new(password)).unwrap();
    broker.cluster().upsert_scram_users(&[(username.clone(), keys)]).await.unwrap().remove(0).unwrap();
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let jaas = format!(r#"{module} required username="{username}" password="p \"quoted\" \\ ä=,";"#);
    let properties = broker.with("sasl.jaas.config", &jaas.replace('\\', r"\\"));
    let properties =
        properties.replace("sasl.mechanism=SCRAM-SHA-512", &format!("sasl.mechanism={mechanism}"));
    let cluster = cluster(&properties);
    eventually("the login", || async {
        cluster.describe_cluster().await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    cluster
}

#[tokio::test]
async fn scram_logs_in_with_either_hash_and_with_any_character() {
    for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
        as_nobody_in_particular(broker().await, mechanism).await;
    }
}

#[tokio::test]
async fn a_user_without_the_right_is_told_so() {
    let cluster = as_nobody_in_particular(broker().await, ScramMechanism::Sha512).await;
    for error in
        [cluster.describe_acls("").await.unwrap_err(), cluster.describe_scram_users("").await.unwrap_err()]
    {
        assert_eq!(error.trouble, Trouble::Authorization, "{error}");
        assert!(error.message.contains("CLUSTER_AUTHORIZATION_FAILED"), "{error}");
    }
    // What items are refused for is said of each item.
    let name = "not-to-be-seen".parse().unwrap();
    let keys = topicops::kafka::ConfigKeys::All;
    let outcome = cluster.describe_topics(&[name], &keys).await.unwrap().remove(0).unwrap_err();
    assert_eq!(outcome.code, "TOPIC_AUTHORIZATION_FAILED");
}

#[tokio::test]
async fn plain_logs_in_and_its_wrong_password_does_not() {
    let broker = broker().await;
    let (username, password) = PLAIN_USER;
    let with = |password: &str| {
        let jaas = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{username}\" \
             password=\"{password}\";"
        );
        cluster(&broker.with("sasl.jaas.config", &jaas).replace("SCRAM-SHA-512", "PLAIN"))
    };
    with(password).describe_cluster().await.unwrap();
    let error = with("wrong").describe_cluster().await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Authentication, "{error}");
}

#[tokio::test]
async fn the_authority_may_stand_in_the_properties_themselves() {
    let broker = broker().await;
    let path =
        broker.properties().lines().find_map(|line| line.strip_prefix("ssl.truststore.location=")).unwrap();
    let pem = std::fs::read_to_string(path).unwrap().replace('\n', "\\n");
    let inline = broker
        .with("ssl.truststore.certificates", &pem)
        .replace(&format!("ssl.truststore.location={path}\n"), "");
    assert!(!inline.contains("ssl.truststore.location"));
    cluster(&inline).describe_cluster().await.unwrap();
}

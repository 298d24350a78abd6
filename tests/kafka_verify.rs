//! The verifier, against a real broker: each way in which a workload's configuration can be wrong is told as such.
#![cfg(feature = "verify")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share may fail as they do"
)]

mod kafka_broker;
mod kafka_support;

use std::time::{Duration, Instant};

use kafka_broker::{Broker, broker};
use kafka_support::eventually;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use topicops::kafka::{
    Acl, AclOperation, AclResource, Cluster, NewTopic, PatternType, ResourceType, ScramKeys, ScramMechanism,
    VerifyError, VerifyRequest, VerifyStep, verify,
};
use topicops_contract::{Password, TopicName};

/// A workload with a user, a readable topic and its group.
struct Workload {
    username: String,
    topic: TopicName,
    group: String,
    properties: String,
}

impl Workload {
    async fn set_up(broker: &Broker) -> Self {
        let (cluster, prefix) = (broker.cluster(), broker.prefix());
        let username = format!("{prefix}.user");
        let topic: TopicName = format!("{prefix}.orders").parse().unwrap();
        let group = format!("{prefix}.group");
        let wanted = NewTopic {
            name: topic.clone(),
            partitions: None,
            replication_factor: None,
            placement: None,
            configs: Default::default(),
        };
        cluster.create_topics(&[wanted]).await.unwrap().remove(0).unwrap();
        let rule = |resource_type, name: &str| Acl {
            username: username.clone(),
            resource: AclResource { resource_type, name: name.to_owned(), pattern: PatternType::Literal },
            operation: AclOperation::Read,
        };
        let rules = [rule(ResourceType::Topic, topic.as_str()), rule(ResourceType::Group, &group)];
        cluster.create_acls(&rules).await.unwrap();
        let keys = ScramKeys::derive(ScramMechanism::Sha512, 4096, &Password::new("hunter2")).unwrap();
        cluster.upsert_scram_users(&[(username.clone(), keys)]).await.unwrap().remove(0).unwrap();
        let jaas = format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{username}\" \
             password=\"hunter2\";"
        );
        let properties = format!("{}\ngroup.id={group}\n", broker.with("sasl.jaas.config", &jaas));
        let workload = Self { username, topic, group, properties };
        eventually("the workload's own configuration", || async {
            verify(workload.request()).await.map_err(|error| error.to_string())
        })
        .await;
        workload
    }

    fn request(&self) -> VerifyRequest {
        VerifyRequest {
            client_properties: Password::new(self.properties.as_str()),
            topics: vec![self.topic.clone()],
            groups: vec![self.group.clone()],
            timeout: 3 * VerifyRequest::TIMEOUT,
        }
    }

    async fn fails_with(&self, from: &str, to: &str) -> VerifyError {
        assert!(self.properties.contains(from));
        let properties = self.properties.replace(from, to);
        let request = VerifyRequest { client_properties: Password::new(properties), ..self.request() };
        let began = Instant::now();
        let error = verify(request).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        error
    }
}

#[tokio::test]
async fn every_mistake_is_told_as_what_it_is() {
    let broker = broker().await;
    let workload = Workload::set_up(broker).await;
    let wrong = workload.fails_with("hunter2", "hunter3").await;
    assert_eq!(wrong.step, VerifyStep::Authenticate, "{wrong}");

    let unknown = workload.fails_with(&workload.username, "nobody-at-all").await;
    assert_eq!(unknown.step, VerifyStep::Authenticate, "{unknown}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other-ca.pem");
    std::fs::write(&path, another_authority()).unwrap();
    let trusted = workload
        .properties
        .lines()
        .find_map(|line| line.strip_prefix("ssl.truststore.location="))
        .unwrap()
        .to_owned();
    let distrusted = workload.fails_with(&trusted, path.to_str().unwrap()).await;
    assert_eq!(distrusted.step, VerifyStep::Tls, "{distrusted}");

    let servers = workload
        .properties
        .lines()
        .find_map(|line| line.strip_prefix("bootstrap.servers="))
        .unwrap()
        .to_owned();
    let unreachable = workload.fails_with(&servers, "127.0.0.1:1").await;
    assert_eq!(unreachable.step, VerifyStep::Connect, "{unreachable}");
    assert!(unreachable.message.contains("127.0.0.1:1"), "{unreachable}");

    let plain = workload.fails_with("=SASL_SSL", "=SASL_PLAINTEXT").await;
    assert_eq!(plain.step, VerifyStep::Connect, "{plain}");

    let typo = workload.fails_with("sasl.mechanism", "sasl.mechanisms").await;
    assert_eq!(typo.step, VerifyStep::Configure, "{typo}");
}

#[tokio::test]
async fn a_topic_without_a_rule_is_named() {
    let workload = Workload::set_up(broker().await).await;
    let closed: TopicName = format!("{}.closed", workload.topic).parse().unwrap();
    let topics = vec![workload.topic.clone(), closed.clone()];
    let error = verify(VerifyRequest { topics, ..workload.request() }).await.unwrap_err();
    assert_eq!(error.step, VerifyStep::Topic(closed.to_string()), "{error}");
    assert!(error.message.to_lowercase().contains("authorization"), "{error}");
}

#[tokio::test]
async fn a_group_without_a_rule_is_named() {
    let workload = Workload::set_up(broker().await).await;
    let closed = format!("{}.closed", workload.group);
    for topics in [vec![workload.topic.clone()], Vec::new()] {
        let groups = vec![closed.clone()];
        let error = verify(VerifyRequest { groups, topics, ..workload.request() }).await.unwrap_err();
        assert_eq!(error.step, VerifyStep::Group(closed.clone()), "{error}");
        assert!(error.message.to_lowercase().contains("authorization"), "{error}");
    }
}

#[tokio::test]
async fn what_holds_the_password_does_not_show_it() {
    let request = VerifyRequest {
        client_properties: Password::new("sasl.password=hunter2"),
        topics: Vec::new(),
        groups: Vec::new(),
        timeout: VerifyRequest::TIMEOUT,
    };
    assert!(!format!("{request:?} {request:#?}").contains("hunter2"));
}

fn another_authority() -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::json;

use super::*;
use crate::{
    access::{
        Decision, GrantsMode, ObservedSecret, SecretContent,
        testing::{Asking, at, grants, request},
    },
    kafka::{Acl, AclOperation, AclResource, AclRule, PatternType, ResourceType},
};

/// What is declared, and what the brokers have.
struct World {
    objects: ClusterObjects,
    kafka: Kafka,
    scope: Scope,
}

impl World {
    /// Topic orders of namespace shop, which lets shipping/* read, and these workloads, with all that they are granted.
    fn new(asking: &[Asking]) -> Self {
        let config_map: ConfigMap = serde_json::from_value(json!({
            "metadata": {
                "namespace": "shop", "name": "orders", "labels": { "config": "kafka-topic" },
                "creationTimestamp": "2026-11-01T10:00:00Z",
            },
            "data": { "consumers": "# readers\nshipping/*\n" },
        }))
        .unwrap();
        let clients = asking.iter().map(|asking| {
            let client = Client {
                workload: asking.workload.clone(),
                uid: "uid".to_owned(),
                created: at(1),
                deleting: false,
                request: Ok(Some(std::sync::Arc::new((**asking).clone()))),
            };
            let meta: ObjectMeta =
                serde_json::from_value(json!({ "creationTimestamp": "2026-11-02T10:00:00Z" })).unwrap();
            (client, meta)
        });
        let objects = ClusterObjects::of(vec![config_map], Vec::new(), clients.collect());
        let existing = BTreeSet::from(["orders".to_owned(), "other".to_owned()]);
        let mut world = Self {
            objects,
            kafka: Kafka { rules: Vec::new(), users: BTreeSet::new(), existing },
            scope: Scope::All,
        };
        for (username, decision) in world.decisions() {
            world.kafka.rules.extend(decision.desired.acls.into_iter().map(rule));
            world.kafka.users.insert(username);
        }
        world
    }

    fn decisions(&self) -> BTreeMap<String, Decision> {
        let own = self.kafka.rules.iter().filter_map(AclRule::acl).collect();
        let grants = grants(&[("shop/orders", &["shipping/*"])]);
        let (operator, mode) = (OperatorId::default(), GrantsMode::Namespace);
        self.objects.decisions(&operator, &grants, mode, &self.kafka.users, own)
    }

    fn look<T>(&self, look: impl FnOnce(&Facts<'_>) -> T) -> T {
        look(&Facts {
            objects: &self.objects,
            grants: &grants(&[("shop/orders", &["shipping/*"])]),
            mode: GrantsMode::Namespace,
            decisions: &self.decisions(),
            rules: &self.kafka.rules,
            users: &self.kafka.users,
            existing: &self.kafka.existing,
            prefix: "topicops.",
            scope: &self.scope,
        })
    }

    fn topic(&self, topic: &str) -> Option<TopicReport> {
        self.look(|facts| TopicReport::of(&topic.parse().unwrap(), facts))
    }

    fn workload(&self, index: usize, secret: SecretIs) -> WorkloadReport {
        let client = &self.objects.clients[index];
        let secret = SecretState { name: "shop/s".to_owned(), state: secret };
        let username = client.workload.username(&OperatorId::default());
        self.look(|facts| WorkloadReport::of(client, &username, Some(secret), facts))
    }
}

fn rule(acl: Acl) -> AclRule {
    AclRule {
        principal: format!("User:{}", acl.username),
        host: "*".to_owned(),
        allow: true,
        resource: acl.resource,
        operation: acl.operation,
    }
}

fn foreign(principal: &str, name: &str, pattern: PatternType, operation: AclOperation) -> AclRule {
    AclRule {
        principal: principal.to_owned(),
        host: "*".to_owned(),
        allow: true,
        resource: AclResource { resource_type: ResourceType::Topic, name: name.to_owned(), pattern },
        operation,
    }
}

#[test]
fn a_rotation_that_has_begun_is_no_difference_and_is_told_by_the_user_that_the_secret_has() {
    let mut asking = request("shop/app").consume("orders").consume("elsewhere");
    asking.rotation.token = Some("today".to_owned());
    let mut world = World::new(&[asking]);
    let secret = ObservedSecret {
        username: Some("topicops.shop.app".to_owned()),
        uid: "s".to_owned(),
        owner_uid: Some("uid".to_owned()),
        content: SecretContent::Unread,
        made: Some(at(1)),
        made_for: None,
        previous: None,
    };
    world.objects.secrets.insert(ObjectKey::new("shop", "app-kafka-credentials"), secret);
    let next = "topicops.shop.app_2";
    world.kafka.users.insert(next.to_owned());
    let acls = world.decisions()[next].desired.acls.clone();
    world.kafka.rules.extend(acls.into_iter().map(rule));
    let workload = world.objects.clients[0].workload.clone();
    let (username, other) = users_of(&workload, &OperatorId::default(), &world.decisions());
    assert_eq!(username, "topicops.shop.app");
    assert_eq!(
        other.as_deref(),
        Some("user topicops.shop.app_2, the next one, comes into the Secret once a login worked")
    );
    let report = world.workload(0, SecretIs::AsWritten);
    assert!(report.is_as_granted(), "{report}");
    let refused = "    refused (TopicNotDeclared): no ConfigMap or KafkaTopic declares topic elsewhere\n";
    assert!(report.to_string().contains(refused), "{report}");
    let report = world.topic("orders").unwrap();
    assert!(report.is_as_granted(), "{report}");
}

#[test]
fn a_topic_tells_who_may_through_which_line_and_who_else_the_brokers_let_in() {
    let mut world = World::new(&[
        request("shop/app").produce("orders").consume("orders"),
        request("shipping/packer").consume("ord*"),
        request("nosy/app").consume("orders"),
    ]);
    let everything = foreign("User:legacy", "ord", PatternType::Prefixed, AclOperation::All);
    world.kafka.rules.push(everything);
    world.kafka.rules.push(foreign("User:else", "other", PatternType::Literal, AclOperation::Read));
    let report = world.topic("orders").unwrap();
    let expected = "\
topic orders, owned by ConfigMap shop/orders
read:
    User:legacy: rule ALLOW All Topic ord*; not topicops'; nobody keeps since when
    User:topicops.shipping.packer (Deployment shipping/packer): ConfigMap shop/orders, data key consumers, line 2: \
\"shipping/*\"; on the brokers; since 2026-11-02T10:00:00Z at the earliest
    User:topicops.shop.app (Deployment shop/app): ConfigMap shop/orders, same namespace; on the brokers; \
since 2026-11-02T10:00:00Z at the earliest
write:
    User:legacy: rule ALLOW All Topic ord*; not topicops'; nobody keeps since when
    User:topicops.shop.app (Deployment shop/app): ConfigMap shop/orders, same namespace; on the brokers; \
since 2026-11-02T10:00:00Z at the earliest
";
    assert_eq!(report.to_string(), expected);
    assert!(report.is_as_granted(), "what others have is no difference");
    let json = serde_json::to_value(&report).unwrap();
    let packer = &json["access"][1];
    assert_eq!(
        packer["by"],
        json!({
            "by": "owner", "object": "ConfigMap shop/orders", "consent": "line",
            "at": "data key consumers, line 2", "line": "shipping/*",
        })
    );
    assert_eq!((&packer["may"], &packer["onBrokers"]), (&json!("read"), &json!("asGranted")));
}

#[test]
fn what_the_brokers_lack_deny_or_have_beyond_is_a_difference() {
    let asking = [request("shop/app").consume("orders")];
    let whole = World::new(&asking);
    assert!(whole.topic("orders").unwrap().is_as_granted());

    let mut lacking = World::new(&asking);
    lacking.kafka.rules.retain(|rule| rule.operation != AclOperation::Read);
    let report = lacking.topic("orders").unwrap();
    assert!(report.to_string().contains("; MISSING on the brokers;") && !report.is_as_granted(), "{report}");
    let mut no_user = World::new(&asking);
    no_user.kafka.users.clear();
    assert!(!no_user.topic("orders").unwrap().is_as_granted());

    let mut denied = World::new(&asking);
    let deny = foreign("User:*", "orders", PatternType::Literal, AclOperation::Read);
    denied.kafka.rules.push(AclRule { allow: false, ..deny });
    let report = denied.topic("orders").unwrap();
    assert!(!report.is_as_granted());
    let told = report.to_string();
    assert!(
        told.contains("; DENIED on the brokers;") && told.contains("    User:*: DENY Read Topic orders\n"),
        "{told}"
    );

    let mut beyond = World::new(&asking);
    for user in ["User:topicops.shop.app", "User:topicops.shop.gone"] {
        beyond.kafka.rules.push(foreign(user, "orders", PatternType::Literal, AclOperation::Write));
    }
    let report = beyond.topic("orders").unwrap();
    let told = report.to_string();
    assert_eq!(told.matches("; NOT GRANTED, and on the brokers;").count(), 2, "{told}");
    assert!(!report.is_as_granted());
    beyond.scope = Scope::of(["elsewhere".to_owned()]);
    let report = beyond.topic("orders").unwrap();
    assert!(!report.to_string().contains("NOT GRANTED"), "they are another namespace's: {report}");
}

#[test]
fn a_topic_that_nobody_declares_is_told_when_the_brokers_have_it() {
    let mut world = World::new(&[]);
    world.kafka.rules.push(foreign("User:*", "*", PatternType::Literal, AclOperation::Read));
    let told = world.topic("other").unwrap().to_string();
    assert!(
        told.starts_with("topic other, owned by nobody\nread:\n    User:*: rule ALLOW Read Topic *;"),
        "{told}"
    );
    assert!(told.contains("write:\n    nobody\n") && !told.contains("everybody may"), "{told}");
    world.kafka.rules.clear();
    let told = world.topic("other").unwrap().to_string();
    assert!(
        told.ends_with("if the brokers run with allow.everyone.if.no.acl.found=true, everybody may use it\n"),
        "{told}"
    );
    assert!(world.topic("nowhere").is_none());
}

#[test]
fn a_workload_tells_all_that_it_may_and_what_it_was_refused_in_the_words_of_its_events() {
    let asking = request("nosy/app").consume("orders").transactional("nosy.tx*").streams("nosy.app");
    let mut world = World::new(&[asking]);
    let report = world.workload(0, SecretIs::AsWritten);
    assert!(report.is_as_granted(), "{report}");
    let told = report.to_string();
    for says in [
        "Deployment nosy/app\n    user topicops.nosy.app: on the brokers\n    Secret shop/s: as topicops wrote it\n",
        "    may write nosy.app-: its own topics, nosy.app-*; on the brokers;",
        "    transactional id nosy.tx*\n",
        "    streams application nosy.app: ",
        "    refused (TopicNotGranted): topic orders is owned by ConfigMap shop/orders, which does not list nosy/app: ",
    ] {
        assert!(told.contains(says), "\"{says}\" is missing: {told}");
    }
    assert!(!told.contains("    group "), "it consumes nothing and names no group: {told}");
    world.kafka.rules.retain(|rule| rule.resource.resource_type != ResourceType::Group);
    world.kafka.rules.push(foreign("User:topicops.nosy.app", "x", PatternType::Literal, AclOperation::Read));
    let report = world.workload(0, SecretIs::AsWritten);
    let told = report.to_string();
    assert!(!report.is_as_granted());
    assert!(told.contains("    MISSING on the brokers: ALLOW Read Group nosy.app\n"), "{told}");
    assert!(told.contains("    NOT GRANTED, and on the brokers: ALLOW Read Topic x\n"), "{told}");
}

#[test]
fn what_denies_a_workload_some_of_what_it_is_granted_is_told_whoever_else_it_is_about() {
    let mut world = World::new(&[request("shop/app").consume("orders")]);
    let deny = |principal: &str, resource_type, name: &str, operation| {
        let rule = foreign(principal, name, PatternType::Literal, operation);
        let resource = AclResource { resource_type, ..rule.resource };
        AclRule { allow: false, resource, ..rule }
    };
    let own = "User:topicops.shop.app";
    world.kafka.rules.push(deny(own, ResourceType::Topic, "elsewhere", AclOperation::Read));
    world.kafka.rules.push(deny("User:else", ResourceType::Group, "*", AclOperation::All));
    let report = world.workload(0, SecretIs::AsWritten);
    assert!(report.is_as_granted(), "neither is about what it has: {report}");
    for (rule, told) in [
        (deny("User:*", ResourceType::Group, "*", AclOperation::All), "User:*: DENY All Group *"),
        (
            deny(own, ResourceType::Topic, "orders", AclOperation::Describe),
            "User:topicops.shop.app: DENY Describe Topic orders",
        ),
    ] {
        world.kafka.rules.push(rule);
        let report = world.workload(0, SecretIs::AsWritten);
        let text = report.to_string();
        assert!(!report.is_as_granted());
        assert!(text.contains(&format!("    DENIED on the brokers: {told}\n")), "{text}");
        assert!(!text.contains("NOT GRANTED"), "{text}");
    }
}

#[test]
fn a_secret_that_is_missing_foreign_or_altered_is_a_difference_and_one_that_is_hidden_is_not() {
    let world = World::new(&[request("shop/app").consume("orders")]);
    let of = |state: SecretIs| world.workload(0, state).is_as_granted();
    assert!(of(SecretIs::AsWritten) && of(SecretIs::Hidden("forbidden".to_owned())));
    assert!(!of(SecretIs::Missing) && !of(SecretIs::Foreign) && !of(SecretIs::Altered));
}

#[test]
fn what_is_asked_about_is_a_topic_or_a_workload() {
    assert_eq!("orders".parse(), Ok(AccessOf::Topic("orders".parse().unwrap())));
    assert_eq!("shop/app".parse(), Ok(AccessOf::Workload("shop/app".parse().unwrap())));
    for wrong in ["", "/", "shop/", "a b"] {
        assert!(wrong.parse::<AccessOf>().is_err(), "{wrong:?} was accepted");
    }
}

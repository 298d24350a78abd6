use std::collections::{BTreeMap, BTreeSet};

use topicops::kafka::{
    Acl, AclOperation, AclResource, Cluster, LoginCheck, LoginReport, NewTopic, PatternType, ResourceType,
    ScramKeys, ScramMechanism,
};
use topicops_contract::{Password, TopicName};

use super::numbers;
use crate::kafka_support::eventually;

fn acl(username: &str, resource_type: ResourceType, name: &str, operation: AclOperation) -> Acl {
    let pattern = PatternType::Literal;
    let resource = AclResource { resource_type, name: name.to_owned(), pattern };
    Acl { username: username.to_owned(), resource, operation }
}

fn prefixed(acl: Acl) -> Acl {
    let resource = AclResource { pattern: PatternType::Prefixed, ..acl.resource };
    Acl { resource, ..acl }
}

fn keys(password: &str) -> ScramKeys {
    ScramKeys::derive(ScramMechanism::Sha512, 4096, &Password::new(password)).unwrap()
}

async fn rules_become(cluster: &dyn Cluster, prefix: &str, expected: &BTreeSet<Acl>) {
    eventually("the rules", || async {
        let seen = cluster.describe_acls(prefix).await.unwrap();
        if seen == *expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

async fn users_become(cluster: &dyn Cluster, prefix: &str, expected: &[&str]) {
    eventually("the users", || async {
        let seen = cluster.describe_scram_users(prefix).await.unwrap();
        let names: Vec<&str> = seen.iter().map(|user| user.username.as_str()).collect();
        if names == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

pub(crate) async fn rules_come_and_go(cluster: &dyn Cluster, prefix: &str) {
    let user = format!("{prefix}.rules");
    let read = acl(&user, ResourceType::Topic, "orders", AclOperation::Read);
    let every_kind = [
        read.clone(),
        prefixed(read.clone()),
        acl(&user, ResourceType::Topic, "orders", AclOperation::Describe),
        prefixed(acl(&user, ResourceType::Group, "shop_", AclOperation::Read)),
        acl(&user, ResourceType::TransactionalId, "tx", AclOperation::Write),
        acl(&user, ResourceType::Cluster, "kafka-cluster", AclOperation::IdempotentWrite),
    ];
    // Twice: a rule that is there is no error.
    for _ in 0..2 {
        assert_eq!(numbers(&cluster.create_acls(&every_kind).await.unwrap()), [0; 6]);
    }
    rules_become(cluster, &user, &BTreeSet::from(every_kind.clone())).await;
    // Exactly the literal rule goes, and not the prefixed one of the same name.
    for _ in 0..2 {
        assert_eq!(numbers(&cluster.delete_acls(std::slice::from_ref(&read)).await.unwrap()), [0]);
    }
    rules_become(cluster, &user, &every_kind[1..].iter().cloned().collect()).await;
    assert_eq!(numbers(&cluster.delete_acls(&every_kind).await.unwrap()), [0; 6]);
    rules_become(cluster, &user, &BTreeSet::new()).await;
}

pub(crate) async fn other_users_rules_are_not_described(cluster: &dyn Cluster, prefix: &str) {
    let ours = acl(&format!("{prefix}.ours.a"), ResourceType::Topic, "t", AclOperation::Read);
    let theirs = acl(&format!("{prefix}.theirs"), ResourceType::Topic, "t", AclOperation::Read);
    let both = [ours.clone(), theirs];
    cluster.create_acls(&both).await.unwrap();
    rules_become(cluster, &format!("{prefix}.ours."), &BTreeSet::from([ours])).await;
    cluster.delete_acls(&both).await.unwrap();
}

pub(crate) async fn malformed_rules_are_refused(cluster: &dyn Cluster, prefix: &str) {
    let user = format!("{prefix}.malformed");
    let good = acl(&user, ResourceType::Topic, "t", AclOperation::Read);
    let outcomes = cluster
        .create_acls(&[
            acl(&user, ResourceType::Topic, "", AclOperation::Read),
            good.clone(),
            acl(&user, ResourceType::Cluster, "not-the-cluster", AclOperation::Create),
        ])
        .await
        .unwrap();
    assert_eq!(numbers(&outcomes), [42, 0, 42]);
    rules_become(cluster, &user, &BTreeSet::from([good.clone()])).await;
    cluster.delete_acls(&[good]).await.unwrap();
}

pub(crate) async fn users_come_and_go(cluster: &dyn Cluster, prefix: &str) {
    let (a, b) = (format!("{prefix}.users.a"), format!("{prefix}.users.b"));
    let ours = format!("{prefix}.users.");
    let sha256 = ScramKeys::derive(ScramMechanism::Sha256, 5000, &Password::new("p")).unwrap();
    let outcomes =
        cluster.upsert_scram_users(&[(b.clone(), sha256.clone()), (a.clone(), keys("p"))]).await.unwrap();
    assert_eq!(numbers(&outcomes), [0, 0]);
    users_become(cluster, &ours, &[&a, &b]).await;
    cluster.upsert_scram_users(&[(a.clone(), sha256)]).await.unwrap().remove(0).unwrap();
    eventually("both credentials", || async {
        let mut seen = cluster.describe_scram_users(&a).await.unwrap().remove(0).credentials;
        seen.sort_unstable();
        let both = [(ScramMechanism::Sha256, 5000), (ScramMechanism::Sha512, 4096)];
        if seen == both { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    // Whatever their mechanisms, and twice: one that is not there is a success.
    for _ in 0..2 {
        let outcomes = cluster.delete_scram_users(&[a.clone(), b.clone(), a.clone()]).await.unwrap();
        assert_eq!(numbers(&outcomes), [0, 0, 0]);
    }
    users_become(cluster, &ours, &[]).await;
}

pub(crate) async fn weak_credentials_are_refused(cluster: &dyn Cluster, prefix: &str) {
    let weak = ScramKeys { iterations: 1000, ..keys("p") };
    let excessive = ScramKeys { iterations: 20_000, ..keys("p") };
    let user = |name: &str| format!("{prefix}.weak.{name}");
    let users = [
        (user("weak"), weak),
        (user("excessive"), excessive),
        (String::new(), keys("p")),
        (user("good"), keys("p")),
    ];
    assert_eq!(numbers(&cluster.upsert_scram_users(&users).await.unwrap()), [93, 93, 93, 0]);
    cluster.delete_scram_users(&[user("good")]).await.unwrap();
}

pub(crate) async fn a_user_that_stands_twice_in_a_batch_is_refused(cluster: &dyn Cluster, prefix: &str) {
    let twice = format!("{prefix}.twice");
    let once = format!("{prefix}.once");
    let users = [(twice.clone(), keys("p")), (once.clone(), keys("p")), (twice, keys("q"))];
    assert_eq!(numbers(&cluster.upsert_scram_users(&users).await.unwrap()), [92, 0, 92]);
    cluster.delete_scram_users(&[once]).await.unwrap();
}

pub(crate) async fn a_login_sees_what_its_rules_open(cluster: &dyn Cluster, prefix: &str) {
    let user = format!("{prefix}.login");
    let names: Vec<TopicName> =
        ["open", "closed"].iter().map(|rest| format!("{prefix}.login.{rest}").parse().unwrap()).collect();
    let topics = names.iter().map(|name| NewTopic {
        name: name.clone(),
        partitions: None,
        replication_factor: None,
        placement: None,
        configs: BTreeMap::new(),
    });
    let topics: Vec<NewTopic> = topics.collect();
    cluster.create_topics(&topics).await.unwrap();
    let rules = [
        acl(&user, ResourceType::Topic, names[0].as_str(), AclOperation::Read),
        prefixed(acl(&user, ResourceType::Group, &format!("{prefix}.g"), AclOperation::Read)),
        prefixed(acl(&user, ResourceType::TransactionalId, &format!("{prefix}.t"), AclOperation::Write)),
    ];
    cluster.create_acls(&rules).await.unwrap();
    let keys = keys("hunter2");
    cluster.upsert_scram_users(&[(user.clone(), keys.clone())]).await.unwrap().remove(0).unwrap();
    let (open, closed) = (format!("{prefix}.g_1"), format!("{prefix}.other"));
    let id = format!("{prefix}.t-1");
    let check = |topics: &[TopicName], groups: &[String], ids: &[String]| LoginCheck {
        username: user.clone(),
        keys: keys.clone(),
        topics: topics.to_vec(),
        groups: groups.to_vec(),
        transactional_ids: ids.to_vec(),
    };
    let all_is_well = check(&names[..1], std::slice::from_ref(&open), std::slice::from_ref(&id));
    eventually("the login", || async {
        match cluster.check_logins(std::slice::from_ref(&all_is_well)).await.unwrap().remove(0) {
            Ok(report) if report.is_complete() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let too_much = check(&names, &[open, closed.clone()], &[id, closed.clone()]);
    let reports = cluster.check_logins(&[too_much, all_is_well]).await.unwrap();
    let report = reports[0].as_ref().unwrap();
    assert_eq!(report.hidden_topics.len(), 1, "{report:?}");
    assert_eq!(report.hidden_topics[0].0, names[1]);
    assert!(report.hidden_topics[0].1.starts_with("TOPIC_AUTHORIZATION_FAILED"), "{report:?}");
    assert_eq!(report.hidden_groups.len(), 1, "{report:?}");
    assert_eq!(report.hidden_groups[0].0, closed);
    assert!(report.hidden_groups[0].1.starts_with("GROUP_AUTHORIZATION_FAILED"), "{report:?}");
    assert_eq!(report.hidden_transactional_ids.len(), 1, "{report:?}");
    assert_eq!(report.hidden_transactional_ids[0].0, closed);
    let answer = &report.hidden_transactional_ids[0].1;
    assert!(answer.starts_with("TRANSACTIONAL_ID_AUTHORIZATION_FAILED"), "{report:?}");
    assert_eq!(reports[1], Ok(LoginReport::default()));
    cluster.delete_acls(&rules).await.unwrap();
    cluster.delete_scram_users(&[user]).await.unwrap();
}

pub(crate) async fn wrong_keys_and_unknown_users_do_not_log_in(cluster: &dyn Cluster, prefix: &str) {
    let user = format!("{prefix}.wrong");
    let right = keys("hunter2");
    cluster.upsert_scram_users(&[(user.clone(), right.clone())]).await.unwrap().remove(0).unwrap();
    let check = |username: &str, keys: &ScramKeys| LoginCheck {
        username: username.to_owned(),
        keys: keys.clone(),
        topics: Vec::new(),
        groups: Vec::new(),
        transactional_ids: Vec::new(),
    };
    let good = check(&user, &right);
    eventually("the right keys", || async {
        cluster
            .check_logins(std::slice::from_ref(&good))
            .await
            .unwrap()
            .remove(0)
            .map_err(|error| error.to_string())
    })
    .await;
    let forged = ScramKeys { salted_password: keys("guess").salted_password, ..right.clone() };
    let checks =
        [check(&user, &keys("hunter2")), check("nobody-at-all", &right), good, check(&user, &forged)];
    let outcomes = cluster.check_logins(&checks).await.unwrap();
    assert_eq!(numbers(&outcomes), [58, 58, 0, 58]);
    for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
        assert!(outcome.as_ref().unwrap_err().retriable, "credentials take a moment to spread");
    }
    cluster.delete_scram_users(&[user]).await.unwrap();
}

use std::collections::BTreeSet;

use jiff::Timestamp;
use topicops_contract::{ClientRequest, NamePattern, TopicName, TopicObjectKind, Workload, keys};

use super::{Finding, Granted, GrantsMode, GroupClaims, acls::streams_prefix, trespass::Trespass};
use crate::{
    Reason,
    topic::{TopicGrant, TopicGrants, Use},
};

/// What a request gets, and why it does not get the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    pub granted: Granted,
    pub findings: Vec<Finding>,
}

/// Decides one request. `created` is when its workload was created (in the far future for one that does not exist yet).
pub fn resolve(
    request: &ClientRequest,
    created: Timestamp,
    grants: &TopicGrants,
    claims: &GroupClaims,
    mode: GrantsMode,
) -> Resolution {
    let mut resolver = Resolver { request, created, grants, claims, mode, findings: Vec::new() };
    let consumes = resolver.topics(&request.consumes, Use::Consume);
    let produces = resolver.topics(&request.produces, Use::Produce);
    let groups =
        if consumes.is_empty() && request.groups.is_empty() { BTreeSet::new() } else { resolver.groups() };
    let transactional_ids = resolver.transactional_ids();
    let streams_application_id = request.streams_application_id.as_ref().filter(|id| resolver.streams(id));
    let granted = Granted {
        consumes,
        produces,
        groups,
        transactional_ids,
        streams_application_id: streams_application_id.cloned(),
    };
    Resolution { granted, findings: resolver.findings }
}

struct Resolver<'a> {
    request: &'a ClientRequest,
    created: Timestamp,
    grants: &'a TopicGrants,
    claims: &'a GroupClaims,
    mode: GrantsMode,
    findings: Vec<Finding>,
}

impl<'a> Resolver<'a> {
    fn workload(&self) -> &'a Workload {
        &self.request.workload
    }

    fn find(&mut self, reason: Reason, message: String) {
        self.findings.push(Finding { reason, message });
    }

    fn allows(&self, grant: &TopicGrant, what: Use) -> bool {
        match self.mode {
            GrantsMode::Open => true,
            GrantsMode::Namespace => grant.allows(self.workload(), what),
        }
    }

    fn topics(&mut self, patterns: &BTreeSet<NamePattern>, what: Use) -> BTreeSet<TopicName> {
        let mut topics = BTreeSet::new();
        for pattern in patterns {
            match pattern {
                NamePattern::Prefix(_) => topics.extend(
                    self.grants
                        .matching(pattern)
                        .filter(|(_, grant)| self.allows(grant, what))
                        .map(|(topic, _)| topic.clone()),
                ),
                NamePattern::Literal(name) => topics.extend(self.topic(name, what)),
            }
        }
        topics
    }

    fn topic(&mut self, name: &str, what: Use) -> Option<TopicName> {
        let Some(grant) = self.grants.owner(name) else {
            self.find(Reason::TopicNotDeclared, format!("no ConfigMap or KafkaTopic declares topic {name}"));
            return None;
        };
        if self.allows(grant, what) {
            return name.parse().ok();
        }
        let key = match what {
            Use::Consume => keys::data::CONSUMERS,
            Use::Produce => keys::data::PRODUCERS,
        };
        let line = format!("{}/{}", self.workload().namespace(), self.workload().name());
        let message = format!(
            "topic {name} is owned by {}, which does not list {line}: add \"{line}\" to its {}",
            grant.owner,
            match grant.owner.kind {
                TopicObjectKind::ConfigMap => format!("data key \"{key}\""),
                kind @ TopicObjectKind::KafkaTopic => kind.field(key).into_owned(),
            }
        );
        self.find(Reason::TopicNotGranted, message);
        None
    }

    fn groups(&mut self) -> BTreeSet<NamePattern> {
        let workload = self.workload();
        let mut groups = BTreeSet::new();
        match self.claims.default_group_holder(workload, self.created) {
            None => groups.extend(workload.own_groups()),
            Some(holder) => {
                let message = format!(
                    "consumer group {} belongs to {holder}, which has the same namespace and name and is older: \
                     rename one of the two, or name other groups in {}",
                    workload.default_group(),
                    keys::client::GROUPS
                );
                self.find(Reason::GroupTaken, message);
            }
        }
        for group in &self.request.groups {
            match self.claims.group_holder(workload, self.created, group) {
                None => {
                    groups.insert(group.clone());
                }
                Some(holder) => {
                    let message = taken("consumer group", group, holder, keys::client::GROUPS);
                    self.find(Reason::GroupTaken, message);
                }
            }
        }
        groups
    }

    fn transactional_ids(&mut self) -> BTreeSet<NamePattern> {
        let mut ids = BTreeSet::new();
        for id in &self.request.transactional_ids {
            match self.claims.transactional_id_holder(self.workload(), self.created, id) {
                None => {
                    ids.insert(id.clone());
                }
                Some(holder) => {
                    let message = taken("transactional id", id, holder, keys::client::TRANSACTIONAL_IDS);
                    self.find(Reason::TransactionalIdTaken, message);
                }
            }
        }
        ids
    }

    /// Whether the application may have its id: it brings the right to create and delete topics that begin so.
    fn streams(&mut self, application: &str) -> bool {
        let workload = self.workload();
        let before = self.findings.len();
        let namespace = workload.namespace();
        if !application.starts_with(&format!("{namespace}.")) {
            let message = format!(
                "Kafka Streams application id {application} must be {} or begin with \"{namespace}.\", so that its internal \
                 topics cannot meet those of other namespaces: change {}",
                workload.default_group(),
                keys::client::STREAMS_APPLICATION_ID
            );
            self.find(Reason::StreamsApplicationIdRefused, message);
            return false;
        }
        let group = NamePattern::Literal(application.to_owned());
        let prefix = NamePattern::Prefix(streams_prefix(application));
        if let Some(holder) = self.claims.group_holder(workload, self.created, &group) {
            let message = taken("consumer group", &group, holder, keys::client::STREAMS_APPLICATION_ID);
            self.find(Reason::GroupTaken, message);
        }
        if let Some(holder) = self.claims.transactional_id_holder(workload, self.created, &prefix) {
            let message = taken("transactional id", &prefix, holder, keys::client::STREAMS_APPLICATION_ID);
            self.find(Reason::TransactionalIdTaken, message);
        }
        if let Some(trespass) = Trespass::find(self.grants, namespace, &prefix) {
            let message = format!(
                "Kafka Streams application id {application} would reach {trespass}: choose another id in {}",
                keys::client::STREAMS_APPLICATION_ID
            );
            self.find(Reason::StreamsApplicationIdRefused, message);
        }
        self.findings.len() == before
    }
}

fn taken(what: &str, name: &NamePattern, holder: &Workload, annotation: &str) -> String {
    format!("{what} {name} belongs to {holder}: name another in {annotation}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::testing::{Asking, at, grants, request};
    use crate::kafka::{PatternType, ResourceType};
    use crate::topic::TopicObjectKey;

    fn decide(asking: &Asking, grants: &TopicGrants, mode: GrantsMode) -> Resolution {
        let claims = GroupClaims::of([(&**asking, at(1))]);
        resolve(asking, at(1), grants, &claims, mode)
    }

    fn names(topics: &BTreeSet<TopicName>) -> Vec<&str> {
        topics.iter().map(TopicName::as_str).collect()
    }

    #[test]
    fn a_missing_line_is_named_with_its_config_map_and_key() {
        let grants = grants(&[("billing/payments", &["shipping/*"])]);
        let asking = request("shop/nosy").consume("payments").produce("payments").consume("x");
        let resolution = decide(&asking, &grants, GrantsMode::Namespace);
        let messages: Vec<_> = resolution.findings.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "topic payments is owned by ConfigMap billing/payments, which does not list shop/nosy: \
                 add \"shop/nosy\" to its data key \"consumers\"",
                "no ConfigMap or KafkaTopic declares topic x",
                "topic payments is owned by ConfigMap billing/payments, which does not list shop/nosy: \
                 add \"shop/nosy\" to its data key \"producers\"",
            ]
        );
        assert_eq!(resolution.granted, Granted::default());
    }

    #[test]
    fn a_pattern_stands_for_the_granted_topics_that_begin_so() {
        let grants = grants(&[
            ("shop/orders", &[]),
            ("shop/orders.eu", &[]),
            ("billing/orders-paid", &["shop/reader"]),
            ("billing/orders-secret", &[]),
        ]);
        let asking = request("shop/reader").consume("orders*");
        let resolution = decide(&asking, &grants, GrantsMode::Namespace);
        assert_eq!(names(&resolution.granted.consumes), ["orders", "orders-paid", "orders.eu"]);
        assert!(resolution.findings.is_empty());
        assert!(
            resolution.granted.acls("u").iter().all(|acl| acl.resource.resource_type != ResourceType::Topic
                || acl.resource.pattern == PatternType::Literal),
            "a prefixed rule would reach topics that nobody granted"
        );
    }

    #[test]
    fn open_grants_everything_that_is_declared() {
        let grants = grants(&[("billing/payments", &[])]);
        let asking = request("shop/nosy").consume("payments").consume("undeclared");
        let resolution = decide(&asking, &grants, GrantsMode::Open);
        assert_eq!(names(&resolution.granted.consumes), ["payments"]);
        assert_eq!(resolution.findings[0].reason, "TopicNotDeclared");
    }

    #[test]
    fn producing_alone_brings_no_group() {
        let grants = grants(&[("shop/orders", &[])]);
        let produces = decide(&request("shop/w").produce("orders"), &grants, GrantsMode::Namespace);
        assert!(produces.granted.groups.is_empty());
        let consumes = decide(&request("shop/w").consume("orders"), &grants, GrantsMode::Namespace);
        let groups: Vec<String> = consumes.granted.groups.iter().map(ToString::to_string).collect();
        assert_eq!(groups, ["shop.w", "shop.w_*"]);
        let names = decide(&request("shop/w").group("legacy"), &grants, GrantsMode::Namespace);
        assert_eq!(names.granted.groups.len(), 3);
    }

    #[test]
    fn a_taken_group_or_id_is_refused_and_its_holder_named() {
        let grants = grants(&[("shop/orders", &["*/*"])]);
        let first = request("a/first").group("legacy").transactional("tx*");
        let second = request("b/second").group("legacy").transactional("tx-1");
        let claims = GroupClaims::of([(&*first, at(1)), (&*second, at(2))]);
        let resolution = resolve(&second, at(2), &grants, &claims, GrantsMode::Namespace);
        let found: Vec<_> = resolution.findings.iter().map(|f| (f.reason, f.message.as_str())).collect();
        assert_eq!(
            found,
            [
                (
                    Reason::GroupTaken,
                    "consumer group legacy belongs to Deployment a/first: name another in topic.kafka.nb/groups"
                ),
                (
                    Reason::TransactionalIdTaken,
                    "transactional id tx-1 belongs to Deployment a/first: name another in \
                     topic.kafka.nb/transactional-ids"
                ),
            ]
        );
        assert!(resolution.granted.transactional_ids.is_empty());
    }

    #[test]
    fn a_streams_application_stays_within_its_namespace() {
        let none = grants(&[]);
        let other = grants(&[("billing/shop.app-payments", &[])]);
        let own = grants(&[("shop/shop.app-x", &[])]);
        let held = |namespace: &str, topic: &str| {
            let mut grants = TopicGrants::default();
            grants.hold(&topic.parse().unwrap(), Some(namespace));
            grants
        };
        let protected = |pattern: &str| {
            let mut grants = TopicGrants::default();
            grants.protect([NamePattern::read(pattern)].into());
            grants
        };
        for (id, grants, granted) in [
            ("shop.app", &none, true),
            ("shop.w", &none, true),
            ("shop.app", &own, true),
            ("app", &none, false),
            ("shopping.app", &none, false),
            ("shop.app", &other, false),
            ("shop.app", &held("billing", "shop.app-payments"), false),
            ("shop.app", &held("billing", "shop.app.payments"), true),
            ("shop.app", &held("shop", "shop.app-payments"), true),
            ("shop.app", &protected("shop.app-audit"), false),
            ("shop.app", &protected("shop.app-audit*"), false),
            ("shop.app", &protected("shop.*"), false),
            ("shop.app", &protected("shop.app"), true),
            ("shop.app", &protected("shop.audit*"), true),
        ] {
            for mode in [GrantsMode::Namespace, GrantsMode::Open] {
                let resolution = decide(&request("shop/w").streams(id), grants, mode);
                let reasons: Vec<_> = resolution.findings.iter().map(|finding| finding.reason).collect();
                let expected: &[_] = if granted { &[] } else { &[Reason::StreamsApplicationIdRefused] };
                assert_eq!(reasons, expected, "{id}, {grants:?}");
                assert_eq!(resolution.granted.streams_application_id.is_some(), granted, "{id}, {grants:?}");
            }
        }
    }

    #[test]
    fn what_a_streams_application_would_reach_is_named() {
        let mut all = grants(&[("billing/shop.app-paid", &[])]);
        let words = |grants: &TopicGrants| {
            decide(&request("shop/w").streams("shop.app"), grants, GrantsMode::Namespace)
                .findings
                .remove(0)
                .message
        };
        let expected = |what: &str| {
            format!(
                "Kafka Streams application id shop.app would reach {what}: choose another id in \
                 topic.kafka.nb/streams-application-id"
            )
        };
        assert_eq!(
            words(&all),
            expected("topic shop.app-paid, which is owned by ConfigMap billing/shop.app-paid")
        );
        let paid = "shop.app-paid".parse().unwrap();
        all.set(&paid, None);
        all.hold(&paid, Some("billing"));
        assert_eq!(
            words(&all),
            expected(
                "topic shop.app-paid, which belongs to namespace billing though no object declares it now"
            )
        );
        all.hold(&paid, None);
        all.protect([NamePattern::read("shop.*")].into());
        assert_eq!(
            words(&all),
            expected("topics shop.*, which are never touched, as the operator's protected topics say")
        );
    }

    proptest! {
        #[test]
        fn no_rule_reaches_a_topic_that_its_owner_does_not_grant(
            topics in proptest::collection::btree_map(
                "[ab]{1,3}", ("[xyz]", proptest::collection::vec("[xyz*]/[w*]", 0..2)), 0..6),
            consumes in proptest::collection::btree_set("[ab]{1,3}\\*?", 0..4),
            produces in proptest::collection::btree_set("[ab]{1,3}\\*?", 0..4),
            namespace in "[xyz]",
        ) {
            let mut all = TopicGrants::default();
            for (topic, (owner, consumers)) in &topics {
                let grant = TopicGrant {
                    owner: TopicObjectKey::config_map(owner, topic),
                    consumers: consumers.iter().map(|line| line.parse().unwrap()).collect(),
                    producers: Vec::new(),
                };
                all.set(&topic.parse().unwrap(), Some(grant));
            }
            let mut asking = request(&format!("{namespace}/w"));
            asking.consumes = consumes.iter().map(|text| NamePattern::read(text)).collect();
            asking.produces = produces.iter().map(|text| NamePattern::read(text)).collect();
            let resolution = decide(&asking, &all, GrantsMode::Namespace);
            for acl in resolution.granted.acls("u") {
                if acl.resource.resource_type != ResourceType::Topic {
                    continue;
                }
                let grant = all.owner(&acl.resource.name).expect("only declared topics");
                let consumes = grant.allows(&asking.workload, Use::Consume);
                let produces = grant.allows(&asking.workload, Use::Produce);
                prop_assert!(consumes || produces, "{}", acl);
                prop_assert!(crate::access::still_granted(&acl, &asking.workload, &all, GrantsMode::Namespace));
            }
        }
    }
}

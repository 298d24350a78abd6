//! What is granted, in Kafka's words. DESCRIBE follows from READ and WRITE with Kafka's own authorizer; it is written
//! too, so that other authorizers agree. Never CREATE or DELETE outside a Streams application's own prefix, never the
//! cluster, never the literal name `*`, which Kafka would read as everything.

use std::collections::BTreeSet;

use topicops_contract::NamePattern;

use super::Granted;
use crate::kafka::{Acl, AclOperation, AclResource, PatternType, ResourceType};

impl Granted {
    /// The whole set of rules of the user, and no other.
    pub fn acls(&self, username: &str) -> BTreeSet<Acl> {
        use AclOperation::{Create, Delete, Describe, DescribeConfigs, Read, Write};

        let mut rules = Rules { username, acls: BTreeSet::new() };
        for topic in &self.consumes {
            rules.literal(ResourceType::Topic, topic.as_str(), &[Read, Describe]);
        }
        for topic in &self.produces {
            rules.literal(ResourceType::Topic, topic.as_str(), &[Write, Describe]);
        }
        for group in &self.groups {
            rules.pattern(ResourceType::Group, group, &[Read, Describe]);
        }
        for id in &self.transactional_ids {
            rules.pattern(ResourceType::TransactionalId, id, &[Write, Describe]);
        }
        if let Some(application) = &self.streams_application_id {
            let prefix = NamePattern::Prefix(streams_prefix(application));
            rules.literal(ResourceType::Group, application, &[Read, Describe]);
            rules.pattern(ResourceType::TransactionalId, &prefix, &[Write, Describe]);
            rules.pattern(
                ResourceType::Topic,
                &prefix,
                &[Read, Write, Describe, Create, Delete, DescribeConfigs],
            );
        }
        rules.acls
    }
}

/// How the internal topics and transactional ids of a Kafka Streams application begin.
pub(super) fn streams_prefix(application: &str) -> String {
    format!("{application}-")
}

struct Rules<'a> {
    username: &'a str,
    acls: BTreeSet<Acl>,
}

impl Rules<'_> {
    fn literal(&mut self, resource_type: ResourceType, name: &str, operations: &[AclOperation]) {
        self.push(resource_type, name, PatternType::Literal, operations);
    }

    fn pattern(&mut self, resource_type: ResourceType, pattern: &NamePattern, operations: &[AclOperation]) {
        let pattern_type = match pattern {
            NamePattern::Literal(_) => PatternType::Literal,
            NamePattern::Prefix(_) => PatternType::Prefixed,
        };
        self.push(resource_type, pattern.text(), pattern_type, operations);
    }

    fn push(
        &mut self,
        resource_type: ResourceType,
        name: &str,
        pattern: PatternType,
        operations: &[AclOperation],
    ) {
        // An empty prefix and the literal star both name everything.
        if name.is_empty() || name == "*" {
            return;
        }
        self.acls.extend(operations.iter().map(|operation| Acl {
            username: self.username.to_owned(),
            resource: AclResource { resource_type, name: name.to_owned(), pattern },
            operation: *operation,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(granted: &Granted) -> Vec<String> {
        granted.acls("u").iter().map(ToString::to_string).collect()
    }

    fn sorted(lines: &[&str]) -> Vec<String> {
        let mut lines: Vec<String> = lines.iter().map(|line| format!("User:u may {line}")).collect();
        lines.sort();
        lines
    }

    #[test]
    fn each_use_gets_its_rules_and_no_more() {
        let topic = |name: &str| BTreeSet::from([name.parse().unwrap()]);
        let pattern = |text: &str| BTreeSet::from([NamePattern::read(text)]);
        let table: [(Granted, &[&str]); 6] = [
            (Granted::default(), &[]),
            (Granted { produces: topic("t"), ..Granted::default() }, &["Write Topic t", "Describe Topic t"]),
            (
                Granted { consumes: topic("t"), groups: pattern("shop.w_*"), ..Granted::default() },
                &["Read Topic t", "Describe Topic t", "Read Group shop.w_*", "Describe Group shop.w_*"],
            ),
            (
                Granted { consumes: topic("t"), produces: topic("t"), ..Granted::default() },
                &["Read Topic t", "Write Topic t", "Describe Topic t"],
            ),
            (
                Granted { transactional_ids: pattern("tx"), ..Granted::default() },
                &["Write TransactionalId tx", "Describe TransactionalId tx"],
            ),
            (
                Granted { streams_application_id: Some("shop.app".to_owned()), ..Granted::default() },
                &[
                    "Read Topic shop.app-*",
                    "Write Topic shop.app-*",
                    "Describe Topic shop.app-*",
                    "Create Topic shop.app-*",
                    "Delete Topic shop.app-*",
                    "DescribeConfigs Topic shop.app-*",
                    "Read Group shop.app",
                    "Describe Group shop.app",
                    "Write TransactionalId shop.app-*",
                    "Describe TransactionalId shop.app-*",
                ],
            ),
        ];
        for (granted, expected) in table {
            let mut got = lines(&granted);
            got.sort();
            assert_eq!(got, sorted(expected), "{granted:?}");
        }
    }

    #[test]
    fn what_kafka_would_read_as_everything_is_never_written() {
        for text in ["*", "**"] {
            let granted = Granted { groups: BTreeSet::from([NamePattern::read(text)]), ..Granted::default() };
            let acls = granted.acls("u");
            assert!(
                acls.iter().all(|acl| !acl.resource.name.is_empty()
                    && (acl.resource.name != "*" || acl.resource.pattern == PatternType::Prefixed)),
                "{acls:?}"
            );
        }
    }
}

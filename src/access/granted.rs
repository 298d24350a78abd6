use std::collections::BTreeSet;

use topicops_contract::{NamePattern, TopicName};

use super::acls::streams_prefix;

/// Stands for what a prefix reaches: rules reach names that nobody has used yet, and it is only ever asked about.
const SOME_NAME: &str = "topicops-verify";

/// What a workload may do: the part of its request that both sides agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    pub consumes: BTreeSet<TopicName>,
    pub produces: BTreeSet<TopicName>,
    /// Empty unless something is consumed or groups are named.
    pub groups: BTreeSet<NamePattern>,
    pub transactional_ids: BTreeSet<NamePattern>,
    /// A Kafka Streams application, which makes and deletes its own internal topics.
    pub streams_application_id: Option<String>,
}

impl Granted {
    /// All topics that are named literally, in order.
    pub fn topics(&self) -> BTreeSet<TopicName> {
        self.consumes.union(&self.produces).cloned().collect()
    }

    /// All topics that the brokers have to show to the user: those that are named, and one of those that a Streams
    /// application may make.
    pub fn visible_topics(&self) -> BTreeSet<TopicName> {
        let internal = self.streams_application_id.as_deref().map(streams_prefix);
        let internal = internal.and_then(|prefix| format!("{prefix}{SOME_NAME}").parse().ok());
        self.topics().into_iter().chain(internal).collect()
    }

    /// A group for each rule about groups.
    pub fn visible_groups(&self) -> Vec<String> {
        self.groups.iter().map(some_name).chain(self.streams_application_id.clone()).collect()
    }

    /// The same, but for ranges that begin with a name that is there itself: a workload's own group, which stands for them.
    pub fn distinct_groups(&self) -> Vec<String> {
        let stands = |group: &&NamePattern| match group {
            NamePattern::Literal(_) => true,
            NamePattern::Prefix(prefix) => !prefix
                .strip_suffix('_')
                .is_some_and(|name| self.groups.contains(&NamePattern::Literal(name.to_owned()))),
        };
        self.groups.iter().filter(stands).map(some_name).chain(self.streams_application_id.clone()).collect()
    }

    /// A transactional id for each rule about them.
    pub fn visible_transactional_ids(&self) -> Vec<String> {
        self.transactional_ids.iter().chain(&self.internal()).map(some_name).collect()
    }

    /// What a client library cannot look at without harm, in words: to ask for a transactional id fences the producer that has
    /// it, and a Streams application makes its internal topics itself.
    pub fn not_looked_at(&self) -> Vec<String> {
        let internal = self.internal();
        let topics = internal.iter().map(|prefix| format!("internal topics {prefix}"));
        let ids = self.transactional_ids.iter().chain(&internal).map(|id| format!("transactional id {id}"));
        topics.chain(ids).collect()
    }

    /// How the names of a Streams application's internal topics and transactional ids begin.
    fn internal(&self) -> Option<NamePattern> {
        self.streams_application_id.as_deref().map(streams_prefix).map(NamePattern::Prefix)
    }
}

fn some_name(pattern: &NamePattern) -> String {
    match pattern {
        NamePattern::Literal(name) => name.clone(),
        NamePattern::Prefix(prefix) => format!("{prefix}{SOME_NAME}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{AclResource, PatternType, ResourceType};

    fn a_bit_of_everything() -> Granted {
        let patterns = |texts: &[&str]| texts.iter().map(|text| NamePattern::read(text)).collect();
        Granted {
            consumes: BTreeSet::from(["in".parse().unwrap()]),
            produces: BTreeSet::from(["out".parse().unwrap()]),
            groups: patterns(&["shop.w", "shop.w_*", "legacy-*", "other"]),
            transactional_ids: patterns(&["tx", "many-*"]),
            streams_application_id: Some("shop.app".to_owned()),
        }
    }

    #[test]
    fn what_is_looked_at_stands_for_every_rule() {
        let granted = a_bit_of_everything();
        let looked_at = |resource_type: ResourceType| -> Vec<String> {
            match resource_type {
                ResourceType::Topic => granted.visible_topics().iter().map(ToString::to_string).collect(),
                ResourceType::Group => granted.visible_groups(),
                ResourceType::TransactionalId => granted.visible_transactional_ids(),
                other => panic!("a rule about {other:?}"),
            }
        };
        for acl in granted.acls("u") {
            let name = &acl.resource.name;
            let reached = |seen: &&String| match acl.resource.pattern {
                PatternType::Literal => *seen == name,
                PatternType::Prefixed => seen.starts_with(name),
            };
            assert_eq!(
                looked_at(acl.resource.resource_type).iter().filter(reached).count().min(1),
                1,
                "{acl}"
            );
        }
    }

    #[test]
    fn a_client_library_looks_at_every_rule_or_says_that_it_does_not() {
        let granted = a_bit_of_everything();
        let mut told: Vec<String> = granted.topics().iter().map(|topic| format!("Topic {topic}")).collect();
        told.extend(granted.distinct_groups().into_iter().map(|group| format!("Group {group}")));
        let not_looked_at = granted.not_looked_at();
        assert_eq!(
            not_looked_at,
            [
                "internal topics shop.app-*",
                "transactional id tx",
                "transactional id many-*",
                "transactional id shop.app-*",
            ]
        );
        for acl in granted.acls("u") {
            let AclResource { resource_type, name, pattern } = &acl.resource;
            let is_told = match (resource_type, pattern) {
                (ResourceType::Topic, PatternType::Literal) => told.contains(&format!("Topic {name}")),
                (ResourceType::Topic, PatternType::Prefixed) => {
                    not_looked_at.contains(&format!("internal topics {name}*"))
                }
                (ResourceType::Group, _) => {
                    let begins = |group: &String| group.starts_with(&format!("Group {name}"));
                    // A workload's own group stands for its range.
                    told.iter().any(begins) || told.contains(&format!("Group {}", name.trim_end_matches('_')))
                }
                (ResourceType::TransactionalId, PatternType::Literal) => {
                    not_looked_at.contains(&format!("transactional id {name}"))
                }
                (ResourceType::TransactionalId, PatternType::Prefixed) => {
                    not_looked_at.contains(&format!("transactional id {name}*"))
                }
                (other, _) => panic!("a rule about {other:?}"),
            };
            assert!(is_told, "{acl}");
        }
    }

    #[test]
    fn a_client_library_asks_once_for_a_workloads_own_groups() {
        let mut groups = a_bit_of_everything().distinct_groups();
        groups.sort();
        assert_eq!(groups, ["legacy-topicops-verify", "other", "shop.app", "shop.w"]);
    }
}

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use topicops_contract::{Grant, NamePattern, TopicName, Workload};

use super::TopicObjectKey;

/// What a workload wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    Consume,
    Produce,
}

/// The object that owns a topic, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicGrant {
    pub owner: TopicObjectKey,
    pub consumers: Vec<Grant>,
    pub producers: Vec<Grant>,
}

impl TopicGrant {
    /// Workloads of the owner's namespace may use the topic; others need a line in `consumers` or `producers`.
    pub fn allows(&self, workload: &Workload, what: Use) -> bool {
        let lines = match what {
            Use::Consume => &self.consumers,
            Use::Produce => &self.producers,
        };
        workload.namespace() == self.owner.namespace || lines.iter().any(|line| line.covers(workload))
    }
}

/// All owned topics and whom they let in. Only an object that owns its topic grants something: a refused one does not. Beside
/// them, what no object grants, so that nobody comes by it in another way.
///
/// Copies share what is in the maps: each change is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicGrants {
    topics: BTreeMap<TopicName, Arc<TopicGrant>>,
    /// Topics that no object owns, and whose namespaces have them all the same: they stayed when their objects went, say.
    held: BTreeMap<TopicName, Arc<str>>,
    /// Topics that are never touched.
    protected: Arc<[NamePattern]>,
}

impl TopicGrants {
    /// Sets or takes away a topic's grant; whether that changed anything.
    pub fn set(&mut self, topic: &TopicName, grant: Option<TopicGrant>) -> bool {
        match grant {
            Some(grant) if self.owner(topic.as_str()) == Some(&grant) => false,
            Some(grant) => {
                self.topics.insert(topic.clone(), Arc::new(grant));
                true
            }
            None => self.topics.remove(topic).is_some(),
        }
    }

    pub fn owner(&self, topic: &str) -> Option<&TopicGrant> {
        self.topics.get(topic).map(AsRef::as_ref)
    }

    /// Notes which namespace has a topic that no object owns, if any does. Of one that is owned its grant says so.
    pub fn hold(&mut self, topic: &TopicName, namespace: Option<&str>) {
        match namespace.filter(|_| self.owner(topic.as_str()).is_none()) {
            Some(namespace) if self.held.get(topic).is_some_and(|held| **held == *namespace) => {}
            Some(namespace) => {
                self.held.insert(topic.clone(), namespace.into());
            }
            None => {
                self.held.remove(topic);
            }
        }
    }

    pub fn protect(&mut self, patterns: Arc<[NamePattern]>) {
        self.protected = patterns;
    }

    pub fn protected(&self) -> &Arc<[NamePattern]> {
        &self.protected
    }

    /// The owned topics that a pattern names, in order.
    pub fn matching<'a>(
        &'a self,
        pattern: &'a NamePattern,
    ) -> impl Iterator<Item = (&'a TopicName, &'a TopicGrant)> + 'a {
        named(&self.topics, pattern).map(|(topic, grant)| (topic, grant.as_ref()))
    }

    /// The topics that a pattern names and no object owns, with the namespaces that have them.
    pub fn held<'a>(
        &'a self,
        pattern: &'a NamePattern,
    ) -> impl Iterator<Item = (&'a TopicName, &'a str)> + 'a {
        named(&self.held, pattern).map(|(topic, namespace)| (topic, namespace.as_ref()))
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

fn named<'a, T>(
    topics: &'a BTreeMap<TopicName, T>,
    pattern: &'a NamePattern,
) -> impl Iterator<Item = (&'a TopicName, &'a T)> + 'a {
    topics
        .range::<str, _>((Bound::Included(pattern.text()), Bound::Unbounded))
        .take_while(|(topic, _)| topic.as_str().starts_with(pattern.text()))
        .filter(|(topic, _)| pattern.matches(topic.as_str()))
}

#[cfg(test)]
mod tests {
    use topicops_contract::WorkloadKind;

    use super::*;

    fn grants(topics: &[&str]) -> TopicGrants {
        let mut grants = TopicGrants::default();
        for topic in topics {
            let grant = TopicGrant {
                owner: TopicObjectKey::config_map("shop", *topic),
                consumers: vec!["shipping/*".parse().unwrap()],
                producers: Vec::new(),
            };
            assert!(grants.set(&topic.parse().unwrap(), Some(grant)));
        }
        grants
    }

    #[test]
    fn a_pattern_names_the_topics_that_begin_so_and_a_name_only_itself() {
        let grants = grants(&["orders", "orders.eu", "orders-old", "payments"]);
        let names = |text: &str| -> Vec<String> {
            grants.matching(&NamePattern::read(text)).map(|(topic, _)| topic.to_string()).collect()
        };
        assert_eq!(names("orders*"), ["orders", "orders-old", "orders.eu"]);
        assert_eq!(names("orders"), ["orders"]);
        assert_eq!(names("*").len(), 4);
        assert!(names("x*").is_empty());
    }

    #[test]
    fn a_topic_is_held_by_its_namespace_while_no_object_owns_it() {
        let mut grants = grants(&["orders"]);
        let held = |grants: &TopicGrants| -> Vec<String> {
            let all = NamePattern::read("*");
            grants.held(&all).map(|(topic, namespace)| format!("{namespace}/{topic}")).collect()
        };
        let orders: TopicName = "orders".parse().unwrap();
        grants.hold(&orders, Some("shop"));
        assert!(held(&grants).is_empty(), "its grant says so");
        grants.set(&orders, None);
        grants.hold(&orders, Some("shop"));
        assert_eq!(held(&grants), ["shop/orders"]);
        grants.hold(&orders, Some("billing"));
        assert_eq!(held(&grants), ["billing/orders"]);
        grants.hold(&orders, None);
        assert!(held(&grants).is_empty());
    }

    #[test]
    fn other_namespaces_need_a_line_and_the_own_one_does_not() {
        let grants = grants(&["orders"]);
        let owner = grants.owner("orders").unwrap();
        let workload = |namespace: &str| Workload::new(namespace, WorkloadKind::Deployment, "w");
        assert!(owner.allows(&workload("shop"), Use::Produce));
        assert!(owner.allows(&workload("shipping"), Use::Consume));
        assert!(!owner.allows(&workload("shipping"), Use::Produce));
        assert!(!owner.allows(&workload("nosy"), Use::Consume));
    }
}

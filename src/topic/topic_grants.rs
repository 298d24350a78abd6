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

/// All owned topics and whom they let in. Only an object that owns its topic is in here: a refused one grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicGrants {
    /// Shared by the copies that are published.
    topics: BTreeMap<TopicName, Arc<TopicGrant>>,
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

    /// The owned topics that a pattern names, in order.
    pub fn matching<'a>(
        &'a self,
        pattern: &'a NamePattern,
    ) -> impl Iterator<Item = (&'a TopicName, &'a TopicGrant)> + 'a {
        self.topics
            .range::<str, _>((Bound::Included(pattern.text()), Bound::Unbounded))
            .take_while(|(topic, _)| topic.as_str().starts_with(pattern.text()))
            .filter(|(topic, _)| pattern.matches(topic.as_str()))
            .map(|(topic, grant)| (topic, grant.as_ref()))
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
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

use std::collections::BTreeSet;

use topicops_contract::{NamePattern, TopicName};

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

    /// The groups that can be asked for by name.
    pub fn named_groups(&self) -> Vec<String> {
        let literal = self.groups.iter().filter_map(|group| match group {
            NamePattern::Literal(name) => Some(name.clone()),
            NamePattern::Prefix(_) => None,
        });
        literal.chain(self.streams_application_id.clone()).collect()
    }
}

use topicops_contract::{Grant, TopicObjectKind};

use super::{Declaration, Holding, TopicGrant, TopicObjectKey};

/// A topic's deletion that was asked for by an object that is gone: carried out once nobody uses the topic, unless somebody
/// declares it again before that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Kafka's id of the topic that was meant. `None`: it was never seen, and nothing is deleted.
    pub topic_id: Option<String>,
    /// Its author said not to wait for users.
    pub force: bool,
    /// Who was let in: those may use it still.
    pub consumers: Vec<Grant>,
    pub producers: Vec<Grant>,
}

/// Longer lists are remembered as "everybody": that can only keep a topic for longer, and the ledger has its bounds.
const LONGEST: usize = 2_048;

impl Deletion {
    /// What `owner` asked for when it went.
    pub fn asked_by(owner: &Declaration, holding: &Holding) -> Self {
        let own = owner.object.namespace == holding.namespace;
        Self {
            topic_id: holding.applied.topic_id.clone().filter(|_| own),
            force: owner.manifest.force_delete,
            consumers: bounded(&owner.manifest.consumers),
            producers: bounded(&owner.manifest.producers),
        }
    }

    /// Whom the object that is gone let in.
    pub fn grant(&self, namespace: &str) -> TopicGrant {
        TopicGrant {
            owner: TopicObjectKey::new(TopicObjectKind::ConfigMap, namespace, ""),
            consumers: self.consumers.clone(),
            producers: self.producers.clone(),
        }
    }
}

fn bounded(lines: &[Grant]) -> Vec<Grant> {
    let length: usize = lines.iter().map(|line| line.to_string().len() + 1).sum();
    if length <= LONGEST { lines.to_vec() } else { "*/*".parse().into_iter().collect() }
}

#[cfg(test)]
#[path = "deletion_tests.rs"]
mod tests;

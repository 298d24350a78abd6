use std::fmt;

use topicops_contract::{NamePattern, TopicName};

use crate::topic::{TopicGrants, TopicObjectKey};

/// What a Kafka Streams application would reach by its prefix, and is not its namespace's to grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trespass<'a> {
    /// A topic that an object of another namespace owns.
    Owned(&'a TopicName, &'a TopicObjectKey),
    /// One that another namespace has although no object owns it now.
    Held(&'a TopicName, &'a str),
    /// Topics that are never touched.
    Protected(&'a NamePattern),
}

impl<'a> Trespass<'a> {
    /// The first that is found.
    pub(super) fn find(grants: &'a TopicGrants, namespace: &str, prefix: &'a NamePattern) -> Option<Self> {
        let owned = grants.matching(prefix).find(|(_, grant)| grant.owner.namespace != namespace);
        let held = || grants.held(prefix).find(|(_, holder)| *holder != namespace);
        let protected = || grants.protected().iter().find(|pattern| pattern.overlaps(prefix));
        owned
            .map(|(topic, grant)| Self::Owned(topic, &grant.owner))
            .or_else(|| held().map(|(topic, holder)| Self::Held(topic, holder)))
            .or_else(|| protected().map(Self::Protected))
    }
}

impl fmt::Display for Trespass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned(topic, owner) => write!(f, "topic {topic}, which is owned by {owner}"),
            Self::Held(topic, namespace) => {
                write!(
                    f,
                    "topic {topic}, which belongs to namespace {namespace} though no object declares it now"
                )
            }
            Self::Protected(pattern) => {
                write!(f, "topics {pattern}, which are never touched, as the operator's protected topics say")
            }
        }
    }
}

use topicops_contract::{State, TopicName, TopicObjectKind, keys};

use super::{TopicObjectKey, limits::Violation};
use crate::Reason;

/// Why something that is declared is not done. Each has a word for machines and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The list of topics that are never touched holds it.
    Protected {
        topic: TopicName,
        pattern: String,
    },
    /// Another object of the same namespace, or one that may own it, is older.
    OwnedByAnother {
        topic: TopicName,
        owner: TopicObjectKey,
    },
    /// It belongs to another namespace.
    OwnedByNamespace {
        topic: TopicName,
        namespace: String,
        asking: String,
    },
    /// It exists and belongs to nobody, and no rule lets this namespace have it.
    AdoptionNotAllowed {
        topic: TopicName,
        asking: String,
    },
    FewerPartitions {
        declared: i32,
        existing: i32,
    },
    /// It is outside a limit of the operator's configuration.
    Limit(Violation),
    TooFewBrokers {
        declared: i16,
        brokers: usize,
    },
    /// What limits and defaults there are is not known.
    PolicyUnread,
    /// Writes with `acks=all` would be refused, or keep less than they promise.
    BelowMinInsyncReplicas {
        declared: i16,
        least: usize,
    },
    /// The same, by a setting instead of a replication factor.
    MinInsyncReplicasAbove {
        least: usize,
        factor: i16,
    },
    /// The same, by the brokers' own setting where the topic's is not declared any more.
    MinInsyncReplicasNeeded {
        own: usize,
        least: usize,
        factor: i16,
    },
    DiskSizeUnknown {
        share: String,
        why: String,
    },
    /// Somebody made it anew, so that it is not the topic that is to be deleted.
    Replaced {
        topic: TopicName,
    },
    /// It was never seen since it was to be made, so that it may be somebody else's.
    NeverSeen {
        topic: TopicName,
    },
    /// Its deletion waits: somebody still uses it.
    InUse {
        topic: TopicName,
        users: Vec<String>,
    },
}

/// What happens below `min.insync.replicas`, before Kafka 3.7 and since.
const PROMISE: &str = "are refused, or acknowledged with fewer copies than it promises";

/// Users named in a message; more are counted.
const USERS_NAMED: usize = 5;

impl Refusal {
    /// The reasons of those who have no say over the topic at all, and so grant nothing either.
    pub const OWNERSHIP: [Reason; 4] =
        [Reason::Protected, Reason::OwnedByAnother, Reason::OwnedByNamespace, Reason::AdoptionNotAllowed];

    pub fn reason(&self) -> Reason {
        match self {
            Self::Protected { .. } => Reason::Protected,
            Self::OwnedByAnother { .. } => Reason::OwnedByAnother,
            Self::OwnedByNamespace { .. } => Reason::OwnedByNamespace,
            Self::AdoptionNotAllowed { .. } => Reason::AdoptionNotAllowed,
            Self::FewerPartitions { .. } => Reason::FewerPartitions,
            Self::Limit(violation) => violation.reason,
            Self::PolicyUnread => Reason::PolicyUnread,
            Self::TooFewBrokers { .. } => Reason::TooFewBrokers,
            Self::BelowMinInsyncReplicas { .. }
            | Self::MinInsyncReplicasAbove { .. }
            | Self::MinInsyncReplicasNeeded { .. } => Reason::BelowMinInsyncReplicas,
            Self::DiskSizeUnknown { .. } => Reason::DiskSizeUnknown,
            Self::Replaced { .. } | Self::NeverSeen { .. } => Reason::TopicReplaced,
            Self::InUse { .. } => Reason::InUse,
        }
    }

    pub fn state(&self) -> State {
        match self {
            Self::InUse { .. } | Self::PolicyUnread => State::Pending,
            _ => State::Refused,
        }
    }

    /// The sentence for an author who declares the topic with an object of this kind.
    pub fn message(&self, kind: TopicObjectKind) -> String {
        let field = |key| kind.field(key);
        match self {
            Self::Protected { topic, pattern } => {
                format!("topic {topic} is never touched: the operator's protected topics hold {pattern}")
            }
            Self::OwnedByAnother { topic, owner } => format!(
                "topic {topic} is owned by the older {owner}; this one takes over when that one is deleted"
            ),
            Self::OwnedByNamespace { topic, namespace, asking } => format!(
                "topic {topic} belongs to namespace {namespace}; choose another name, or ask an administrator to let \
                 {asking} own it with --topic-owners {asking}={topic}"
            ),
            Self::AdoptionNotAllowed { topic, asking } => format!(
                "topic {topic} exists already and was not made by this topicops for namespace {asking}; an administrator can \
                 let {asking} own it with --topic-owners {asking}={topic}"
            ),
            Self::FewerPartitions { declared, existing } => format!(
                "{}: \"{declared}\": the topic has {existing} partitions and Kafka cannot take any away; declare {existing} \
                 or more",
                field(keys::data::PARTITIONS)
            ),
            Self::Limit(violation) => violation.problem(kind).to_string(),
            Self::PolicyUnread => {
                "the topic stays as it is until an administrator has mended the policy file with the limits \
                                   for topics: no version of it is known that has no mistakes"
                    .to_owned()
            }
            Self::TooFewBrokers { declared, brokers } => format!(
                "{}: \"{declared}\": each replica takes a broker of its own, and {brokers} are alive; \
                 declare {brokers} or fewer, or add brokers",
                field(keys::data::REPLICATION_FACTOR)
            ),
            Self::BelowMinInsyncReplicas { declared, least } => format!(
                "{}: \"{declared}\": the topic's min.insync.replicas is {least}; with fewer replicas, writes with acks=all {PROMISE}; \
                 declare {least} or more, or lower min.insync.replicas first",
                field(keys::data::REPLICATION_FACTOR)
            ),
            Self::MinInsyncReplicasAbove { least, factor } => format!(
                "{}: min.insync.replicas: \"{least}\": the topic's replication factor is {factor}; with fewer replicas than that, \
                 writes with acks=all {PROMISE}; declare {factor} or less, or a higher replication factor",
                field(keys::data::PROPERTIES)
            ),
            Self::MinInsyncReplicasNeeded { own, least, factor } => format!(
                "{}: min.insync.replicas is not declared any more, and stays {own}: the brokers' own is {least}, and the topic's \
                 replication factor is {factor}; with fewer replicas than that, writes with acks=all {PROMISE}; declare \
                 min.insync.replicas={own}, or a higher replication factor",
                field(keys::data::PROPERTIES)
            ),
            Self::DiskSizeUnknown { share, why } => format!(
                "{}: \"{share}\": the brokers do not tell how large their disks are: {why}; it is set, and a new topic made, as \
                 soon as they do; not to wait for that, declare retention.bytes in {} instead",
                field(keys::data::RETENTION_DISK_SHARE),
                field(keys::data::PROPERTIES)
            ),
            Self::Replaced { topic } => format!(
                "topic {topic} is not deleted: somebody made it anew since, so it is not the topic that this object stood for"
            ),
            Self::NeverSeen { topic } => format!(
                "topic {topic} is not deleted: it is not known to be the topic that this object stood for; to delete it, \
                 declare it again and delete that once it is Ready"
            ),
            Self::InUse { topic, users } => {
                let named = users.iter().take(USERS_NAMED).cloned().collect::<Vec<_>>().join(", ");
                let more = match users.len().saturating_sub(USERS_NAMED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let force = match kind {
                    TopicObjectKind::ConfigMap => {
                        format!("the annotation {}: \"true\"", keys::topic::FORCE_DELETE)
                    }
                    TopicObjectKind::KafkaTopic => format!("{}: true", field(keys::topic::FORCE_DELETE)),
                };
                format!(
                    "topic {topic} is not deleted yet: it is used by {named}{more}; it goes when they have stopped, or \
                     at once with {force}"
                )
            }
        }
    }
}

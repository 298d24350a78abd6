use std::fmt;

use serde::Serialize;
use topicops_contract::{TopicObjectKind, keys};

use super::{consent::Consent, since::Since};
use crate::{kafka::AclOperation, topic::Use};

/// Who may do what with a topic, through what, and whether the brokers have it so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    /// With its type: `User:topicops.shop.app`.
    pub(super) principal: String,
    pub(super) workload: Option<String>,
    pub(super) topic: String,
    pub(super) may: May,
    pub(super) by: By,
    pub(super) since: Since,
    pub(super) on_brokers: OnBrokers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum May {
    Read,
    Write,
}

/// What lets somebody use a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "by")]
pub(super) enum By {
    /// The object that owns the topic.
    Owner {
        object: String,
        #[serde(flatten)]
        consent: Consent,
    },
    /// Its own internal topics, all that begin so.
    StreamsApplication { prefix: String },
    /// Its annotations cannot be read, or it is going away: it keeps what it had.
    Kept,
    /// A rule on the brokers, and no workload that asks for it and is granted it.
    Rule { rule: String },
}

/// How what is granted stands to what the brokers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum OnBrokers {
    AsGranted,
    /// It is granted, and there is no such rule or no such user.
    Missing,
    /// It is granted, and a rule of somebody else denies it.
    Denied,
    /// topicops' own, and granted no more.
    NotGranted,
    /// Somebody else's, of which topicops knows nothing more.
    Foreign,
}

impl May {
    pub(super) const ALL: [Self; 2] = [Self::Read, Self::Write];

    pub(super) fn operation(self) -> AclOperation {
        match self {
            Self::Read => AclOperation::Read,
            Self::Write => AclOperation::Write,
        }
    }

    pub(super) fn of_topic(self) -> Use {
        match self {
            Self::Read => Use::Consume,
            Self::Write => Use::Produce,
        }
    }

    /// Where a workload asks for it.
    pub(super) fn annotation(self) -> &'static str {
        match self {
            Self::Read => keys::client::CONSUMES,
            Self::Write => keys::client::PRODUCES,
        }
    }

    /// Where a topic's owner grants it.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Read => keys::data::CONSUMERS,
            Self::Write => keys::data::PRODUCERS,
        }
    }

    /// In which part of the object that key is.
    pub(super) fn part(self, kind: TopicObjectKind) -> &'static str {
        match kind {
            TopicObjectKind::ConfigMap => "data",
            TopicObjectKind::KafkaTopic => "spec",
        }
    }
}

impl OnBrokers {
    /// Whether what the brokers have is not what is granted.
    pub(super) fn differs(self) -> bool {
        match self {
            Self::AsGranted | Self::Foreign => false,
            Self::Missing | Self::Denied | Self::NotGranted => true,
        }
    }
}

impl fmt::Display for May {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { object, consent } => write!(f, "{object}, {consent}"),
            Self::StreamsApplication { prefix } => write!(f, "its own topics, {prefix}*"),
            Self::Kept => f.write_str("kept from before, while what it asks for is not known"),
            Self::Rule { rule } => write!(f, "rule {rule}"),
        }
    }
}

impl fmt::Display for OnBrokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsGranted => "on the brokers",
            Self::Missing => "MISSING on the brokers",
            Self::Denied => "DENIED on the brokers",
            Self::NotGranted => "NOT GRANTED, and on the brokers",
            Self::Foreign => "not topicops'",
        })
    }
}

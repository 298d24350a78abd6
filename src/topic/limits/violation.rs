use topicops_contract::{Problem, TopicObjectKind};

use crate::Reason;

/// A part of a topic that is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Partitions,
    ReplicationFactor,
    /// A topic configuration key.
    Config(String),
}

/// Where in a manifest something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A data key of the contract.
    Data(&'static str),
    /// A topic configuration key.
    Property(String),
}

/// A declared value that is outside a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub reason: Reason,
    pub at: At,
    /// Nothing where there is none.
    pub value: String,
    /// What would be right, and who says so.
    pub expected: String,
    /// What is not carried out on a topic that exists. One that does not exist is not made at all.
    pub withholds: Vec<Field>,
    /// It is the flag `--max-partitions` that says so.
    pub by_flag: bool,
}

impl Violation {
    /// Key, value, and what would be right, for the author of an object of this kind: the same words at admission and in
    /// the status.
    pub fn problem(&self, kind: TopicObjectKind) -> Problem {
        let key = match &self.at {
            At::Data(key) => kind.field(key).into_owned(),
            At::Property(key) => kind.property(key),
        };
        Problem::new(key, &self.value, self.expected.clone())
    }
}

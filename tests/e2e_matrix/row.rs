//! A row of the matrix.

use std::fmt;

use topicops_testbed::KafkaVersion;

pub(crate) const HEAD: &str =
    "| client | annotations | works | denied, one step beyond | Kafka |\n|---|---|---|---|---|";

/// How brokers refuse, with the class that Java clients make of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Denial {
    Topic,
    Group,
    TransactionalId,
    Cluster,
}

impl Denial {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Topic => "TOPIC_AUTHORIZATION_FAILED",
            Self::Group => "GROUP_AUTHORIZATION_FAILED",
            Self::TransactionalId => "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            Self::Cluster => "CLUSTER_AUTHORIZATION_FAILED",
        }
    }

    pub(crate) fn exception(self) -> &'static str {
        match self {
            Self::Topic => "org.apache.kafka.common.errors.TopicAuthorizationException",
            Self::Group => "org.apache.kafka.common.errors.GroupAuthorizationException",
            Self::TransactionalId => "org.apache.kafka.common.errors.TransactionalIdAuthorizationException",
            Self::Cluster => "org.apache.kafka.common.errors.ClusterAuthorizationException",
        }
    }
}

/// What a kind of client was seen to do.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    client: &'static str,
    given: String,
    works: &'static str,
    denied: Vec<(&'static str, Denial)>,
    kafka: &'static [KafkaVersion],
}

impl Row {
    /// `kafka`: the versions that have this kind of client.
    pub(crate) fn new(
        client: &'static str,
        kafka: &'static [KafkaVersion],
        given: &[(&str, &str)],
        works: &'static str,
    ) -> Self {
        let given: Vec<String> = given.iter().map(|(key, value)| format!("`{key}: {value}`")).collect();
        Self { client, given: given.join("<br>"), works, denied: Vec::new(), kafka }
    }

    pub(crate) fn denied(mut self, what: &'static str, denial: Denial) -> Self {
        self.denied.push((what, denial));
        self
    }

    pub(crate) fn is_of(&self, kafka: KafkaVersion) -> bool {
        self.kafka.contains(&kafka)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let denied: Vec<String> =
            self.denied.iter().map(|(what, denial)| format!("{what}: `{}`", denial.code())).collect();
        let kafka: Vec<&str> = self.kafka.iter().map(|version| version.line()).collect();
        write!(
            f,
            "| {} | {} | {} | {} | {} |",
            self.client,
            self.given,
            self.works,
            denied.join("<br>"),
            kafka.join(", ")
        )
    }
}

use std::time::Duration;

use topicops_contract::{Password, TopicName};

/// What to verify: a client configuration, and what has to be visible with it.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// `client.properties` as the workload mounts it, in Java's names. Redacted: it holds the password.
    pub client_properties: Password,
    pub topics: Vec<TopicName>,
    /// The groups to look at. The configuration's own `group.id` is not among them by itself: every workload is given
    /// one, and one that consumes nothing has no right to it.
    pub groups: Vec<String>,
    /// For all of it together. Waiting for one of the places ([`VerifyRequest::AT_ONCE`]) counts, too.
    pub timeout: Duration,
}

impl VerifyRequest {
    /// Long enough for a slow broker to take a login, short enough to be told while somebody still looks.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Verifications that run at the same time at most: a librdkafka client is several threads and some megabytes, and nobody
    /// waits for a verification.
    pub const AT_ONCE: usize = 2;
}

use thiserror::Error;

/// What kind of trouble a [`ClusterError`] is: decides its metric label, and how loudly it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No bootstrap server could be reached, or the connection broke, or an answer did not come in time.
    Unreachable,
    /// TLS failed: a certificate that the trust store does not vouch for, or the wrong protocol.
    Tls,
    /// The broker refused our credentials.
    Authentication,
    /// We are logged in and may not do this.
    Authorization,
    /// The broker is too old for a request that is needed, or answered what this version cannot read.
    Protocol,
    /// The brokers are those of another cluster than the one that is kept.
    OtherCluster,
}

/// A whole batch failed, and nothing is known about its items.
#[derive(Clone, Debug, Error)]
#[error("{operation}: {message}")]
pub struct ClusterError {
    pub trouble: Trouble,
    /// The request, in words: "describe 12 topics".
    pub operation: String,
    /// The cause with the address and the broker's own text, where there is one.
    pub message: String,
}

/// The broker's own answer about one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct ItemError {
    /// Kafka's name of the error: `TOPIC_ALREADY_EXISTS`, `INVALID_CONFIG`, ….
    pub code: String,
    /// Kafka's numeric code, for matching.
    pub number: i16,
    /// The broker's text, or the general meaning of the code when it sent none.
    pub message: String,
    /// Whether the same request may go through later (`NOT_CONTROLLER`, `THROTTLING_QUOTA_EXCEEDED`, …).
    pub retriable: bool,
}

impl ItemError {
    pub const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const UNKNOWN_TOPIC_ID: i16 = 100;
    pub const THROTTLING_QUOTA_EXCEEDED: i16 = 89;
    pub const INVALID_PARTITIONS: i16 = 37;
    pub const RESOURCE_NOT_FOUND: i16 = 91;

    pub fn is(&self, number: i16) -> bool {
        self.number == number
    }
}

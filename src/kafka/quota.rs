use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

/// A limit that each broker keeps a user to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quota {
    pub target: QuotaTarget,
    pub value: QuotaValue,
}

/// Which limit, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaTarget {
    /// The user's name, without `User:`.
    pub username: String,
    pub clients: QuotaClients,
    /// Kafka's name of the limit: [`QuotaTarget::PRODUCER_BYTE_RATE`] and so on.
    pub key: String,
}

impl QuotaTarget {
    pub const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
    pub const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";
    pub const REQUEST_PERCENTAGE: &str = "request_percentage";
}

/// For which of a user's clients a quota counts. Where several do, the narrower one does alone. topicops sets those of all
/// clients together, and no others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaClients {
    /// All of them together.
    All,
    /// Those that call themselves by this client id.
    Id(String),
    /// Each client id that has none of its own.
    EachOther,
}

/// A quota's amount. It is a floating-point number to Kafka, and two are the same when their bits are.
#[derive(Clone, Copy, Debug)]
pub struct QuotaValue(f64);

impl QuotaValue {
    pub fn new(amount: f64) -> Self {
        Self(amount)
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for QuotaValue {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for QuotaValue {}

impl PartialOrd for QuotaValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for QuotaValue {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for QuotaValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Display for QuotaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of User:{}", self.key, self.username)?;
        match &self.clients {
            QuotaClients::All => Ok(()),
            QuotaClients::Id(id) => write!(f, ", client id {id}"),
            QuotaClients::EachOther => f.write_str(", each client id"),
        }
    }
}

impl fmt::Display for QuotaValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

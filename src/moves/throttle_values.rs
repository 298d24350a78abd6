//! The texts of Kafka's throttle settings.

/// A throttle is for those who are copied from, and for those who copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Leader,
    Follower,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Leader, Self::Follower];

    pub fn index(self) -> usize {
        match self {
            Self::Leader => 0,
            Self::Follower => 1,
        }
    }

    /// Of a broker: bytes per second.
    pub fn rate_key(self) -> &'static str {
        match self {
            Self::Leader => "leader.replication.throttled.rate",
            Self::Follower => "follower.replication.throttled.rate",
        }
    }

    /// Of a topic: `partition:broker,…`, or `*`.
    pub fn list_key(self) -> &'static str {
        match self {
            Self::Leader => "leader.replication.throttled.replicas",
            Self::Follower => "follower.replication.throttled.replicas",
        }
    }
}

/// The items of a list of throttled replicas, as they stand there.
pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Whether a list covers everything, so that nothing need be added.
pub(super) fn covers_all(list: &str) -> bool {
    items(list).any(|item| item == "*")
}

use std::time::Duration;

use jiff::Timestamp;

/// From when until when a certificate holds, both ends included, in whole seconds as in X.509.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    pub fn contains(&self, at: Timestamp) -> bool {
        self.not_before <= at && at <= self.not_after
    }
}

/// `at` moved by `by`, held at the ends of what a timestamp can express: a mad clock must not become a panic.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX)
}

/// See [`later`].
pub(crate) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX))
        .unwrap_or(Timestamp::MIN)
}

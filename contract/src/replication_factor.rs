use std::{fmt, num::NonZeroI16, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Problem;

/// How many brokers hold a copy of each partition: 1 to 32,767, as in Kafka's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct ReplicationFactor(NonZeroI16);

impl ReplicationFactor {
    pub fn get(self) -> i16 {
        self.0.get()
    }
}

impl TryFrom<i16> for ReplicationFactor {
    type Error = Problem;

    fn try_from(count: i16) -> Result<Self, Problem> {
        match NonZeroI16::new(count) {
            Some(count) if count.get() > 0 => Ok(Self(count)),
            _ => Err(Problem::new("replication-factor", count.to_string(), EXPECTED)),
        }
    }
}

const EXPECTED: &str = "a whole number of replicas, 1 to 32767, and no more than there are brokers";

impl From<ReplicationFactor> for i16 {
    fn from(count: ReplicationFactor) -> Self {
        count.get()
    }
}

impl FromStr for ReplicationFactor {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let count: i16 =
            text.trim().parse().map_err(|_| Problem::new("replication-factor", text, EXPECTED))?;
        Self::try_from(count)
    }
}

impl fmt::Display for ReplicationFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positive_whole_numbers_count_replicas() {
        for bad in ["", "0", "-1", "1.5", "three", "32768"] {
            assert!(bad.parse::<ReplicationFactor>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("32767".parse::<ReplicationFactor>().unwrap().get(), 32767);
    }
}

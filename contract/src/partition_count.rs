use std::{fmt, num::NonZeroI32, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Problem;

/// How many partitions a topic has: 1 to 2,147,483,647, as in Kafka's protocol. It may grow and never shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct PartitionCount(NonZeroI32);

impl PartitionCount {
    pub fn get(self) -> i32 {
        self.0.get()
    }
}

impl TryFrom<i32> for PartitionCount {
    type Error = Problem;

    fn try_from(count: i32) -> Result<Self, Problem> {
        match NonZeroI32::new(count) {
            Some(count) if count.get() > 0 => Ok(Self(count)),
            _ => Err(Problem::new("partitions", count.to_string(), EXPECTED)),
        }
    }
}

const EXPECTED: &str = "a whole number of partitions, 1 or more";

impl From<PartitionCount> for i32 {
    fn from(count: PartitionCount) -> Self {
        count.get()
    }
}

impl FromStr for PartitionCount {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let count: i32 = text.trim().parse().map_err(|_| Problem::new("partitions", text, EXPECTED))?;
        Self::try_from(count)
    }
}

impl fmt::Display for PartitionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positive_whole_numbers_count_partitions() {
        for bad in ["", "0", "-1", "1.5", "three", "2147483648", "0x10", "1 2"] {
            assert!(bad.parse::<PartitionCount>().is_err(), "{bad:?} was accepted");
        }
        for good in ["1", "2147483647", " 12\n"] {
            assert!(good.parse::<PartitionCount>().is_ok(), "{good:?} was refused");
        }
    }
}

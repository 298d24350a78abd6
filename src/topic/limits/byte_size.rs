use std::{fmt, str::FromStr};

use topicops_contract::Problem;

/// A number of bytes, written as Kubernetes writes quantities: `500000`, `100Mi`, `50Gi`, `2T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(i64);

/// Largest first within a kind; those of 1,024 are tried first when a size is shown.
const UNITS: [(&str, i64); 10] = [
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];
const EXPECTED: &str =
    "a number of bytes such as 500000, 100Mi or 50Gi (units Ki, Mi, Gi, Ti, Pi, k, M, G, T, P)";

impl ByteSize {
    pub fn bytes(self) -> i64 {
        self.0
    }
}

impl From<i64> for ByteSize {
    fn from(bytes: i64) -> Self {
        Self(bytes)
    }
}

impl FromStr for ByteSize {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit {
            "" => Some(1),
            unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor),
        };
        let bytes = factor.and_then(|factor| number.parse::<i64>().ok()?.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| Problem::new("bytes", text, EXPECTED))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0 % factor == 0) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_those_of_kubernetes() {
        for (text, bytes) in
            [("0", 0), ("500000", 500_000), ("1Ki", 1_024), ("50Gi", 50 << 30), ("2T", 2_000_000_000_000)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
        for bad in ["", "Gi", "1.5Gi", "-1", "1 Gi", "1gi", "1GB", "1K", "9999999Pi", "99999999999999999999"]
        {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn parse_of_display_is_identity(bytes in 0i64.., factor in 0usize..10) {
            let bytes = bytes / UNITS[factor].1 * UNITS[factor].1;
            prop_assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>().unwrap(), ByteSize(bytes));
        }
    }
}

use std::{fmt, str::FromStr};

use crate::Problem;

/// Bytes per second, 1 or more: `1048576`, `10MB/s`, `10MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(u64);

/// Largest first within a kind; those of 1,024 are tried first when a rate is shown.
const UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];
const EXPECTED: &str = "bytes per second such as 10MB/s, 10MiB/s or 1048576, 1 at least";

impl ByteRate {
    /// Kafka keeps rates as floating-point numbers, which are exact up to here: nine petabytes per second.
    pub const MAX: u64 = 1 << 53;

    pub fn bytes(self) -> u64 {
        self.0
    }

    /// `None` where it would be nothing, or more than [`Self::MAX`].
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        (1..=Self::MAX).contains(&bytes).then_some(Self(bytes))
    }

    /// The bytes per second that a text names, whatever their number; `None` where it names none.
    pub fn read(text: &str) -> Option<u64> {
        let number = text.trim();
        let number = number.strip_suffix("/s").unwrap_or(number);
        let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &number[digits.len()..] {
            "" => 1,
            unit => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)?,
        };
        let digits = digits.trim();
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse::<u64>().ok()?.checked_mul(factor)
    }
}

impl FromStr for ByteRate {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let rate = Self::read(text).and_then(Self::from_bytes);
        rate.ok_or_else(|| Problem::new("rate", text, EXPECTED))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) if *factor > 1 => write!(f, "{}{unit}/s", self.0 / factor),
            _ => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("1", 1),
            ("1048576", 1 << 20),
            ("10MB/s", 10_000_000),
            ("10MiB/s", 10 << 20),
            ("64 MiB/s", 64 << 20),
            ("3kB", 3_000),
            (" 5B/s\n", 5),
            ("9007199254740992", 1 << 53),
        ] {
            assert_eq!(text.parse::<ByteRate>().unwrap().bytes(), bytes, "{text}");
        }
        for bad in
            ["", "0", "0MB/s", "-1", "+1", "1.5MB/s", "10mb/s", "10Mi", "fast", "MB/s", "9007199254740993"]
        {
            let told = bad.parse::<ByteRate>().unwrap_err().to_string();
            assert!(told.contains(bad) && told.contains("10MB/s"), "{told}");
        }
        assert_eq!(ByteRate::read("99999999999GB"), None);
    }

    proptest! {
        #[test]
        fn parse_of_display_is_identity(bytes in 1..=ByteRate::MAX, factor in 0usize..8) {
            let bytes = (bytes / UNITS[factor].1 * UNITS[factor].1).max(1);
            prop_assert_eq!(ByteRate(bytes).to_string().parse::<ByteRate>().unwrap(), ByteRate(bytes));
        }
    }
}

use std::{fmt, str::FromStr};

use crate::Problem;

/// How long a topic keeps records: `7d`, `36h`, `90m`, `30s`, `500ms`, sums of them such as `1d12h`, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retention {
    /// `retention.ms`; -1 is unlimited.
    ms: i64,
}

const UNITS: [(&str, i64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const EXPECTED: &str =
    "a duration such as 7d, 36h, 90m, 30s or 1d12h (units w, d, h, m, s, ms), or unlimited";

impl Retention {
    pub const UNLIMITED: Self = Self { ms: -1 };

    /// From a value of Kafka's `retention.ms`; less than nothing is unlimited.
    pub fn from_ms(ms: i64) -> Self {
        Self { ms: ms.max(-1) }
    }

    /// The value of Kafka's `retention.ms`, in milliseconds; -1 for unlimited.
    pub fn as_ms(self) -> i64 {
        self.ms
    }
}

impl FromStr for Retention {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let trimmed = text.trim();
        if trimmed == "unlimited" {
            return Ok(Self::UNLIMITED);
        }
        parse_sum(trimmed).map(|ms| Self { ms }).ok_or_else(|| Problem::new("retention", text, EXPECTED))
    }
}

fn parse_sum(mut rest: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut smallest = i64::MAX;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        // Descending units only: "1h1h" or "1m2d" is more likely a mistake than meant.
        if *factor >= smallest {
            return None;
        }
        smallest = *factor;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*factor)?)?;
        rest = tail;
    }
    Some(total)
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNLIMITED {
            return f.write_str("unlimited");
        }
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.ms;
        for (unit, factor) in UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_people_write_are_read() {
        for (text, ms) in [
            ("7d", 604_800_000),
            ("36h", 129_600_000),
            ("1d12h", 129_600_000),
            ("500ms", 500),
            ("unlimited", -1),
        ] {
            assert_eq!(text.parse::<Retention>().unwrap().as_ms(), ms, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for bad in
            ["", "7", "7 d", "d", "7y", "-1d", "1.5h", "1h1h", "12h1d", "Unlimited", "99999999999999999999d"]
                .into_iter()
        {
            assert!(bad.parse::<Retention>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn parse_of_display_is_identity(ms in 0i64..i64::MAX) {
            let retention = Retention { ms };
            prop_assert_eq!(retention.to_string().parse::<Retention>().unwrap(), retention);
        }
    }
}

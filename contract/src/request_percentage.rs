use std::{fmt, str::FromStr};

use crate::Problem;

/// A share of the time of a broker's threads, where 100 is all of one thread's: `200`, `200%`, `12.5%`; in steps of a
/// hundredth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestPercentage {
    hundredths: u32,
}

const EXPECTED: &str =
    "a percentage of the time of one broker thread such as 50, 200% or 12.5%, more than 0 and at most 100000";

impl RequestPercentage {
    const MAX_HUNDREDTHS: u32 = 10_000_000;

    pub fn hundredths(self) -> u32 {
        self.hundredths
    }

    /// `None` where it would be nothing, or of more threads than any broker has.
    pub fn from_hundredths(hundredths: u32) -> Option<Self> {
        (1..=Self::MAX_HUNDREDTHS).contains(&hundredths).then_some(Self { hundredths })
    }
}

impl FromStr for RequestPercentage {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || Problem::new("percentage", text, EXPECTED);
        let number = text.trim();
        let number = number.strip_suffix('%').unwrap_or(number);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 2 || whole.len() > 6 {
            return Err(wrong());
        }
        let hundredths: u32 = format!("{fraction:0<2}").parse().map_err(|_| wrong())?;
        let hundredths = whole.parse::<u32>().map_err(|_| wrong())? * 100 + hundredths;
        Self::from_hundredths(hundredths).ok_or_else(wrong)
    }
}

impl fmt::Display for RequestPercentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.hundredths / 100, self.hundredths % 100);
        if hundredths == 0 { write!(f, "{whole}%") } else { write!(f, "{whole}.{hundredths:02}%") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentages_are_read_with_and_without_their_sign() {
        for (text, hundredths) in
            [("200", 20_000), ("200%", 20_000), ("12.5%", 1_250), ("0.01", 1), ("100000%", 10_000_000)]
        {
            assert_eq!(text.parse::<RequestPercentage>().unwrap().hundredths(), hundredths, "{text}");
        }
        for bad in ["", "%", "0", "0.00%", "100000.01", "-5", "+5", "5 %", "1.234", "5%%", ".5", "5.", "half"]
        {
            let told = bad.parse::<RequestPercentage>().unwrap_err().to_string();
            assert!(told.contains(bad) && told.contains("200%"), "{told}");
        }
    }

    proptest! {
        #[test]
        fn parse_of_display_is_identity(hundredths in 1..=RequestPercentage::MAX_HUNDREDTHS) {
            let share = RequestPercentage { hundredths };
            prop_assert_eq!(share.to_string().parse::<RequestPercentage>().unwrap(), share);
        }
    }
}

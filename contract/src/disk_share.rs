use std::{fmt, str::FromStr};

use crate::Problem;

/// A share of the brokers' disk: `5%`, in steps of a hundredth of a percent, more than 0 and at most 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskShare {
    /// Ten-thousandths of the disk.
    basis_points: u32,
}

const EXPECTED: &str = "a percentage of the brokers' disk such as 5% or 0.25%, more than 0 and at most 100";

impl DiskShare {
    pub fn basis_points(self) -> u32 {
        self.basis_points
    }

    /// `None` where it would be nothing, or more than all of the disk.
    pub fn from_basis_points(basis_points: u32) -> Option<Self> {
        (1..=10_000).contains(&basis_points).then_some(Self { basis_points })
    }

    /// This share of `bytes`, rounded down.
    pub fn of(self, bytes: u64) -> u64 {
        u64::try_from(u128::from(bytes) * u128::from(self.basis_points) / 10_000).unwrap_or(u64::MAX)
    }
}

impl FromStr for DiskShare {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || Problem::new("retention-disk-share", text, EXPECTED);
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 2 || whole.len() > 3 {
            return Err(wrong());
        }
        let hundredths: u32 = format!("{fraction:0<2}").parse().map_err(|_| wrong())?;
        let basis_points = whole.parse::<u32>().map_err(|_| wrong())? * 100 + hundredths;
        Self::from_basis_points(basis_points).ok_or_else(wrong)
    }
}

impl fmt::Display for DiskShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.basis_points / 100, self.basis_points % 100);
        if hundredths == 0 { write!(f, "{whole}%") } else { write!(f, "{whole}.{hundredths:02}%") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_display_is_identity_for_every_share() {
        for basis_points in 1..=10_000 {
            let share = DiskShare { basis_points };
            assert_eq!(share.to_string().parse::<DiskShare>().unwrap(), share);
        }
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for bad in ["", "5", "%", "0%", "0.00%", "100.01%", "-5%", "5 %", "1.234%", "5%%", ".5%", "5.%"] {
            assert!(bad.parse::<DiskShare>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("0.25%".parse::<DiskShare>().unwrap().of(1_000_000), 2_500);
    }
}

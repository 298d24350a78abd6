use std::fmt;

/// Which one of a workload's users: each rotation of its credentials makes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u32);

impl Generation {
    pub const FIRST: Self = Self(1);

    /// So many are never made; what somebody wrote beyond that is no generation.
    const LAST: u32 = 999_999_999;

    /// `None`: there is none after it.
    pub fn next(self) -> Option<Self> {
        (self.0 < Self::LAST).then(|| Self(self.0 + 1))
    }

    /// The user name of this generation, where `first` is that of the first: with `_2` and so on behind it.
    pub fn username(self, first: &str) -> String {
        if self == Self::FIRST { first.to_owned() } else { format!("{first}_{self}") }
    }

    /// The first generation's user name, and which one this is. Unambiguous for what [`Self::username`] makes of names that
    /// do not end so themselves: no Kubernetes name holds an underscore, and no kind is a number.
    pub fn split(username: &str) -> (&str, Self) {
        let behind = username.rsplit_once('_').and_then(|(first, number)| {
            let canonical = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
            let number =
                number.parse::<u32>().ok().filter(|number| canonical && (2..=Self::LAST).contains(number))?;
            Some((first, Self(number)))
        });
        behind.unwrap_or((username, Self::FIRST))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{OperatorId, Workload, WorkloadKind};

    proptest! {
        #[test]
        fn a_user_name_tells_its_workload_and_generation(
            name in "[a-z0-9]([a-z0-9.-]{0,6}[a-z0-9])?",
            kind in proptest::sample::select(&WorkloadKind::ALL),
            number in 1..=Generation::LAST,
        ) {
            let first = Workload::new("shop", kind, name).username(&OperatorId::default());
            let generation = Generation(number);
            let username = generation.username(&first);
            prop_assert_eq!(Generation::split(&username), (first.as_str(), generation));
        }
    }

    #[test]
    fn what_no_rotation_made_is_a_first_generation_of_its_own() {
        for username in [
            "op.shop.w",
            "op.shop.w_job",
            "op.shop.w_1",
            "op.shop.w_02",
            "op.shop.w_+2",
            "op.shop.w_1000000000",
            "op.shop.w_99999999999",
        ] {
            assert_eq!(Generation::split(username), (username, Generation::FIRST));
        }
    }
}

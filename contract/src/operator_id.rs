use std::{fmt, str::FromStr};

use crate::Problem;

/// Which topicops owns a principal: the first part of every user name it makes. A DNS label, so it holds no dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId(String);

impl OperatorId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for OperatorId {
    fn default() -> Self {
        Self("topicops".to_owned())
    }
}

impl FromStr for OperatorId {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let legal = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(Problem::new(
                "operator-id",
                text,
                "1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit, no dots",
            ))
        }
    }
}

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_would_make_user_names_ambiguous() {
        for bad in ["", "a.b", "-a", "a-", "A", "ä", "a_b", &"x".repeat(64)] {
            assert!(bad.parse::<OperatorId>().is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "topicops", "blue-2", &"x".repeat(63)] {
            assert!(good.parse::<OperatorId>().is_ok(), "{good:?} was refused");
        }
    }
}

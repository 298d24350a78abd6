use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::Problem;

/// A legal Kafka topic name: 1 to 249 of `a-z A-Z 0-9 . _ -`, neither `.` nor `..`.
///
/// A copy shares the text: a controller holds each name many times.
///
/// Source of the limits: `org.apache.kafka.common.internals.Topic` of Kafka 4.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// The longest legal name, in characters.
    pub const MAX_LEN: usize = 249;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Kafka's own topics and those of its ecosystem begin with two underscores; topicops never touches them.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("__")
    }

    /// Whether `character` may stand in a topic name.
    pub(crate) fn allows(character: char) -> bool {
        character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
    }
}

impl FromStr for TopicName {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let expected = if text.is_empty() {
            "a topic name must not be empty"
        } else if text.len() > Self::MAX_LEN {
            "a topic name has at most 249 characters"
        } else if text == "." || text == ".." {
            "a topic name cannot be \".\" or \"..\""
        } else if !text.chars().all(Self::allows) {
            "a topic name is made of letters a-z A-Z, digits, '.', '_' and '-' only"
        } else {
            return Ok(Self(text.into()));
        };
        Err(Problem::new("name", text, expected))
    }
}

impl TryFrom<String> for TopicName {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.0.to_string()
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn longest_legal_and_first_illegal_length() {
        assert!("x".repeat(249).parse::<TopicName>().is_ok());
        assert!("x".repeat(250).parse::<TopicName>().is_err());
        assert!("".parse::<TopicName>().is_err());
    }

    #[test]
    fn what_kafka_refuses_is_refused() {
        for bad in [".", "..", "a b", "a/b", "a\nb", "ä", "a\"b", "a*", "a,b", " a"] {
            assert!(bad.parse::<TopicName>().is_err(), "{bad:?} was accepted");
        }
        for good in ["...", "a.b", "_", "-", "A-1_b.c", "0"] {
            assert!(good.parse::<TopicName>().is_ok(), "{good:?} was refused");
        }
    }

    proptest! {
        #[test]
        fn parse_of_display_is_identity(text in "[a-zA-Z0-9._-]{3,249}") {
            let name: TopicName = text.parse().unwrap();
            prop_assert_eq!(name.to_string().parse::<TopicName>().unwrap(), name);
        }
    }
}

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name, or a prefix written with a trailing `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NamePattern {
    Literal(String),
    Prefix(String),
}

impl NamePattern {
    /// Reads `name` or `prefix*`. A star elsewhere stays in the text, for the caller to refuse.
    pub fn read(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Literal(text.to_owned()),
        }
    }

    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }

    /// Whether some name is matched by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(name), pattern) | (pattern, Self::Literal(name)) => pattern.matches(name),
            (Self::Prefix(one), Self::Prefix(two)) => one.starts_with(two) || two.starts_with(one),
        }
    }

    /// The name or prefix, without the star.
    pub fn text(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Prefix(text) => text,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_overlaps_what_it_could_name() {
        let prefix = NamePattern::read("shop.*");
        assert!(prefix.overlaps(&NamePattern::read("shop.orders")));
        assert!(prefix.overlaps(&NamePattern::read("sh*")));
        assert!(prefix.overlaps(&NamePattern::read("shop.orders_*")));
        assert!(!prefix.overlaps(&NamePattern::read("shopping")));
    }

    proptest! {
        #[test]
        fn read_of_display_is_identity(text in "[a-z.]{0,8}\\*?") {
            let pattern = NamePattern::read(&text);
            prop_assert_eq!(pattern.to_string(), text);
        }

        #[test]
        fn overlap_is_symmetric_and_holds_when_a_name_matches_both(
            one in "[ab]{0,3}\\*?", two in "[ab]{0,3}\\*?", name in "[ab]{0,4}",
        ) {
            let (one, two) = (NamePattern::read(&one), NamePattern::read(&two));
            prop_assert_eq!(one.overlaps(&two), two.overlaps(&one));
            prop_assert!(!(one.matches(&name) && two.matches(&name)) || one.overlaps(&two));
        }
    }
}

use std::fmt;

use serde::{Deserialize, Serialize};

/// One mistake in what a user wrote: which key, which value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// The data key, annotation or field that holds the mistake.
    pub key: String,
    /// The value as it was written, shortened when it is long.
    pub value: String,
    /// What would be right, as a phrase that follows "must be" or stands alone.
    pub expected: String,
}

/// Longer values are cut in messages: admission warnings and Events have limits of their own.
const VALUE_SHOWN: usize = 80;

impl Problem {
    pub fn new(key: impl Into<String>, value: impl AsRef<str>, expected: impl Into<String>) -> Self {
        Self { key: key.into(), value: shorten(value.as_ref()), expected: expected.into() }
    }

    /// A mistake whose value is not worth showing: a missing key, for instance.
    pub fn missing(key: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { key: key.into(), value: String::new(), expected: expected.into() }
    }

    /// The same mistake, reported under another key.
    #[must_use]
    pub fn under(self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self }
    }
}

/// Control characters are shown escaped, so that a value can never forge a line of a log or of an admission answer.
fn shorten(value: &str) -> String {
    let mut shown = String::new();
    for (index, character) in value.chars().enumerate() {
        if index == VALUE_SHOWN {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}: {}", self.key, self.expected)
        } else {
            write!(f, "{}: \"{}\": {}", self.key, self.value, self.expected)
        }
    }
}

/// All mistakes of one object, in the order in which they were found. Never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// How many mistakes are told.
    pub const MOST: usize = 32;

    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a mistake. After [`Problems::MOST`] only that there are more is noted: whoever made a thousand mistakes is not
    /// helped by a message that no admission answer, status or Event could hold.
    pub fn push(&mut self, problem: Problem) {
        match self.0.len() {
            len if len < Self::MOST => self.0.push(problem),
            Self::MOST => self.0.push(Problem::missing("…", "and more mistakes; mend these first")),
            _ => {}
        }
    }

    /// Whether further mistakes would not be told apart any more.
    pub fn is_full(&self) -> bool {
        self.0.len() > Self::MOST
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// The value, or `None` with the mistake noted.
    pub fn note<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problem) => {
                self.push(problem);
                None
            }
        }
    }

    /// `Ok` when nothing was noted.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_forge_a_line() {
        let problem = Problem::new("name", "a\nlevel=info forged", "one line");
        assert_eq!(problem.to_string(), "name: \"a\\nlevel=info forged\": one line");
    }

    #[test]
    fn the_thirty_third_mistake_is_only_mentioned() {
        let mut problems = Problems::new();
        problems.extend((0..1_000).map(|index| Problem::missing(index.to_string(), "wrong")));
        assert_eq!(problems.len(), Problems::MOST + 1);
        assert!(problems.is_full() && problems.to_string().ends_with("mend these first"));
    }

    #[test]
    fn long_values_are_cut() {
        let problem = Problem::new("name", "ä".repeat(500), "short");
        assert_eq!(problem.value.chars().count(), VALUE_SHOWN + 1);
    }
}

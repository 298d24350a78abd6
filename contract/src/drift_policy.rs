use std::{fmt, str::FromStr};

use crate::{Problem, keys};

/// What is done about a topic that somebody changed on the brokers behind its declaration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// What is declared is put back.
    #[default]
    Correct,
    /// It is told, and nothing is written to the brokers for it.
    Report,
}

impl DriftPolicy {
    /// The stricter of two: whoever says `report` is never overruled.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Correct, Self::Correct) => Self::Correct,
            _ => Self::Report,
        }
    }
}

impl FromStr for DriftPolicy {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "correct" => Ok(Self::Correct),
            "report" => Ok(Self::Report),
            other => Err(Problem::new(keys::topic::DRIFT, other, "correct or report")),
        }
    }
}

impl fmt::Display for DriftPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Correct => "correct",
            Self::Report => "report",
        })
    }
}

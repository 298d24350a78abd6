use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use crate::{Problem, Problems, Retention, keys::client};

/// When a workload's credentials are to be made anew, as its annotations say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationWish {
    /// Any text: another one than at the last rotation asks for the next.
    pub token: Option<String>,
    /// `None`: as the operator has it.
    pub after: Option<RotateAfter>,
}

/// How old credentials become before they are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateAfter {
    Never,
    Age(Duration),
}

impl RotateAfter {
    /// Each rotation rolls Pods out: less than this would only do that.
    pub const SHORTEST: Duration = Duration::from_secs(3_600);

    /// `None`: never.
    pub fn age(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Age(age) => Some(age),
        }
    }
}

const LONGEST_TOKEN: usize = 253;

impl RotationWish {
    pub(crate) fn parse(annotations: &BTreeMap<String, String>, problems: &mut Problems) -> Self {
        let token = annotations.get(client::ROTATE).and_then(|text| problems.note(token(text)));
        let after = annotations.get(client::ROTATE_AFTER).and_then(|text| problems.note(text.parse()));
        Self { token, after }
    }

    pub(crate) fn annotations(&self) -> impl Iterator<Item = (&'static str, String)> {
        let token = self.token.clone().map(|token| (client::ROTATE, token));
        token.into_iter().chain(self.after.map(|after| (client::ROTATE_AFTER, after.to_string())))
    }
}

fn token(text: &str) -> Result<String, Problem> {
    let trimmed = text.trim();
    if (1..=LONGEST_TOKEN).contains(&trimmed.len()) && !trimmed.contains(char::is_control) {
        Ok(trimmed.to_owned())
    } else {
        Err(Problem::new(client::ROTATE, text, "any text of 1 to 253 characters, e.g. today's date"))
    }
}

impl FromStr for RotateAfter {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if text.trim() == "never" {
            return Ok(Self::Never);
        }
        let wrong =
            || Problem::new(client::ROTATE_AFTER, text, "a duration of 1h at least, such as 30d, or never");
        let ms = text.parse::<Retention>().map_err(|_| wrong())?.as_ms();
        let age = u64::try_from(ms).map(Duration::from_millis).map_err(|_| wrong())?;
        if age < Self::SHORTEST { Err(wrong()) } else { Ok(Self::Age(age)) }
    }
}

impl fmt::Display for RotateAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Age(age) => Retention::from_ms(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_too_short_ones_refused() {
        assert_eq!("30d".parse(), Ok(RotateAfter::Age(Duration::from_secs(30 * 86_400))));
        assert_eq!(" never ".parse(), Ok(RotateAfter::Never));
        for wrong in ["59m", "unlimited", "0", "", "-1d", "soon", "30"] {
            let problem = wrong.parse::<RotateAfter>().unwrap_err();
            assert_eq!((problem.key.as_str(), problem.value.as_str()), (client::ROTATE_AFTER, wrong));
        }
    }

    #[test]
    fn parse_of_display_is_identity() {
        for after in [
            RotateAfter::Never,
            RotateAfter::Age(Duration::from_secs(3_600)),
            RotateAfter::Age(Duration::from_millis(90_061_001)),
        ] {
            assert_eq!(after.to_string().parse(), Ok(after));
        }
    }
}

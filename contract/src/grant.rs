use std::{fmt, str::FromStr};

use crate::{Problem, Workload};

/// One line of a topic's `consumers` or `producers`: `namespace/workload`, with `*` as a wildcard in either part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    namespace: String,
    workload: String,
}

const EXPECTED: &str =
    "a line namespace/workload such as shipping/packer, with * as a wildcard, e.g. shipping/* or */packer";

impl Grant {
    pub fn covers(&self, workload: &Workload) -> bool {
        glob(&self.namespace, workload.namespace()) && glob(&self.workload, workload.name())
    }
}

impl FromStr for Grant {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || Problem::new("consumers", text, EXPECTED);
        let (namespace, workload) = text.trim().split_once('/').ok_or_else(wrong)?;
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*');
        let legal = !namespace.is_empty()
            && !workload.is_empty()
            && namespace.len() <= 63
            && workload.len() <= 253
            && namespace.chars().all(label)
            && workload.chars().all(|c| label(c) || c == '.');
        if legal {
            Ok(Self { namespace: namespace.to_owned(), workload: workload.to_owned() })
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.workload)
    }
}

/// Whether `text` matches `pattern`, in which each `*` stands for any run of characters. Linear in practice: only the
/// last star is ever gone back to.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, star_t + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::WorkloadKind;

    fn workload(namespace: &str, name: &str) -> Workload {
        Workload::new(namespace, WorkloadKind::Deployment, name)
    }

    #[test]
    fn wildcards_cover_either_part() {
        for (grant, covered) in [
            ("shipping/packer", true),
            ("shipping/*", true),
            ("*/packer", true),
            ("*/*", true),
            ("ship*/pack*", true),
            ("*ing/p*k*r", true),
            ("shipping/pack", false),
            ("ship/packer", false),
            ("billing/*", false),
        ] {
            let grant: Grant = grant.parse().unwrap();
            assert_eq!(grant.covers(&workload("shipping", "packer")), covered, "{grant}");
        }
    }

    #[test]
    fn what_is_no_line_of_a_grant_is_refused() {
        for bad in
            ["", "/", "a/", "/a", "shipping", "a/b/c", "A/b", "a b/c", "a/b c", "a_b/c", "ä/b", "a.b/c"]
        {
            assert!(bad.parse::<Grant>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn parse_of_display_is_identity(text in "[a-z*-]{1,9}/[a-z.*-]{1,9}") {
            prop_assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }

        #[test]
        fn glob_agrees_with_a_plain_recursive_matcher(pattern in "[ab*]{0,6}", text in "[ab]{0,6}") {
            fn slow(p: &[u8], t: &[u8]) -> bool {
                match p.split_first() {
                    None => t.is_empty(),
                    Some((b'*', rest)) => (0..=t.len()).any(|skip| slow(rest, &t[skip..])),
                    Some((byte, rest)) => t.first() == Some(byte) && slow(rest, &t[1..]),
                }
            }
            prop_assert_eq!(glob(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}

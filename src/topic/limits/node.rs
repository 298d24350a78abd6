use std::str::FromStr;

use serde_norway::Value;
use topicops_contract::{
    ByteRate, DiskShare, Problem, Problems, RequestPercentage, Retention, TopicConfig, nearest,
};

use super::{Action, ByteSize, Limit, Range, Said, client_rules::of_rate};

/// A part of the file, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) path: String,
    pub(super) value: &'a Value,
}

impl<'a> Node<'a> {
    pub(super) fn problem(&self, expected: impl Into<String>) -> Problem {
        Problem::new(self.shown_path(), shown(self.value), expected)
    }

    fn shown_path(&self) -> &str {
        if self.path.is_empty() { "file" } else { &self.path }
    }

    pub(super) fn lacks(&self, key: &str, problems: &mut Problems) {
        problems.push(Problem::missing(format!("{}.{key}", self.path), "is missing"));
    }

    /// The entries of a mapping, whatever their keys; one that is empty may be left out altogether.
    pub(super) fn all_entries(&self, problems: &mut Problems) -> Vec<(&'a str, Node<'a>)> {
        let mapping = match self.value {
            Value::Mapping(mapping) => mapping,
            Value::Null => return Vec::new(),
            _ => {
                problems.push(self.problem("a mapping: lines of key: value, further in"));
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        for (key, value) in mapping {
            let Value::String(key) = key else {
                let expected = "a key that is text; put it in quotes";
                problems.push(Problem::new(self.shown_path(), shown(key), expected));
                continue;
            };
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            entries.push((key.as_str(), Node { path, value }));
        }
        entries
    }

    /// The same where only some keys have a meaning.
    pub(super) fn entries(&self, known: &[&str], problems: &mut Problems) -> Vec<(&'a str, Node<'a>)> {
        let mut entries = self.all_entries(problems);
        entries.retain(|(key, node)| {
            let is_known = known.contains(key);
            if !is_known {
                let near = nearest(key, known.iter().copied()).map(|near| format!("did you mean {near}? "));
                let known = known.join(", ");
                let expected =
                    format!("no key of a policy here; {}known are {known}", near.unwrap_or_default());
                problems.push(Problem::missing(&node.path, expected));
            }
            is_known
        });
        entries
    }

    /// What is read, or that a wider part's word is lifted, which `null` says.
    pub(super) fn said<T>(
        &self,
        problems: &mut Problems,
        read: impl FnOnce(&Self, &mut Problems) -> Option<T>,
    ) -> Said<T> {
        match self.value {
            Value::Null => Said::Lifted,
            _ => read(self, problems).map_or(Said::Nothing, Said::This),
        }
    }

    pub(super) fn limit(
        &self,
        problems: &mut Problems,
        read: impl Fn(&Self, &mut Problems) -> Option<i64>,
    ) -> Said<Limit<Range>> {
        self.said(problems, |node, problems| {
            let before = problems.len();
            let mut rule = Range::default();
            let mut action = Action::default();
            for (key, node) in node.entries(&["min", "max", "action"], problems) {
                match key {
                    "min" => rule.min = read(&node, problems),
                    "max" => rule.max = read(&node, problems),
                    _ => action = node.action(&[Action::Refuse, Action::Warn, Action::Adjust], problems),
                }
            }
            if problems.len() > before {
                return None;
            }
            match (rule.min, rule.max) {
                (None, None) => {
                    problems.push(
                        node.problem("limits nothing: give min or max (or null to lift a wider limit)"),
                    );
                }
                (Some(min), Some(max)) if min > max => {
                    problems.push(node.problem("min is greater than max"));
                }
                _ => {}
            }
            (problems.len() == before).then(|| Limit { rule, action, path: node.path.clone() })
        })
    }

    pub(super) fn total(
        &self,
        problems: &mut Problems,
        read: impl Fn(&Self, &mut Problems) -> Option<i64>,
    ) -> Said<Limit<i64>> {
        self.said(problems, |node, problems| {
            let before = problems.len();
            let mut max = None;
            let mut action = Action::default();
            for (key, node) in node.entries(&["max", "action"], problems) {
                match key {
                    "max" => max = read(&node, problems),
                    _ => action = node.action(&[Action::Refuse, Action::Warn], problems),
                }
            }
            if max.is_none() && problems.len() == before {
                node.lacks("max", problems);
            }
            let path = node.path.clone();
            max.map(|rule| Limit { rule, action, path })
        })
    }

    fn integer(&self) -> Option<i64> {
        match self.value {
            Value::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    pub(super) fn whole_number<T: FromStr<Err = Problem>>(&self, problems: &mut Problems) -> Option<T> {
        match self.integer() {
            Some(number) => problems
                .note(number.to_string().parse().map_err(|problem: Problem| problem.under(&self.path))),
            None => {
                problems.push(self.problem("a whole number, without quotes"));
                None
            }
        }
    }

    pub(super) fn count(&self, problems: &mut Problems) -> Option<i64> {
        let count = self.integer().filter(|count| *count >= 0);
        if count.is_none() {
            problems.push(self.problem("a whole number, 0 or more, without quotes"));
        }
        count
    }

    pub(super) fn duration(&self, problems: &mut Problems) -> Option<i64> {
        let retention = self.text::<Retention>(problems)?;
        if retention == Retention::UNLIMITED {
            problems.push(self.problem("a duration; leave the bound out where there is none"));
            return None;
        }
        Some(retention.as_ms())
    }

    pub(super) fn size(&self, problems: &mut Problems) -> Option<i64> {
        if let Some(bytes) = self.integer().filter(|bytes| *bytes >= 0) {
            return Some(bytes);
        }
        self.text::<ByteSize>(problems).map(ByteSize::bytes)
    }

    /// In ten-thousandths.
    pub(super) fn share(&self, problems: &mut Problems) -> Option<i64> {
        self.text::<DiskShare>(problems).map(|share| share.basis_points().into())
    }

    pub(super) fn byte_rate(&self, problems: &mut Problems) -> Option<i64> {
        self.text::<ByteRate>(problems).map(of_rate)
    }

    /// In hundredths.
    pub(super) fn percentage(&self, problems: &mut Problems) -> Option<i64> {
        self.text::<RequestPercentage>(problems).map(|share| share.hundredths().into())
    }

    pub(super) fn string(&self, problems: &mut Problems, what: &str) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            _ => {
                problems.push(self.problem(format!("{what}, as text in quotes")));
                None
            }
        }
    }

    /// Something that is written as text, e.g. a duration; its own words say what would be right.
    pub(super) fn text<T: FromStr<Err = Problem>>(&self, problems: &mut Problems) -> Option<T> {
        problems.note(shown(self.value).parse::<T>().map_err(|problem| problem.under(&self.path)))
    }

    pub(super) fn flag(&self, problems: &mut Problems) -> bool {
        if let Value::Bool(flag) = self.value {
            return *flag;
        }
        problems.push(self.problem("true or false, without quotes"));
        false
    }

    pub(super) fn action(&self, allowed: &[Action], problems: &mut Problems) -> Action {
        let named = Action::ALL.iter().filter(|(_, action)| allowed.contains(action));
        if let Value::String(text) = self.value
            && let Some((_, action)) = named.clone().find(|(name, _)| name == text)
        {
            return *action;
        }
        let names: Vec<&str> = named.map(|(name, _)| *name).collect();
        problems.push(self.problem(format!("one of {}", names.join(", "))));
        Action::default()
    }

    /// A value of a topic configuration key, as text.
    pub(super) fn config_value(&self, config: &str, problems: &mut Problems) -> Option<String> {
        let text = match self.value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => {
                problems.push(self.problem("a value of this key, as text"));
                return None;
            }
        };
        let checked = TopicConfig::check(config, &text).map_err(|problem| problem.under(&self.path));
        problems.note(checked).map(|()| text)
    }

    pub(super) fn config_number(&self, config: &str, problems: &mut Problems) -> Option<String> {
        match self.value {
            Value::Number(_) => self.config_value(config, problems),
            _ => {
                problems.push(self.problem("a number, without quotes"));
                None
            }
        }
    }

    pub(super) fn config_values(&self, config: &str, problems: &mut Problems) -> Option<Vec<String>> {
        let Value::Sequence(values) = self.value else {
            problems.push(self.problem("a list of values, e.g. [delete, compact]"));
            return None;
        };
        if values.is_empty() {
            problems.push(self.problem("at least one value"));
        }
        let node = |(index, value)| Node { path: format!("{}[{index}]", self.path), value };
        let nodes = values.iter().enumerate().map(node);
        Some(nodes.filter_map(|node| node.config_value(config, problems)).collect())
    }
}

/// A value as one would write it, for a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => {
            let text = serde_norway::to_string(other).unwrap_or_default();
            text.trim().lines().map(str::trim).collect::<Vec<_>>().join(", ")
        }
    }
}

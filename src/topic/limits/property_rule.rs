use std::cmp::Ordering;

use topicops_contract::TopicConfig;

/// What a policy asks of one topic configuration key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyRule {
    /// It has to be declared, or have a default.
    pub required: bool,
    pub forbidden: bool,
    /// The least and greatest number, as text: Kafka has whole numbers and fractions.
    pub min: Option<String>,
    pub max: Option<String>,
    /// The values that are right; `None`: all that Kafka takes.
    pub one_of: Option<Vec<String>>,
}

impl PropertyRule {
    /// The nearest number that is right, for one that is not.
    pub fn nearest(&self, value: &str) -> Option<&str> {
        let beyond = |bound: &Option<String>, side| {
            bound.as_deref().is_some_and(|bound| order(value, bound) == Some(side))
        };
        if beyond(&self.min, Ordering::Less) {
            return self.min.as_deref();
        }
        if beyond(&self.max, Ordering::Greater) {
            return self.max.as_deref();
        }
        None
    }

    /// Whether the value is among those that are right.
    pub fn lists(&self, key: &str, value: &str) -> bool {
        self.one_of.as_ref().is_none_or(|values| values.iter().any(|one| TopicConfig::same(key, one, value)))
    }

    pub fn describe(&self) -> String {
        match (&self.min, &self.max, &self.one_of) {
            (_, _, Some(values)) => format!("one of {}", values.join(", ")),
            (Some(min), Some(max), _) => format!("{min} to {max}"),
            (Some(min), None, _) => format!("{min} at least"),
            (None, Some(max), _) => format!("{max} at most"),
            (None, None, None) => "anything".to_owned(),
        }
    }
}

/// How two numbers compare; `None` when one is no number.
pub(super) fn order(one: &str, other: &str) -> Option<Ordering> {
    match (one.parse::<i64>(), other.parse::<i64>()) {
        (Ok(one), Ok(other)) => Some(one.cmp(&other)),
        _ => one.parse::<f64>().ok()?.partial_cmp(&other.parse::<f64>().ok()?),
    }
}

use topicops_contract::TopicName;

use super::{
    Applied, PlanContext, RetentionStepping, StorageFacts, retention_steps::is_cut,
    storage_facts::kafkas_default,
};
use crate::kafka::{ConfigChange, TopicDescription};

/// What became of a change of settings that cuts retention by much.
#[derive(Debug, Default)]
pub(super) struct SteppedCut {
    pub(super) stepping: Vec<RetentionStepping>,
    /// Keys that are to be unset and have a value of ours until then.
    pub(super) kept: Vec<String>,
    /// Keys that wait for their next step.
    pub(super) waiting: Vec<String>,
    pub(super) wants_storage: bool,
    /// Whether a step is made now: that has to be remembered before it is.
    pub(super) stepped: bool,
}

const KEYS: [&str; 2] = ["retention.bytes", "retention.ms"];

/// No topic is older than Kafka; what is kept for ever counts as kept for ten years.
const TEN_YEARS_MS: i64 = 10 * 31_557_600_000;
/// What unlimited bytes count as, in targets, when nobody knows how many there are.
const UNKNOWN_BYTES: i64 = 32;

impl SteppedCut {
    /// Puts the next step in the place of each cut that is too large for one. `applied`, which says what is true after
    /// `change`, is altered with it; `before` is what was true until now.
    pub(super) fn limit(
        change: &mut ConfigChange,
        topic: &TopicName,
        observed: &TopicDescription,
        context: &PlanContext,
        before: &Applied,
        applied: &mut Applied,
    ) -> Self {
        let mut cut = Self::default();
        if context.steps.keep_percent > 0 {
            for key in KEYS {
                cut.limit_key(key, change, (topic, observed), context, (before, applied));
            }
        }
        applied.stepped_at = match (cut.stepping.is_empty(), cut.stepped) {
            (true, _) => None,
            (false, true) => Some(context.now),
            (false, false) => before.stepped_at,
        };
        cut
    }

    fn limit_key(
        &mut self,
        key: &str,
        change: &mut ConfigChange,
        (topic, observed): (&TopicName, &TopicDescription),
        context: &PlanContext,
        (before, applied): (&Applied, &mut Applied),
    ) {
        let rule = context.steps;
        let facts = context.storage.as_deref();
        let unset = change.unset.iter().any(|one| one == key);
        let target = match (change.set.get(key), unset, facts) {
            (Some(value), ..) => value.parse().ok(),
            (None, true, Some(facts)) => Some(facts.default_retention(key)),
            (None, true, None) => None,
            (None, false, _) => return,
        };
        let under_way = before.stepped_at.is_some();
        let is = observed.configs.get(key).or_else(|| observed.inherited.get(key));
        // Neither is there where the brokers do not know yet that it was taken away: then the brokers' own counts.
        let present = is.map(|value| value.parse().unwrap_or_else(|_| kafkas_default(key)));
        let present = present.or_else(|| facts.map(|facts| facts.default_retention(key)));
        if let (Some(present), Some(target)) = (present, target) {
            let is_large = rule.is_large(present, target, i64::MAX);
            if !is_cut(present, target) || !(is_large || under_way) {
                return;
            }
        }
        let (Some(facts), Some(target), Some(present)) = (facts, target, present) else {
            self.wants_storage = true;
            self.withhold(key, change, before, applied);
            return;
        };
        let (present, unlimited) = counted(key, topic, present, target, facts);
        let little = facts.bytes_on_a_broker(topic).is_some_and(|bytes| bytes <= rule.above);
        let is_large = rule.is_large(present, target, unlimited);
        if little || !is_cut(present, target) || !(is_large || under_way) {
            return;
        }
        let since = before.stepped_at.map(|at| context.now.saturating_sub(at));
        // A clock that went back is no reason to wait for it.
        let waits = since.is_some_and(|since| (0..rule.interval).contains(&since));
        let (now, next_at) = if waits {
            self.withhold(key, change, before, applied);
            let remembered = before.config(key).and_then(|value| value.parse().ok());
            let from = remembered.map(|value| counted(key, topic, value, target, facts).0);
            if from.is_some_and(|from| rule.next(from, target, unlimited) == present) {
                // It was made, and topicops ended before that was noted.
                applied.set(key, &present.to_string());
            }
            (present, before.stepped_at.unwrap_or(context.now).saturating_add(rule.interval))
        } else {
            self.stepped = true;
            let next = rule.next(present, target, unlimited);
            if next == target {
                return;
            }
            change.set.insert(key.to_owned(), next.to_string());
            change.unset.retain(|one| one != key);
            applied.set(key, &next.to_string());
            if unset {
                self.kept.push(key.to_owned());
            }
            (next, context.now.saturating_add(rule.interval))
        };
        let left = rule.count(now, target, unlimited);
        self.stepping.push(RetentionStepping { key: key.to_owned(), now, target, left, next_at });
    }

    fn withhold(&mut self, key: &str, change: &mut ConfigChange, before: &Applied, applied: &mut Applied) {
        change.set.remove(key);
        if change.unset.iter().any(|one| one == key) {
            change.unset.retain(|one| one != key);
            self.kept.push(key.to_owned());
        }
        match before.config(key) {
            Some(value) => applied.set(key, value),
            None => applied.forget(key),
        }
        self.waiting.push(key.to_owned());
    }
}

/// The present value as far as it means anything, and what unlimited counts as: a limit above what is stored cuts nothing.
fn counted(key: &str, topic: &TopicName, present: i64, target: i64, facts: &StorageFacts) -> (i64, i64) {
    if key == "retention.ms" {
        return (present, TEN_YEARS_MS);
    }
    match facts.largest_replica(topic).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)) {
        Some(stored) if present < 0 => (stored, stored),
        Some(stored) => (present.min(stored), stored),
        None => (present, target.saturating_mul(UNKNOWN_BYTES)),
    }
}

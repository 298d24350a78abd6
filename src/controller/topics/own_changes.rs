use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;
use topicops_contract::TopicName;

use crate::{
    kafka::TopicDescription,
    topic::{Drift, Step, TopicPlan},
};

/// What was changed here lately, and what was there before: brokers acknowledge a change before they all show it.
#[derive(Debug, Default)]
pub(super) struct OwnChanges(BTreeMap<TopicName, Change>);

#[derive(Debug)]
struct Change {
    at: Instant,
    /// A look has found it since.
    shown: bool,
    /// What a broker that lags may still show.
    past: Past,
}

#[derive(Debug, Default)]
struct Past {
    /// As [`fingerprint`]s: ten thousand topics may be changed at once.
    configs: Vec<u64>,
    partitions: Vec<i32>,
    missing: bool,
}

fn fingerprint(key: &str, value: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    hasher.finish()
}

/// For so long after a change of ours no difference is taken for somebody's hand.
const SETTLING: Duration = Duration::from_secs(5);
/// For so long one is not that is just what was there before. A broker with ten thousand topics, all changed at once, was seen
/// to show some of the changes more than a minute later.
const LONGEST: Duration = Duration::from_secs(300);
/// For so long a new topic that is not there is not taken for deleted where that would only be reported. Where it would be made
/// again, the brokers' controller says whether it is there.
const APPEARING: Duration = Duration::from_secs(30);

impl OwnChanges {
    /// Notes what a plan changes; `seen`: what was there before.
    pub(super) fn note(&mut self, plan: &TopicPlan, seen: Option<&TopicDescription>, now: Instant) {
        let change = self.0.entry(plan.topic.clone());
        let change = change.or_insert_with(|| Change { at: now, shown: false, past: Past::default() });
        if change.shown {
            change.past = Past::default();
        }
        (change.at, change.shown) = (now, false);
        let past = &mut change.past;
        for step in &plan.steps {
            match step {
                Step::Create(_) => past.missing = true,
                Step::Grow(more) => {
                    past.partitions.extend(seen.map(TopicDescription::partitions));
                    // With the next change, this one is past.
                    past.partitions.push(more.total.get());
                }
                Step::Configure(change) => {
                    past.configs.reserve_exact(2 * change.set.len());
                    for (key, value) in &change.set {
                        let found = seen.and_then(|seen| seen.configs.get(key));
                        let both =
                            [fingerprint(key, found.map(String::as_str)), fingerprint(key, Some(value))];
                        past.configs.extend(both);
                    }
                    past.configs.sort_unstable();
                    past.configs.dedup();
                }
                // The mover sees to the one, and to the other nothing is compared.
                Step::ChangeFactor(_) | Step::Delete { .. } => {}
            }
        }
    }

    /// Whether what this plan takes for somebody's hand may be what was there before a change of ours.
    pub(super) fn explain(&self, plan: &TopicPlan, now: Instant) -> bool {
        let Some(change) = self.0.get(&plan.topic) else { return false };
        let (past, age) = (&change.past, now.duration_since(change.at));
        let is_past = |drift: &Drift| match drift {
            Drift::Config { key, found, .. } => past.configs.contains(&fingerprint(key, found.as_deref())),
            Drift::Partitions { found, .. } => past.partitions.contains(found),
            Drift::Missing => past.missing && age < APPEARING && !plan.creates(),
            Drift::ReplicationFactor { .. } | Drift::Remade => false,
        };
        age < SETTLING
            || age < LONGEST
                && !change.shown
                && !plan.remade
                && plan.corrected.iter().chain(&plan.drifted).all(is_past)
    }

    /// A look at the topic found nothing of what was there before: what differs from now on is somebody's hand.
    pub(super) fn shown(&mut self, topic: &TopicName) {
        if let Some(change) = self.0.get_mut(topic) {
            change.shown = true;
        }
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, change| {
            now.duration_since(change.at) < if change.shown { SETTLING } else { LONGEST }
        });
    }
}

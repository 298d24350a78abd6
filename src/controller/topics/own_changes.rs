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
    configs: Vec<ChangedConfig>,
    /// What a broker that lags may still show.
    past_partitions: Vec<i32>,
    /// It was made, and no look has found it since.
    unseen: bool,
}

#[derive(Debug)]
struct ChangedConfig {
    key: Box<str>,
    /// What a broker that lags may still show, as [`fingerprint`]s: ten thousand topics may be changed at once.
    past: Vec<u64>,
    /// What was set last; `None`: it was taken away.
    last: Option<Box<str>>,
}

fn fingerprint(value: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// For so long after a change of ours no difference is taken for somebody's hand.
const SETTLING: Duration = Duration::from_secs(5);
/// For so long what was there before a change of ours is not. A broker with ten thousand topics, all changed at once, was seen
/// to show some of the changes more than a minute later.
pub(super) const LONGEST_LAG: Duration = Duration::from_secs(300);
/// For so long a new topic that is not there is not taken for deleted where that would only be reported. Where it would be made
/// again, the brokers' controller says whether it is there.
const APPEARING: Duration = Duration::from_secs(30);

const PAST_VALUES: usize = 8;

impl OwnChanges {
    /// Notes what a plan has changed, all of it acknowledged; `seen`: what was there before.
    pub(super) fn note(&mut self, plan: &TopicPlan, seen: Option<&TopicDescription>, now: Instant) {
        let concerns = |step: &Step| matches!(step, Step::Create(_) | Step::Grow(_) | Step::Configure(_));
        if !plan.steps.iter().any(concerns) {
            return;
        }
        let change = self.0.entry(plan.topic.clone()).or_insert_with(|| Change::new(now));
        if now.duration_since(change.at) >= LONGEST_LAG {
            *change = Change::new(now);
        }
        change.at = now;
        for step in &plan.steps {
            match step {
                Step::Create(_) => change.unseen = true,
                Step::Grow(_) => change.past_partitions.extend(seen.map(TopicDescription::partitions)),
                Step::Configure(configs) => {
                    let set = configs.set.iter().map(|(key, value)| (key, Some(value.as_str())));
                    for (key, value) in set.chain(configs.unset.iter().map(|key| (key, None))) {
                        let before = seen.and_then(|seen| seen.configs.get(key)).map(String::as_str);
                        // Whoever sets again what was just put back is noticed at the next look.
                        let by_hand =
                            |drift: &Drift| matches!(drift, Drift::Config { key: of, .. } if of == key);
                        let before = Some(before).filter(|_| !plan.corrected.iter().any(by_hand));
                        change.note_config(key, before, value);
                    }
                }
                Step::ChangeFactor(_) | Step::Delete { .. } => {}
            }
        }
    }

    /// The settings of a topic that have to be asked for to tell whether a broker lags.
    pub(super) fn config_keys(&self, topic: &TopicName) -> impl Iterator<Item = &str> {
        self.0.get(topic).into_iter().flat_map(|change| &change.configs).map(|config| config.key.as_ref())
    }

    /// Puts what was changed here in the place of what a broker that lags shows, as it will be there in the end; when that
    /// cannot be lag any more, if there is anything.
    pub(super) fn bring_up_to_date(
        &mut self,
        topic: &TopicName,
        found: &mut TopicDescription,
    ) -> Option<Instant> {
        let change = self.0.get_mut(topic)?;
        change.unseen = false;
        let mut late = false;
        for ChangedConfig { key, past, last } in &change.configs {
            let shown = found.configs.get(key.as_ref()).map(String::as_str);
            if shown == last.as_deref() || !past.contains(&fingerprint(shown)) {
                continue;
            }
            late = true;
            match last {
                Some(value) => found.configs.insert(key.to_string(), value.to_string()),
                None => found.configs.remove(key.as_ref()),
            };
        }
        late.then_some(change.at + LONGEST_LAG)
    }

    /// Whether what this plan takes for somebody's hand may be what was there before a change of ours.
    pub(super) fn explain(&self, plan: &TopicPlan, now: Instant) -> bool {
        let Some(change) = self.0.get(&plan.topic) else { return false };
        let age = now.duration_since(change.at);
        let is_past = |drift: &Drift| match drift {
            Drift::Partitions { found, .. } => change.past_partitions.contains(found),
            Drift::Missing => change.unseen && age < APPEARING && !plan.creates(),
            // What was there before was seen to before the plan was made.
            Drift::Config { .. } | Drift::ReplicationFactor { .. } | Drift::Remade => false,
        };
        age < SETTLING || !plan.remade && plan.corrected.iter().chain(&plan.drifted).all(is_past)
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, change| now.duration_since(change.at) < LONGEST_LAG);
    }
}

impl Change {
    fn new(at: Instant) -> Self {
        Self { at, configs: Vec::new(), past_partitions: Vec::new(), unseen: false }
    }

    /// `before`: what a broker that lags may still show, if anything.
    fn note_config(&mut self, key: &str, before: Option<Option<&str>>, now: Option<&str>) {
        let place = self.configs.iter().position(|config| *config.key == *key);
        let place = place.unwrap_or_else(|| {
            self.configs.push(ChangedConfig { key: key.into(), past: Vec::new(), last: None });
            self.configs.shrink_to_fit();
            self.configs.len() - 1
        });
        let config = &mut self.configs[place];
        let last = Some(config.last.as_deref()).filter(|_| !config.past.is_empty());
        for past in [before, last].into_iter().flatten().map(fingerprint).collect::<Vec<_>>() {
            if !config.past.contains(&past) {
                config.past.push(past);
            }
        }
        // Of one that is edited again and again, the latest.
        config.past.drain(..config.past.len().saturating_sub(PAST_VALUES));
        config.last = now.map(Into::into);
    }
}

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
    /// Kafka's id of what was changed: what somebody makes anew under its name has no part in it.
    topic_id: String,
    configs: Vec<ChangedConfig>,
    /// What a broker that lags may still show, and until when.
    past_partitions: Vec<(i32, Instant)>,
    /// It was made, and no look has found it since.
    unseen: bool,
}

#[derive(Debug)]
struct ChangedConfig {
    key: Box<str>,
    at: Instant,
    /// What a broker that lags may still show, as [`fingerprint`]s: ten thousand topics may be changed at once.
    past: Vec<u64>,
    /// What was set last; `None`: it was taken away.
    last: Option<Box<str>>,
    /// It is being changed again, and whether that was done is not known: nothing is to be concluded from `last`.
    in_doubt: bool,
}

/// Which changes of a plan the brokers acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledged {
    /// Kafka's id of what was made.
    pub(super) created: Option<String>,
    pub(super) grown: bool,
    pub(super) configured: bool,
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
    /// To be called before a plan is carried out: until it is known what became of it, its settings may be either way.
    pub(super) fn doubt(&mut self, plan: &TopicPlan) {
        let Some(change) = self.0.get_mut(&plan.topic) else { return };
        for step in &plan.steps {
            if let Step::Configure(configs) = step {
                let concerns = |key: &str| {
                    configs.set.contains_key(key) || configs.unset.iter().any(|unset| unset == key)
                };
                change
                    .configs
                    .iter_mut()
                    .filter(|one| concerns(&one.key))
                    .for_each(|one| one.in_doubt = true);
            }
        }
    }

    /// Notes what of a plan was acknowledged; `seen`: what was there before.
    pub(super) fn note(
        &mut self,
        plan: &TopicPlan,
        acknowledged: Acknowledged,
        seen: Option<&TopicDescription>,
        now: Instant,
    ) {
        if let Some(topic_id) = acknowledged.created {
            let change = Change { unseen: true, ..Change::new(topic_id, now) };
            self.0.insert(plan.topic.clone(), change);
        }
        let Some(seen) = seen.filter(|_| acknowledged.grown || acknowledged.configured) else { return };
        let new = || Change::new(seen.id.clone(), now);
        let change = self.0.entry(plan.topic.clone()).or_insert_with(new);
        if change.topic_id != seen.id {
            *change = new();
        }
        change.at = now;
        for step in &plan.steps {
            match step {
                Step::Grow(_) if acknowledged.grown => {
                    change.past_partitions.push((seen.partitions(), now + LONGEST_LAG));
                }
                Step::Configure(configs) if acknowledged.configured => {
                    let set = configs.set.iter().map(|(key, value)| (key, Some(value.as_str())));
                    for (key, value) in set.chain(configs.unset.iter().map(|key| (key, None))) {
                        let before = seen.configs.get(key).map(String::as_str);
                        // Whoever sets again what was just put back is noticed at the next look.
                        let by_hand =
                            |drift: &Drift| matches!(drift, Drift::Config { key: of, .. } if of == key);
                        let before = Some(before).filter(|_| !plan.corrected.iter().any(by_hand));
                        change.note_config(key, before, value, now);
                    }
                }
                _ => {}
            }
        }
    }

    /// The settings of a topic that have to be asked for to tell whether a broker lags.
    pub(super) fn config_keys(&self, topic: &TopicName) -> impl Iterator<Item = &str> {
        self.0.get(topic).into_iter().flat_map(|change| &change.configs).map(|config| config.key.as_ref())
    }

    /// A look found the topic.
    pub(super) fn seen(&mut self, topic: &TopicName, found: &TopicDescription) {
        if let Some(change) = self.0.get_mut(topic).filter(|change| change.topic_id == found.id) {
            change.unseen = false;
        }
    }

    /// Puts what was changed here in the place of what a broker that lags shows, as it will be there in the end; when that
    /// cannot be lag any more, if there is anything.
    pub(super) fn bring_up_to_date(
        &self,
        topic: &TopicName,
        found: &mut TopicDescription,
        now: Instant,
    ) -> Option<Instant> {
        let change = self.0.get(topic).filter(|change| change.topic_id == found.id)?;
        let mut late: Option<Instant> = None;
        for ChangedConfig { key, at, past, last, .. } in change.configs.iter().filter(|one| !one.in_doubt) {
            let shown = found.configs.get(key.as_ref()).map(String::as_str);
            let until = *at + LONGEST_LAG;
            if now >= until || shown == last.as_deref() || !past.contains(&fingerprint(shown)) {
                continue;
            }
            late = Some(late.map_or(until, |other| other.min(until)));
            match last {
                Some(value) => found.configs.insert(key.to_string(), value.to_string()),
                None => found.configs.remove(key.as_ref()),
            };
        }
        late
    }

    /// Whether what this plan takes for somebody's hand may be what was there before a change of ours.
    pub(super) fn explain(&self, plan: &TopicPlan, now: Instant) -> bool {
        let Some(change) = self.0.get(&plan.topic) else { return false };
        let age = now.duration_since(change.at);
        let is_past = |drift: &Drift| match drift {
            Drift::Partitions { found, .. } => {
                change.past_partitions.iter().any(|(past, until)| past == found && now < *until)
            }
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
    fn new(topic_id: String, at: Instant) -> Self {
        Self { at, topic_id, configs: Vec::new(), past_partitions: Vec::new(), unseen: false }
    }

    /// `before`: what a broker that lags may still show, if anything.
    fn note_config(&mut self, key: &str, before: Option<Option<&str>>, value: Option<&str>, now: Instant) {
        self.configs.retain(|one| now.duration_since(one.at) < LONGEST_LAG || *one.key == *key);
        let place = self.configs.iter().position(|one| *one.key == *key);
        let place = place.unwrap_or_else(|| {
            let (past, last) = (Vec::new(), None);
            self.configs.push(ChangedConfig { key: key.into(), at: now, past, last, in_doubt: false });
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
        (config.last, config.at, config.in_doubt) = (value.map(Into::into), now, false);
    }
}

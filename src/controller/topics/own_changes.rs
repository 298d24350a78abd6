use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;
use topicops_contract::{TopicConfig, TopicName};

use crate::{
    kafka::{ConfigChange, TopicDescription},
    topic::{Drift, Step, TopicPlan},
};

/// What was changed here lately, and what was there before: brokers acknowledge a change before they all show it. Ten thousand
/// topics may be changed at once, so few bytes are kept of each.
#[derive(Debug, Default)]
pub(super) struct OwnChanges(BTreeMap<TopicName, Change>);

#[derive(Debug)]
struct Change {
    at: Instant,
    /// The [`fingerprint`] of Kafka's id of what was changed: what somebody makes anew under its name has no part in it.
    topic_id: u64,
    configs: Box<[ChangedConfig]>,
    /// How many partitions it was made to have, if it was: Kafka takes none away, so a broker that shows fewer lags.
    grown_to: i32,
    /// What was made here, if anything was: some broker may not show it yet.
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    /// Kafka's id of it.
    id: Box<str>,
    /// Whether the ledger has had that: what it says since is newer.
    noted: bool,
}

#[derive(Debug)]
struct ChangedConfig {
    key: &'static str,
    /// The [`fingerprint`]s of what a broker that lags may still show, the latest last, and until when.
    past: Box<[(u64, Instant)]>,
    /// What was set last; `None`: it was taken away.
    last: Option<Box<str>>,
    doubt: Doubt,
}

/// Whether what was set last is all that was asked for: while it is not, nothing is to be concluded from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    No,
    /// It is being changed again, and whether that was done is not known.
    Asked,
    /// Nor is that of an attempt before.
    AskedBefore,
}

/// Which changes of a plan the brokers acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledged {
    /// Kafka's id of what was made.
    pub(super) created: Option<String>,
    pub(super) grown: bool,
    pub(super) configured: bool,
    /// The brokers will not have its settings so, and nothing of that was done.
    pub(super) refused: bool,
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
const PAST_VALUES: usize = 8;

impl OwnChanges {
    /// To be called before a plan is carried out: until it is known what became of it, its settings may be either way.
    pub(super) fn doubt(&mut self, plan: &TopicPlan) {
        self.each_concerned(plan, |doubt| match doubt {
            Doubt::No => Doubt::Asked,
            Doubt::Asked | Doubt::AskedBefore => Doubt::AskedBefore,
        });
    }

    fn each_concerned(&mut self, plan: &TopicPlan, next: impl Fn(Doubt) -> Doubt) {
        let Some(change) = self.0.get_mut(&plan.topic) else { return };
        for configs in plan.steps.iter().filter_map(configured) {
            let concerns = |one: &&mut ChangedConfig| {
                configs.set.contains_key(one.key) || configs.unset.iter().any(|unset| unset == one.key)
            };
            change.configs.iter_mut().filter(concerns).for_each(|one| one.doubt = next(one.doubt));
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
        if acknowledged.refused {
            self.each_concerned(plan, |doubt| if doubt == Doubt::Asked { Doubt::No } else { doubt });
        }
        if let Some(topic_id) = acknowledged.created {
            let made = Some(Made { id: topic_id.as_str().into(), noted: false });
            self.0.insert(plan.topic.clone(), Change { made, ..Change::new(&topic_id, now) });
        }
        let Some(seen) = seen.filter(|_| acknowledged.grown || acknowledged.configured) else { return };
        let new = || Change::new(&seen.id, now);
        let change = self.0.entry(plan.topic.clone()).or_insert_with(new);
        if !change.is_of(seen) {
            if change.made.as_ref().is_some_and(|made| !made.noted) {
                // What a broker that lags shows is not what was made here.
                return;
            }
            *change = Change { made: change.made.take(), ..new() };
        }
        change.at = now;
        // Of what another replica applied before, a broker may still show what was there before that.
        let applied = plan.holding.as_ref().map(|holding| &holding.applied);
        for step in &plan.steps {
            match step {
                Step::Grow(more) if acknowledged.grown => change.grown_to = more.total.get(),
                Step::Configure(configs) if acknowledged.configured => {
                    let set = configs.set.iter().map(|(key, value)| (key, Some(value.as_str())));
                    for (key, value) in set.chain(configs.unset.iter().map(|key| (key, None))) {
                        // Whoever sets again what was just put back is noticed at the next look.
                        let by_hand =
                            |drift: &Drift| matches!(drift, Drift::Config { key: of, .. } if of == key);
                        let found = Some(seen.configs.get(key).map(String::as_str))
                            .filter(|_| !plan.corrected.iter().any(by_hand));
                        let applied = applied.and_then(|applied| applied.config(key)).map(Some);
                        change.note_config(key, found.into_iter().chain(applied), value, now);
                    }
                }
                _ => {}
            }
        }
    }

    /// The settings of a topic that have to be asked for to tell whether a broker lags.
    pub(super) fn config_keys(&self, topic: &TopicName) -> impl Iterator<Item = &'static str> {
        self.0.get(topic).into_iter().flat_map(|change| &change.configs).map(|config| config.key)
    }

    /// Puts what was changed here in the place of what a broker that lags shows, as it will be there in the end; when that
    /// cannot be lag any more, if there is anything.
    pub(super) fn bring_up_to_date(
        &self,
        topic: &TopicName,
        found: &mut TopicDescription,
        now: Instant,
    ) -> Option<Instant> {
        let change = self.0.get(topic).filter(|change| change.is_of(found))?;
        let mut late: Option<Instant> = None;
        for ChangedConfig { key, past, last, .. } in
            change.configs.iter().filter(|one| one.doubt == Doubt::No)
        {
            let shown = found.configs.get(*key).map(String::as_str);
            let is_shown = fingerprint(shown);
            let past = past.iter().find(|(value, until)| *value == is_shown && now < *until);
            let Some((_, until)) = past.filter(|_| shown != last.as_deref()) else { continue };
            late = Some(late.map_or(*until, |other| other.min(*until)));
            match last {
                Some(value) => found.configs.insert((*key).to_owned(), value.to_string()),
                None => found.configs.remove(*key),
            };
        }
        late
    }

    /// Whether what this plan takes for somebody's hand may be what was there before a change of ours.
    pub(super) fn explain(&self, plan: &TopicPlan, found: Option<&TopicDescription>, now: Instant) -> bool {
        let Some(change) = self.0.get(&plan.topic) else { return false };
        let is_another = found.is_some_and(|found| !change.is_of(found));
        if plan.remade {
            // What is shown instead of what was made here may be what was there before, and so may that itself where another is
            // known by now.
            return now.duration_since(change.at) < SETTLING || change.made.is_some();
        }
        if is_another {
            return false;
        }
        let is_past = |drift: &Drift| match drift {
            Drift::Partitions { found, .. } => *found < change.grown_to,
            // What was there before was seen to before the plan was made, and what is missing is asked for of the brokers' controller.
            Drift::Config { .. } | Drift::ReplicationFactor { .. } | Drift::Missing | Drift::Remade => false,
        };
        // One such difference tells that the broker lags: then nothing else that it shows counts either.
        now.duration_since(change.at) < SETTLING || plan.corrected.iter().chain(&plan.drifted).any(is_past)
    }

    /// Whether it was made here so lately that some broker may not show it yet.
    pub(super) fn made(&self, topic: &TopicName) -> bool {
        self.made_id(topic).is_some()
    }

    /// Notes the id that the ledger has of a topic.
    pub(super) fn note_known(&mut self, topic: &TopicName, id: &str) {
        let made = self.0.get_mut(topic).and_then(|change| change.made.as_mut());
        if let Some(made) = made.filter(|made| *made.id == *id) {
            made.noted = true;
        }
    }

    /// Kafka's id of what was made here lately.
    pub(super) fn made_id(&self, topic: &TopicName) -> Option<&str> {
        self.0.get(topic)?.made.as_ref().map(|made| &*made.id)
    }

    /// The same, where the ledger never had it.
    pub(super) fn unnoted_id(&self, topic: &TopicName) -> Option<&str> {
        self.0.get(topic)?.made.as_ref().filter(|made| !made.noted).map(|made| &*made.id)
    }

    /// It was deleted.
    pub(super) fn forget(&mut self, topic: &TopicName) {
        self.0.remove(topic);
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, change| now.duration_since(change.at) < LONGEST_LAG);
    }
}

fn configured(step: &Step) -> Option<&ConfigChange> {
    match step {
        Step::Configure(configs) => Some(configs),
        _ => None,
    }
}

impl Change {
    fn new(topic_id: &str, at: Instant) -> Self {
        Self { at, topic_id: fingerprint(Some(topic_id)), configs: Box::default(), grown_to: 0, made: None }
    }

    fn is_of(&self, found: &TopicDescription) -> bool {
        self.topic_id == fingerprint(Some(&found.id))
    }

    /// `before`: what a broker that lags may still show beside what was set last, the latest last.
    fn note_config<'a>(
        &mut self,
        key: &str,
        before: impl Iterator<Item = Option<&'a str>>,
        value: Option<&str>,
        now: Instant,
    ) {
        // What Kafka has no longer under this name cannot be declared, and so not be taken for changed.
        let Some(key) = TopicConfig::known(key) else { return };
        let mut configs = std::mem::take(&mut self.configs).into_vec();
        let known = configs.iter().position(|one| one.key == key).map(|place| configs.swap_remove(place));
        let (past, last) = known.map(|one| (one.past.into_vec(), one.last)).unzip();
        let mut past = past.unwrap_or_default();
        past.retain(|(_, until)| now < *until);
        let last = last.as_ref().map(|last| fingerprint(last.as_deref()));
        for value in before.map(fingerprint).chain(last) {
            past.retain(|(other, _)| *other != value);
            past.push((value, now + LONGEST_LAG));
        }
        // Of one that is edited again and again, the latest.
        past.drain(..past.len().saturating_sub(PAST_VALUES));
        let last = value.map(Into::into);
        configs.push(ChangedConfig { key, past: past.into(), last, doubt: Doubt::No });
        self.configs = configs.into();
    }
}

#[cfg(test)]
#[path = "own_changes_tests.rs"]
mod tests;

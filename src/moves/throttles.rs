use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use topicops_contract::TopicName;

use super::{
    PartitionMove, SeenThrottles, Side,
    throttle_values::{covers_all, items},
};
use crate::kafka::{ConfigChange, TopicPartition};

/// The throttles on the brokers that are ours: to take away again what we set, and nothing else.
///
/// Noted before they are set, so that a crash leaves none behind. A rate is only ever set where there was none, so what was
/// there before is nothing. To a topic's list of throttled replicas only those are added that were not in it, and only those
/// are taken out again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttles {
    /// For each broker the rates that we may have set, for leaders and for followers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    brokers: BTreeMap<i32, [BTreeSet<String>; 2]>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    topics: BTreeMap<TopicName, [Listed; 2]>,
}

/// What we added to one list of throttled replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    items: BTreeSet<String>,
    /// The list was there before us: it stays, be it empty.
    kept: bool,
}

/// What has to be changed on the brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThrottleChange {
    pub brokers: Vec<(i32, ConfigChange)>,
    pub topics: Vec<(TopicName, ConfigChange)>,
}

/// The throttles that the moves under way need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    brokers: BTreeMap<i32, [bool; 2]>,
    topics: BTreeMap<TopicName, [BTreeSet<String>; 2]>,
}

impl Needed {
    /// What this move needs: those who hold the partition may be copied from, those to come copy.
    pub(super) fn add(&mut self, partition: &TopicPartition, one: &PartitionMove) {
        let adding: Vec<i32> = one.adding().collect();
        if adding.is_empty() {
            return;
        }
        let lists = self.topics.entry(partition.topic.clone()).or_default();
        for (side, brokers) in [(Side::Leader, &one.from), (Side::Follower, &adding)] {
            for broker in brokers {
                lists[side.index()].insert(format!("{}:{broker}", partition.partition));
                self.brokers.entry(*broker).or_default()[side.index()] = true;
            }
        }
    }
}

impl Throttles {
    pub fn is_empty(&self) -> bool {
        self.brokers.is_empty() && self.topics.is_empty()
    }

    /// How many settings of ours there may be on the brokers.
    pub fn count(&self) -> usize {
        let rates = self.brokers.values().flatten().filter(|values| !values.is_empty()).count();
        rates + self.topics.values().flatten().filter(|listed| !listed.items.is_empty()).count()
    }

    /// The topics whose lists we may have added to.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.keys()
    }

    /// Forgets a topic that is gone, and its lists with it.
    pub(super) fn forget(&mut self, topic: &TopicName) {
        self.topics.remove(topic);
    }

    /// Whether there is more than is needed.
    pub(super) fn exceed(&self, needed: &Needed) -> bool {
        let rate = |(broker, sides): (&i32, &[BTreeSet<String>; 2])| {
            let wanted = needed.brokers.get(broker).copied().unwrap_or_default();
            (0..2).any(|side| !sides[side].is_empty() && !wanted[side])
        };
        let list = |(topic, lists): (&TopicName, &[Listed; 2])| {
            let wanted = needed.topics.get(topic);
            (0..2).any(|side| {
                lists[side].items.iter().any(|item| wanted.is_none_or(|wanted| !wanted[side].contains(item)))
            })
        };
        self.brokers.iter().any(rate) || self.topics.iter().any(list)
    }

    /// What has to be taken away because nothing needs it any more, and what is ours once that is done. What somebody else
    /// has put in our place stays.
    pub(super) fn remove(&self, needed: &Needed, seen: &SeenThrottles) -> (Self, ThrottleChange) {
        let (mut after, mut change) = (self.clone(), ThrottleChange::default());
        for (broker, sides) in &self.brokers {
            // A broker that is away keeps its settings, and we our note of them.
            let Some(rates) = seen.brokers.get(broker) else { continue };
            let wanted = needed.brokers.get(broker).copied().unwrap_or_default();
            let mut unset = Vec::new();
            for side in Side::BOTH.into_iter().filter(|side| !wanted[side.index()]) {
                let ours = &sides[side.index()];
                let now = &rates.own[side.index()];
                // Reads lag: what is not seen may be set all the same. To unset it is right either way.
                if !ours.is_empty() && now.as_ref().is_none_or(|now| ours.contains(now)) {
                    unset.push(side.rate_key().to_owned());
                }
                if let Some(sides) = after.brokers.get_mut(broker) {
                    sides[side.index()].clear();
                }
            }
            if !unset.is_empty() {
                change.brokers.push((*broker, ConfigChange { unset, ..ConfigChange::default() }));
            }
        }
        for (topic, lists) in &self.topics {
            // What could not be read is not written either: it may hold what others listed.
            let Some(now) = seen.topics.get(topic) else { continue };
            let wanted = needed.topics.get(topic);
            let mut settings = ConfigChange::default();
            for side in Side::BOTH {
                let listed = &lists[side.index()];
                let needed =
                    |item: &&String| wanted.is_some_and(|wanted| wanted[side.index()].contains(*item));
                let gone: BTreeSet<&str> =
                    listed.items.iter().filter(|item| !needed(item)).map(String::as_str).collect();
                if gone.is_empty() {
                    continue;
                }
                let rest: Vec<&str> = items(now[side.index()].as_deref().unwrap_or_default())
                    .filter(|item| !gone.contains(item))
                    .collect();
                if rest.is_empty() && !listed.kept {
                    settings.unset.push(side.list_key().to_owned());
                } else {
                    settings.set.insert(side.list_key().to_owned(), rest.join(","));
                }
                if let Some(lists) = after.topics.get_mut(topic) {
                    lists[side.index()].items.retain(|item| !gone.contains(item.as_str()));
                }
            }
            if !settings.is_empty() {
                change.topics.push((topic.clone(), settings));
            }
        }
        after.tidy();
        (after, change)
    }

    /// What has to be set because it is needed and is not there, and what has to be noted as ours before. Rates that others
    /// set count, and stay as they are.
    pub(super) fn set(&self, needed: &Needed, seen: &SeenThrottles, rate: u64) -> (Self, ThrottleChange) {
        let (mut noted, mut change) = (self.clone(), ThrottleChange::default());
        let rate = rate.to_string();
        for (broker, wanted) in &needed.brokers {
            let Some(rates) = seen.brokers.get(broker) else { continue };
            let mut settings = ConfigChange::default();
            for side in Side::BOTH.into_iter().filter(|side| wanted[side.index()]) {
                let index = side.index();
                let ours = self.brokers.get(broker).map(|sides| &sides[index]);
                let is_ours = |now: &String| ours.is_some_and(|ours| ours.contains(now));
                let set = match &rates.own[index] {
                    Some(now) if is_ours(now) => *now != rate,
                    Some(_) => {
                        // Somebody's own: ours is gone.
                        if let Some(sides) = noted.brokers.get_mut(broker) {
                            sides[index].clear();
                        }
                        false
                    }
                    None => !rates.inherited[index],
                };
                if set {
                    settings.set.insert(side.rate_key().to_owned(), rate.clone());
                    noted.brokers.entry(*broker).or_default()[index].insert(rate.clone());
                }
            }
            if !settings.is_empty() {
                change.brokers.push((*broker, settings));
            }
        }
        for (topic, wanted) in &needed.topics {
            let Some(now) = seen.topics.get(topic) else { continue };
            let mut settings = ConfigChange::default();
            for side in Side::BOTH {
                let index = side.index();
                let text = now[index].as_deref().unwrap_or_default();
                let present: BTreeSet<&str> = items(text).collect();
                let missing: Vec<&str> =
                    wanted[index].iter().map(String::as_str).filter(|item| !present.contains(item)).collect();
                if missing.is_empty() || covers_all(text) {
                    continue;
                }
                let listed = &mut noted.topics.entry(topic.clone()).or_default()[index];
                if listed.items.is_empty() {
                    listed.kept = now[index].is_some();
                }
                listed.items.extend(missing.iter().map(|item| (*item).to_owned()));
                let all: Vec<&str> = items(text).chain(missing).collect();
                settings.set.insert(side.list_key().to_owned(), all.join(","));
            }
            if !settings.is_empty() {
                change.topics.push((topic.clone(), settings));
            }
        }
        noted.tidy();
        (noted, change)
    }

    /// Notes again, as `before` had it, what could not be taken away.
    pub fn keep_failed(&mut self, before: &Self, brokers: &BTreeSet<i32>, topics: &BTreeSet<TopicName>) {
        for broker in brokers {
            if let Some(sides) = before.brokers.get(broker) {
                self.brokers.insert(*broker, sides.clone());
            }
        }
        for topic in topics {
            if let Some(lists) = before.topics.get(topic) {
                self.topics.insert(topic.clone(), lists.clone());
            }
        }
    }

    fn tidy(&mut self) {
        self.brokers.retain(|_, sides| sides.iter().any(|values| !values.is_empty()));
        self.topics.retain(|_, lists| lists.iter().any(|listed| !listed.items.is_empty()));
    }
}

impl ThrottleChange {
    pub fn is_empty(&self) -> bool {
        self.brokers.is_empty() && self.topics.is_empty()
    }
}

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use topicops_contract::{TopicManifest, TopicName};

use super::{Action, NamespaceRules, OverQuota, namespace_rules::bounded_bytes};
use crate::topic::TopicObjectKey;

/// What one object declares, as far as totals go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub object: TopicObjectKey,
    pub topic: TopicName,
    /// Unix seconds of its creation: the older have what there is first.
    pub created: i64,
    pub deleting: bool,
    asks: Amounts,
    /// What is there of it already, and stays when it is refused.
    stands: Amounts,
    /// A limit of its own refuses it: only what is there counts.
    refused: bool,
}

/// Topics, partitions and bytes: in the order of [`NamespaceRules::quotas`].
type Amounts = [u128; 3];

impl Declared {
    /// `effective`: with defaults and adjustments. `existing`: how many partitions it has, where it is known to exist.
    pub fn new(
        object: TopicObjectKey,
        created: i64,
        deleting: bool,
        effective: &TopicManifest,
        refused: bool,
        existing: Option<i32>,
    ) -> Self {
        let partitions = effective.partitions.map_or(1, |count| u128::from(count.get().unsigned_abs()));
        let factor = effective.replication_factor.map_or(1, |factor| u128::from(factor.get().unsigned_abs()));
        let bytes = bounded_bytes(effective).map_or(0, |bytes| u128::from(bytes) * factor);
        let existing = existing.map(|count| u128::from(count.unsigned_abs()).min(partitions));
        Self {
            object,
            topic: effective.topic.clone(),
            created,
            deleting,
            asks: [1, partitions, bytes * partitions],
            stands: existing.map_or([0; 3], |partitions| [1, partitions, bytes * partitions]),
            refused,
        }
    }

    fn counts(&self) -> Amounts {
        if self.refused { self.stands } else { self.asks }
    }

    fn age(&self) -> Age {
        (self.created, self.object.clone())
    }
}

/// Older first, and the name decides between equals: as in [`crate::topic::Declaration::seniority`].
type Age = (i64, TopicObjectKey);

/// What each namespace declares in all, kept up to date object by object.
#[derive(Debug, Default)]
pub struct Usage {
    namespaces: HashMap<String, OfNamespace>,
}

#[derive(Debug, Default)]
struct OfNamespace {
    objects: BTreeMap<TopicObjectKey, Declared>,
    /// A topic counts once, for the object that owns it or comes first; the one that takes over is among the rest.
    by_topic: BTreeMap<TopicName, BTreeMap<(bool, Age), TopicObjectKey>>,
    counted: BTreeMap<Age, TopicObjectKey>,
    total: Amounts,
}

impl Usage {
    /// Counts what an object declares, in place of what it declared before; whether that is a change.
    pub fn set(&mut self, declared: Declared) -> bool {
        let namespace = self.namespaces.entry(declared.object.namespace.clone()).or_default();
        let changes = namespace.objects.get(&declared.object) != Some(&declared);
        if changes {
            namespace.remove(&declared.object);
            namespace.insert(declared);
        }
        changes
    }

    /// Whether there was something to remove.
    pub fn remove(&mut self, object: &TopicObjectKey) -> bool {
        let Some(namespace) = self.namespaces.get_mut(&object.namespace) else { return false };
        let removed = namespace.remove(object);
        if namespace.objects.is_empty() {
            self.namespaces.remove(&object.namespace);
        }
        removed
    }

    pub fn clear(&mut self) {
        self.namespaces.clear();
    }

    /// Everything that does not fit into its namespace's totals. Costs a look at the totals where all of it fits.
    pub fn over(
        &self,
        rules: impl Fn(&str) -> Arc<NamespaceRules>,
    ) -> BTreeMap<TopicObjectKey, Vec<OverQuota>> {
        let mut over = BTreeMap::new();
        for (name, namespace) in &self.namespaces {
            let rules = rules(name);
            if fits(&rules, namespace.total) {
                continue;
            }
            let mut used = Amounts::default();
            for declared in namespace.counted.values().filter_map(|key| namespace.objects.get(key)) {
                let found = found(&rules, declared, used);
                used = sum(used, counted(declared, &found));
                if !found.is_empty() {
                    over.insert(declared.object.clone(), found);
                }
            }
        }
        over
    }

    /// What would not fit if an object declared this, in place of what it declares now. The same answer that
    /// [`Usage::over`] would give, without a look at the whole where all of it fits.
    pub fn over_with(&self, rules: &NamespaceRules, declared: &Declared) -> Vec<OverQuota> {
        let none = OfNamespace::default();
        let namespace = self.namespaces.get(&declared.object.namespace).unwrap_or(&none);
        let rank = (declared.deleting, declared.age());
        let rivals = namespace.by_topic.get(&declared.topic).into_iter().flatten();
        if rivals.into_iter().any(|(other, key)| *key != declared.object && *other < rank) {
            return Vec::new();
        }
        let counts_now = |key: &TopicObjectKey| {
            namespace.objects.get(key).filter(|one| namespace.counted.contains_key(&one.age()))
        };
        let own = counts_now(&declared.object).map_or([0; 3], Declared::counts);
        let with: Amounts = std::array::from_fn(|index| {
            namespace.total[index].saturating_sub(own[index]) + declared.asks[index]
        });
        if fits(rules, with) {
            return Vec::new();
        }
        let mut used = Amounts::default();
        for (_, key) in namespace.counted.range(..declared.age()).filter(|(_, key)| **key != declared.object)
        {
            if let Some(older) = namespace.objects.get(key) {
                used = sum(used, counted(older, &found(rules, older, used)));
            }
        }
        found(rules, declared, used)
    }

    /// Whether an object asks for more of anything than it does now.
    pub fn grows(&self, declared: &Declared) -> bool {
        let now = self.namespaces.get(&declared.object.namespace);
        let now = now.and_then(|namespace| namespace.objects.get(&declared.object));
        now.is_none_or(|now| {
            now.refused
                || now.topic != declared.topic
                || declared.asks.iter().zip(now.asks).any(|(asks, now)| *asks > now)
        })
    }
}

impl OfNamespace {
    fn insert(&mut self, declared: Declared) {
        self.uncount(&declared.topic);
        let rank = (declared.deleting, declared.age());
        self.by_topic.entry(declared.topic.clone()).or_default().insert(rank, declared.object.clone());
        let topic = declared.topic.clone();
        self.objects.insert(declared.object.clone(), declared);
        self.count(&topic);
    }

    fn remove(&mut self, object: &TopicObjectKey) -> bool {
        let Some(topic) = self.objects.get(object).map(|declared| declared.topic.clone()) else {
            return false;
        };
        self.uncount(&topic);
        if let Some(declared) = self.objects.remove(object)
            && let Some(rivals) = self.by_topic.get_mut(&topic)
        {
            rivals.remove(&(declared.deleting, declared.age()));
            if rivals.is_empty() {
                self.by_topic.remove(&topic);
            }
        }
        self.count(&topic);
        true
    }

    fn first(&self, topic: &TopicName) -> Option<&Declared> {
        let (_, key) = self.by_topic.get(topic)?.first_key_value()?;
        self.objects.get(key)
    }

    fn uncount(&mut self, topic: &TopicName) {
        let Some((age, amounts)) = self.first(topic).map(|first| (first.age(), first.counts())) else {
            return;
        };
        self.counted.remove(&age);
        self.total = std::array::from_fn(|index| self.total[index].saturating_sub(amounts[index]));
    }

    fn count(&mut self, topic: &TopicName) {
        let Some((age, amounts)) = self.first(topic).map(|first| (first.age(), first.counts())) else {
            return;
        };
        self.counted.insert(age.clone(), age.1);
        self.total = sum(self.total, amounts);
    }
}

fn fits(rules: &NamespaceRules, total: Amounts) -> bool {
    rules.quotas().iter().zip(total).all(|(limit, total)| limit.is_none_or(|limit| total <= most(limit.rule)))
}

fn most(limit: i64) -> u128 {
    u128::from(limit.unsigned_abs())
}

fn sum(one: Amounts, other: Amounts) -> Amounts {
    std::array::from_fn(|index| one[index].saturating_add(other[index]))
}

/// What of a declaration does not fit beside what is used.
fn found(rules: &NamespaceRules, declared: &Declared, used: Amounts) -> Vec<OverQuota> {
    // What another limit refuses needs no second reason.
    if declared.refused {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, limit) in rules.quotas().into_iter().enumerate() {
        let Some(limit) = limit.filter(|limit| used[index] + declared.asks[index] > most(limit.rule)) else {
            continue;
        };
        let violation = match index {
            0 => rules.over_topics(limit, &declared.topic, used[0]),
            1 => rules.over_partitions(limit, declared.asks[1], used[1]),
            _ => rules.over_bytes(limit, declared.asks[2], used[2]),
        };
        found.push(OverQuota { action: limit.action, violation });
    }
    found
}

/// What of a declaration takes room from the younger ones.
fn counted(declared: &Declared, found: &[OverQuota]) -> Amounts {
    if found.iter().any(|over| over.action != Action::Warn) { declared.stands } else { declared.counts() }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;

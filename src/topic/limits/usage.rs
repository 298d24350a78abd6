use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use topicops_contract::{TopicManifest, TopicName};

use super::{Action, Limit, NamespaceRules, OverQuota, namespace_rules::bounded_bytes};
use crate::topic::TopicObjectKey;

/// What one object declares, as far as totals go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub object: TopicObjectKey,
    pub topic: TopicName,
    /// Unix seconds of its creation: the older have what there is first.
    pub created: i64,
    pub deleting: bool,
    share: Share,
}

/// What a declaration takes of the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    asks: Amounts,
    /// What is there of it already, and stays when it is refused.
    stands: Amounts,
    /// A limit of its own refuses it: only what is there counts.
    refused: bool,
}

/// Topics, partitions and bytes: in the order of [`NamespaceRules::quotas`].
type Amounts = [u128; 3];
type Quotas<'a> = [Option<&'a Limit<i64>>; 3];

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
            share: Share {
                asks: [1, partitions, bytes * partitions],
                stands: existing.map_or([0; 3], |partitions| [1, partitions, bytes * partitions]),
                refused,
            },
        }
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
    counted: BTreeMap<Age, Share>,
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
            let quotas = rules.quotas();
            let mut used = Amounts::default();
            for ((_, object), share) in &namespace.counted {
                if share.beyond(&quotas, used).contains(&true)
                    && let Some(declared) = namespace.objects.get(object)
                {
                    over.insert(object.clone(), found(&rules, declared, used));
                }
                used = sum(used, share.taken(&quotas, used));
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
        let now = namespace.objects.get(&declared.object).map(Declared::age);
        let own = now.and_then(|age| namespace.counted.get(&age)).map_or([0; 3], Share::counts);
        let with: Amounts = std::array::from_fn(|index| {
            namespace.total[index].saturating_sub(own[index]) + declared.share.asks[index]
        });
        if fits(rules, with) {
            return Vec::new();
        }
        let quotas = rules.quotas();
        let older = namespace.counted.range(..declared.age()).filter(|((_, key), _)| *key != declared.object);
        let used = older.fold(Amounts::default(), |used, (_, share)| sum(used, share.taken(&quotas, used)));
        found(rules, declared, used)
    }

    /// Whether an object asks for more of anything than it does now.
    pub fn grows(&self, declared: &Declared) -> bool {
        let now = self.namespaces.get(&declared.object.namespace);
        let now = now.and_then(|namespace| namespace.objects.get(&declared.object));
        now.is_none_or(|now| {
            let more = declared.share.asks.iter().zip(now.share.asks).any(|(asks, now)| *asks > now);
            now.share.refused || now.topic != declared.topic || more
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
        let Some((age, share)) = self.first(topic).map(|first| (first.age(), first.share)) else { return };
        self.counted.remove(&age);
        let counts = share.counts();
        self.total = std::array::from_fn(|index| self.total[index].saturating_sub(counts[index]));
    }

    fn count(&mut self, topic: &TopicName) {
        let Some((age, share)) = self.first(topic).map(|first| (first.age(), first.share)) else { return };
        self.counted.insert(age, share);
        self.total = sum(self.total, share.counts());
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

impl Share {
    fn counts(&self) -> Amounts {
        if self.refused { self.stands } else { self.asks }
    }

    /// Beside what is used, of which limits it is too much. What another limit refuses needs no second reason.
    fn beyond(&self, quotas: &Quotas<'_>, used: Amounts) -> [bool; 3] {
        let sum = sum(used, self.asks);
        std::array::from_fn(|index| {
            !self.refused && quotas[index].is_some_and(|limit| sum[index] > most(limit.rule))
        })
    }

    /// What it takes from the younger ones.
    fn taken(&self, quotas: &Quotas<'_>, used: Amounts) -> Amounts {
        let refuses = |limit: Option<&Limit<i64>>| limit.is_some_and(|limit| limit.action != Action::Warn);
        let beyond = self.beyond(quotas, used);
        let refused = beyond.iter().zip(quotas).any(|(beyond, limit)| *beyond && refuses(*limit));
        if refused { self.stands } else { self.counts() }
    }
}

/// What of a declaration does not fit beside what is used, in words.
fn found(rules: &NamespaceRules, declared: &Declared, used: Amounts) -> Vec<OverQuota> {
    let (quotas, asks) = (rules.quotas(), declared.share.asks);
    let beyond = declared.share.beyond(&quotas, used);
    let limits = quotas.into_iter().zip(beyond).enumerate();
    let told = limits.filter_map(|(index, (limit, beyond))| {
        let limit = limit.filter(|_| beyond)?;
        let violation = match index {
            0 => rules.over_topics(limit, &declared.topic, used[0]),
            1 => rules.over_partitions(limit, asks[1], used[1]),
            _ => rules.over_bytes(limit, asks[2], used[2]),
        };
        Some(OverQuota { action: limit.action, violation })
    });
    told.collect()
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;

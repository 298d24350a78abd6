use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use topicops_contract::{PartitionCount, ReplicationFactor, TopicManifest, TopicName};

use super::{
    Field, Judgement, NamespaceRules, OverQuota,
    left::Left,
    namespace_rules::{RETENTION_BYTES, bounded_bytes},
    share::{Amounts, Share, amounts, less, most, sum},
};
use crate::topic::{Extent, TopicObjectKey};

/// What one object declares, as far as totals go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub object: TopicObjectKey,
    pub topic: TopicName,
    /// Unix seconds of its creation: the older have what there is first.
    pub created: i64,
    pub deleting: bool,
    /// How large a new topic would be.
    new: Extent,
    /// Which of partitions, replication factor and bytes it would change of one that is there.
    changes: [bool; 3],
    /// A limit of its own refuses it: what is not there is not made.
    refused: bool,
}

impl Declared {
    /// `judged`: what the namespace's rules make of the manifest.
    pub fn new(
        object: TopicObjectKey,
        created: i64,
        deleting: bool,
        manifest: &TopicManifest,
        judged: &Judgement,
    ) -> Self {
        let effective = judged.manifest.as_ref();
        // As plans have it: defaults of numbers are for new topics, and so is an adjusted replication factor.
        let factor = manifest.replication_factor.is_some_and(|one| effective.replication_factor == Some(one));
        Self {
            object,
            topic: effective.topic.clone(),
            created,
            deleting,
            new: Extent {
                partitions: effective.partitions.map_or(1, PartitionCount::get),
                replication_factor: effective.replication_factor.map_or(1, ReplicationFactor::get),
                retention_bytes: bounded_bytes(effective),
            },
            changes: [
                manifest.partitions.is_some() && !judged.withholds(&Field::Partitions),
                factor && !judged.withholds(&Field::ReplicationFactor),
                !judged.withholds_config(RETENTION_BYTES),
            ],
            refused: !judged.refused.is_empty(),
        }
    }

    /// What it takes of the totals, with what is known to be there of the topic.
    fn share(&self, held: Option<Extent>) -> Share {
        let Some(held) = held else {
            return Share { asks: amounts(self.new), stands: Amounts::default(), refused: self.refused };
        };
        let ([partitions, factor, bytes], new) = (self.changes, self.new);
        let then = Extent {
            partitions: if partitions { new.partitions.max(held.partitions) } else { held.partitions },
            replication_factor: if factor { new.replication_factor } else { held.replication_factor },
            retention_bytes: if bytes { new.retention_bytes } else { held.retention_bytes },
        };
        Share { asks: amounts(then), stands: amounts(held), refused: false }
    }

    fn age(&self) -> Age {
        (self.created, self.object.clone())
    }
}

/// Older first, and the name decides between equals: as in [`crate::topic::Declaration::seniority`].
type Age = (i64, TopicObjectKey);

/// What each namespace declares in all, and has on the brokers, kept up to date object by object and topic by topic.
///
/// What is there has its room before what is asked for beyond it: neither a topic that nobody declares any more nor the age
/// of an object makes room for more than the totals say.
#[derive(Debug, Default)]
pub struct Usage {
    namespaces: HashMap<String, OfNamespace>,
    /// Whose the topics are that are known to be there.
    holders: HashMap<TopicName, String>,
}

#[derive(Debug, Default)]
struct OfNamespace {
    objects: BTreeMap<TopicObjectKey, Declared>,
    /// A topic counts once, for the object that owns it or comes first; the one that takes over is among the rest.
    by_topic: BTreeMap<TopicName, BTreeMap<(bool, Age), TopicObjectKey>>,
    /// With what is known to be there of their topics.
    counted: BTreeMap<Age, Share>,
    /// What is there of the namespace's topics, declared or not.
    held: BTreeMap<TopicName, Extent>,
    /// Everything together, and what is there of it.
    total: Amounts,
    standing: Amounts,
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
        self.drop_if_empty(&object.namespace);
        removed
    }

    /// Notes whose a topic is and what is there of it, or that it is nobody's or gone; whether that is a change.
    pub fn hold(&mut self, topic: &TopicName, now: Option<(&str, Extent)>) -> bool {
        let holder = self.holders.get(topic).cloned();
        let known = holder
            .as_ref()
            .and_then(|holder| Some((holder.as_str(), *self.namespaces.get(holder)?.held.get(topic)?)));
        if known == now {
            return false;
        }
        if let Some(holder) = &holder {
            if let Some(namespace) = self.namespaces.get_mut(holder) {
                namespace.hold(topic, None);
            }
            self.drop_if_empty(holder);
        }
        match now {
            Some((namespace, extent)) => {
                self.namespaces.entry(namespace.to_owned()).or_default().hold(topic, Some(extent));
                self.holders.insert(topic.clone(), namespace.to_owned());
            }
            None => {
                self.holders.remove(topic);
            }
        }
        true
    }

    /// Forgets what is declared.
    pub fn clear(&mut self) {
        for namespace in self.namespaces.values_mut() {
            let held = std::mem::take(&mut namespace.held);
            *namespace = OfNamespace::default();
            held.iter().for_each(|(topic, extent)| namespace.hold(topic, Some(*extent)));
        }
        self.namespaces.retain(|_, namespace| !namespace.is_empty());
    }

    /// Forgets what is there.
    pub fn clear_held(&mut self) {
        for (topic, holder) in std::mem::take(&mut self.holders) {
            if let Some(namespace) = self.namespaces.get_mut(&holder) {
                namespace.hold(&topic, None);
            }
        }
        self.namespaces.retain(|_, namespace| !namespace.is_empty());
    }

    fn drop_if_empty(&mut self, namespace: &str) {
        if self.namespaces.get(namespace).is_some_and(OfNamespace::is_empty) {
            self.namespaces.remove(namespace);
        }
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
            let (quotas, left) = (rules.quotas(), namespace.left(None));
            let (mut used, mut standing) = (Amounts::default(), namespace.standing);
            for ((_, object), share) in &namespace.counted {
                standing = less(standing, share.stands);
                let beside = share.beside(used, standing);
                if share.beyond(&quotas, beside).contains(&true)
                    && let Some(declared) = namespace.objects.get(object)
                {
                    over.insert(object.clone(), found(&rules, &declared.topic, share, beside, &left));
                }
                used = sum(used, share.taken(&quotas, beside));
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
        let share = declared.share(namespace.held_of(&declared.topic));
        // The topic, and the one that the object declares until now.
        let (mut total, mut standing) = (namespace.total, namespace.standing);
        let (_, counts, stands) = namespace.counts(&declared.topic);
        (total, standing) = (less(total, counts), less(standing, stands));
        let before = namespace.objects.get(&declared.object).filter(|now| now.topic != declared.topic);
        if let Some(before) = before
            && namespace.first(&before.topic).is_some_and(|first| first.object == declared.object)
        {
            let (_, counts, stands) = namespace.counts(&before.topic);
            let held = namespace.held_of(&before.topic).map(amounts).unwrap_or_default();
            (total, standing) = (sum(less(total, counts), held), sum(less(standing, stands), held));
        }
        if fits(rules, sum(total, share.counts())) {
            return Vec::new();
        }
        let quotas = rules.quotas();
        standing = sum(standing, share.stands);
        let mut used = Amounts::default();
        for ((_, key), older) in namespace.counted.range(..declared.age()) {
            let is_other = |one: &Declared| one.object != declared.object && one.topic != declared.topic;
            if namespace.objects.get(key).is_some_and(is_other) {
                standing = less(standing, older.stands);
                used = sum(used, older.taken(&quotas, older.beside(used, standing)));
            }
        }
        let beside = share.beside(used, less(standing, share.stands));
        found(rules, &declared.topic, &share, beside, &namespace.left(Some(&declared.topic)))
    }

    /// Whether an object asks for more of anything than it does now, and than there is.
    pub fn grows(&self, declared: &Declared) -> bool {
        let Some(namespace) = self.namespaces.get(&declared.object.namespace) else { return true };
        let held = namespace.held_of(&declared.topic);
        let share = declared.share(held);
        let more = |than: Amounts| share.asks.iter().zip(than).any(|(asks, than)| *asks > than);
        let now = namespace.objects.get(&declared.object).filter(|now| now.topic == declared.topic);
        let now = now.map(|now| now.share(held));
        more(share.stands) && now.is_none_or(|now| (now.refused && !share.refused) || more(now.asks))
    }
}

impl OfNamespace {
    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.held.is_empty()
    }

    fn hold(&mut self, topic: &TopicName, extent: Option<Extent>) {
        self.uncount(topic);
        match extent {
            Some(extent) => self.held.insert(topic.clone(), extent),
            None => self.held.remove(topic),
        };
        self.count(topic);
    }

    fn held_of(&self, topic: &TopicName) -> Option<Extent> {
        self.held.get(topic).copied()
    }

    /// What is there and nobody declares, or would not if `declared` was.
    fn left(&self, declared: Option<&TopicName>) -> Left<'_> {
        let mut left = Left::default();
        for (topic, held) in &self.held {
            if !self.by_topic.contains_key(topic) && declared != Some(topic) {
                left.add(topic, amounts(*held));
            }
        }
        left
    }

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

    /// What a topic counts for: by whom, in all, and as far as it is there.
    fn counts(&self, topic: &TopicName) -> (Option<(Age, Share)>, Amounts, Amounts) {
        let held = self.held_of(topic);
        match self.first(topic).map(|first| (first.age(), first.share(held))) {
            Some((age, share)) => (Some((age, share)), share.counts(), share.stands),
            None => {
                let held = held.map(amounts).unwrap_or_default();
                (None, held, held)
            }
        }
    }

    fn uncount(&mut self, topic: &TopicName) {
        let (counted, total, standing) = self.counts(topic);
        if let Some((age, _)) = counted {
            self.counted.remove(&age);
        }
        (self.total, self.standing) = (less(self.total, total), less(self.standing, standing));
    }

    fn count(&mut self, topic: &TopicName) {
        let (counted, total, standing) = self.counts(topic);
        self.counted.extend(counted);
        (self.total, self.standing) = (sum(self.total, total), sum(self.standing, standing));
    }
}

fn fits(rules: &NamespaceRules, total: Amounts) -> bool {
    rules.quotas().iter().zip(total).all(|(limit, total)| limit.is_none_or(|limit| total <= most(limit.rule)))
}

/// What of a declaration does not fit beside the others, in words.
fn found(
    rules: &NamespaceRules,
    topic: &TopicName,
    share: &Share,
    beside: Amounts,
    left: &Left<'_>,
) -> Vec<OverQuota> {
    let (quotas, asks) = (rules.quotas(), share.asks);
    let beyond = share.beyond(&quotas, beside);
    let limits = quotas.into_iter().zip(beyond).enumerate();
    let told = limits.filter_map(|(index, (limit, beyond))| {
        let limit = limit.filter(|_| beyond)?;
        let mut violation = match index {
            0 => rules.over_topics(limit, topic, beside[0]),
            1 => rules.over_partitions(limit, asks[1], beside[1]),
            _ => rules.over_bytes(limit, asks[2], beside[2]),
        };
        if left.counts_in(index) {
            violation.expected.push_str(&left.says());
        }
        Some(OverQuota { action: limit.action, violation })
    });
    told.collect()
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;

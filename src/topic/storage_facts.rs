use std::collections::BTreeMap;

use topicops_contract::{DiskShare, TopicName};

use crate::kafka::{BrokerConfigs, BrokerDisks, Item, LogDir};

/// What some plans have to know of the brokers themselves: their disks, how much of each topic is on them, and the retention
/// of topics that have none of their own. It costs requests to all brokers, so it is asked for when a plan wants it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageFacts {
    disks: BTreeMap<i32, Result<Disk, String>>,
    topics: BTreeMap<TopicName, Stored>,
    /// Whether all brokers told of all their log directories: then a topic that none named takes no room.
    complete: bool,
    defaults: BTreeMap<String, i64>,
    /// Why nothing is known at all.
    unknown: Option<String>,
}

/// The disk of one broker. One with several log directories counts as if a topic's replicas were spread evenly over them,
/// and each were as small as the smallest: a partition lives in one directory, and cannot use another's room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Disk {
    directories: u64,
    smallest: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stored {
    /// The most bytes on any one broker.
    on_a_broker: u64,
    largest_replica: u64,
}

/// The brokers' own keys for what a topic's `retention.bytes` and `retention.ms` are by default, in the order in which
/// they count, with the milliseconds of one unit.
const DEFAULTS: [(&str, &str, i64); 4] = [
    ("retention.bytes", "log.retention.bytes", 1),
    ("retention.ms", "log.retention.ms", 1),
    ("retention.ms", "log.retention.minutes", 60_000),
    ("retention.ms", "log.retention.hours", 3_600_000),
];

impl StorageFacts {
    /// The brokers' settings that [`StorageFacts::with_defaults`] reads.
    pub fn default_keys() -> impl Iterator<Item = &'static str> {
        DEFAULTS.iter().map(|(_, key, _)| *key)
    }

    pub fn of(answers: &BTreeMap<i32, Item<BrokerDisks>>) -> Self {
        let mut facts = Self::default();
        for (broker, answer) in answers {
            let disk = match answer {
                Ok(disks) => Disk::of(disks),
                Err(error) => Err(error.to_string()),
            };
            facts.disks.insert(*broker, disk);
            facts.count(answer.iter().flat_map(|disks| &disks.dirs));
        }
        let whole = |answer: &Item<BrokerDisks>| {
            answer.as_ref().is_ok_and(|disks| disks.dirs.iter().all(|dir| dir.error.is_none()))
        };
        facts.complete = !answers.is_empty() && answers.values().all(whole);
        facts
    }

    /// Nothing could be found out, for this reason.
    pub fn unknown(why: String) -> Self {
        Self { unknown: Some(why), ..Self::default() }
    }

    #[must_use]
    pub fn with_defaults(mut self, settings: &BrokerConfigs) -> Self {
        for (key, of_broker, unit) in DEFAULTS {
            let value = settings.effective.get(of_broker).and_then(|value| value.parse::<i64>().ok());
            if let Some(value) = value {
                let scaled = if value < 0 { value } else { value.saturating_mul(unit) };
                self.defaults.entry(key.to_owned()).or_insert(scaled);
            }
        }
        self
    }

    fn count<'a>(&mut self, dirs: impl Iterator<Item = &'a LogDir>) {
        let mut sums: BTreeMap<&TopicName, Stored> = BTreeMap::new();
        for (partition, size) in dirs.flat_map(|dir| &dir.replicas) {
            let stored = sums.entry(&partition.topic).or_default();
            stored.on_a_broker += size.bytes;
            stored.largest_replica = stored.largest_replica.max(size.bytes);
        }
        for (topic, here) in sums {
            let stored = self.topics.entry(topic.clone()).or_default();
            stored.on_a_broker = stored.on_a_broker.max(here.on_a_broker);
            stored.largest_replica = stored.largest_replica.max(here.largest_replica);
        }
    }

    /// The most bytes that a topic takes on any one broker; `None` when that is not known.
    pub fn bytes_on_a_broker(&self, topic: &TopicName) -> Option<u64> {
        self.stored(topic).map(|stored| stored.on_a_broker)
    }

    /// The size of a topic's largest replica; `None` when that is not known.
    pub fn largest_replica(&self, topic: &TopicName) -> Option<u64> {
        self.stored(topic).map(|stored| stored.largest_replica)
    }

    /// What the brokers that do not tell hold may be much or little.
    fn stored(&self, topic: &TopicName) -> Option<Stored> {
        self.complete.then(|| self.topics.get(topic).copied().unwrap_or_default())
    }

    /// The retention of topics without their own; Kafka's where the brokers do not tell theirs.
    pub fn default_retention(&self, key: &str) -> i64 {
        self.defaults.get(key).copied().unwrap_or_else(|| kafkas_default(key))
    }

    /// The `retention.bytes` with which a topic takes at most this share of the disk of each broker that holds replicas of
    /// it.
    ///
    /// # Errors
    /// Why it cannot be told: the first broker that does not say how large its disk is.
    pub fn share_of_disks(&self, share: DiskShare, replicas: &[Vec<i32>]) -> Result<u64, String> {
        let mut held: BTreeMap<i32, u64> = BTreeMap::new();
        for broker in replicas.iter().flatten() {
            *held.entry(*broker).or_default() += 1;
        }
        self.least(share, held.into_iter())
    }

    /// The same for a topic that is not there yet, as brokers spread its replicas. One broker whose disk failed does not hold up
    /// all that is new: those that tell count.
    pub fn share_of_disks_when_spread(&self, share: DiskShare, replicas: u64) -> Result<u64, String> {
        let brokers = self.disks.len().max(1) as u64;
        let each = replicas.div_ceil(brokers);
        let told = self.disks.iter().filter(|(_, disk)| disk.is_ok()).map(|(broker, _)| (*broker, each));
        self.least(share, told).or_else(|none| self.all_tell().and(Err(none)))
    }

    /// # Errors
    /// Which broker does not tell how large its disk is, and why.
    pub fn all_tell(&self) -> Result<(), String> {
        self.disks.keys().try_for_each(|broker| self.disk(*broker).map(drop))?;
        self.unknown.clone().map_or(Ok(()), Err)
    }

    fn least(&self, share: DiskShare, held: impl Iterator<Item = (i32, u64)>) -> Result<u64, String> {
        let mut least = None;
        for (broker, replicas) in held {
            let disk = self.disk(broker)?;
            let each = share.of(disk.smallest) / replicas.div_ceil(disk.directories).max(1);
            least = Some(least.map_or(each, |least: u64| least.min(each)));
        }
        least.ok_or_else(|| self.unknown.clone().unwrap_or_else(|| "no broker is there".to_owned()))
    }

    fn disk(&self, broker: i32) -> Result<Disk, String> {
        match (self.disks.get(&broker), &self.unknown) {
            (Some(Ok(disk)), _) => Ok(*disk),
            (Some(Err(why)), _) => Err(format!("broker {broker}: {why}")),
            (None, Some(why)) => Err(why.clone()),
            (None, None) => Err(format!("broker {broker}: it is not there now")),
        }
    }
}

impl Disk {
    fn of(disks: &BrokerDisks) -> Result<Self, String> {
        // What is left of several directories when one has failed is no measure: it would halve the share, and data with it.
        let failed = disks.dirs.iter().find_map(|dir| Some((dir, dir.error.as_ref()?)));
        if let Some((dir, error)) = failed {
            return Err(format!(
                "it cannot use its log directory {} ({}), and has to be started again once it can",
                dir.path, error.code
            ));
        }
        let directories = disks.dirs.len() as u64;
        let sizes: Option<Vec<u64>> = disks.dirs.iter().map(|dir| dir.total_bytes).collect();
        match sizes.and_then(|sizes| sizes.into_iter().min()) {
            Some(smallest) => Ok(Self { directories, smallest }),
            None => Err("it does not tell the size of its disk, as brokers do from Kafka 3.3 on".to_owned()),
        }
    }
}

/// What Kafka's documentation gives as the default of a topic's setting.
pub(super) fn kafkas_default(key: &str) -> i64 {
    if key == "retention.ms" { 604_800_000 } else { -1 }
}

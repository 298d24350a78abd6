use std::collections::BTreeMap;

use super::state::{State, refused};
use crate::kafka::{
    BrokerConfigs, BrokerDisks, ConfigChange, ConfigKeys, Item, ItemError, LogDir, ReplicaSize,
    TopicPartition,
};

/// The size of a disk that no test has set.
const DISK: u64 = 1 << 40;

/// Settings of brokers that may be changed at run time, among those that topicops has to do with; each is a number.
const DYNAMIC: [&str; 3] = [
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

impl State {
    pub(super) fn disks(&self) -> BTreeMap<i32, Item<BrokerDisks>> {
        self.brokers.iter().map(|(broker, _)| (*broker, Ok(self.disks_of(*broker)))).collect()
    }

    fn disks_of(&self, broker: i32) -> BrokerDisks {
        let mut replicas = BTreeMap::new();
        for topic in self.topics.iter().filter_map(|(name, topic)| Some((name.parse().ok()?, topic))) {
            let (name, topic): (topicops_contract::TopicName, _) = topic;
            for (partition, _) in (0..).zip(&topic.replicas).filter(|(_, held)| held.contains(&broker)) {
                let partition = TopicPartition { topic: name.clone(), partition };
                let bytes = self.bytes_at(&partition, broker);
                replicas.insert(partition, ReplicaSize { bytes, future: false });
            }
        }
        let used: u64 = replicas.values().map(|size| size.bytes).sum();
        let total = self.disk_sizes.get(&broker).copied().unwrap_or(DISK);
        let dir = LogDir {
            path: "/data".to_owned(),
            error: None,
            total_bytes: Some(total),
            usable_bytes: Some(total.saturating_sub(used)),
            replicas,
        };
        BrokerDisks { dirs: vec![dir] }
    }

    pub(super) fn broker_configs(&self, broker: i32, keys: &ConfigKeys) -> Item<BrokerConfigs> {
        self.live(broker)?;
        let asked = |key: &&String| match keys {
            ConfigKeys::All => true,
            ConfigKeys::Only(keys) => keys.contains(*key),
        };
        let pick = |settings: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let picked = settings.iter().filter(|(key, _)| asked(key));
            picked.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let own = self.broker_configs.get(&broker).map(pick).unwrap_or_default();
        let mut effective = pick(&self.static_configs);
        effective.extend(own.clone());
        Ok(BrokerConfigs { own, effective })
    }

    pub(super) fn alter_broker(&mut self, broker: i32, change: &ConfigChange) -> Item<()> {
        self.live(broker)?;
        for (key, value) in &change.set {
            if !DYNAMIC.contains(&key.as_str()) {
                let text = format!("Cannot update these configs dynamically: Set({key})");
                return refused(ItemError::INVALID_REQUEST, text);
            }
            if !value.parse::<u64>().is_ok_and(|number| i64::try_from(number).is_ok()) {
                let text =
                    format!("Invalid value {value} for configuration {key}: Not a number of type LONG");
                return refused(ItemError::INVALID_REQUEST, text);
            }
        }
        let settings = self.broker_configs.entry(broker).or_default();
        settings.retain(|key, _| !change.unset.contains(key));
        settings.extend(change.set.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(())
    }

    /// A broker goes for good: nothing there is in sync any more, but for what is in sync nowhere else, which nobody leads then.
    pub(super) fn lose_broker(&mut self, broker: i32) {
        self.brokers.retain(|(id, _)| *id != broker);
        for topic in self.topics.values_mut() {
            for (in_sync, leader) in topic.in_sync.iter_mut().zip(&mut topic.leaders) {
                if in_sync.len() > 1 {
                    in_sync.retain(|id| *id != broker);
                }
                if *leader == Some(broker) {
                    *leader = in_sync.iter().copied().find(|id| *id != broker);
                }
            }
        }
    }

    fn live(&self, broker: i32) -> Item<()> {
        if self.brokers.iter().any(|(id, _)| *id == broker) {
            return Ok(());
        }
        let text = format!("broker {broker}: it is not among the live brokers");
        let error = ItemError::of(ItemError::BROKER_NOT_AVAILABLE, Some(&text));
        Err(ItemError { retriable: true, ..error })
    }
}

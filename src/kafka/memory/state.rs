use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use topicops_contract::{PartitionCount, ReplicationFactor, TopicConfig, TopicName};

use super::moves::Move;
use crate::kafka::{
    Acl, AclOperation, AclResource, ConfigChange, ConfigKeys, ConsumingGroup, CreatedTopic, DoomedTopic,
    Item, ItemError, LoginCheck, LoginReport, NewPartitions, NewTopic, PatternType, ResourceType, ScramKeys,
    ScramMechanism, ScramUser, TopicDescription, TopicPartition,
};

/// What the brokers know. Every method refuses what a broker of Kafka 4.3 refuses, with its code and its words.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) brokers: Vec<(i32, Option<String>)>,
    pub(super) topics: BTreeMap<String, TopicDescription>,
    pub(super) moves: BTreeMap<TopicPartition, Move>,
    /// Moves wait for a test's word.
    pub(super) moves_held: bool,
    /// Bytes of a partition on each broker that has all of it.
    pub(super) sizes: BTreeMap<TopicPartition, u64>,
    pub(super) disk_sizes: BTreeMap<i32, u64>,
    /// What was set on single brokers at run time.
    pub(super) broker_configs: BTreeMap<i32, BTreeMap<String, String>>,
    /// What counts on every broker that has no setting of its own.
    pub(super) static_configs: BTreeMap<String, String>,
    pub(super) groups: Vec<ConsumingGroup>,
    pub(super) acls: BTreeSet<Acl>,
    pub(super) users: BTreeMap<String, BTreeMap<ScramMechanism, ScramKeys>>,
}

/// `num.partitions` and `default.replication.factor` of a broker without configuration.
const DEFAULT_PARTITIONS: i32 = 1;
const DEFAULT_REPLICATION_FACTOR: i16 = 1;

/// The retention of topics without their own: key, the brokers' key, and Kafka's own default.
const RETENTION: [(&str, &str, &str); 2] =
    [("retention.bytes", "log.retention.bytes", "-1"), ("retention.ms", "log.retention.ms", "604800000")];

/// The controller's `MAX_PARTITIONS_PER_BATCH`.
const MAX_PARTITIONS: i64 = 10_000;

const MAX_ITERATIONS: i32 = 16_384;

pub(super) fn refused<T>(number: i16, text: impl AsRef<str>) -> Item<T> {
    Err(ItemError::of(number, Some(text.as_ref())))
}

impl State {
    pub(super) fn describe(&self, name: &TopicName, keys: &ConfigKeys) -> Option<TopicDescription> {
        let mut topic = self.topics.get(name.as_str())?.clone();
        let asked = |key: &str| match keys {
            ConfigKeys::All => true,
            ConfigKeys::Only(keys) => keys.contains(key),
        };
        topic.configs.retain(|key, _| asked(key));
        for (key, of_broker, default) in RETENTION {
            if asked(key) && !topic.configs.contains_key(key) {
                let value = self.static_configs.get(of_broker).map_or(default, String::as_str);
                topic.inherited.insert(key.to_owned(), value.to_owned());
            }
        }
        Some(topic)
    }

    pub(super) fn create(&mut self, topic: &NewTopic) -> Item<CreatedTopic> {
        let name = topic.name.as_str();
        if self.topics.contains_key(name) {
            return refused(ItemError::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists."));
        }
        // Metric names make no difference between the two characters, so brokers refuse such pairs of names.
        if let Some(other) =
            self.topics.keys().find(|other| other.replace('.', "_") == name.replace('.', "_"))
        {
            let text = format!("Topic '{name}' collides with existing topic: {other}");
            return refused(ItemError::INVALID_TOPIC_EXCEPTION, text);
        }
        for (key, value) in &topic.configs {
            check_config(key, value)?;
        }
        let replicas = match &topic.placement {
            Some(placement) => self.placed(placement, None)?,
            None => {
                let partitions = topic.partitions.map_or(DEFAULT_PARTITIONS, PartitionCount::get);
                let factor =
                    topic.replication_factor.map_or(DEFAULT_REPLICATION_FACTOR, ReplicationFactor::get);
                self.place(0, partitions, factor)?
            }
        };
        let mut bytes = [0; 16];
        if rand::fill(&mut bytes).is_err() {
            return refused(ItemError::UNKNOWN_SERVER_ERROR, "no randomness");
        }
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let mut description = TopicDescription {
            id: id.clone(),
            replicas: Vec::new(),
            leaders: Vec::new(),
            in_sync: Vec::new(),
            configs: topic.configs.clone(),
            inherited: BTreeMap::new(),
        };
        add_partitions(&mut description, replicas);
        let made = CreatedTopic {
            id,
            partitions: Some(description.partitions()),
            replication_factor: Some(description.replication_factor()),
        };
        self.topics.insert(name.to_owned(), description);
        Ok(made)
    }

    /// Refuses the placements that a broker refuses; `factor` is the one that the others have.
    fn placed(&self, placement: &[Vec<i32>], factor: Option<usize>) -> Item<Vec<Vec<i32>>> {
        let mut factor = factor;
        for replicas in placement {
            self.check_placement(replicas, factor)?;
            factor = Some(replicas.len());
        }
        Ok(placement.to_vec())
    }

    pub(super) fn check_placement(&self, replicas: &[i32], factor: Option<usize>) -> Item<()> {
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        let unknown = replicas.iter().find(|id| !self.brokers.iter().any(|(broker, _)| broker == *id));
        let fault = if replicas.is_empty() {
            "The manual partition assignment includes an empty replica list.".to_owned()
        } else if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            format!("The manual partition assignment includes the broker {} more than once.", twice[0])
        } else if let Some(unknown) = unknown {
            format!(
                "The manual partition assignment includes broker {unknown}, but no such broker is registered."
            )
        } else if factor.is_some_and(|factor| factor != replicas.len()) {
            format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {} replica(s).",
                replicas.len(),
                factor.unwrap_or_default()
            )
        } else {
            return Ok(());
        };
        refused(ItemError::INVALID_REPLICA_ASSIGNMENT, fault)
    }

    fn place(&self, first: i32, partitions: i32, factor: i16) -> Item<Vec<Vec<i32>>> {
        if i64::from(partitions) > MAX_PARTITIONS {
            return refused(
                ItemError::POLICY_VIOLATION,
                "Excessively large number of partitions per request.",
            );
        }
        let brokers = self.brokers.len();
        let wanted = usize::try_from(factor).unwrap_or(usize::MAX);
        if wanted > brokers {
            return refused(
                ItemError::INVALID_REPLICATION_FACTOR,
                format!(
                    "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} \
                     cannot be reached because only {brokers} broker(s) are registered."
                ),
            );
        }
        let replicas = (first..first + partitions).map(|partition| {
            let start = usize::try_from(partition).unwrap_or(0);
            (0..wanted).map(|offset| self.brokers[(start + offset) % brokers].0).collect()
        });
        Ok(replicas.collect())
    }

    pub(super) fn grow(&mut self, more: &NewPartitions) -> Item<()> {
        let (name, count) = (&more.topic, more.total.get());
        let Some(topic) = self.topics.get(name.as_str()) else { return unknown_topic() };
        let (before, factor) = (topic.partitions(), topic.replication_factor());
        if count == before {
            return refused(
                ItemError::INVALID_PARTITIONS,
                format!("Topic already has {before} partition(s)."),
            );
        }
        if count < before {
            return refused(
                ItemError::INVALID_PARTITIONS,
                format!(
                    "The topic {name} currently has {before} partition(s); {count} would not be an increase."
                ),
            );
        }
        let added = match &more.placement {
            Some(placement) => {
                if i32::try_from(placement.len()).ok() != Some(count - before) {
                    let text = format!(
                        "Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
                        count - before,
                        placement.len()
                    );
                    return refused(ItemError::INVALID_REPLICA_ASSIGNMENT, text);
                }
                self.placed(placement, usize::try_from(factor).ok())?
            }
            None => self.place(before, count - before, factor)?,
        };
        if let Some(topic) = self.topics.get_mut(name.as_str()) {
            add_partitions(topic, added);
        }
        Ok(())
    }

    pub(super) fn alter(&mut self, name: &TopicName, change: &ConfigChange) -> Item<()> {
        let Some(topic) = self.topics.get_mut(name.as_str()) else {
            let text = format!("The topic '{name}' does not exist.");
            return refused(ItemError::UNKNOWN_TOPIC_OR_PARTITION, text);
        };
        let mut unset: Vec<&String> = change.unset.iter().collect();
        unset.sort_unstable();
        if unset.windows(2).any(|pair| pair[0] == pair[1])
            || unset.iter().any(|key| change.set.contains_key(*key))
        {
            return refused(ItemError::INVALID_REQUEST, "Error due to duplicate config keys");
        }
        for (key, value) in &change.set {
            check_config(key, value)?;
        }
        // Taking away what is not set, or what nobody knows, is no error.
        topic.configs.retain(|key, _| !change.unset.contains(key));
        topic.configs.extend(change.set.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(())
    }

    pub(super) fn delete(&mut self, topic: &DoomedTopic) -> Item<()> {
        let name = &topic.name;
        let there = self.topics.get(name.as_str());
        if topic.id.as_ref().is_some_and(|id| there.is_none_or(|there| there.id != *id)) {
            return refused(ItemError::UNKNOWN_TOPIC_ID, "This server does not host this topic ID.");
        }
        match self.topics.remove(name.as_str()) {
            Some(_) => {
                self.moves.retain(|partition, _| partition.topic != *name);
                self.sizes.retain(|partition, _| partition.topic != *name);
                Ok(())
            }
            None => unknown_topic(),
        }
    }

    pub(super) fn create_acl(&mut self, acl: &Acl) -> Item<()> {
        let name = &acl.resource.name;
        if name.is_empty() {
            return refused(ItemError::INVALID_REQUEST, "Invalid empty resource name");
        }
        if acl.resource.resource_type == ResourceType::Cluster && name != "kafka-cluster" {
            return refused(
                ItemError::INVALID_REQUEST,
                "The only valid name for the CLUSTER resource is kafka-cluster",
            );
        }
        self.acls.insert(acl.clone());
        Ok(())
    }

    pub(super) fn users(&self, prefix: &str) -> Vec<ScramUser> {
        let ours = self.users.iter().filter(|(username, _)| username.starts_with(prefix));
        ours.map(|(username, credentials)| ScramUser {
            username: username.clone(),
            credentials: credentials.iter().map(|(mechanism, keys)| (*mechanism, keys.iterations)).collect(),
        })
        .collect()
    }

    pub(super) fn upsert_user(&mut self, username: &str, keys: &ScramKeys) -> Item<()> {
        let fault = if username.is_empty() {
            "Username must not be empty"
        } else if keys.iterations < 4096 {
            "Too few iterations"
        } else if keys.iterations > MAX_ITERATIONS {
            "Too many iterations"
        } else {
            self.users.entry(username.to_owned()).or_default().insert(keys.mechanism, keys.clone());
            return Ok(());
        };
        refused(ItemError::UNACCEPTABLE_CREDENTIAL, fault)
    }

    pub(super) fn login(&self, check: &LoginCheck) -> Item<LoginReport> {
        let known = self.users.get(&check.username).and_then(|keys| keys.get(&check.keys.mechanism));
        let same = known.is_some_and(|known| {
            known.salt == check.keys.salt
                && known.iterations == check.keys.iterations
                && *known.salted_password == *check.keys.salted_password
        });
        if !same {
            let text = format!(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism {}",
                check.keys.mechanism
            );
            let error = ItemError::of(ItemError::SASL_AUTHENTICATION_FAILED, Some(&text));
            return Err(ItemError { retriable: true, ..error });
        }
        let mut report = LoginReport::default();
        for name in &check.topics {
            let code = if !self.may_see(&check.username, ResourceType::Topic, name.as_str()) {
                ItemError::TOPIC_AUTHORIZATION_FAILED
            } else if self.topics.contains_key(name.as_str()) {
                continue;
            } else {
                ItemError::UNKNOWN_TOPIC_OR_PARTITION
            };
            report.hidden_topics.push((name.clone(), ItemError::of(code, None).to_string()));
        }
        for group in &check.groups {
            if !self.may_see(&check.username, ResourceType::Group, group) {
                let error = ItemError::of(ItemError::GROUP_AUTHORIZATION_FAILED, None);
                report.hidden_groups.push((group.clone(), error.to_string()));
            }
        }
        for id in &check.transactional_ids {
            if !self.may_see(&check.username, ResourceType::TransactionalId, id) {
                let error = ItemError::of(ItemError::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, None);
                report.hidden_transactional_ids.push((id.clone(), error.to_string()));
            }
        }
        Ok(report)
    }

    /// As Kafka's own authorizer decides: reading, writing and the like imply seeing, and `*` is every name.
    fn may_see(&self, username: &str, resource_type: ResourceType, name: &str) -> bool {
        let covers = |resource: &AclResource| {
            resource.resource_type == resource_type
                && match resource.pattern {
                    PatternType::Literal => resource.name == name || resource.name == "*",
                    PatternType::Prefixed => name.starts_with(&resource.name),
                }
        };
        let shows = |operation: AclOperation| {
            matches!(
                operation,
                AclOperation::All
                    | AclOperation::Describe
                    | AclOperation::Read
                    | AclOperation::Write
                    | AclOperation::Delete
                    | AclOperation::Alter
            )
        };
        self.acls.iter().any(|acl| acl.username == username && covers(&acl.resource) && shows(acl.operation))
    }
}

fn add_partitions(topic: &mut TopicDescription, placement: Vec<Vec<i32>>) {
    topic.leaders.extend(placement.iter().map(|replicas| replicas.first().copied()));
    topic.in_sync.extend(placement.iter().cloned());
    topic.replicas.extend(placement);
}

fn unknown_topic() -> Item<()> {
    refused(ItemError::UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
}

fn check_config(key: &str, value: &str) -> Item<()> {
    if !TopicConfig::keys().any(|known| known == key) {
        return refused(ItemError::INVALID_CONFIG, format!("Unknown topic config name: {key}"));
    }
    match TopicConfig::check(key, value) {
        Ok(()) => Ok(()),
        Err(problem) => refused(
            ItemError::INVALID_CONFIG,
            format!("Invalid value {value} for configuration {key}: {}", problem.expected),
        ),
    }
}

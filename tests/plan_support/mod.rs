//! Generated declarations, topics and policies, and a cluster in memory that plans are carried out on.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use futures::executor::block_on;
use proptest::prelude::*;
use topicops::{
    Reason,
    kafka::{
        Cluster, ConfigChange, ConfigKeys, DoomedTopic, ItemError, MemoryCluster, NewPartitions, NewTopic,
        TopicDescription, TopicPartition,
    },
    topic::{
        Declaration, Deletion, Holding, OwnerRules, PlanContext, Step, TopicObjectKey, TopicPlan,
        TopicPolicy,
        limits::{Action, At, Field, OverQuota, TopicRules, Violation},
    },
};
use topicops_contract::{DriftPolicy, NamePattern, TopicManifest, TopicName, TopicSource};

/// One is protected by a pattern, one by its underscores.
pub const TOPICS: [&str; 5] = ["a", "b", "c", "protected-d", "__e"];
const KEYS: [&str; 3] = ["retention.ms", "segment.ms", "max.message.bytes"];

static RULES: LazyLock<Vec<Arc<TopicRules>>> = LazyLock::new(|| {
    let policies = [
        "{}",
        "limits: { partitions: { max: 3 } }",
        "limits: { partitions: { max: 3, action: adjust }, replication-factor: { max: 1, action: adjust } }",
        "limits: { partitions: { min: 2, max: 3, action: warn }, retention: { min: 2m, max: 4m } }",
        "{ defaults: { partitions: 2, properties: { segment.ms: 200000 } }, namespaces: { x: { limits: { \
           properties: { max.message.bytes: { max: 200000, action: adjust }, segment.ms: { required: true } } } } } }",
        "namespaces: { y: { limits: { properties: { max.message.bytes: { forbidden: true } } } } }",
    ];
    policies.iter().map(|text| Arc::new(TopicRules::parse(text).unwrap())).collect()
});

#[derive(Clone, Debug)]
pub struct Declared {
    pub namespace: &'static str,
    pub topic: usize,
    pub partitions: Option<i32>,
    pub factor: Option<i16>,
    pub configs: BTreeMap<&'static str, u16>,
    pub flags: Flags,
    pub created: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// The topic goes with it.
    pub deletes: bool,
    pub deleting: bool,
    pub paused: bool,
    pub mistaken: bool,
    pub over_quota: bool,
}

#[derive(Clone, Debug)]
pub struct Existing {
    pub topic: usize,
    pub partitions: i32,
    pub configs: BTreeMap<&'static str, u16>,
    pub holder: Option<&'static str>,
    pub held_keys: BTreeSet<&'static str>,
    pub deletion: Remembered,
}

/// What an object that is gone asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    Nothing,
    /// That the topic goes.
    Deletion,
    /// That one of this name goes that somebody has deleted since.
    DeletionOfAnother,
}

/// What a namespace may, and which rules there are.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Every namespace may adopt what exists.
    pub open: bool,
    pub rules: usize,
    pub max_partitions: Option<i32>,
    pub drift: DriftPolicy,
}

fn configs() -> impl Strategy<Value = BTreeMap<&'static str, u16>> {
    proptest::collection::btree_map(proptest::sample::select(&KEYS[..]), 1u16..4, 0..3)
}

pub fn declared() -> impl Strategy<Value = Declared> {
    let rarely = || proptest::bool::weighted(0.2);
    let flags = (any::<bool>(), proptest::bool::weighted(0.35), rarely(), rarely(), rarely()).prop_map(
        |(deletes, deleting, paused, mistaken, over_quota)| Flags {
            deletes,
            deleting,
            paused,
            mistaken,
            over_quota,
        },
    );
    let numbers = (proptest::option::of(1i32..6), proptest::option::of(1i16..3));
    (proptest::sample::select(&["x", "y"][..]), 0..TOPICS.len(), numbers, configs(), flags, 0i64..4).prop_map(
        |(namespace, topic, (partitions, factor), configs, flags, created)| Declared {
            namespace,
            topic,
            partitions,
            factor,
            configs,
            flags,
            created,
        },
    )
}

pub fn existing() -> impl Strategy<Value = Existing> {
    let holder = proptest::option::of(proptest::sample::select(&["x", "y"][..]));
    let held_keys = proptest::collection::btree_set(proptest::sample::select(&KEYS[..]), 0..3);
    let deletion = prop_oneof![
        4 => Just(Remembered::Nothing),
        1 => Just(Remembered::Deletion),
        1 => Just(Remembered::DeletionOfAnother),
    ];
    (0..TOPICS.len(), 1i32..6, configs(), holder, held_keys, deletion).prop_map(
        |(topic, partitions, configs, holder, held_keys, deletion)| Existing {
            topic,
            partitions,
            configs,
            holder,
            held_keys,
            deletion,
        },
    )
}

pub fn policy() -> impl Strategy<Value = Policy> {
    let max_partitions = proptest::option::weighted(0.3, 2i32..5);
    let drift = prop_oneof![Just(DriftPolicy::Correct), Just(DriftPolicy::Report)];
    (any::<bool>(), 0..RULES.len(), max_partitions, drift)
        .prop_map(|(open, rules, max_partitions, drift)| Policy { open, rules, max_partitions, drift })
}

/// A value that every key takes.
fn wide(value: u16) -> String {
    (u32::from(value) * 100_000).to_string()
}

impl Declared {
    pub fn declaration(&self, index: usize) -> Declaration {
        let mut data = BTreeMap::new();
        data.extend(self.partitions.map(|count| ("partitions".to_owned(), count.to_string())));
        data.extend(self.factor.map(|factor| ("replication-factor".to_owned(), factor.to_string())));
        let lines: String =
            self.configs.iter().map(|(key, value)| format!("{key}={}\n", wide(*value))).collect();
        data.insert("properties".to_owned(), lines);
        if self.flags.mistaken {
            data.insert("retention".to_owned(), "soon".to_owned());
        }
        let mut annotations = BTreeMap::new();
        if self.flags.deletes {
            annotations.insert("topic.kafka.nb/deletion-policy".to_owned(), "delete".to_owned());
        }
        if self.flags.paused {
            annotations.insert("topic.kafka.nb/paused".to_owned(), "true".to_owned());
        }
        let source = TopicSource { name: "t", annotations: &annotations, data: &data, binary_keys: &[] };
        let (manifest, problems) = TopicManifest::parse_what_is_right(source);
        assert_eq!(problems.is_empty(), !self.flags.mistaken, "{problems}");
        // A name with underscores is no manifest's; plans must not rely on that.
        let manifest = TopicManifest { topic: TOPICS[self.topic].parse().unwrap(), ..manifest.unwrap() };
        Declaration {
            object: TopicObjectKey::config_map(self.namespace, format!("t{index}")),
            created: self.created,
            manifest: Arc::new(manifest),
            problems,
            deleting: self.flags.deleting,
        }
    }
}

impl Policy {
    fn context(self, declared: &[Declared]) -> PlanContext {
        let over = OverQuota {
            action: Action::Refuse,
            violation: Violation {
                reason: Reason::NamespaceQuotaExceeded,
                at: At::Data("partitions"),
                value: "many".to_owned(),
                expected: "fewer".to_owned(),
                withholds: vec![Field::Partitions],
                by_flag: false,
            },
        };
        let over_quota = declared.iter().enumerate().filter(|(_, one)| one.flags.over_quota);
        let over_quota = over_quota.map(|(index, one)| (one.declaration(index).object, vec![over.clone()]));
        let everybody = if self.open { vec!["*=*".parse().unwrap()] } else { Vec::new() };
        let policy = TopicPolicy {
            owners: OwnerRules::new(everybody),
            protected: vec![NamePattern::read("protected-*")],
            max_partitions: self.max_partitions,
            rules: Arc::clone(&RULES[self.rules]),
            unread: false,
        };
        PlanContext {
            over_quota: Arc::new(over_quota.collect()),
            drift: self.drift,
            ..PlanContext::new(policy)
        }
    }
}

pub type Topics = BTreeMap<TopicName, TopicDescription>;

/// A cluster, and what topicops remembers of it.
pub struct World {
    cluster: MemoryCluster,
    names: Vec<TopicName>,
    pub ledger: BTreeMap<TopicName, Holding>,
    pub context: PlanContext,
}

impl World {
    pub fn new(existing: &[Existing], declared: &[Declared], policy: Policy) -> Self {
        let mut world = Self {
            cluster: MemoryCluster::new(3),
            names: TOPICS.iter().map(|name| name.parse().unwrap()).collect(),
            ledger: BTreeMap::new(),
            context: policy.context(declared),
        };
        for one in existing {
            let name = world.names[one.topic].clone();
            let new = NewTopic {
                name: name.clone(),
                partitions: Some(one.partitions.try_into().unwrap()),
                replication_factor: Some(1.try_into().unwrap()),
                placement: None,
                configs: one.configs.iter().map(|(key, value)| ((*key).to_owned(), wide(*value))).collect(),
            };
            // A second one of the same name is refused.
            let made = block_on(world.cluster.create_topics(&[new])).unwrap().remove(0);
            if let (Some(holder), Ok(made)) = (one.holder, made) {
                let deletion =
                    |id: &str| Some(Deletion { topic_id: Some(id.to_owned()), ..Deletion::default() });
                let mut holding = Holding {
                    namespace: holder.to_owned(),
                    keys: one.held_keys.iter().map(|key| (*key).to_owned()).collect(),
                    deletion: match one.deletion {
                        Remembered::Nothing => None,
                        Remembered::Deletion => deletion(&made.id),
                        Remembered::DeletionOfAnother => deletion("another"),
                    },
                    ..Holding::default()
                };
                holding.applied.topic_id = Some(made.id);
                world.ledger.insert(name, holding);
            }
        }
        world
    }

    pub fn topics(&self) -> Topics {
        let found = block_on(self.cluster.describe_topics(&self.names, &ConfigKeys::All)).unwrap();
        let found = self.names.iter().cloned().zip(found);
        found.filter_map(|(name, topic)| Some((name, topic.unwrap()?))).collect()
    }

    pub fn plans(&self, declared: &[Declaration]) -> Vec<TopicPlan> {
        let topics = self.topics();
        let plan = |name: &TopicName| {
            let of_topic: Vec<_> =
                declared.iter().filter(|one| one.manifest.topic == *name).cloned().collect();
            TopicPlan::of(name, &of_topic, topics.get(name), self.ledger.get(name), &self.context)
        };
        self.names.iter().map(plan).collect()
    }

    pub fn apply(&mut self, plans: &[TopicPlan]) {
        for plan in plans {
            let mut after = plan.holding_after.clone();
            for step in &plan.steps {
                let made =
                    self.carry_out(&plan.topic, step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
                if let (Some(id), Some(after)) = (made, &mut after) {
                    after.applied.topic_id = Some(id);
                }
            }
            match after {
                Some(holding) => self.ledger.insert(plan.topic.clone(), holding),
                None => self.ledger.remove(&plan.topic),
            };
        }
    }

    /// As the mover would, in no time.
    fn move_to(&self, topic: &TopicName, factor: usize) {
        let brokers = block_on(self.cluster.describe_cluster()).unwrap().brokers;
        let replicas = self.topics().remove(topic).unwrap().replicas;
        let changes: Vec<_> = (0..)
            .zip(replicas)
            .map(|(partition, mut replicas): (i32, Vec<i32>)| {
                let others = brokers.iter().map(|(id, _)| *id).filter(|id| !replicas.contains(id));
                let others: Vec<i32> = others.collect();
                replicas.extend(others);
                replicas.truncate(factor);
                (TopicPartition { topic: topic.clone(), partition }, Some(replicas))
            })
            .collect();
        block_on(self.cluster.alter_reassignments(&changes)).unwrap();
        self.cluster.finish_moves();
    }

    /// The id of a topic that was made.
    fn carry_out(&self, topic: &TopicName, step: &Step) -> Result<Option<String>, ItemError> {
        let cluster = &self.cluster;
        match step {
            Step::Create(new) => {
                let made = block_on(cluster.create_topics(std::slice::from_ref(new))).unwrap().remove(0);
                made.map(|made| Some(made.id))
            }
            Step::Grow(more) => {
                let grown =
                    block_on(cluster.create_partitions(std::slice::from_ref(more))).unwrap().remove(0);
                grown.map(|()| None)
            }
            Step::ChangeFactor(factor) => {
                self.move_to(topic, usize::try_from(factor.get()).unwrap());
                Ok(None)
            }
            Step::Configure(change) => {
                let change = (topic.clone(), change.clone());
                block_on(cluster.alter_configs(&[change])).unwrap().remove(0).map(|()| None)
            }
            Step::Delete { id, .. } => {
                let doomed = DoomedTopic { name: topic.clone(), id: Some(id.clone()) };
                block_on(cluster.delete_topics(&[doomed])).unwrap().remove(0).map(|()| None)
            }
        }
    }

    /// Somebody's hand on the brokers; where there is no topic it does nothing.
    pub fn tamper(&self, tampering: &Tampering) {
        let name = &self.names[tampering.topic];
        let Some(topic) = self.topics().remove(name) else { return };
        let step = match tampering.what {
            Hand::Sets(key, value) => {
                let set = BTreeMap::from([(key.to_owned(), wide(value))]);
                Step::Configure(ConfigChange { set, unset: Vec::new() })
            }
            Hand::Unsets(key) => {
                Step::Configure(ConfigChange { unset: vec![key.to_owned()], ..ConfigChange::default() })
            }
            Hand::Grows => Step::Grow(NewPartitions {
                topic: name.clone(),
                total: (topic.partitions() + 1).try_into().unwrap(),
                placement: None,
            }),
            Hand::Deletes => Step::Delete { force: true, id: topic.id },
        };
        self.carry_out(name, &step).unwrap();
    }
}

/// What somebody does to a topic behind topicops' back.
#[derive(Clone, Debug)]
pub struct Tampering {
    topic: usize,
    what: Hand,
}

#[derive(Clone, Copy, Debug)]
enum Hand {
    Sets(&'static str, u16),
    Unsets(&'static str),
    Grows,
    Deletes,
}

pub fn tampering() -> impl Strategy<Value = Tampering> {
    let key = || proptest::sample::select(&KEYS[..]);
    let what = prop_oneof![
        4 => (key(), 1u16..4).prop_map(|(key, value)| Hand::Sets(key, value)),
        2 => key().prop_map(Hand::Unsets),
        1 => Just(Hand::Grows),
        1 => Just(Hand::Deletes),
    ];
    (0..TOPICS.len(), what).prop_map(|(topic, what)| Tampering { topic, what })
}

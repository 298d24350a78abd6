//! Plan, apply, plan again: from whatever is declared and whatever is there, one application reaches the goal, and what is
//! left then is refused, not repeated.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use topicops::{
    kafka::{Cluster, ConfigKeys, MemoryCluster, NewPartitions, NewTopic},
    topic::{Declaration, Holding, OwnerRules, PlanContext, Step, TopicObjectKey, TopicPlan, TopicPolicy},
};
use topicops_contract::{TopicManifest, TopicName, TopicSource};

const TOPICS: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 3] = ["retention.ms", "segment.ms", "max.message.bytes"];

#[derive(Clone, Debug)]
struct Declared {
    namespace: &'static str,
    topic: usize,
    partitions: Option<i32>,
    factor: Option<i16>,
    configs: BTreeMap<&'static str, u16>,
    deletes: bool,
    paused: bool,
    mistaken: bool,
    deleting: bool,
    created: i64,
}

#[derive(Clone, Debug)]
struct Existing {
    topic: usize,
    partitions: i32,
    configs: BTreeMap<&'static str, u16>,
    holder: Option<&'static str>,
    held_keys: BTreeSet<&'static str>,
}

fn configs() -> impl Strategy<Value = BTreeMap<&'static str, u16>> {
    proptest::collection::btree_map(proptest::sample::select(KEYS.to_vec()), 1u16..4, 0..3)
}

fn declared() -> impl Strategy<Value = Declared> {
    (
        proptest::sample::select(vec!["x", "y"]),
        0..TOPICS.len(),
        proptest::option::of(1i32..5),
        proptest::option::of(1i16..3),
        configs(),
        (any::<(bool, bool)>(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.2)),
        0i64..4,
    )
        .prop_map(
            |(
                namespace,
                topic,
                partitions,
                factor,
                configs,
                ((deletes, deleting), paused, mistaken),
                created,
            )| {
                Declared {
                    namespace,
                    topic,
                    partitions,
                    factor,
                    configs,
                    deletes,
                    paused,
                    mistaken,
                    deleting,
                    created,
                }
            },
        )
}

fn existing() -> impl Strategy<Value = Existing> {
    (
        0..TOPICS.len(),
        1i32..5,
        configs(),
        proptest::option::of(proptest::sample::select(vec!["x", "y"])),
        proptest::collection::btree_set(proptest::sample::select(KEYS.to_vec()), 0..3),
    )
        .prop_map(|(topic, partitions, configs, holder, held_keys)| Existing {
            topic,
            partitions,
            configs,
            holder,
            held_keys,
        })
}

impl Declared {
    fn declaration(&self, index: usize) -> Declaration {
        let mut data = BTreeMap::from([("name".to_owned(), TOPICS[self.topic].to_owned())]);
        data.extend(self.partitions.map(|count| ("partitions".to_owned(), count.to_string())));
        data.extend(self.factor.map(|factor| ("replication-factor".to_owned(), factor.to_string())));
        let lines: String =
            self.configs.iter().map(|(key, value)| format!("{key}={}\n", wide(*value))).collect();
        data.insert("properties".to_owned(), lines);
        if self.mistaken {
            data.insert("retention".to_owned(), "soon".to_owned());
        }
        let mut annotations = BTreeMap::new();
        if self.deletes {
            annotations.insert("topic.kafka.nb/deletion-policy".to_owned(), "delete".to_owned());
        }
        if self.paused {
            annotations.insert("topic.kafka.nb/paused".to_owned(), "true".to_owned());
        }
        let source = TopicSource { name: "t", annotations: &annotations, data: &data, binary_keys: &[] };
        let (manifest, problems) = TopicManifest::parse_what_is_right(source);
        assert_eq!(problems.is_empty(), !self.mistaken, "{problems}");
        Declaration {
            object: TopicObjectKey::config_map(self.namespace, format!("t{index}")),
            created: self.created,
            manifest: Arc::new(manifest.unwrap()),
            problems,
            deleting: self.deleting,
        }
    }
}

/// A value that every key takes.
fn wide(value: u16) -> String {
    (u32::from(value) * 100_000).to_string()
}

struct World {
    cluster: MemoryCluster,
    ledger: BTreeMap<TopicName, Holding>,
    context: PlanContext,
}

impl World {
    async fn plans(&self, declared: &[Declaration]) -> Vec<TopicPlan> {
        let names: Vec<TopicName> = TOPICS.iter().map(|name| name.parse().unwrap()).collect();
        let observed = self.cluster.describe_topics(&names, &ConfigKeys::All).await.unwrap();
        names
            .iter()
            .zip(observed)
            .map(|(name, observed)| {
                let of_topic: Vec<_> =
                    declared.iter().filter(|one| one.manifest.topic == *name).cloned().collect();
                TopicPlan::of(
                    name,
                    &of_topic,
                    observed.unwrap().as_ref(),
                    self.ledger.get(name),
                    &self.context,
                )
            })
            .collect()
    }

    async fn apply(&mut self, plans: &[TopicPlan]) {
        for plan in plans {
            let mut after = plan.holding_after.clone();
            for step in &plan.steps {
                let outcome = match step {
                    Step::Create(topic) => {
                        let made =
                            self.cluster.create_topics(std::slice::from_ref(topic)).await.unwrap().remove(0);
                        made.map(|made| {
                            if let Some(after) = &mut after {
                                after.applied.topic_id = Some(made.id);
                            }
                        })
                    }
                    Step::Grow(count) => self
                        .cluster
                        .create_partitions(&[NewPartitions {
                            topic: plan.topic.clone(),
                            total: *count,
                            placement: None,
                        }])
                        .await
                        .unwrap()
                        .remove(0),
                    Step::Configure(change) => self
                        .cluster
                        .alter_configs(&[(plan.topic.clone(), change.clone())])
                        .await
                        .unwrap()
                        .remove(0),
                    Step::Delete { .. } => {
                        self.cluster.delete_topics(&[plan.topic.clone().into()]).await.unwrap().remove(0)
                    }
                };
                outcome.unwrap_or_else(|error| panic!("{step:?}: {error}"));
            }
            match after {
                Some(holding) => self.ledger.insert(plan.topic.clone(), holding),
                None => self.ledger.remove(&plan.topic),
            };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_plan_that_was_applied_leaves_nothing_to_do(
        declared in proptest::collection::vec(declared(), 0..5),
        existing in proptest::collection::vec(existing(), 0..3),
        open in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let rules = if open { vec!["*=*".parse().unwrap()] } else { Vec::new() };
            let mut world = World {
                cluster: MemoryCluster::new(3),
                ledger: BTreeMap::new(),
                context: PlanContext::new(TopicPolicy { owners: OwnerRules::new(rules), ..TopicPolicy::default() }),
            };
            let mut untouchable: BTreeSet<TopicName> = BTreeSet::new();
            for one in &existing {
                let name: TopicName = TOPICS[one.topic].parse().unwrap();
                let new = NewTopic {
                    name: name.clone(),
                    partitions: Some(one.partitions.try_into().unwrap()),
                    replication_factor: Some(1.try_into().unwrap()),
                    placement: None,
                    configs: one.configs.iter().map(|(key, value)| ((*key).to_owned(), wide(*value))).collect(),
                };
                if world.cluster.create_topics(&[new]).await.unwrap().remove(0).is_err() {
                    continue;
                }
                match one.holder {
                    Some(holder) => {
                        let keys = one.held_keys.iter().map(|key| (*key).to_owned()).collect();
                        world.ledger.insert(name, Holding { namespace: holder.to_owned(), keys, ..Holding::default() });
                    }
                    None if !open => {
                        untouchable.insert(name);
                    }
                    None => {}
                }
            }
            let all: Vec<_> = declared.iter().enumerate().map(|(index, one)| one.declaration(index)).collect();
            let first = world.plans(&all).await;
            for plan in &first {
                assert!(
                    plan.steps.is_empty() || !untouchable.contains(&plan.topic),
                    "a topic of nobody would be touched: {plan:?}"
                );
                let holds_back = |owner: &Declaration| {
                    owner.manifest.paused || (!owner.problems.is_empty() && !owner.deleting)
                };
                if plan.owner.as_ref().is_some_and(holds_back) {
                    assert!(plan.held_back && plan.steps.is_empty(), "not held back: {plan:?}");
                    assert_eq!(plan.holding, plan.holding_after);
                }
                let may_delete = plan.owner.as_ref().is_some_and(|owner| owner.deleting);
                let deletes = plan.steps.iter().any(|step| matches!(step, Step::Delete { .. }));
                assert!(may_delete || !deletes, "a topic would be deleted that nobody gave up: {plan:?}");
            }
            world.apply(&first).await;
            // What is being deleted lost its finalizer by now.
            let left: Vec<_> = all.into_iter().filter(|one| !one.deleting).collect();
            let second = world.plans(&left).await;
            for plan in &second {
                // Ownership may pass on when a ConfigMap goes; then its successor has a first plan of its own.
                let before = first.iter().find(|before| before.topic == plan.topic).and_then(|before| before.owner.clone());
                if before.map(|owner| owner.object) == plan.owner.clone().map(|owner| owner.object) {
                    assert!(plan.steps.is_empty(), "not empty: {plan:?}");
                    assert_eq!(plan.holding, plan.holding_after);
                }
            }
            world.apply(&second).await;
            for plan in world.plans(&left).await {
                assert!(plan.steps.is_empty(), "never comes to rest: {plan:?}");
            }
        });
    }
}

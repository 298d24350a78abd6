//! A mover on a cluster in memory, and a store that dies when it is told to.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use kube::{Client, Config};
use tokio::sync::watch;
use topicops::{
    controller::{
        Reporter,
        health::Health,
        moves::{MoveDesk, MoveStore, MoveStoreError, Mover, Standing},
        topics::TopicIndex,
    },
    kafka::{Cluster, ConfigChange, ConfigKeys, MemoryCluster, NewTopic, TopicPartition},
    metrics::Metrics,
    moves::{BatchLimits, MoveState, RebalanceRequest, RebalanceState, RebalanceStatus, Side},
};
use topicops_contract::TopicName;

use crate::paused_time::pass;

pub const BYTES: u64 = 3_000_000;
pub const RATE: u64 = 1_000_000;
/// Of the tests' own time, which passes at once while nothing is to be done.
pub const LONG: u32 = 600;

/// Where the state is kept: as text, as it would be in a ConfigMap.
#[derive(Default)]
pub struct MemoryStore(pub Mutex<Stored>);

#[derive(Default)]
pub struct Stored {
    pub text: Option<String>,
    pub writes: usize,
    /// The write at which the process dies, and whether that is before or after it.
    pub dies: Option<(usize, bool)>,
    pub dead: bool,
    pub told: Option<RebalanceStatus>,
}

#[async_trait]
impl MoveStore for MemoryStore {
    async fn load(&self) -> Result<Option<(MoveState, String)>, MoveStoreError> {
        let stored = self.0.lock().unwrap();
        let state = stored.text.as_ref().map(|text| MoveState::take_over(text).unwrap());
        Ok(state.map(|state| (state, stored.writes.to_string())))
    }

    async fn write(&self, state: &MoveState, version: Option<&str>) -> Result<String, MoveStoreError> {
        let (version, dead) = {
            let mut stored = self.0.lock().unwrap();
            let text = state.to_text().unwrap();
            assert!(text.len() <= 1_048_576, "no ConfigMap holds {} bytes", text.len());
            let before = stored.text.as_ref().map(|_| stored.writes.to_string());
            assert_eq!(version.map(str::to_owned), before, "written over a version that was not read");
            let dies = stored.dies.filter(|(nth, _)| *nth == stored.writes).map(|(_, after)| after);
            if dies != Some(false) {
                stored.text = Some(text);
                stored.writes += 1;
            }
            stored.dead |= dies.is_some();
            (stored.writes.to_string(), stored.dead)
        };
        if dead {
            std::future::pending::<()>().await;
        }
        Ok(version)
    }

    async fn tell(&self, status: &RebalanceStatus) -> Result<(), MoveStoreError> {
        self.0.lock().unwrap().told = Some(status.clone());
        Ok(())
    }
}

impl MemoryStore {
    pub fn is_dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    pub fn revive(&self) {
        let mut stored = self.0.lock().unwrap();
        (stored.dead, stored.dies) = (false, None);
    }

    pub fn idle(&self) -> bool {
        let stored = self.0.lock().unwrap();
        stored.text.as_ref().is_some_and(|text| MoveState::take_over(text).unwrap().is_idle())
    }

    pub fn told(&self) -> Option<RebalanceStatus> {
        self.0.lock().unwrap().told.clone()
    }
}

pub struct Bed {
    pub cluster: MemoryCluster,
    pub store: Arc<MemoryStore>,
    pub desk: Arc<MoveDesk>,
    pub index: Arc<TopicIndex>,
    pub metrics: Metrics,
    pub limits: BatchLimits,
    pub topic: TopicName,
}

pub const LIMITS: BatchLimits = BatchLimits { partitions: 2, per_broker: 5, throttle: RATE };

impl Bed {
    /// A topic of three partitions with one replica each, on four brokers in three racks; somebody's throttles are set.
    pub async fn new() -> Self {
        let cluster = MemoryCluster::with_racks(&["a", "b", "c", "a"]);
        cluster.set_broker_default("min.insync.replicas", "1");
        cluster.set_broker_default("num.partitions", "1");
        cluster.set_broker_default("default.replication.factor", "1");
        let topic: TopicName = "orders".parse().unwrap();
        let new = NewTopic {
            name: topic.clone(),
            partitions: Some(3.try_into().unwrap()),
            replication_factor: Some(1.try_into().unwrap()),
            placement: Some(vec![vec![1], vec![1], vec![2]]),
            configs: BTreeMap::from([(Side::Leader.list_key().to_owned(), "2:9".to_owned())]),
        };
        cluster.create_topics(&[new]).await.unwrap().remove(0).unwrap();
        for partition in 0..3 {
            cluster.set_size(TopicPartition { topic: topic.clone(), partition }, BYTES);
        }
        let set = BTreeMap::from([(Side::Leader.rate_key().to_owned(), "2000000".to_owned())]);
        let change = ConfigChange { set, unset: Vec::new() };
        cluster.alter_broker_configs(&[(1, change)]).await.unwrap().remove(0).unwrap();
        let (metrics, _) = Metrics::with_registry();
        let (store, desk) = (Arc::default(), Arc::default());
        let index = Arc::default();
        let bed = Self { cluster, store, desk, index, metrics, limits: LIMITS, topic };
        bed.desk.note_whole();
        bed
    }

    pub fn wish(&self, factor: i16) {
        self.desk.note(&self.topic, Standing::Owned, Some(factor));
    }

    /// A process with a mover in it; it ends with this value.
    pub fn start(&self) -> (tokio::task::JoinHandle<()>, watch::Sender<bool>) {
        self.start_with(Arc::clone(&self.store), Arc::clone(&self.desk))
    }

    pub fn start_with(
        &self,
        store: Arc<MemoryStore>,
        desk: Arc<MoveDesk>,
    ) -> (tokio::task::JoinHandle<()>, watch::Sender<bool>) {
        let client = Client::try_from(Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
        let metrics = self.metrics.clone();
        let mover = Mover {
            cluster: Arc::new(self.cluster.clone()),
            store,
            desk,
            index: Arc::clone(&self.index),
            limits: self.limits,
            reporter: Reporter::new(client, None),
            health: Health::new(metrics.clone()),
            metrics,
        };
        let (leads, leading) = watch::channel(true);
        (tokio::spawn(mover.run(leading)), leads)
    }

    /// Lets time pass until the state says that nothing is left, or its process is dead.
    pub async fn rest(&self) {
        for _ in 0..LONG {
            pass(Duration::from_secs(1)).await;
            if self.store.is_dead()
                || (self.store.idle() && self.cluster.list_reassignments().await.unwrap().is_empty())
            {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.store.0.lock().unwrap().text);
    }

    pub async fn replicas(&self) -> Vec<Vec<i32>> {
        let names = std::slice::from_ref(&self.topic);
        let described = self.cluster.describe_topics(names, &ConfigKeys::All).await.unwrap().remove(0);
        described.unwrap().unwrap().replicas
    }

    /// Every throttle that is set, on brokers and on the topic.
    pub async fn throttles(&self) -> BTreeMap<String, String> {
        let names = std::slice::from_ref(&self.topic);
        let described = self.cluster.describe_topics(names, &ConfigKeys::All).await.unwrap().remove(0);
        let mut all = described.unwrap().unwrap().configs;
        let told = self.cluster.describe_broker_configs(&[1, 2, 3, 4], &ConfigKeys::All).await.unwrap();
        for (broker, configs) in (1..).zip(told) {
            let own = configs.unwrap().own;
            all.extend(own.into_iter().map(|(key, value)| (format!("{broker} {key}"), value)));
        }
        all
    }
}

impl Bed {
    /// As [`Bed::rest`], where it may rest before it has begun.
    pub async fn rest_again(&self) {
        self.rest_again_with(3).await;
    }

    pub async fn rest_again_with(&self, factor: usize) {
        for _ in 0..LONG {
            pass(Duration::from_secs(1)).await;
            let listed = self.cluster.list_reassignments().await;
            if self.store.idle()
                && listed.is_ok_and(|all| all.is_empty())
                && self.replicas().await.iter().all(|replicas| replicas.len() == factor)
            {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.store.0.lock().unwrap().text);
    }
}

impl Bed {
    /// Until Kafka has something under way.
    pub async fn begun(&self) {
        for _ in 0..LONG {
            if !self.cluster.list_reassignments().await.unwrap().is_empty() {
                return;
            }
            pass(Duration::from_millis(100)).await;
        }
        panic!("nothing begins: {:?}", self.store.0.lock().unwrap().text);
    }

    /// As [`Bed::rest`]; while Kafka has something under way, the throttles for it stay.
    pub async fn rest_throttled(&self) {
        for _ in 0..LONG {
            pass(Duration::from_millis(100)).await;
            let listed = self.cluster.list_reassignments().await.unwrap();
            if listed.is_empty() && self.store.idle() {
                return;
            }
            let now = self.throttles().await;
            let follows = now.get(Side::Follower.list_key()).cloned().unwrap_or_default();
            for one in &listed {
                let item = format!("{}:{}", one.partition.partition, one.adding[0]);
                assert!(
                    follows.split(',').any(|listed| listed == item),
                    "{item} copies unthrottled: {now:?}"
                );
            }
        }
        panic!("it never comes to rest: {:?}", self.store.0.lock().unwrap().text);
    }
}

impl Bed {
    /// Topics of one partition, too many for one ConfigMap, whose names are as long as teams make them; all of them on broker 1.
    pub async fn with_many() -> (Self, Vec<TopicName>) {
        let mut bed = Self::new().await;
        bed.limits = BatchLimits { partitions: 100_000, per_broker: 100_000, throttle: 0 };
        let names: Vec<TopicName> =
            (0..2_600).map(|number| format!("{}-{number:04}", "n".repeat(195)).parse().unwrap()).collect();
        let new = |name: &TopicName| NewTopic {
            name: name.clone(),
            partitions: Some(1.try_into().unwrap()),
            replication_factor: Some(1.try_into().unwrap()),
            placement: Some(vec![vec![1]]),
            configs: BTreeMap::new(),
        };
        let new: Vec<NewTopic> = names.iter().map(new).collect();
        assert!(bed.cluster.create_topics(&new).await.unwrap().iter().all(Result::is_ok));
        (bed, names)
    }

    /// Until this rebalance is over.
    pub async fn until_done(&self, id: &str) {
        for _ in 0..LONG {
            pass(Duration::from_secs(1)).await;
            let told = self.store.told();
            if told.is_some_and(|told| told.id == id && told.state == RebalanceState::Done) {
                return;
            }
        }
        panic!("it is never done: {:?}", self.store.told());
    }

    pub async fn all_replicas(&self, names: &[TopicName]) -> Vec<Vec<i32>> {
        let described = self.cluster.describe_topics(names, &ConfigKeys::All).await.unwrap();
        described.into_iter().map(|topic| topic.unwrap().unwrap().replicas.remove(0)).collect()
    }
}

pub fn drain(id: &str, broker: i32) -> RebalanceRequest {
    RebalanceRequest { id: id.to_owned(), drain: [broker].into(), ..RebalanceRequest::default() }
}

pub fn called_off(id: &str) -> RebalanceRequest {
    RebalanceRequest { id: id.to_owned(), cancel: true, ..RebalanceRequest::default() }
}

//! The mover on a cluster in memory: crashes at each write of its state, throttles and moves of others, calls that fail.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use kube::{Client, Config};
use tokio::{sync::watch, time::sleep};
use topicops::{
    controller::{
        Reporter,
        health::Health,
        moves::{MoveDesk, MoveStore, MoveStoreError, Mover, Standing},
        topics::TopicIndex,
    },
    kafka::{
        Call, Cluster, ClusterError, ConfigChange, ConfigKeys, MemoryCluster, NewTopic, TopicPartition,
        Trouble,
    },
    metrics::{Metrics, StateLabel},
    moves::{BatchLimits, MoveState, RebalanceRequest, RebalanceState, RebalanceStatus, Side},
};
use topicops_contract::{NamePattern, TopicName};

const BYTES: u64 = 3_000_000;
const RATE: u64 = 1_000_000;
/// Of the tests' own time, which passes at once while nothing is to be done.
const LONG: u32 = 600;

/// Where the state is kept: as text, as it would be in a ConfigMap.
#[derive(Default)]
struct MemoryStore(Mutex<Stored>);

#[derive(Default)]
struct Stored {
    text: Option<String>,
    writes: usize,
    /// The write at which the process dies, and whether that is before or after it.
    dies: Option<(usize, bool)>,
    dead: bool,
    told: Option<RebalanceStatus>,
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
    fn is_dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    fn revive(&self) {
        let mut stored = self.0.lock().unwrap();
        (stored.dead, stored.dies) = (false, None);
    }

    fn idle(&self) -> bool {
        let stored = self.0.lock().unwrap();
        stored.text.as_ref().is_some_and(|text| MoveState::take_over(text).unwrap().is_idle())
    }

    fn told(&self) -> Option<RebalanceStatus> {
        self.0.lock().unwrap().told.clone()
    }
}

struct Bed {
    cluster: MemoryCluster,
    store: Arc<MemoryStore>,
    desk: Arc<MoveDesk>,
    metrics: Metrics,
    limits: BatchLimits,
    topic: TopicName,
}

const LIMITS: BatchLimits = BatchLimits { partitions: 2, per_broker: 5, throttle: RATE };

impl Bed {
    /// A topic of three partitions with one replica each, on four brokers in three racks; somebody's throttles are set.
    async fn new() -> Self {
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
        let bed = Self { cluster, store, desk, metrics, limits: LIMITS, topic };
        bed.desk.note_whole();
        bed
    }

    fn wish(&self, factor: i16) {
        self.desk.note(&self.topic, Standing::Owned, Some(factor));
    }

    /// A process with a mover in it; it ends with this value.
    fn start(&self) -> (tokio::task::JoinHandle<()>, watch::Sender<bool>) {
        self.start_with(Arc::clone(&self.store), Arc::clone(&self.desk))
    }

    fn start_with(
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
            index: Arc::new(TopicIndex::default()),
            limits: self.limits,
            reporter: Reporter::new(client, None),
            health: Health::new(metrics.clone()),
            metrics,
        };
        let (leads, leading) = watch::channel(true);
        (tokio::spawn(mover.run(leading)), leads)
    }

    /// Lets time pass until the state says that nothing is left, or its process is dead.
    async fn rest(&self) {
        for _ in 0..LONG {
            sleep(Duration::from_secs(1)).await;
            if self.store.is_dead()
                || (self.store.idle() && self.cluster.list_reassignments().await.unwrap().is_empty())
            {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.store.0.lock().unwrap().text);
    }

    async fn replicas(&self) -> Vec<Vec<i32>> {
        let names = std::slice::from_ref(&self.topic);
        let described = self.cluster.describe_topics(names, &ConfigKeys::All).await.unwrap().remove(0);
        described.unwrap().unwrap().replicas
    }

    /// Every throttle that is set, on brokers and on the topic.
    async fn throttles(&self) -> BTreeMap<String, String> {
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

#[tokio::test(start_paused = true)]
async fn whatever_write_it_dies_at_the_replicas_arrive_and_only_our_throttles_go() {
    let mut deaths = 0;
    for nth in 0.. {
        for after in [false, true] {
            let bed = Bed::new().await;
            let before = bed.throttles().await;
            bed.wish(3);
            bed.store.0.lock().unwrap().dies = Some((nth, after));
            let (task, _leads) = bed.start();
            bed.rest().await;
            task.abort();
            let died = bed.store.is_dead();
            if died {
                deaths += 1;
                bed.store.revive();
                bed.desk.forget();
                bed.desk.note_whole();
                bed.wish(3);
                let (task, _leads) = bed.start();
                bed.rest().await;
                task.abort();
            }
            let replicas = bed.replicas().await;
            assert!(replicas.iter().all(|one| one.len() == 3), "write {nth}: {replicas:?}");
            assert_eq!(bed.throttles().await, before, "write {nth}");
            if !died {
                assert!(deaths > 8, "only {deaths} writes");
                return;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_moves_is_throttled_and_a_rate_of_somebody_else_is_left_and_used() {
    let bed = Bed::new().await;
    bed.wish(2);
    let (_task, _leads) = bed.start();
    let mut seen = BTreeMap::new();
    for _ in 0..LONG {
        sleep(Duration::from_millis(500)).await;
        if !bed.cluster.list_reassignments().await.unwrap().is_empty() {
            seen = bed.throttles().await;
            break;
        }
    }
    assert_eq!(seen["1 leader.replication.throttled.rate"], "2000000");
    // Those that move and what somebody else had listed, and nothing more.
    let listed = bed.cluster.list_reassignments().await.unwrap();
    let mut wanted = [BTreeSet::from(["2:9".to_owned()]), BTreeSet::new()];
    let mut rates = BTreeSet::from(["1 leader.replication.throttled.rate".to_owned()]);
    for one in &listed {
        let number = one.partition.partition;
        let from = one.replicas.iter().filter(|broker| !one.adding.contains(broker));
        for (side, brokers) in
            [(Side::Leader, from.collect::<Vec<_>>()), (Side::Follower, one.adding.iter().collect())]
        {
            wanted[side.index()].extend(brokers.iter().map(|broker| format!("{number}:{broker}")));
            rates.extend(brokers.iter().map(|broker| format!("{broker} {}", side.rate_key())));
        }
    }
    for side in Side::BOTH {
        let list: BTreeSet<String> = seen[side.list_key()].split(',').map(str::to_owned).collect();
        assert_eq!(list, wanted[side.index()], "{listed:?}");
    }
    let set = seen.iter().filter(|(key, _)| key.ends_with(".rate"));
    assert_eq!(set.clone().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>(), rates);
    assert_eq!(set.filter(|(_, value)| **value != RATE.to_string()).count(), 1, "{seen:?}");
    bed.rest().await;
}

#[tokio::test(start_paused = true)]
async fn while_others_move_something_nothing_begins() {
    let bed = Bed::new().await;
    bed.cluster.hold_moves();
    let theirs = TopicPartition { topic: bed.topic.clone(), partition: 0 };
    bed.cluster.alter_reassignments(&[(theirs.clone(), Some(vec![3]))]).await.unwrap().remove(0).unwrap();
    bed.wish(2);
    let (_task, _leads) = bed.start();
    sleep(Duration::from_secs(60)).await;
    let listed = bed.cluster.list_reassignments().await.unwrap();
    assert_eq!(listed.iter().map(|one| &one.partition).collect::<Vec<_>>(), [&theirs]);
    bed.cluster.finish_moves();
    bed.rest().await;
    let replicas = bed.replicas().await;
    assert!(replicas.iter().all(|one| one.len() == 2) && replicas[0].contains(&3), "{replicas:?}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_somebody_sends_elsewhere_is_left_to_him_until_he_is_done() {
    let bed = Bed::new().await;
    bed.cluster.hold_moves();
    bed.wish(2);
    let (_task, _leads) = bed.start();
    sleep(Duration::from_secs(5)).await;
    let ours = bed.cluster.list_reassignments().await.unwrap().remove(0);
    let elsewhere: Vec<i32> = (1..=4).filter(|broker| !ours.replicas.contains(broker)).take(1).collect();
    let change = (ours.partition.clone(), Some(elsewhere.clone()));
    bed.cluster.alter_reassignments(&[change]).await.unwrap().remove(0).unwrap();
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        let listed = bed.cluster.list_reassignments().await.unwrap();
        let now = listed.iter().find(|one| one.partition == ours.partition).unwrap();
        assert_eq!(now.target(), elsewhere);
    }
    bed.cluster.finish_moves();
    bed.wish(2);
    for _ in 0..LONG {
        sleep(Duration::from_secs(1)).await;
        if bed.store.idle() && bed.replicas().await.iter().all(|one| one.len() == 2) {
            return;
        }
        bed.wish(2);
    }
    panic!("never planned anew: {:?}", bed.replicas().await);
}

#[tokio::test(start_paused = true)]
async fn two_movers_with_states_of_their_own_take_turns_and_never_cross() {
    let bed = Bed::new().await;
    let other: TopicName = "others".parse().unwrap();
    let new = NewTopic {
        name: other.clone(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: Some(1.try_into().unwrap()),
        placement: Some(vec![vec![4]]),
        configs: BTreeMap::new(),
    };
    bed.cluster.create_topics(&[new]).await.unwrap().remove(0).unwrap();
    bed.cluster.set_size(TopicPartition { topic: other.clone(), partition: 0 }, BYTES);
    let before = bed.throttles().await;
    let (second_store, second_desk) = (Arc::new(MemoryStore::default()), Arc::new(MoveDesk::default()));
    bed.wish(3);
    let (_one, _leads) = bed.start();
    sleep(Duration::from_secs(3)).await;
    second_desk.note_whole();
    second_desk.note(&other, Standing::Owned, Some(2));
    let (_two, _also_leads) = bed.start_with(Arc::clone(&second_store), Arc::clone(&second_desk));
    for _ in 0..LONG {
        sleep(Duration::from_secs(1)).await;
        let listed = bed.cluster.list_reassignments().await.unwrap();
        let names: BTreeSet<_> = listed.iter().map(|one| &one.partition.topic).collect();
        assert!(names.len() < 2, "both move at once: {listed:?}");
        if bed.store.idle() && second_store.idle() {
            break;
        }
    }
    assert!(bed.store.idle() && second_store.idle());
    assert_eq!(bed.throttles().await, before);
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_are_made_again() {
    for call in [
        Call::AlterReassignments,
        Call::AlterBrokerConfigs,
        Call::AlterConfigs,
        Call::ListReassignments,
        Call::DescribeBrokerConfigs,
        Call::ElectPreferredLeaders,
    ] {
        let bed = Bed::new().await;
        let before = bed.throttles().await;
        let error = ClusterError {
            trouble: Trouble::Unreachable,
            operation: "a call".to_owned(),
            message: "gone".to_owned(),
        };
        bed.cluster.fail(call, error.clone());
        bed.cluster.fail(call, error);
        bed.wish(3);
        let (_task, _leads) = bed.start();
        bed.rest_again().await;
        assert!(bed.replicas().await.iter().all(|one| one.len() == 3), "{call:?}");
        assert_eq!(bed.throttles().await, before, "{call:?}");
    }
}

impl Bed {
    /// As [`Bed::rest`], where it may rest before it has begun.
    async fn rest_again(&self) {
        self.rest_again_with(3).await;
    }

    async fn rest_again_with(&self, factor: usize) {
        for _ in 0..LONG {
            sleep(Duration::from_secs(1)).await;
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

#[tokio::test(start_paused = true)]
async fn a_wish_taken_back_calls_the_move_off_with_the_replicas_in_their_old_order() {
    let bed = Bed::new().await;
    let (before, throttles) = (bed.replicas().await, bed.throttles().await);
    bed.cluster.hold_moves();
    bed.wish(3);
    let (_task, _leads) = bed.start();
    sleep(Duration::from_secs(5)).await;
    assert!(!bed.cluster.list_reassignments().await.unwrap().is_empty());
    bed.wish(1);
    bed.rest().await;
    assert_eq!(bed.replicas().await, before);
    assert_eq!(bed.throttles().await, throttles);
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_drains_a_broker_and_tells_when_it_is_done_and_is_not_taken_twice() {
    let bed = Bed::new().await;
    bed.desk.note(&bed.topic, Standing::Owned, None);
    let request = RebalanceRequest { id: "one".to_owned(), drain: [1].into(), ..RebalanceRequest::default() };
    bed.desk.request(Some(request));
    let (task, _leads) = bed.start();
    bed.rest().await;
    sleep(Duration::from_secs(20)).await;
    let replicas = bed.replicas().await;
    assert!(replicas.iter().flatten().all(|broker| *broker != 1), "{replicas:?}");
    assert_eq!(bed.store.told().map(|status| status.state), Some(RebalanceState::Done));
    assert_eq!(bed.desk.draining(), [1].into());
    task.abort();
    let writes = bed.store.0.lock().unwrap().writes;
    bed.cluster.forget_calls();
    let (_task, _leads) = bed.start();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(bed.store.0.lock().unwrap().writes, writes, "it was done already");
    assert!(
        bed.cluster.calls().is_empty(),
        "nothing is asked while nothing is to be done: {:?}",
        bed.cluster.calls()
    );
}

#[tokio::test(start_paused = true)]
async fn topics_that_nobody_declares_and_paused_ones_stay_unless_they_are_asked_for() {
    let bed = Bed::new().await;
    let before = bed.replicas().await;
    let request = |id: &str, include_undeclared| {
        Some(RebalanceRequest {
            id: id.to_owned(),
            drain: [1].into(),
            include_undeclared,
            ..RebalanceRequest::default()
        })
    };
    bed.desk.request(request("one", false));
    let (_task, _leads) = bed.start();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(bed.replicas().await, before);
    let told = bed.store.told().unwrap();
    assert!(told.remarks.contains("2 partitions of topics that nobody declares"), "{told:?}");
    bed.desk.note(&bed.topic, Standing::Paused, None);
    bed.desk.request(request("two", true));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(bed.replicas().await, before, "paused");
    bed.desk.note(&bed.topic, Standing::Unowned, None);
    bed.desk.request(request("three", true));
    sleep(Duration::from_secs(60)).await;
    assert!(bed.replicas().await.iter().flatten().all(|broker| *broker != 1));
    bed.desk.request(Some(RebalanceRequest {
        id: "four".to_owned(),
        drain: [9].into(),
        ..RebalanceRequest::default()
    }));
    sleep(Duration::from_secs(30)).await;
    let told = bed.store.told().unwrap();
    assert!(
        told.state == RebalanceState::Refused && told.message.contains("there is no such broker"),
        "{told:?}"
    );
}

impl Bed {
    /// Until Kafka has something under way.
    async fn begun(&self) {
        for _ in 0..LONG {
            if !self.cluster.list_reassignments().await.unwrap().is_empty() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("nothing begins: {:?}", self.store.0.lock().unwrap().text);
    }

    /// As [`Bed::rest`]; while Kafka has something under way, the throttles for it stay.
    async fn rest_throttled(&self) {
        for _ in 0..LONG {
            sleep(Duration::from_millis(100)).await;
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

fn drain(id: &str, broker: i32) -> RebalanceRequest {
    RebalanceRequest { id: id.to_owned(), drain: [broker].into(), ..RebalanceRequest::default() }
}

fn called_off(id: &str) -> RebalanceRequest {
    RebalanceRequest { id: id.to_owned(), cancel: true, ..RebalanceRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_called_off_before_a_new_leader_has_looked_is_called_off_with_kafka() {
    let limited = RebalanceRequest { topics: Some(NamePattern::read("none*")), ..drain("two", 3) };
    for instead in [Some(called_off("two")), Some(limited), None] {
        let bed = Bed::new().await;
        let (before, throttles) = (bed.replicas().await, bed.throttles().await);
        bed.cluster.hold_moves();
        bed.desk.note(&bed.topic, Standing::Owned, None);
        bed.desk.request(Some(drain("one", 1)));
        let (task, _leads) = bed.start();
        bed.begun().await;
        task.abort();
        bed.desk.forget();
        bed.desk.note_whole();
        bed.desk.note(&bed.topic, Standing::Owned, None);
        bed.desk.request(instead.clone());
        let (_task, _leads) = bed.start();
        bed.rest_throttled().await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!(bed.replicas().await, before, "{instead:?}");
        assert_eq!(bed.throttles().await, throttles, "{instead:?}");
        let told = bed.store.told().unwrap();
        let state = if instead.as_ref().is_some_and(|request| request.cancel) {
            RebalanceState::Cancelled
        } else if instead.is_some() {
            RebalanceState::Done
        } else {
            continue;
        };
        assert_eq!(told.state, state, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_factor_set_back_before_a_new_leader_has_looked_is_called_off_with_kafka() {
    let bed = Bed::new().await;
    let (before, throttles) = (bed.replicas().await, bed.throttles().await);
    bed.cluster.hold_moves();
    bed.wish(3);
    let (task, _leads) = bed.start();
    bed.begun().await;
    task.abort();
    bed.desk.forget();
    bed.desk.note_whole();
    bed.wish(1);
    let (_task, _leads) = bed.start();
    bed.rest_throttled().await;
    assert_eq!(bed.replicas().await, before);
    assert_eq!(bed.throttles().await, throttles);
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_called_off_while_it_moves_leaves_replicas_and_throttles_as_they_were() {
    let bed = Bed::new().await;
    let (before, throttles) = (bed.replicas().await, bed.throttles().await);
    bed.cluster.hold_moves();
    bed.desk.note(&bed.topic, Standing::Owned, None);
    bed.desk.request(Some(drain("one", 1)));
    let (_task, _leads) = bed.start();
    bed.begun().await;
    bed.desk.request(Some(called_off("two")));
    bed.rest_throttled().await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(bed.replicas().await, before);
    assert_eq!(bed.throttles().await, throttles);
    let told = bed.store.told().unwrap();
    assert_eq!((told.id.as_str(), told.state), ("two", RebalanceState::Cancelled));
    assert!(bed.desk.draining().is_empty());
}

impl Bed {
    /// Topics of one partition, too many for one ConfigMap, whose names are as long as teams make them; all of them on broker 1.
    async fn with_many() -> (Self, Vec<TopicName>) {
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

    async fn all_replicas(&self, names: &[TopicName]) -> Vec<Vec<i32>> {
        let described = self.cluster.describe_topics(names, &ConfigKeys::All).await.unwrap();
        described.into_iter().map(|topic| topic.unwrap().unwrap().replicas.remove(0)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_that_no_config_map_would_hold_is_done_in_parts_and_told_as_one() {
    let (bed, names) = Bed::with_many().await;
    names.iter().for_each(|name| bed.desk.note(name, Standing::Owned, None));
    bed.desk.note(&bed.topic, Standing::Owned, None);
    bed.desk.request(Some(drain("one", 1)));
    let (_task, _leads) = bed.start();
    let mut parts = BTreeSet::new();
    for _ in 0..LONG * 10 {
        sleep(Duration::from_millis(100)).await;
        let told = bed.store.told();
        let Some(told) = told.filter(|told| told.state != RebalanceState::Waiting) else { continue };
        // Those of them, and those of the bed that were there before or make it even.
        assert!((2_602..=2_603).contains(&told.partitions), "{told:?}");
        if told.state == RebalanceState::Done {
            assert_eq!(told.message, format!("{} partitions moved", told.partitions));
            break;
        }
        parts.insert(told.partitions_left);
    }
    assert_eq!(bed.store.told().map(|told| told.state), Some(RebalanceState::Done), "{parts:?}");
    let replicas = bed.all_replicas(&names).await;
    assert!(replicas.iter().flatten().all(|broker| *broker != 1));
    let moved = bed.metrics.moved_partitions.get_or_create(&StateLabel { state: "moved" }).get();
    assert_eq!(Some(moved), bed.store.told().map(|told| told.partitions as u64));
}

#[tokio::test(start_paused = true)]
async fn more_replication_factors_than_a_config_map_would_hold_are_changed_in_parts() {
    let (bed, names) = Bed::with_many().await;
    names.iter().for_each(|name| bed.desk.note(name, Standing::Owned, Some(2)));
    let (_task, _leads) = bed.start();
    for _ in 0..LONG {
        sleep(Duration::from_secs(1)).await;
        if bed.store.idle() && bed.all_replicas(&names).await.iter().all(|replicas| replicas.len() == 2) {
            return;
        }
    }
    let changed = bed.all_replicas(&names).await.iter().filter(|replicas| replicas.len() == 2).count();
    panic!("{changed} of {} were changed", names.len());
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_what_moves_how_much_is_left_and_how_it_ended() {
    let bed = Bed::new().await;
    bed.cluster.hold_moves();
    bed.wish(2);
    let (_task, _leads) = bed.start();
    bed.begun().await;
    sleep(Duration::from_secs(12)).await;
    let moving = |state| bed.metrics.moving_partitions.get_or_create(&StateLabel { state }).get();
    let ended = |state| bed.metrics.moved_partitions.get_or_create(&StateLabel { state }).get();
    assert_eq!((moving("moving"), moving("waiting"), moving("yielded")), (2, 1, 0));
    assert_eq!(bed.metrics.move_bytes_left.get(), 3 * i64::try_from(BYTES).unwrap());
    let copying: BTreeSet<i32> =
        bed.cluster.list_reassignments().await.unwrap().iter().flat_map(|one| one.adding.clone()).collect();
    let rate = RATE * copying.len() as u64;
    assert_eq!(bed.metrics.move_seconds_left.get(), i64::try_from((3 * BYTES).div_ceil(rate)).unwrap());
    let throttles = bed.throttles().await;
    // A list for leaders and one for followers, and the rates but for that of somebody else.
    let rates = throttles.values().filter(|value| **value == RATE.to_string()).count();
    assert_eq!(bed.metrics.move_throttles.get(), i64::try_from(2 + rates).unwrap(), "{throttles:?}");
    assert_eq!((ended("moved"), ended("cancelled"), ended("replaced")), (0, 0, 0));

    bed.wish(1);
    bed.rest().await;
    sleep(Duration::from_secs(12)).await;
    assert_eq!((ended("moved"), ended("cancelled")), (0, 3));
    assert_eq!((moving("moving"), moving("waiting")), (0, 0));
    assert_eq!((bed.metrics.move_bytes_left.get(), bed.metrics.move_throttles.get()), (0, 0));
    bed.cluster.finish_moves();
    bed.wish(2);
    bed.rest_again_with(2).await;
    assert_eq!((ended("moved"), ended("cancelled"), ended("replaced")), (3, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn how_long_it_takes_is_told_of_topics_under_way_and_not_of_those_whose_turn_has_not_come() {
    let bed = Bed::new().await;
    let waiting: TopicName = "waits".parse().unwrap();
    let new = NewTopic {
        name: waiting.clone(),
        partitions: Some(1.try_into().unwrap()),
        replication_factor: Some(1.try_into().unwrap()),
        placement: Some(vec![vec![1]]),
        configs: BTreeMap::new(),
    };
    bed.cluster.create_topics(&[new]).await.unwrap().remove(0).unwrap();
    bed.cluster.set_size(TopicPartition { topic: waiting.clone(), partition: 0 }, BYTES);
    bed.cluster.hold_moves();
    bed.wish(2);
    bed.desk.note(&waiting, Standing::Owned, Some(2));
    let (_task, _leads) = bed.start();
    bed.begun().await;
    sleep(Duration::from_secs(12)).await;
    let moving = bed.desk.moving();
    let said = |topic: &TopicName| moving[topic].said.clone().unwrap().1;
    assert!(said(&bed.topic).contains("about "), "{}", said(&bed.topic));
    assert_eq!(
        said(&waiting),
        "replication factor 1 to 2: 0 of 1 partitions moved, 2.9 MiB left to copy",
        "what waits says the same as long as it waits"
    );
    assert!(!moving[&waiting].rebalance);
}

#[tokio::test(start_paused = true)]
async fn to_ask_again_for_the_same_lets_it_go_on_with_the_throttle_that_is_asked_for_now() {
    let bed = Bed::new().await;
    let before = bed.throttles().await;
    bed.cluster.hold_moves();
    bed.desk.note(&bed.topic, Standing::Owned, None);
    bed.desk.request(Some(drain("one", 1)));
    let (_task, _leads) = bed.start();
    bed.begun().await;
    let moving = bed.cluster.list_reassignments().await.unwrap();
    let rate = |all: &BTreeMap<String, String>| {
        let rates = all.iter().filter(|(key, _)| key.contains("follower") && key.ends_with(".rate"));
        rates.map(|(_, value)| value.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(rate(&bed.throttles().await), ["1000000".to_owned()].into());
    bed.desk.request(Some(RebalanceRequest { throttle: Some(7_000_000), ..drain("two", 1) }));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(bed.cluster.list_reassignments().await.unwrap(), moving, "nothing went back");
    assert_eq!(rate(&bed.throttles().await), ["7000000".to_owned()].into());
    let told = bed.store.told().unwrap();
    assert_eq!((told.id.as_str(), told.state), ("two", RebalanceState::Moving));
    bed.desk.request(Some(RebalanceRequest { throttle: Some(0), ..drain("three", 1) }));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(bed.cluster.list_reassignments().await.unwrap(), moving);
    assert_eq!(bed.throttles().await, before, "as fast as it can, in the midst of a batch");
    bed.cluster.finish_moves();
    bed.rest().await;
    sleep(Duration::from_secs(20)).await;
    let told = bed.store.told().unwrap();
    assert_eq!((told.id.as_str(), told.state), ("three", RebalanceState::Done));
    assert_eq!(bed.metrics.moved_partitions.get_or_create(&StateLabel { state: "cancelled" }).get(), 0);
}

//! What tests of moves share: the bed, records that are written all the while, and looks at replicas and throttles.
#![allow(dead_code, unreachable_pub, clippy::panic, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord},
};
use topicops::{
    kafka::{Cluster, ConfigChange, ConfigKeys, NewTopic, Reassignment, TopicDescription},
    moves::Side,
};
use topicops_contract::TopicName;

use crate::support::{Options, PATIENCE, SETTINGS, World, wait};

const RACKS: u8 = 3;

/// Four brokers, two of them (1 and 4) in one rack.
pub fn bed() -> Options {
    SETTINGS.get_or_init(|| vec![("TOPICOPS_MOVE_THROTTLE", "1MB/s"), ("TOPICOPS_MOVE_BATCH", "4")]);
    Options::default().brokers(4).racks(RACKS).broker_heap_mib(256)
}

/// How many racks these brokers stand in.
pub fn racks(replicas: &[i32]) -> usize {
    replicas.iter().map(|broker| (broker - 1) % i32::from(RACKS)).collect::<BTreeSet<_>>().len()
}

pub async fn described(world: &World, topic: &str) -> Result<TopicDescription> {
    let topic: TopicName = topic.parse()?;
    let keys = ConfigKeys::Only(Side::BOTH.map(|side| side.list_key().to_owned()).into());
    let described = world.cluster()?.describe_topics(&[topic], &keys).await?.remove(0)?;
    described.context("no such topic")
}

pub async fn placements(world: &World, topic: &str) -> Result<Vec<Vec<i32>>> {
    Ok(described(world, topic).await?.replicas)
}

/// Waits until every partition's replicas are right, and nothing is moved any more.
pub async fn until_placed(
    world: &World,
    topic: &str,
    right: impl Fn(&[i32]) -> bool,
) -> Result<Vec<Vec<i32>>> {
    wait::until(format!("the replicas of {topic}"), PATIENCE * 2, || async {
        let moving = world.cluster()?.list_reassignments().await?;
        let replicas = placements(world, topic).await?;
        let still: Vec<_> = moving.iter().filter(|one| one.partition.topic.as_str() == topic).collect();
        ensure!(still.is_empty() && replicas.iter().all(|one| right(one)), "{replicas:?}, {still:?}");
        Ok::<_, anyhow::Error>(replicas)
    })
    .await
}

/// All throttles that are set on brokers and on this topic.
pub async fn throttles(world: &World, topic: &str) -> Result<BTreeMap<String, String>> {
    let cluster = world.cluster()?;
    let brokers: Vec<i32> = cluster.describe_cluster().await?.brokers.into_iter().map(|(id, _)| id).collect();
    let keys = ConfigKeys::Only(Side::BOTH.map(|side| side.rate_key().to_owned()).into());
    let mut found: BTreeMap<String, String> = described(world, topic).await?.configs;
    for (id, told) in brokers.iter().zip(cluster.describe_broker_configs(&brokers, &keys).await?) {
        found.extend(told?.own.into_iter().map(|(key, value)| (format!("{id} {key}"), value)));
    }
    Ok(found)
}

/// Sets somebody's own throttles, a rate on one broker and a list on the topic, and gives all that there are then.
pub async fn throttled_by_somebody(world: &World, topic: &str) -> Result<BTreeMap<String, String>> {
    set_rate(world, 1, Side::Leader, Some(7_777_777)).await?;
    alter_topic(world, topic, Side::Leader, "0:9").await?;
    wait::until("somebody's throttles to be seen", PATIENCE, || async {
        let now = throttles(world, topic).await?;
        ensure!(now.contains_key("1 leader.replication.throttled.rate"), "{now:?}");
        ensure!(now.contains_key(Side::Leader.list_key()), "{now:?}");
        Ok::<_, anyhow::Error>(now)
    })
    .await
}

/// Waits until nothing is throttled but what was before.
pub async fn until_throttled_as(world: &World, topic: &str, before: &BTreeMap<String, String>) -> Result<()> {
    wait::until("the throttles to be as before", PATIENCE, || async {
        let now = throttles(world, topic).await?;
        ensure!(now == *before, "{now:?}, not {before:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// All moves under way, whoever began them.
pub async fn listed(world: &World) -> Result<Vec<Reassignment>> {
    Ok(world.cluster()?.list_reassignments().await?)
}

/// A topic of somebody else's making, with its replicas on these brokers.
pub async fn make(world: &World, topic: &str, replicas: &[Vec<i32>]) -> Result<()> {
    let factor = replicas.first().map_or(0, Vec::len);
    let new = NewTopic {
        name: topic.parse()?,
        partitions: Some(i32::try_from(replicas.len())?.try_into().map_err(|error| anyhow!("{error}"))?),
        replication_factor: Some(i16::try_from(factor)?.try_into().map_err(|error| anyhow!("{error}"))?),
        placement: Some(replicas.to_vec()),
        configs: BTreeMap::new(),
    };
    world.cluster()?.create_topics(&[new]).await?.remove(0)?;
    wait::until(format!("{topic} to be seen"), PATIENCE, || async {
        placements(world, topic).await.map(drop)
    })
    .await
}

/// Sets a rate of a broker by somebody's hand, or takes it away.
pub async fn set_rate(world: &World, broker: i32, side: Side, rate: Option<u64>) -> Result<()> {
    let key = side.rate_key().to_owned();
    let change = match rate {
        Some(rate) => ConfigChange { set: BTreeMap::from([(key, rate.to_string())]), unset: Vec::new() },
        None => ConfigChange { unset: vec![key], ..ConfigChange::default() },
    };
    Ok(world.cluster()?.alter_broker_configs(&[(broker, change)]).await?.remove(0)?)
}

/// Sets a topic's list of throttled replicas by somebody's hand.
pub async fn alter_topic(world: &World, topic: &str, side: Side, list: &str) -> Result<()> {
    let set = BTreeMap::from([(side.list_key().to_owned(), list.to_owned())]);
    let change = ConfigChange { set, unset: Vec::new() };
    Ok(world.cluster()?.alter_configs(&[(topic.parse()?, change)]).await?.remove(0)?)
}

/// `topicops rebalance`, as the administrator.
pub async fn rebalance(world: &World, arguments: &[&str]) -> Result<std::process::Output> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_topicops"));
    command.arg("rebalance").args(arguments).env("KUBECONFIG", world.bed.kubeconfig_path());
    if arguments.contains(&"--dry-run") {
        command.arg("--kafka-config").arg(world.bed.kafka()?.admin_properties());
    }
    let output = tokio::time::timeout(PATIENCE * 2, command.kill_on_drop(true).output()).await;
    Ok(output.context("topicops rebalance did not end")??)
}

/// librdkafka's settings of the administrator.
fn client(world: &World) -> Result<ClientConfig> {
    let kafka = world.bed.kafka()?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.bootstrap_servers())
        .set("security.protocol", "SASL_SSL")
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", kafka.admin_user())
        .set("sasl.password", kafka.admin_password())
        .set("ssl.ca.location", kafka.ca_file().display().to_string());
    Ok(config)
}

/// Writes so much to each partition of a topic, with all replicas asked.
pub async fn fill(world: &World, topic: &str, partitions: i32, mebibytes: usize) -> Result<()> {
    let producer: FutureProducer = client(world)?.set("acks", "all").set("linger.ms", "20").create()?;
    let record = vec![b'x'; 512 * 1024];
    for partition in 0..partitions {
        let sends = (0..mebibytes * 2).map(|_| {
            let record: FutureRecord<'_, (), _> =
                FutureRecord::to(topic).partition(partition).payload(&record);
            producer.send(record, PATIENCE)
        });
        for sent in futures::future::join_all(sends).await {
            sent.map_err(|(error, _)| error)?;
        }
    }
    Ok(())
}

/// Records that are written for as long as this lives, one after the other, with acks=all: what was acknowledged is counted.
pub struct Load {
    topic: String,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writer: tokio::task::JoinHandle<Result<()>>,
    prober: tokio::task::JoinHandle<Result<()>>,
}

impl Load {
    pub fn begin(world: &World, topic: &str) -> Result<Self> {
        let producer: FutureProducer = client(world)?
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "60000")
            .create()?;
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let writer =
            tokio::spawn(write(producer, topic.to_owned(), Arc::clone(&acknowledged), Arc::clone(&stop)));
        let impatient: FutureProducer = client(world)?.set("acks", "all").set("retries", "0").create()?;
        let prober = tokio::spawn(probe(impatient, topic.to_owned(), Arc::clone(&stop)));
        Ok(Self { topic: topic.to_owned(), acknowledged, stop, writer, prober })
    }

    pub fn count(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more were acknowledged.
    pub async fn until_written(&self, more: u64) -> Result<()> {
        let wanted = self.count() + more;
        wait::until(format!("{wanted} records to be acknowledged"), PATIENCE, || async {
            let count = self.count();
            if count >= wanted { Ok(()) } else { Err(format!("{count} are")) }
        })
        .await
    }

    /// Stops, and reads every acknowledged record back.
    pub async fn end(self, world: &World) -> Result<()> {
        self.stop().await?.read_back(world).await
    }

    /// Stops: from now on, nothing more is written.
    pub async fn stop(self) -> Result<Written> {
        self.stop.store(true, Ordering::SeqCst);
        self.writer.await??;
        self.prober.await??;
        Ok(Written { topic: self.topic, acknowledged: self.acknowledged.load(Ordering::SeqCst) })
    }
}

/// What was acknowledged.
pub struct Written {
    topic: String,
    acknowledged: u64,
}

impl Written {
    pub async fn read_back(self, world: &World) -> Result<()> {
        let (topic, wanted) = (self.topic, self.acknowledged);
        let consumer: BaseConsumer = client(world)?
            .set("group.id", format!("check-{topic}"))
            .set("enable.partition.eof", "true")
            .create()?;
        let partitions = placements(world, &topic).await?.len();
        let found = tokio::task::spawn_blocking(move || read_all(&consumer, &topic, partitions)).await??;
        let missing: Vec<u64> = (0..wanted).filter(|number| !found.contains(number)).take(5).collect();
        ensure!(missing.is_empty(), "acknowledged records are lost: {missing:?} of {wanted}");
        Ok(())
    }
}

async fn write(
    producer: FutureProducer,
    topic: String,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Result<()> {
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    while !stop.load(Ordering::SeqCst) {
        pace.tick().await;
        let number = acknowledged.load(Ordering::SeqCst).to_string();
        let record = FutureRecord::to(&topic).key(number.as_str()).payload(number.as_str());
        match producer.send(record, PATIENCE).await {
            Ok(_) => {}
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::NotEnoughReplicas), _)) => {
                bail!("record {number}: below min.insync.replicas")
            }
            Err((error, _)) => bail!("record {number} was not acknowledged: {error}"),
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Writes without ever trying again: librdkafka's retries would hide that too few replicas were in sync. What else fails is no
/// finding: leaders change while replicas move.
async fn probe(producer: FutureProducer, topic: String, stop: Arc<AtomicBool>) -> Result<()> {
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while !stop.load(Ordering::SeqCst) {
        pace.tick().await;
        let record: FutureRecord<'_, str, str> = FutureRecord::to(&topic).payload("probe");
        if let Err((KafkaError::MessageProduction(error), _)) = producer.send(record, PATIENCE).await {
            let below = [RDKafkaErrorCode::NotEnoughReplicas, RDKafkaErrorCode::NotEnoughReplicasAfterAppend];
            ensure!(!below.contains(&error), "a partition was below min.insync.replicas: {error}");
        }
    }
    Ok(())
}

fn read_all(consumer: &BaseConsumer, topic: &str, partitions: usize) -> Result<BTreeSet<u64>> {
    let mut assigned = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions)? {
        assigned.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let (mut found, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let (began, mut trouble) = (std::time::Instant::now(), None);
    while ended.len() < partitions {
        let in_time = began.elapsed() < PATIENCE;
        ensure!(in_time, "{} of {partitions} partitions were read, and {trouble:?}", ended.len());
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(record)) => {
                let text = std::str::from_utf8(record.payload().unwrap_or_default()).unwrap_or_default();
                found.extend(text.parse::<u64>());
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            // librdkafka tries again by itself: leaders have just changed.
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
    }
    Ok(found)
}

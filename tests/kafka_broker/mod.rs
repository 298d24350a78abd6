//! The real brokers that the tests of the port share: one bed per test binary.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::OnceCell;
use topicops::kafka::{ClientProperties, Cluster, PemSource, WireCluster};
use topicops_testbed::{Options, Testbed, wait};

/// Names a client properties file of an administrator whose broker is used instead of starting one: for a quick round
/// while developing, and for trying other versions of Kafka.
const RUNNING_BROKER: &str = "TOPICOPS_TEST_KAFKA_CONFIG";

/// The user of PLAIN: it may log in and nothing else.
pub(crate) const PLAIN_USER: (&str, &str) = ("tester", "tester-secret");

/// Every mechanism that the adapter speaks. A broker that runs already needs the same.
const BROKER_SETTINGS: [(&str, &str); 6] = [
    // No broker is stopped here: one that is starved for seconds stays, leads what it led, and no controller is voted out.
    ("broker.session.timeout.ms", "60000"),
    ("controller.quorum.fetch.timeout.ms", "15000"),
    ("auto.leader.rebalance.enable", "false"),
    ("sasl.enabled.mechanisms", "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN"),
    (
        "listener.name.clients.scram-sha-256.sasl.jaas.config",
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    ),
    (
        "listener.name.clients.plain.sasl.jaas.config",
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_tester=\"tester-secret\";",
    ),
];

/// A broker with SASL_SSL, SCRAM and an authorizer.
pub(crate) struct Broker {
    /// The administrator's client configuration.
    properties: String,
    /// What was started for these tests; it ends with the process.
    _bed: Option<Testbed>,
}

impl Broker {
    pub(crate) fn properties(&self) -> &str {
        &self.properties
    }

    /// The administrator's configuration with one line replaced.
    pub(crate) fn with(&self, key: &str, value: &str) -> String {
        let mut lines: Vec<&str> =
            self.properties.lines().filter(|line| !line.starts_with(&format!("{key}="))).collect();
        let line = format!("{key}={value}");
        lines.push(&line);
        lines.join("\n")
    }

    /// Writes so many bytes of records, at least, and waits until all replicas have them.
    #[cfg(feature = "verify")]
    pub(crate) async fn produce(&self, partition: &topicops::kafka::TopicPartition, bytes: u64) {
        use rdkafka::producer::{FutureProducer, FutureRecord};

        const RECORD: usize = 512 * 1024;
        let producer: FutureProducer = self.librdkafka().set("acks", "all").create().unwrap();
        let payload = vec![7; RECORD];
        for _ in 0..usize::try_from(bytes).unwrap().div_ceil(RECORD) {
            let record = FutureRecord::<(), _>::to(partition.topic.as_str())
                .partition(partition.partition)
                .payload(&payload);
            let limit = Duration::from_secs(120);
            producer.send(record, limit).await.unwrap();
        }
    }

    /// The administrator as librdkafka takes it.
    #[cfg(feature = "verify")]
    pub(crate) fn librdkafka(&self) -> rdkafka::ClientConfig {
        let properties = ClientProperties::parse("test", &self.properties).unwrap();
        let sasl = properties.sasl.unwrap();
        let Some(PemSource::File(ca)) = properties.tls.unwrap().trust else { panic!("no trust store file") };
        let mut config = rdkafka::ClientConfig::new();
        config
            .set("bootstrap.servers", properties.bootstrap_servers[0].to_string())
            .set("security.protocol", "sasl_ssl")
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", sasl.username)
            .set("sasl.password", sasl.password.reveal())
            .set("ssl.ca.location", ca.to_str().unwrap());
        config
    }

    /// A handle of its own: connections belong to the runtime of the test that opened them.
    pub(crate) fn cluster(&self) -> WireCluster {
        cluster(&self.properties)
    }

    /// A prefix for names that no other test uses, of this run or an earlier one.
    pub(crate) fn prefix(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        format!("t{:x}-{}", since.as_millis(), NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) fn cluster(properties: &str) -> WireCluster {
    WireCluster::new(ClientProperties::parse("test", properties).unwrap()).unwrap()
}

static BROKER: OnceCell<Broker> = OnceCell::const_new();

pub(crate) async fn broker() -> &'static Broker {
    BROKER.get_or_init(|| start(1)).await
}

/// Three of them, 1 to 3, in `rack-1` to `rack-3`.
pub(crate) async fn three_brokers() -> &'static Broker {
    BROKER.get_or_init(|| start(3)).await
}

async fn start(brokers: u8) -> Broker {
    if let Ok(path) = std::env::var(RUNNING_BROKER) {
        return Broker { properties: std::fs::read_to_string(path).unwrap(), _bed: None };
    }
    let options = Options::default().without_node().brokers(brokers);
    let options =
        BROKER_SETTINGS.iter().fold(options, |options, (key, value)| options.broker_setting(*key, *value));
    let bed = Testbed::start(options).await.unwrap();
    let properties = std::fs::read_to_string(bed.kafka().unwrap().admin_properties()).unwrap();
    let broker = Broker { properties, _bed: Some(bed) };
    until_each_knows_all(&broker, brokers).await;
    broker
}

/// A broker that has started hears of the others only after a moment.
async fn until_each_knows_all(broker: &Broker, brokers: u8) {
    let servers = broker.properties.lines().find_map(|line| line.strip_prefix("bootstrap.servers=")).unwrap();
    for server in servers.split(',') {
        let alone = cluster(&broker.with("bootstrap.servers", server));
        wait::until(format!("{server} to know all brokers"), Duration::from_secs(120), || async {
            let known = alone.describe_cluster().await.map_err(|error| error.to_string())?.brokers;
            if known.len() == usize::from(brokers) { Ok(()) } else { Err(format!("{known:?}")) }
        })
        .await
        .unwrap();
    }
}

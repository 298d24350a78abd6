//! Which groups read which topics now, seen through the port while real consumers read.
#![cfg(feature = "verify")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what tests share may fail as they do"
)]

mod kafka_broker;
mod kafka_support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use kafka_broker::broker;
use kafka_support::eventually;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use topicops::kafka::{ClientProperties, Cluster, NewTopic, PemSource};

/// A consumer on a thread of its own, until it is dropped.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(properties: &str, protocol: &str, group: &str, topics: &[&str]) -> Self {
        let properties = ClientProperties::parse("test", properties).unwrap();
        let sasl = properties.sasl.unwrap();
        let Some(PemSource::File(ca)) = properties.tls.unwrap().trust else { panic!("no trust store file") };
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", properties.bootstrap_servers[0].to_string())
            .set("security.protocol", "sasl_ssl")
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", sasl.username)
            .set("sasl.password", sasl.password.reveal())
            .set("ssl.ca.location", ca.to_str().unwrap())
            .set("group.protocol", protocol)
            .set("group.id", group)
            .create()
            .unwrap();
        consumer.subscribe(topics).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                consumer.poll(Duration::from_millis(50));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[tokio::test]
async fn groups_with_members_are_told_with_their_topics_until_they_leave() {
    let broker = broker().await;
    let (cluster, prefix) = (broker.cluster(), broker.prefix());
    let names = [format!("{prefix}.a"), format!("{prefix}.b")];
    let topics: Vec<NewTopic> = names
        .iter()
        .map(|name| NewTopic {
            name: name.parse().unwrap(),
            partitions: None,
            replication_factor: None,
            placement: None,
            configs: Default::default(),
        })
        .collect();
    for outcome in cluster.create_topics(&topics).await.unwrap() {
        outcome.unwrap();
    }
    let both: BTreeSet<String> = names.iter().cloned().collect();
    for protocol in ["classic", "consumer"] {
        let group = format!("{prefix}.{protocol}");
        let reader = Reader::start(broker.properties(), protocol, &group, &[&names[0], &names[1]]);
        let of_group = || async {
            let groups = cluster.consuming_groups().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(groups.into_iter().find(|one| one.group == group).map(|one| one.topics))
        };
        eventually(protocol, || async {
            let seen = of_group().await?;
            if seen.as_ref() == Some(&both) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
        drop(reader);
        eventually("the group without members", || async {
            let seen = of_group().await?;
            if seen.is_none() { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
}

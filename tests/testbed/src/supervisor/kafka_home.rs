//! A folder as Kafka's image has it at /opt/kafka: command line tools and their jars.
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::authority;
use super::brokers::JVM_FLAGS;
use super::class_archive::ClassArchive;
use crate::KafkaVersion;
use crate::cache::Cache;
use crate::program::Program;

/// Kafka's scripts and the classes behind them.
const TOOLS: [(&str, &str); 29] = [
    ("kafka-acls.sh", "org.apache.kafka.tools.AclCommand"),
    ("kafka-broker-api-versions.sh", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-client-metrics.sh", "org.apache.kafka.tools.ClientMetricsCommand"),
    ("kafka-cluster.sh", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-configs.sh", "kafka.admin.ConfigCommand"),
    ("connect-distributed.sh", "org.apache.kafka.connect.cli.ConnectDistributed"),
    ("kafka-console-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-console-producer.sh", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-console-share-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleShareConsumer"),
    ("kafka-consumer-groups.sh", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-consumer-perf-test.sh", "org.apache.kafka.tools.ConsumerPerformance"),
    ("kafka-delegation-tokens.sh", "org.apache.kafka.tools.DelegationTokenCommand"),
    ("kafka-delete-records.sh", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-features.sh", "org.apache.kafka.tools.FeatureCommand"),
    ("kafka-get-offsets.sh", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-groups.sh", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-leader-election.sh", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("kafka-log-dirs.sh", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-metadata-quorum.sh", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("kafka-producer-perf-test.sh", "org.apache.kafka.tools.ProducerPerformance"),
    ("kafka-reassign-partitions.sh", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("kafka-share-groups.sh", "org.apache.kafka.tools.consumer.group.ShareGroupCommand"),
    ("kafka-streams-application-reset.sh", "org.apache.kafka.tools.StreamsResetter"),
    ("kafka-streams-groups.sh", "org.apache.kafka.tools.streams.StreamsGroupCommand"),
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-transactions.sh", "org.apache.kafka.tools.TransactionsCommand"),
    ("kafka-verifiable-consumer.sh", "org.apache.kafka.tools.VerifiableConsumer"),
    ("kafka-verifiable-producer.sh", "org.apache.kafka.tools.VerifiableProducer"),
    // No script of Kafka's: an example of Kafka Streams.
    ("streams-wordcount.sh", "org.apache.kafka.streams.examples.wordcount.WordCountDemo"),
];

/// What came with 4.x.
const NEW_TOOLS: [&str; 4] = [
    "kafka-console-share-consumer.sh",
    "kafka-groups.sh",
    "kafka-share-groups.sh",
    "kafka-streams-groups.sh",
];

/// Each script that this version has, with its class.
fn tools(version: KafkaVersion) -> impl Iterator<Item = (&'static str, &'static str)> {
    let old = version == KafkaVersion::V3_9;
    TOOLS.into_iter().filter(move |(tool, _)| !(old && NEW_TOOLS.contains(tool))).map(move |(tool, class)| {
        let class = match tool {
            "kafka-acls.sh" if old => "kafka.admin.AclCommand",
            "kafka-broker-api-versions.sh" if old => "kafka.admin.BrokerApiVersionsCommand",
            "kafka-console-producer.sh" if old => "kafka.tools.ConsoleProducer",
            _ => class,
        };
        (tool, class)
    })
}

pub(super) fn folder(bed: &Path) -> PathBuf {
    bed.join("opt-kafka")
}

/// Writes the folder for use on this machine, where `libs` is a link into the cache.
pub(super) fn write(bed: &Path, cache: &Cache, archive: &ClassArchive) -> Result<()> {
    let bin = folder(bed).join("bin");
    fs::create_dir_all(&bin)?;
    symlink(cache.kafka_libs(), folder(bed).join("libs"))?;
    for (tool, class) in tools(cache.kafka_version()) {
        write_script(
            &bin.join(tool),
            &format!("exec \"$(dirname \"$0\")/kafka-run-class.sh\" {class} \"$@\"\n"),
        )?;
    }
    // Kafka's own script honours the same variables, in the same order.
    let run_class = format!(
        "libs=$(cd -P \"$(dirname \"$0\")/../libs\" && pwd -P)\n\
         java=${{JAVA_HOME:+$JAVA_HOME/bin/}}java\n\
         archive={}\n\
         test -f \"$archive\" && java=\"$java -XX:SharedArchiveFile=$archive -Xlog:cds=off -Xlog:cds+dynamic=off\"\n\
         exec $java ${{KAFKA_HEAP_OPTS:--Xmx128m}} {} -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \\\n\
         \x20   $KAFKA_OPTS -cp \"$libs/*${{CLASSPATH:+:$CLASSPATH}}\" \"$@\"\n",
        archive.file().display(),
        JVM_FLAGS.join(" ")
    );
    write_script(&bin.join("kafka-run-class.sh"), &run_class)
}

/// Kafka's image. It runs tools and clients; the brokers are the bed's own.
///
/// `libs` is a link there, too: the JVM uses its archive only for jars at the path that it knows.
pub(super) fn program(bed: &Path, cache: &Cache, archive: &ClassArchive) -> Program {
    Program::host_tools()
        .mount(folder(bed), "/opt/kafka")
        .mount(cache.kafka_libs(), cache.kafka_libs())
        .mount(archive.folder(), archive.folder())
        .working_dir("/")
}

fn write_script(file: &Path, body: &str) -> Result<()> {
    authority::write(file, &format!("#!/bin/sh\n{body}"))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", file.display()))
}

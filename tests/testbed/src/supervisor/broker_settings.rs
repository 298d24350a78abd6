//! A broker's `server.properties`.
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use crate::Options;

#[derive(Debug)]
pub(super) struct BrokerSettings<'a> {
    pub(super) folder: &'a Path,
    pub(super) id: u8,
    pub(super) addresses: &'a [(u8, Ipv4Addr)],
    pub(super) password: &'a str,
    pub(super) options: &'a Options,
    pub(super) disk: Option<&'a Disk>,
}

impl BrokerSettings<'_> {
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(format!("broker-{}.properties", self.id))
    }

    pub(super) fn data_folder(&self) -> PathBuf {
        self.folder.join(format!("data-{}", self.id))
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.own().into_iter().chain(self.listeners()).chain(self.small()) {
            let _ = writeln!(text, "{key}={value}");
        }
        for (key, value) in &self.options.broker_settings {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }

    fn own(&self) -> Vec<(&'static str, String)> {
        let voters: Vec<String> =
            self.addresses.iter().map(|(id, address)| format!("{id}@{address}:9094")).collect();
        let data = self.data_folder().display().to_string();
        let disk = self.disk.map(|disk| format!(",{}", disk.log_directory().display()));
        vec![
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", self.id.to_string()),
            ("broker.rack", format!("rack-{}", (self.id - 1) % self.options.racks.unwrap_or(u8::MAX) + 1)),
            ("controller.quorum.voters", voters.join(",")),
            ("log.dirs", format!("{data}{}", disk.unwrap_or_default())),
            ("metadata.log.dir", data),
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned()),
            ("super.users", "User:admin".to_owned()),
            ("allow.everyone.if.no.acl.found", "false".to_owned()),
            ("auto.create.topics.enable", "false".to_owned()),
        ]
    }

    fn listeners(&self) -> Vec<(&'static str, String)> {
        let address = self.addresses.iter().find(|(id, _)| *id == self.id).map(|(_, address)| *address);
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST);
        let password = self.password;
        let scram = format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"admin\" password=\"{password}\";"
        );
        let plain = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" \
             password=\"{password}\" user_admin=\"{password}\";"
        );
        let (mut more, mut protocols) = (String::new(), String::new());
        for (name, protocol, port) in &self.options.listeners {
            let _ = write!(more, ",{name}://{address}:{port}");
            let _ = write!(protocols, ",{name}:{protocol}");
        }
        vec![
            ("listeners", format!("CLIENTS://{address}:9093,CONTROLLERS://{address}:9094{more}")),
            ("advertised.listeners", format!("CLIENTS://{address}:9093{more}")),
            (
                "listener.security.protocol.map",
                format!("CLIENTS:SASL_SSL,CONTROLLERS:SASL_PLAINTEXT{protocols}"),
            ),
            ("inter.broker.listener.name", "CLIENTS".to_owned()),
            ("controller.listener.names", "CONTROLLERS".to_owned()),
            ("sasl.enabled.mechanisms", "SCRAM-SHA-512".to_owned()),
            ("sasl.mechanism.inter.broker.protocol", "SCRAM-SHA-512".to_owned()),
            ("sasl.mechanism.controller.protocol", "PLAIN".to_owned()),
            ("listener.name.clients.scram-sha-512.sasl.jaas.config", scram),
            ("listener.name.controllers.sasl.enabled.mechanisms", "PLAIN".to_owned()),
            ("listener.name.controllers.plain.sasl.jaas.config", plain),
            ("ssl.keystore.type", "PEM".to_owned()),
            (
                "ssl.keystore.location",
                self.folder.join(format!("broker-{}.pem", self.id)).display().to_string(),
            ),
            ("ssl.truststore.type", "PEM".to_owned()),
            ("ssl.truststore.location", self.folder.join("ca.pem").display().to_string()),
        ]
    }

    /// What makes a broker small, and quick to start, to join and to be missed.
    fn small(&self) -> Vec<(&'static str, String)> {
        let brokers = self.addresses.len();
        let replicas = brokers.min(3).to_string();
        let in_sync = if brokers >= 3 { "2" } else { "1" };
        let fixed = [
            ("num.partitions", "1"),
            ("offsets.topic.num.partitions", "5"),
            ("transaction.state.log.num.partitions", "5"),
            ("share.coordinator.state.topic.num.partitions", "5"),
            ("transaction.state.log.min.isr", in_sync),
            ("share.coordinator.state.topic.min.isr", in_sync),
            ("group.initial.rebalance.delay.ms", "0"),
            ("broker.heartbeat.interval.ms", "500"),
            ("broker.session.timeout.ms", "10000"),
            // Among brokers and controllers: else a frozen controller takes the others down with it, for
            // as long as their heartbeats wait for its answer.
            ("request.timeout.ms", "3000"),
            ("num.network.threads", "2"),
            ("num.io.threads", "4"),
            ("log.cleaner.dedupe.buffer.size", "4194304"),
        ];
        let mut settings: Vec<(&'static str, String)> =
            fixed.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        for key in [
            "default.replication.factor",
            "offsets.topic.replication.factor",
            "transaction.state.log.replication.factor",
            "share.coordinator.state.topic.replication.factor",
        ] {
            settings.push((key, replicas.clone()));
        }
        settings
    }
}

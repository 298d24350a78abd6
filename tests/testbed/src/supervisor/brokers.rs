//! Kafka in KRaft mode: every node is broker and controller.
//!
//! Clients and the brokers among themselves speak SCRAM over TLS; the controllers speak PLAIN on a
//! listener of their own, as the one super user. Nothing is open to the anonymous.
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::authority::{self, Authority};
use super::broker_settings::BrokerSettings;
use super::class_archive::ClassArchive;
use super::component::Component;
use super::disk::Disk;
use super::kafka_home;
use crate::Options;
use crate::bed_info::KafkaInfo;
use crate::cache::Cache;
use crate::residence::Slot;
use crate::{request_log, tail};

const FIRST_BROKER: u8 = 10;
const CLIENT_PORT: u16 = 9093;
const ADMIN: &str = "admin";
const FORMAT_PATIENCE: Duration = Duration::from_secs(120);
/// Short-lived programs on few cores: quick to start, small, and never fast enough to matter.
/// At every login, broker and client look up the name of their own address and of the other's: loopback addresses have none,
/// and a name server that lets requests get lost would hold up a broker's network thread for five seconds each time.
pub(super) const JVM_FLAGS: [&str; 4] =
    ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djdk.net.hosts.file=/etc/hosts"];
const STARTED: &str = "Kafka Server started";

#[derive(Debug)]
pub(super) struct Brokers {
    bed: PathBuf,
    cache: Cache,
    brokers: Vec<Broker>,
    password: String,
}

#[derive(Debug)]
struct Broker {
    id: u8,
    address: Ipv4Addr,
    component: Component,
    disk: Option<Disk>,
}

impl Brokers {
    pub(super) fn prepare(bed: &Path, cache: &Cache, slot: Slot, options: &Options) -> Result<Self> {
        let folder = bed.join("kafka");
        fs::create_dir_all(&folder)?;
        kafka_home::write(bed, cache, &ClassArchive::new(cache)?)?;
        let ids = 1..=options.brokers;
        let addresses: Vec<(u8, Ipv4Addr)> = ids.map(|id| (id, slot.part(FIRST_BROKER + id))).collect();
        write_pki(&folder, &addresses)?;
        let password = URL_SAFE_NO_PAD.encode(random_bytes());
        let mut brokers = Vec::new();
        for &(id, address) in &addresses {
            let disk = options.disk_mebibytes.map(|size| Disk::of(&folder, id).made(size)).transpose()?;
            let settings = BrokerSettings {
                folder: &folder,
                id,
                addresses: &addresses,
                password: &password,
                options,
                disk: disk.as_ref(),
            };
            fs::create_dir_all(settings.data_folder())?;
            let file = settings.file();
            authority::write(&file, &settings.text())?;
            let mut args = vec![format!("-Xmx{}m", options.broker_heap_mib), "-Xms64m".to_owned()];
            args.extend(JVM_FLAGS.map(str::to_owned));
            args.extend(["-Dorg.slf4j.simpleLogger.showDateTime=true".to_owned()]);
            if options.log_requests {
                args.push(format!("-Dorg.slf4j.simpleLogger.log.{}=debug", request_log::KAFKA_LOGGER));
            }
            args.extend([
                "-cp".to_owned(),
                class_path(cache),
                "kafka.Kafka".to_owned(),
                file.display().to_string(),
            ]);
            let component = Component::new(bed, tail::broker(id), PathBuf::from("java"), args);
            brokers.push(Broker { id, address, component, disk });
        }
        Ok(Self { bed: bed.to_owned(), cache: cache.clone(), brokers, password })
    }

    pub(super) async fn start(&self) -> Result<()> {
        self.format().await?;
        for broker in &self.brokers {
            broker.component.start().await?;
        }
        for broker in &self.brokers {
            broker.ready(0).await?;
        }
        Ok(())
    }

    /// Starts one broker again, with the data that it has.
    pub(super) async fn restart(&self, id: u8) -> Result<()> {
        let broker = self.broker(id)?;
        let before = broker.log_length();
        broker.component.start().await?;
        broker.ready(before).await
    }

    pub(super) fn component(&self, id: u8) -> Result<&Component> {
        Ok(&self.broker(id)?.component)
    }

    pub(super) fn disk(&self, id: u8) -> Result<&Disk> {
        let disk = self.broker(id)?.disk.as_ref();
        disk.context("this bed was started without disks: start it with Options::disks")
    }

    pub(super) fn client_addresses(&self) -> Vec<SocketAddr> {
        self.brokers.iter().map(Broker::client_address).collect()
    }

    /// Writes the administrator's client configuration and says where everything is.
    pub(super) fn info(&self) -> Result<KafkaInfo> {
        let addresses: Vec<String> = self.client_addresses().iter().map(ToString::to_string).collect();
        let ca_file = self.bed.join("kafka/ca.pem");
        let info = KafkaInfo {
            bootstrap_servers: addresses.join(","),
            admin_user: ADMIN.to_owned(),
            admin_password: self.password.clone(),
            admin_properties: self.bed.join("kafka/admin.properties"),
            tools: kafka_home::folder(&self.bed).join("bin"),
            ca_file,
        };
        let text = crate::kafka::properties(
            &info.bootstrap_servers,
            &info.ca_file,
            &info.admin_user,
            &info.admin_password,
        );
        authority::write(&info.admin_properties, &text)?;
        Ok(info)
    }

    fn broker(&self, id: u8) -> Result<&Broker> {
        self.brokers.iter().find(|broker| broker.id == id).with_context(|| format!("there is no broker {id}"))
    }

    /// Formats the first node's storage with Kafka's own tool and copies it to the others with their own
    /// identities: a JVM per node would take seconds.
    async fn format(&self) -> Result<()> {
        let folder = self.bed.join("kafka");
        let mut command = Command::new("java");
        command.args(["-Xmx128m"]).args(JVM_FLAGS).arg("-cp").arg(class_path(&self.cache));
        command.args(["kafka.tools.StorageTool", "format", "--cluster-id", &random_uuid()]);
        command.arg("--config").arg(folder.join("broker-1.properties"));
        let record = format!("SCRAM-SHA-512=[name={ADMIN},password={}]", self.password);
        command.args(["--add-scram", &record]).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(FORMAT_PATIENCE, command.output())
            .await
            .context("formatting Kafka's storage takes too long")?
            .context("running java (Debian and Ubuntu: apt install openjdk-17-jre-headless)")?;
        if !output.status.success() {
            let [printed, complained] =
                [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
            bail!("formatting Kafka's storage: {}\n{printed}{complained}", output.status);
        }
        let first = folder.join("data-1");
        let first_disk = self.brokers.first().and_then(|broker| broker.disk.as_ref());
        for broker in self.brokers.iter().skip(1) {
            let mut copies = vec![(first.clone(), folder.join(format!("data-{}", broker.id)))];
            copies.extend(
                first_disk.map(Disk::log_directory).zip(broker.disk.as_ref().map(Disk::log_directory)),
            );
            for (from, to) in copies {
                copy_storage(&from, &to, broker.id)
                    .with_context(|| format!("preparing the storage of broker {}", broker.id))?;
            }
        }
        Ok(())
    }
}

impl Broker {
    fn client_address(&self) -> SocketAddr {
        SocketAddr::from((self.address, CLIENT_PORT))
    }

    fn log_length(&self) -> usize {
        fs::metadata(self.component.log())
            .map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX))
    }

    /// Its log tells when it is unfenced; a port that is open tells only that it listens.
    async fn ready(&self, log_from: usize) -> Result<()> {
        self.component
            .ready(|| async {
                let log = fs::read(self.component.log())?;
                let new = String::from_utf8_lossy(log.get(log_from..).unwrap_or_default()).into_owned();
                if !new.contains(STARTED) {
                    let last = new.lines().last().unwrap_or("an empty log").to_owned();
                    bail!("{last}");
                }
                TcpStream::connect(self.client_address()).await.map(drop).context("connecting")
            })
            .await
    }
}

pub(super) fn class_path(cache: &Cache) -> String {
    format!("{}/*", cache.kafka_libs().display())
}

fn write_pki(folder: &Path, addresses: &[(u8, Ipv4Addr)]) -> Result<()> {
    let authority = Authority::new("topicops testbed Kafka CA")?;
    authority::write(&folder.join("ca.pem"), authority.certificate_pem())?;
    for (id, address) in addresses {
        let mut hosts: Vec<String> =
            ["localhost", "kafka.kafka.svc", "kafka.kafka.svc.cluster.local", "kafka.kafka", "127.0.0.1"]
                .map(str::to_owned)
                .to_vec();
        hosts.push(address.to_string());
        let (certificate, key) = authority.pair(&format!("broker-{id}"), hosts)?;
        authority::write(&folder.join(format!("broker-{id}.pem")), &format!("{key}{certificate}"))?;
    }
    Ok(())
}

fn copy_storage(from: &Path, to: &Path, id: u8) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_name() == "meta.properties" {
            let text = fs::read_to_string(entry.path())?;
            let lines = text.lines().map(|line| match line.split_once('=') {
                Some(("node.id", _)) => format!("node.id={id}\n"),
                Some(("directory.id", _)) => format!("directory.id={}\n", random_uuid()),
                _ => format!("{line}\n"),
            });
            fs::write(target, lines.collect::<String>())?;
        } else if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_storage(&entry.path(), &target, id)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// As Kafka writes identifiers: 16 bytes in base 64. The first byte is such that it never begins with a
/// dash, which its command line would take for an option.
fn random_uuid() -> String {
    let mut bytes = random_bytes();
    bytes[0] &= 0x3f;
    URL_SAFE_NO_PAD.encode(bytes)
}

fn random_bytes() -> [u8; 16] {
    use std::hash::{BuildHasher as _, RandomState};
    let [high, low] = [0_u8, 1].map(|part| RandomState::new().hash_one(part));
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

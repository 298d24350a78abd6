//! What a bed consists of.
use serde::{Deserialize, Serialize};

use crate::KafkaVersion;

/// What a bed consists of: by default an API server with controllers, one broker and a node.
///
/// ```
/// # use topicops_testbed::Options;
/// let options = Options::default().brokers(3).without_node();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub(crate) brokers: u8,
    pub(crate) racks: Option<u8>,
    pub(crate) node: bool,
    pub(crate) broker_heap_mib: u32,
    pub(crate) broker_settings: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) log_requests: bool,
    #[serde(default)]
    pub(crate) disk_mebibytes: Option<u32>,
    #[serde(default)]
    pub(crate) kafka: KafkaVersion,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: 1,
            racks: None,
            node: true,
            broker_heap_mib: 512,
            broker_settings: Vec::new(),
            log_requests: false,
            disk_mebibytes: None,
            kafka: KafkaVersion::default(),
        }
    }
}

impl Options {
    /// How many brokers (at most 9), each in a rack of its own: `rack-1`, `rack-2`, ….
    #[must_use]
    pub fn brokers(self, count: u8) -> Self {
        Self { brokers: count, ..self }
    }

    /// Only so many racks (at least one), so that some brokers share one: broker 4 of three racks stands in `rack-1`.
    #[must_use]
    pub fn racks(self, count: u8) -> Self {
        Self { racks: Some(count.max(1)), ..self }
    }

    /// Brokers, tools and clients of another version than the newest.
    #[must_use]
    pub fn kafka(self, version: KafkaVersion) -> Self {
        Self { kafka: version, ..self }
    }

    #[must_use]
    pub fn without_kafka(self) -> Self {
        self.brokers(0)
    }

    /// No node: Pods stay pending and Services lead nowhere.
    #[must_use]
    pub fn without_node(self) -> Self {
        Self { node: false, ..self }
    }

    /// The most heap that each broker takes; 512 MiB unless told.
    #[must_use]
    pub fn broker_heap_mib(self, mebibytes: u32) -> Self {
        Self { broker_heap_mib: mebibytes, ..self }
    }

    /// One more line of every broker's `server.properties`; a later line wins over an earlier one.
    #[must_use]
    pub fn broker_setting(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.broker_settings.push((key.into(), value.into()));
        self
    }

    /// The API server and the brokers note every request that they answered; see
    /// [`Testbed::requests`](crate::Testbed::requests). Costs the brokers a line of JSON for each.
    #[must_use]
    pub fn log_requests(self) -> Self {
        Self { log_requests: true, ..self }
    }

    /// Every broker has a second log directory, on a disk of its own (a file system in memory) of so many MiB, which
    /// can be [resized](crate::Testbed::resize_disk) and [pulled](crate::Testbed::pull_disk).
    #[must_use]
    pub fn disks(self, mebibytes: u32) -> Self {
        Self { disk_mebibytes: Some(mebibytes), ..self }
    }
}

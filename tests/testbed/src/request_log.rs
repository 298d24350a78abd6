//! Who asked the API server and the brokers for what.
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{ApiRequest, KafkaRequest, tail};

/// The audit log among the components' logs.
pub(crate) const AUDIT: &str = "audit";
/// Kafka's own name for the logger of requests.
pub(crate) const KAFKA_LOGGER: &str = "kafka.request.logger";

/// The requests that were answered since this was made.
///
/// Both logs are written when an answer is sent, so a request may appear a moment after its client has its answer.
#[derive(Debug)]
pub struct RequestLog {
    audit: Part,
    brokers: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    file: PathBuf,
    from: u64,
}

impl RequestLog {
    pub(crate) fn from_now(bed: &Path) -> Result<Self> {
        let audit = tail::component_log(bed, AUDIT);
        ensure!(audit.is_file(), "this bed does not log requests: start it with Options::log_requests");
        let brokers = (1..=9).map(|id| tail::component_log(bed, &tail::broker(id)));
        let brokers = brokers.filter(|file| file.is_file()).map(Part::from_now).collect::<Result<_>>()?;
        Ok(Self { audit: Part::from_now(audit)?, brokers })
    }

    /// In the order in which they were answered.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn api_server(&self) -> Result<Vec<ApiRequest>> {
        Ok(self.audit.text()?.lines().filter_map(ApiRequest::parse).collect())
    }

    /// Broker by broker, in the order in which each answered.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn brokers(&self) -> Result<Vec<KafkaRequest>> {
        let mut requests = Vec::new();
        for broker in &self.brokers {
            requests.extend(broker.text()?.lines().filter_map(KafkaRequest::parse));
        }
        Ok(requests)
    }
}

impl Part {
    fn from_now(file: PathBuf) -> Result<Self> {
        let from = file.metadata().with_context(|| format!("reading {}", file.display()))?.len();
        Ok(Self { file, from })
    }

    fn text(&self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut file = File::open(&self.file).with_context(|| format!("reading {}", self.file.display()))?;
        file.seek(SeekFrom::Start(self.from))?;
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

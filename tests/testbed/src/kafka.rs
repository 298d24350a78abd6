//! The bed's brokers, as a test sees them.
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::bed_info::KafkaInfo;

/// A tool that hangs is a finding, not a reason to wait for ever.
const TOOL_PATIENCE: Duration = Duration::from_secs(180);

/// The bed's brokers: where they are, who may do everything, and Kafka's own tools.
#[derive(Debug, Clone)]
pub struct Kafka {
    info: KafkaInfo,
    ca_pem: String,
}

impl Kafka {
    pub(crate) fn new(info: KafkaInfo) -> Result<Self> {
        let ca_pem = std::fs::read_to_string(&info.ca_file)
            .with_context(|| format!("reading the brokers' CA from {}", info.ca_file.display()))?;
        Ok(Self { info, ca_pem })
    }

    /// `address:port` of every broker, comma-separated; good inside Pods and outside.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.info.bootstrap_servers
    }

    #[must_use]
    pub fn admin_user(&self) -> &str {
        &self.info.admin_user
    }

    #[must_use]
    pub fn admin_password(&self) -> &str {
        &self.info.admin_password
    }

    /// The CA that signed the brokers' certificates.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.info.ca_file
    }

    /// A client configuration for the administrator, as Kafka's tools and topicops read it.
    #[must_use]
    pub fn admin_properties(&self) -> &Path {
        &self.info.admin_properties
    }

    /// The folder of Kafka's command line tools.
    #[must_use]
    pub fn tools(&self) -> &Path {
        &self.info.tools
    }

    /// A client configuration for somebody else.
    #[must_use]
    pub fn client_properties(&self, user: &str, password: &str) -> String {
        properties(&self.info.bootstrap_servers, &self.info.ca_file, user, password)
    }

    /// Runs one of Kafka's tools as the administrator and returns its standard output; where a tool
    /// wants `--bootstrap-server` and `--command-config`, they are given.
    ///
    /// # Errors
    /// When it fails, with all that it printed, or takes longer than three minutes.
    pub async fn tool<S: AsRef<OsStr>>(
        &self,
        name: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let mut command = self.command(name)?;
        command.arg("--bootstrap-server").arg(self.bootstrap_servers());
        command.arg("--command-config").arg(self.admin_properties());
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(TOOL_PATIENCE, command.output())
            .await
            .with_context(|| format!("{name} took longer than {TOOL_PATIENCE:.0?}"))?
            .with_context(|| format!("running {name}"))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{name}: {}\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(printed)
    }

    /// One of Kafka's tools, for a caller that needs its own arguments, input or output.
    ///
    /// # Errors
    /// When there is no tool of that name.
    pub fn command(&self, name: &str) -> Result<Command> {
        let tool = self.info.tools.join(name);
        if !tool.is_file() {
            bail!("the testbed has no tool {name} in {}", self.info.tools.display());
        }
        Ok(Command::new(tool))
    }
}

/// A whole client configuration: SCRAM over TLS.
pub(crate) fn properties(bootstrap_servers: &str, ca_file: &Path, user: &str, password: &str) -> String {
    format!(
        "bootstrap.servers={bootstrap_servers}\n\
         security.protocol=SASL_SSL\n\
         sasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"{user}\" password=\"{password}\";\n\
         ssl.truststore.type=PEM\n\
         ssl.truststore.location={}\n",
        ca_file.display()
    )
}

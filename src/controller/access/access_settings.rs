use std::time::Duration;

use topicops_contract::{ClientEndpoint, OperatorId};

use crate::{access::GrantsMode, kafka::ScramMechanism};

/// How access is kept.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    pub operator: OperatorId,
    pub mode: GrantsMode,
    /// How clients reach the brokers: goes into their Secrets. Its mechanism is that of the credentials.
    pub endpoint: ClientEndpoint,
    /// SCRAM's iterations, 4,096 at least. The passwords are random, so more would only cost time at every login.
    pub iterations: u32,
    /// What the brokers have is looked at again after about this long.
    pub resync: Duration,
    /// How old credentials become of workloads that do not say; `None`: as old as they like.
    pub rotate_after: Option<Duration>,
}

impl AccessSettings {
    pub const DEFAULT_ITERATIONS: u32 = 4_096;
    pub const DEFAULT_RESYNC: Duration = Duration::from_secs(300);

    /// How every user name of ours begins.
    pub fn prefix(&self) -> String {
        format!("{}.", self.operator)
    }

    /// SCRAM-SHA-512, unless the endpoint says SCRAM-SHA-256.
    pub fn mechanism(&self) -> ScramMechanism {
        if self.endpoint.sasl_mechanism == ScramMechanism::Sha256.to_string() {
            ScramMechanism::Sha256
        } else {
            ScramMechanism::Sha512
        }
    }
}

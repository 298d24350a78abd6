use std::time::Duration;

use topicops_contract::{ClientEndpoint, OperatorId};

use crate::{access::GrantsMode, controller::Scope, kafka::ScramMechanism};

/// How access is kept.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    pub operator: OperatorId,
    pub mode: GrantsMode,
    /// How clients reach the brokers: goes into their Secrets. Its mechanism is that of the credentials, and stays.
    pub endpoint: ClientEndpoint,
    /// SCRAM's iterations, 4,096 at least. The passwords are random, so more would only cost time at every login.
    pub iterations: u32,
    /// Users of other namespaces are not ours to judge: whoever asks for them is not seen.
    pub scope: Scope,
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

    /// Whether a user is of a namespace that is looked after.
    pub fn covers(&self, username: &str) -> bool {
        let rest = username.strip_prefix(&self.prefix()).unwrap_or_default();
        self.scope.covers(rest.split('.').next().unwrap_or_default())
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

use std::collections::BTreeMap;

/// Settings of one broker, among those that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerConfigs {
    /// What was set on this broker at run time (`DYNAMIC_BROKER_CONFIG`).
    pub own: BTreeMap<String, String>,
    /// What counts: its own, or the cluster's default, or its properties file, or Kafka's default. Keys without any
    /// value, and those whose value is a secret, are left out.
    pub effective: BTreeMap<String, String>,
}

use std::collections::BTreeMap;

use topicops_contract::{PartitionCount, ReplicationFactor};

use super::{Limit, PropertyRule, QuotaRule, Range, Said};

/// One part of a policy: the cluster's, or that of a namespace or prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    pub default_partitions: Said<PartitionCount>,
    pub default_replication_factor: Said<ReplicationFactor>,
    /// Topic configuration, `retention` included as `retention.ms`.
    pub default_configs: BTreeMap<String, Said<String>>,
    pub partitions: Said<Limit<Range>>,
    pub replication_factor: Said<Limit<Range>>,
    /// In milliseconds.
    pub retention: Said<Limit<Range>>,
    /// Of one partition.
    pub retention_bytes: Said<Limit<Range>>,
    /// In ten-thousandths of a disk.
    pub retention_disk_share: Said<Limit<Range>>,
    /// A regular expression for the whole name; `{namespace}` in it stands for the namespace.
    pub name: Said<Limit<String>>,
    pub properties: BTreeMap<String, Said<Limit<PropertyRule>>>,
    pub topics: Said<Limit<i64>>,
    pub total_partitions: Said<Limit<i64>>,
    /// Of all replicas of all partitions.
    pub total_bytes: Said<Limit<i64>>,
    pub producer_byte_rate: QuotaRule,
    pub consumer_byte_rate: QuotaRule,
    pub request_percentage: QuotaRule,
}

impl RuleSet {
    /// What counts where this and a more specific part both apply: default by default, limit by limit, key by key.
    pub fn narrow(&mut self, by: &Self) {
        self.default_partitions.narrowed(&by.default_partitions);
        self.default_replication_factor.narrowed(&by.default_replication_factor);
        for (key, said) in &by.default_configs {
            self.default_configs.entry(key.clone()).or_default().narrowed(said);
        }
        self.partitions.narrowed(&by.partitions);
        self.replication_factor.narrowed(&by.replication_factor);
        self.retention.narrowed(&by.retention);
        self.retention_bytes.narrowed(&by.retention_bytes);
        self.retention_disk_share.narrowed(&by.retention_disk_share);
        self.name.narrowed(&by.name);
        for (key, said) in &by.properties {
            self.properties.entry(key.clone()).or_default().narrowed(said);
        }
        self.topics.narrowed(&by.topics);
        self.total_partitions.narrowed(&by.total_partitions);
        self.total_bytes.narrowed(&by.total_bytes);
        self.producer_byte_rate.narrow(&by.producer_byte_rate);
        self.consumer_byte_rate.narrow(&by.consumer_byte_rate);
        self.request_percentage.narrow(&by.request_percentage);
    }
}

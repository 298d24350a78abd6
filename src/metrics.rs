//! Prometheus metrics of the controller. Names and meanings are in the README's table.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabel {
    pub state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PassLabel {
    /// `topics` or `access`.
    pub pass: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OperationLabel {
    /// The change, e.g. `create_topics`, `create_acls`, `upsert_users`.
    pub operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TroubleLabel {
    pub trouble: &'static str,
}

/// All of them; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Declared topics by state.
    pub topics: Family<StateLabel, Gauge>,
    /// Workloads that ask for credentials, by state.
    pub clients: Family<StateLabel, Gauge>,
    pub passes: Family<PassLabel, Counter>,
    pub pass_seconds: Family<PassLabel, Histogram>,
    /// Items changed on the brokers.
    pub changes: Family<OperationLabel, Counter>,
    pub kafka_errors: Family<TroubleLabel, Counter>,
    /// 1 when the last request to the brokers was answered.
    pub kafka_up: Gauge,
    pub leader: Gauge,
    /// Unix time of the last pass that ended well.
    pub last_success_seconds: Family<PassLabel, Gauge<f64, AtomicU64>>,
    pub verifications: Family<StateLabel, Counter>,
}

/// 1 ms to about 30 s: a pass over nothing to one over ten thousand topics.
const PASS_BUCKETS: [f64; 12] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 3.0, 5.0, 10.0, 30.0];

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            topics: Family::default(),
            clients: Family::default(),
            passes: Family::default(),
            pass_seconds: Family::new_with_constructor(|| Histogram::new(PASS_BUCKETS)),
            changes: Family::default(),
            kafka_errors: Family::default(),
            kafka_up: Gauge::default(),
            leader: Gauge::default(),
            last_success_seconds: Family::default(),
            verifications: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("topicops");
        registry.register("topics", "Declared topics by state", metrics.topics.clone());
        registry.register("clients", "Workloads that ask for credentials, by state", metrics.clients.clone());
        registry.register("passes", "Passes ended", metrics.passes.clone());
        registry.register_with_unit(
            "pass_duration",
            "How long passes took",
            Unit::Seconds,
            metrics.pass_seconds.clone(),
        );
        registry.register("kafka_changes", "Items changed on the brokers", metrics.changes.clone());
        registry.register("kafka_errors", "Requests that failed as a whole", metrics.kafka_errors.clone());
        registry.register("kafka_up", "1 when the last request was answered", metrics.kafka_up.clone());
        registry.register("leader", "1 on the replica that leads", metrics.leader.clone());
        registry.register_with_unit(
            "last_success_timestamp",
            "When a pass last ended well",
            Unit::Seconds,
            metrics.last_success_seconds.clone(),
        );
        registry.register(
            "verifications",
            "Credentials tried with librdkafka, by outcome",
            metrics.verifications.clone(),
        );
        metrics
    }

    /// The registry that `/metrics` shows, with these metrics in it.
    pub fn with_registry() -> (Self, Arc<Registry>) {
        let mut registry = Registry::default();
        let metrics = Self::register(&mut registry);
        (metrics, Arc::new(registry))
    }
}

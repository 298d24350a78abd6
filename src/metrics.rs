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
pub struct ReasonLabel {
    pub reason: &'static str,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ItemErrorLabel {
    /// The call to Kafka, e.g. `create_topics`.
    pub operation: &'static str,
    /// Kafka's own name of the error.
    pub error: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DriftLabel {
    /// `corrected` or `reported`.
    pub action: &'static str,
    /// What had changed: `config`, `partitions`, `replication-factor` or `missing`.
    pub what: &'static str,
}

/// All of them; cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Declared topics by state.
    pub topics: Family<StateLabel, Gauge>,
    /// Declared topics that are not as declared, by reason.
    pub refusals: Family<ReasonLabel, Gauge>,
    /// Deletions that are remembered without an object that asks for them.
    pub deletions: Gauge,
    /// Workloads that ask for credentials, by state.
    pub clients: Family<StateLabel, Gauge>,
    /// Rotations that ended: no Pod has the credentials before any more.
    pub rotations: Counter,
    /// Workloads whose Pods change over to new credentials.
    pub rotations_running: Gauge,
    pub passes: Family<PassLabel, Counter>,
    pub pass_seconds: Family<PassLabel, Histogram>,
    /// Topics that a pass looked at.
    pub pass_topics: Histogram,
    /// Items changed on the brokers.
    pub changes: Family<OperationLabel, Counter>,
    /// What somebody changed on the brokers, each find once.
    pub drift: Family<DriftLabel, Counter>,
    pub kafka_errors: Family<TroubleLabel, Counter>,
    /// What the brokers refused, item by item.
    pub kafka_item_errors: Family<ItemErrorLabel, Counter>,
    pub kafka_seconds: Family<OperationLabel, Histogram>,
    /// How many items the calls were about.
    pub kafka_items: Family<OperationLabel, Histogram>,
    /// 1 when the last request to the brokers was answered.
    pub kafka_up: Gauge,
    /// 1 when the API server answered last.
    pub kubernetes_up: Gauge,
    pub leader: Gauge,
    /// 1 when the files that tell how brokers are reached count as they are now.
    pub kafka_config_valid: Gauge,
    /// 1 when the policy file, as it is now, counts.
    pub policy_valid: Gauge,
    /// Unix time at which the policy that counts was read.
    pub policy_loaded_seconds: Gauge<f64, AtomicU64>,
    /// Unix time of the last pass that ended well.
    pub last_success_seconds: Family<PassLabel, Gauge<f64, AtomicU64>>,
    /// Unix time of the last look at everything, as this leader began it.
    pub last_resync_seconds: Gauge<f64, AtomicU64>,
    /// Unix time at which the next one is due.
    pub next_resync_seconds: Gauge<f64, AtomicU64>,
    pub verifications: Family<StateLabel, Counter>,
    /// Partitions that are to be moved, by state.
    pub moving_partitions: Family<StateLabel, Gauge>,
    /// Partitions whose moves ended, by how.
    pub moved_partitions: Family<StateLabel, Counter>,
    pub move_bytes_left: Gauge,
    /// 0 when there is nothing to copy, or the time is not known.
    pub move_seconds_left: Gauge,
    /// Throttle settings of ours on brokers and topics.
    pub move_throttles: Gauge,
}

/// 1 ms to about 30 s: a pass over nothing to one over ten thousand topics.
const PASS_BUCKETS: [f64; 12] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 3.0, 5.0, 10.0, 30.0];

/// 1 ms to a minute: a request may be taken apart into several.
const REQUEST_BUCKETS: [f64; 12] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 5.0, 10.0, 30.0, 60.0];

/// One item to ten thousand.
const ITEM_BUCKETS: [f64; 9] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            topics: Family::default(),
            refusals: Family::default(),
            deletions: Gauge::default(),
            clients: Family::default(),
            rotations: Counter::default(),
            rotations_running: Gauge::default(),
            passes: Family::default(),
            pass_seconds: Family::new_with_constructor(|| Histogram::new(PASS_BUCKETS)),
            pass_topics: Histogram::new(ITEM_BUCKETS),
            changes: Family::default(),
            drift: Family::default(),
            kafka_errors: Family::default(),
            kafka_item_errors: Family::default(),
            kafka_seconds: Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS)),
            kafka_items: Family::new_with_constructor(|| Histogram::new(ITEM_BUCKETS)),
            kafka_up: Gauge::default(),
            kubernetes_up: Gauge::default(),
            leader: Gauge::default(),
            kafka_config_valid: Gauge::default(),
            policy_valid: Gauge::default(),
            policy_loaded_seconds: Gauge::default(),
            last_success_seconds: Family::default(),
            last_resync_seconds: Gauge::default(),
            next_resync_seconds: Gauge::default(),
            verifications: Family::default(),
            moving_partitions: Family::default(),
            moved_partitions: Family::default(),
            move_bytes_left: Gauge::default(),
            move_seconds_left: Gauge::default(),
            move_throttles: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("topicops");
        registry.register("topics", "Declared topics by state", metrics.topics.clone());
        registry.register(
            "topic_refusals",
            "Declared topics that are not as declared, by reason",
            metrics.refusals.clone(),
        );
        registry.register(
            "topic_deletions_remembered",
            "Topics that are to be deleted once nobody uses them, and that no object stands for",
            metrics.deletions.clone(),
        );
        registry.register("rotations", "Rotations of credentials that ended", metrics.rotations.clone());
        registry.register(
            "rotations_running",
            "Workloads whose Pods change over to new credentials",
            metrics.rotations_running.clone(),
        );
        registry.register(
            "clients",
            "On the replica that leads: workloads that ask for credentials, by state",
            metrics.clients.clone(),
        );
        registry.register("passes", "Passes ended", metrics.passes.clone());
        registry.register_with_unit(
            "pass_duration",
            "How long passes took",
            Unit::Seconds,
            metrics.pass_seconds.clone(),
        );
        registry.register("pass_topics", "Topics that a pass looked at", metrics.pass_topics.clone());
        registry.register("kafka_changes", "Items changed on the brokers", metrics.changes.clone());
        registry.register("drift", "Changes found that somebody made on the brokers", metrics.drift.clone());
        registry.register("kafka_errors", "Requests that failed as a whole", metrics.kafka_errors.clone());
        registry.register(
            "kafka_item_errors",
            "Items that the brokers refused, by operation and Kafka's error",
            metrics.kafka_item_errors.clone(),
        );
        registry.register_with_unit(
            "kafka_request_duration",
            "How long requests to the brokers took",
            Unit::Seconds,
            metrics.kafka_seconds.clone(),
        );
        registry.register(
            "kafka_request_items",
            "How many items requests were about",
            metrics.kafka_items.clone(),
        );
        registry.register("kafka_up", "1 when the last request was answered", metrics.kafka_up.clone());
        registry.register(
            "kubernetes_up",
            "1 when the API server answered last",
            metrics.kubernetes_up.clone(),
        );
        registry.register(
            "kafka_config_valid",
            "1 when the files that tell how brokers are reached count as they are now",
            metrics.kafka_config_valid.clone(),
        );
        metrics.policy_valid.set(1);
        registry.register(
            "policy_valid",
            "1 when the policy file counts as it is now",
            metrics.policy_valid.clone(),
        );
        registry.register_with_unit(
            "policy_loaded_timestamp",
            "When the policy that counts was read",
            Unit::Seconds,
            metrics.policy_loaded_seconds.clone(),
        );
        registry.register("leader", "1 on the replica that leads", metrics.leader.clone());
        registry.register_with_unit(
            "last_success_timestamp",
            "When a pass last ended well",
            Unit::Seconds,
            metrics.last_success_seconds.clone(),
        );
        registry.register_with_unit(
            "last_resync_timestamp",
            "When everything was last looked at",
            Unit::Seconds,
            metrics.last_resync_seconds.clone(),
        );
        registry.register_with_unit(
            "next_resync_timestamp",
            "When everything is next looked at",
            Unit::Seconds,
            metrics.next_resync_seconds.clone(),
        );
        registry.register(
            "verifications",
            "Credentials tried with librdkafka, by outcome",
            metrics.verifications.clone(),
        );
        registry.register(
            "moving_partitions",
            "Partitions to be moved, by state",
            metrics.moving_partitions.clone(),
        );
        registry.register("moved_partitions", "Moves that ended, by how", metrics.moved_partitions.clone());
        registry.register_with_unit(
            "move_left",
            "What is left to copy",
            Unit::Bytes,
            metrics.move_bytes_left.clone(),
        );
        registry.register_with_unit(
            "move_left",
            "How long that will take",
            Unit::Seconds,
            metrics.move_seconds_left.clone(),
        );
        registry.register("move_throttles", "Throttle settings of ours", metrics.move_throttles.clone());
        metrics
    }

    /// The registry that `/metrics` shows, with these metrics in it.
    pub fn with_registry() -> (Self, Arc<Registry>) {
        let mut registry = Registry::default();
        let metrics = Self::register(&mut registry);
        (metrics, Arc::new(registry))
    }
}

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// What the webhook counts. Clones share their numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    duration: Family<WebhookLabels, Histogram>,
    patch_bytes: Histogram,
    connections: Gauge,
    handshakes_failed: Family<ReasonLabels, Counter>,
    connections_cut: Family<ReasonLabels, Counter>,
    /// Not a gauge of the registry's: read by tests and by the report of a shutdown.
    served: std::sync::Arc<AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    webhook: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    webhook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Admitted as it was.
    Untouched,
    /// Admitted with a patch.
    Patched,
    /// Refused because of what its author wrote.
    Denied,
    /// No review, or a review that could not be answered.
    Unreadable,
    /// A body beyond the limit.
    TooLarge,
    /// The body did not come in time, or there was no room for it in time.
    TimedOut,
    /// A fault of ours.
    Panicked,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Patched => "patched",
            Self::Denied => "denied",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
        }
    }
}

impl Metrics {
    /// Registers all metrics under the registry's prefix, as `webhook_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            // 25 µs to 0.8 s, in doublings: the answer itself takes tens of microseconds.
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(25e-6, 2.0, 16))),
            patch_bytes: Histogram::new(exponential_buckets(128.0, 2.0, 10)),
            connections: Gauge::default(),
            handshakes_failed: Family::default(),
            connections_cut: Family::default(),
            served: std::sync::Arc::default(),
        };
        registry.register(
            "webhook_requests",
            "Requests by webhook, operation and outcome",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "webhook_request_duration",
            "Time from the end of a request's body to its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "webhook_patch",
            "Size of the patches that changed something",
            Unit::Bytes,
            metrics.patch_bytes.clone(),
        );
        registry.register(
            "webhook_connections",
            "Connections that are open now",
            metrics.connections.clone(),
        );
        registry.register(
            "webhook_handshakes_failed",
            "TLS handshakes that failed, by reason",
            metrics.handshakes_failed.clone(),
        );
        registry.register(
            "webhook_connections_cut",
            "Connections that were ended because the client was too slow, by reason",
            metrics.connections_cut.clone(),
        );
        metrics
    }

    /// Gives every metric that has labels a sample: what nobody counted is not shown, and so cannot be compared with what is
    /// documented.
    #[doc(hidden)]
    pub fn show_all(&self) {
        self.request("", "", Outcome::Untouched);
        self.answered("", Duration::ZERO, 0);
        self.handshake_failed("");
        self.cut("");
    }

    pub(crate) fn request(&self, webhook: &'static str, operation: &'static str, outcome: Outcome) {
        let labels = RequestLabels { webhook, operation, outcome: outcome.as_str() };
        self.requests.get_or_create(&labels).inc();
        self.served.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, webhook: &'static str, took: Duration, patch_bytes: usize) {
        self.duration.get_or_create(&WebhookLabels { webhook }).observe(took.as_secs_f64());
        if patch_bytes > 0 {
            #[allow(clippy::cast_precision_loss)] // patches are kilobytes
            self.patch_bytes.observe(patch_bytes as f64);
        }
    }

    pub(crate) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    pub(crate) fn handshake_failed(&self, reason: &'static str) {
        self.handshakes_failed.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(crate) fn cut(&self, reason: &'static str) {
        self.connections_cut.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Requests answered so far, whatever the answer.
    pub fn served(&self) -> u64 {
        self.served.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }
}

/// Metrics that nobody reads.
impl Default for Metrics {
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_below_a_millisecond_are_told_apart() {
        let mut registry = Registry::with_prefix("topicops");
        let metrics = Metrics::register(&mut registry);
        metrics.request("mutate", "create", Outcome::Patched);
        metrics.answered("mutate", Duration::from_micros(60), 700);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"topicops_webhook_requests_total{webhook="mutate",operation="create",outcome="patched"} 1"#,
            r#"topicops_webhook_request_duration_seconds_bucket{le="0.00005",webhook="mutate"} 0"#,
            r#"topicops_webhook_request_duration_seconds_bucket{le="0.0001",webhook="mutate"} 1"#,
            "topicops_webhook_patch_bytes_sum 700",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

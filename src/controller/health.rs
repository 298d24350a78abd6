use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::{
    kafka::{ClusterError, Trouble},
    metrics::{Metrics, TroubleLabel},
};

/// What is well and what is not, as `/readyz` shows it.
///
/// Two kinds of check: those without which this replica must get no admission requests (certificates, caches), and those
/// that are shown and counted only. Kafka is of the second kind: the webhook needs no broker, and a webhook that went away
/// with the brokers would keep every labelled workload from being deployed.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<Mutex<Checks>>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Checks {
    /// Name, whether readiness hangs on it, and what is wrong since when.
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    name: &'static str,
    required: bool,
    wrong: Option<(String, Timestamp)>,
}

const NOT_LISTED: &str = "the first listing of Kubernetes objects is not complete";

impl Health {
    pub fn new(metrics: Metrics) -> Self {
        let now = Timestamp::now();
        let check =
            |name, required, message: &str| Check { name, required, wrong: Some((message.to_owned(), now)) };
        let checks = vec![
            check("caches", true, NOT_LISTED),
            check("certificates", true, "no certificate that the live caBundle verifies yet"),
            check("serving", true, "the webhook does not listen yet"),
            check("kafka", false, "no request has been answered yet"),
            check("kubernetes", false, "no watch is established yet"),
            Check { name: "ledger", required: false, wrong: None },
            Check { name: "policy", required: false, wrong: None },
            Check { name: "kafka-config", required: false, wrong: None },
        ];
        Self { inner: Arc::new(Mutex::new(Checks { checks })), metrics }
    }

    /// Notes how a check stands; the time of a message that stays the same is that of its first appearance.
    pub fn set(&self, name: &'static str, result: Result<(), String>) {
        let mut checks = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = checks.checks.iter_mut().find(|check| check.name == name) {
            check.wrong = match (result, check.wrong.take()) {
                (Ok(()), _) => None,
                (Err(message), Some((_, since))) => Some((message, since)),
                (Err(message), None) => Some((message, Timestamp::now())),
            };
        }
    }

    /// The objects of a kind cannot be listed for the first time.
    pub(super) fn not_listed(&self, kind: &str, why: &str) {
        self.set("caches", Err(format!("{NOT_LISTED}: {kind}: {why}")));
    }

    /// The objects of a kind are listed; those of others may not be.
    pub(super) fn listed(&self, kind: &str) {
        let of_kind = format!("{NOT_LISTED}: {kind}: ");
        if self.check("caches").and_then(Result::err).is_some_and(|said| said.starts_with(&of_kind)) {
            self.set("caches", Err(NOT_LISTED.to_owned()));
        }
    }

    /// How the last request to the API server went.
    pub fn set_kubernetes(&self, answer: Result<(), String>) {
        self.metrics.kubernetes_up.set(i64::from(answer.is_ok()));
        self.set("kubernetes", answer);
    }

    pub fn set_ledger(&self, result: Result<(), String>) {
        self.set("ledger", result);
    }

    pub fn kafka_answered(&self) {
        self.metrics.kafka_up.set(1);
        self.set("kafka", Ok(()));
    }

    pub fn kafka_failed(&self, error: &ClusterError) {
        let trouble = match error.trouble {
            Trouble::Unreachable => "unreachable",
            Trouble::Tls => "tls",
            Trouble::Authentication => "authentication",
            Trouble::Authorization => "authorization",
            Trouble::OtherCluster => "other-cluster",
            Trouble::Protocol => "protocol",
        };
        self.metrics.kafka_errors.get_or_create(&TroubleLabel { trouble }).inc();
        self.metrics.kafka_up.set(0);
        self.set("kafka", Err(error.to_string()));
    }

    /// Whether all required checks are well, and the text that says how each stands, in the manner of the API server's own
    /// `/readyz?verbose`.
    pub fn readiness(&self) -> (bool, String) {
        let checks = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut ready = true;
        for check in &checks.checks {
            let _ = match &check.wrong {
                None => writeln!(text, "[+]{} ok", check.name),
                Some((message, since)) if check.required => {
                    ready = false;
                    writeln!(text, "[-]{} failed since {since:.0}: {message}", check.name)
                }
                Some((message, since)) => {
                    writeln!(text, "[!]{} degraded since {since:.0}: {message}", check.name)
                }
            };
        }
        let _ = writeln!(text, "readyz check {}", if ready { "passed" } else { "failed" });
        (ready, text)
    }

    /// How one check stands; `None` for a name that is no check.
    pub fn check(&self, name: &str) -> Option<Result<(), String>> {
        let checks = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let check = checks.checks.iter().find(|check| check.name == name)?;
        Some(check.wrong.as_ref().map_or(Ok(()), |(message, _)| Err(message.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_away_is_shown_and_takes_no_readiness() {
        let health = Health::new(Metrics::with_registry().0);
        for name in ["caches", "certificates", "serving"] {
            assert!(!health.readiness().0);
            health.set(name, Ok(()));
        }
        health.kafka_failed(&ClusterError {
            trouble: Trouble::Unreachable,
            operation: "describe 1 topic".to_owned(),
            message: "127.0.0.1:1: connection refused".to_owned(),
        });
        let (ready, text) = health.readiness();
        assert!(ready);
        assert!(text.contains("[!]kafka degraded") && text.contains("connection refused"), "{text}");
        assert!(health.check("kafka").unwrap().is_err());
        assert_eq!(health.check("nonsense"), None);
    }
}

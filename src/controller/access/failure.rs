use super::StoreError;
use crate::{Reason, access::Finding, kafka::ItemError};

/// Why one client's step did not go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) finding: Finding,
    /// It may well pass by itself, so its author is told only when it does not.
    pub(super) may_pass: bool,
}

impl Failure {
    pub(super) fn kafka(doing: &str, error: &ItemError) -> Self {
        let finding = Finding::new(Reason::KafkaRefused, format!("the brokers refused to {doing}: {error}"));
        Self { finding, may_pass: error.retriable }
    }

    pub(super) fn store(error: &StoreError) -> Self {
        Self { finding: Finding::new(Reason::SecretRefused, error.to_string()), may_pass: !error.refused }
    }

    pub(super) fn now(reason: Reason, message: String) -> Self {
        Self { finding: Finding::new(reason, message), may_pass: false }
    }

    pub(super) fn passing(reason: Reason, message: String) -> Self {
        Self { finding: Finding::new(reason, message), may_pass: true }
    }
}

use serde_json::{Value, json};
use topicops_contract::WorkloadKind;
use topicops_webhook::{Answer, mutate_stored};

use super::StoredTemplate;

/// What the webhook's own code says of a workload that is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It has what it should have.
    InOrder,
    /// A JSON patch makes it so, of exactly the version that was read.
    Heal(Value),
    /// Nothing can be done about it, and why.
    Hopeless(String),
}

impl Verdict {
    pub fn of(stored: &StoredTemplate) -> Self {
        let patch = match mutate_stored(&stored.workload, &stored.json) {
            Answer::Denied { message, .. } => {
                return Self::Hopeless(format!("the pod template cannot be given credentials: {message}"));
            }
            Answer::Allowed { patch, .. } if patch.is_empty() => return Self::InOrder,
            Answer::Allowed { patch, .. } => patch,
        };
        let kind = stored.workload.kind();
        if !kind.is_mutable() {
            let what = match kind {
                WorkloadKind::Pod => "a Pod's volumes",
                _ => "the pod template of a Job",
            };
            return Self::Hopeless(format!(
                "it was admitted while topicops' webhook was away, and has no credentials mounted; {what} cannot be changed: \
                 delete it and create it again"
            ));
        }
        let mut operations = vec![
            json!({ "op": "test", "path": "/metadata/resourceVersion", "value": stored.resource_version }),
        ];
        operations.extend(patch.operations().iter().filter_map(|one| serde_json::to_value(one).ok()));
        Self::Heal(Value::Array(operations))
    }
}

use serde_json::{Value, json};
use topicops_contract::{WorkloadKind, keys::injected};
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
            let why = if has_volume(stored) {
                "its annotations ask for another Secret or another injection than what it has"
            } else {
                "it was admitted while topicops' webhook was away, and has no credentials mounted"
            };
            return Self::Hopeless(format!("{why}; {what} cannot be changed: delete it and create it again"));
        }
        let mut operations = vec![
            // The API server answers 409 to one that names an older version; to a test that fails it answers 422 and not why.
            json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": stored.resource_version }),
        ];
        operations.extend(patch.operations().iter().filter_map(|one| serde_json::to_value(one).ok()));
        Self::Heal(Value::Array(operations))
    }
}

fn has_volume(stored: &StoredTemplate) -> bool {
    let object: Value = serde_json::from_str(&stored.json).unwrap_or_default();
    let pod =
        stored.workload.kind().pod_spec_path().iter().try_fold(&object, |value, field| value.get(field));
    let volumes = pod.and_then(|pod| pod.get("volumes")?.as_array());
    volumes.is_some_and(|volumes| volumes.iter().any(|volume| volume["name"] == injected::VOLUME))
}

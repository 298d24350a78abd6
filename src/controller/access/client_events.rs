use k8s_openapi::api::core::v1::ObjectReference;

use crate::{ObjectKey, Reason, access::Client, controller::Reporter};

/// Where a workload's author is told about its credentials.
pub trait ClientEvents: Send + Sync + 'static {
    fn say(&self, client: &Client, reason: Reason, note: &str);
    /// Likewise, also what was said last.
    fn say_again(&self, client: &Client, reason: Reason, note: &str);
    /// What was said is said again when it comes up again.
    fn forget(&self, uid: &str);
}

/// Kubernetes Events on the workloads.
#[derive(Clone, Debug)]
pub struct ReporterEvents {
    reporter: Reporter,
}

impl ReporterEvents {
    pub fn new(reporter: Reporter) -> Self {
        Self { reporter }
    }
}

impl ClientEvents for ReporterEvents {
    fn say(&self, client: &Client, reason: Reason, note: &str) {
        self.reporter.say(reference(client), reason, note);
    }

    fn say_again(&self, client: &Client, reason: Reason, note: &str) {
        self.reporter.say_again(reference(client), reason, note);
    }

    fn forget(&self, uid: &str) {
        self.reporter.forget(uid);
    }
}

fn reference(client: &Client) -> ObjectReference {
    let key = ObjectKey::new(client.workload.namespace(), client.workload.name());
    key.reference(client.workload.kind().api_version(), client.workload.kind().as_str(), &client.uid)
}

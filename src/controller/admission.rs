use std::sync::Arc;

use topicops_contract::{ClientRequest, Problem, TopicManifest, keys};
use topicops_webhook::{Consent, Finding, TopicPolicy as Limits};

use tokio::sync::watch;

use super::access::Consented;
use crate::topic::{TopicGrants, TopicPolicy};

/// Says at admission what a workload will not be granted.
#[derive(Debug)]
pub struct AdmissionConsent {
    consented: Consented,
    grants: watch::Receiver<Arc<TopicGrants>>,
    /// Denies instead of warning.
    deny: bool,
}

impl AdmissionConsent {
    pub fn new(consented: Consented, grants: watch::Receiver<Arc<TopicGrants>>, deny: bool) -> Self {
        Self { consented, grants, deny }
    }
}

impl Consent for AdmissionConsent {
    fn review(&self, request: &ClientRequest) -> Vec<Finding> {
        let grants = Arc::clone(&self.grants.borrow());
        let findings = self.consented.findings(request, &grants).into_iter().map(|finding| {
            if self.deny {
                Finding::Denial(Problem::missing(finding.reason, finding.message))
            } else {
                Finding::Warning(finding.message)
            }
        });
        findings.collect()
    }
}

/// Says at admission what the operator's configuration refuses of a topic.
#[derive(Debug)]
pub struct AdmissionPolicy {
    policy: TopicPolicy,
    grants: watch::Receiver<Arc<TopicGrants>>,
}

impl AdmissionPolicy {
    pub fn new(policy: TopicPolicy, grants: watch::Receiver<Arc<TopicGrants>>) -> Self {
        Self { policy, grants }
    }
}

impl Limits for AdmissionPolicy {
    fn review(
        &self,
        namespace: &str,
        name: &str,
        manifest: &TopicManifest,
        _before: Option<&TopicManifest>,
    ) -> Vec<Finding> {
        let topic = &manifest.topic;
        if let Some(pattern) = self.policy.protects(topic) {
            let expected =
                format!("topics {pattern} are never touched, as the operator's protected topics say");
            return vec![Finding::Denial(Problem::new(keys::data::NAME, topic.as_str(), expected))];
        }
        let grants = Arc::clone(&self.grants.borrow());
        match grants.owner(topic.as_str()) {
            Some(owner) if (owner.namespace.as_str(), owner.config_map.as_str()) != (namespace, name) => {
                vec![Finding::Warning(format!(
                    "topic {topic} is declared already, by ConfigMap {}/{}: this one will be refused while that one owns it",
                    owner.namespace, owner.config_map
                ))]
            }
            _ => Vec::new(),
        }
    }
}

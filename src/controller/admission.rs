use std::sync::Arc;

use topicops_contract::{ClientQuotas, ClientRequest, Problem, TopicManifest, TopicObjectKind, keys};
use topicops_webhook::{Consent, Finding, TopicPolicy as Limits};

use super::{access::Consented, topics::TopicIndex};
use crate::topic::{Refusal, TopicObjectKey};

/// Says at admission what a workload will not be granted.
#[derive(Debug)]
pub struct AdmissionConsent {
    consented: Consented,
    topics: Arc<TopicIndex>,
    /// Denies instead of warning.
    deny: bool,
}

impl AdmissionConsent {
    pub fn new(consented: Consented, topics: Arc<TopicIndex>, deny: bool) -> Self {
        Self { consented, topics, deny }
    }
}

impl Consent for AdmissionConsent {
    fn review(&self, request: &ClientRequest, before: Option<&ClientRequest>) -> Vec<Finding> {
        let findings = self.topics.with_grants(|grants| self.consented.findings(request, grants));
        let findings = findings.into_iter().map(|finding| {
            if self.deny {
                Finding::Denial(Problem::missing(finding.reason.as_str(), finding.message))
            } else {
                Finding::Warning(finding.message)
            }
        });
        findings.chain(self.quotas(request, before)).collect()
    }
}

impl AdmissionConsent {
    /// What the policy says to the quotas. One that was there before, and that a new limit is against, keeps nobody from
    /// editing the rest.
    fn quotas(&self, request: &ClientRequest, before: Option<&ClientRequest>) -> Vec<Finding> {
        if request.quotas == ClientQuotas::default() {
            return Vec::new();
        }
        let policy = self.topics.policy();
        let rules = policy.rules.of(request.workload.namespace());
        let known = before.map(|before| rules.judge_quotas(&before.quotas).refused).unwrap_or_default();
        let judgement = rules.judge_quotas(&request.quotas);
        let mut findings: Vec<Finding> = judgement.notices().map(Finding::Warning).collect();
        for (problem, instead) in judgement.refused {
            findings.push(if known.iter().any(|(known, _)| *known == problem) {
                Finding::Warning(format!("{problem}; {instead} counts until it is changed"))
            } else {
                Finding::Denial(problem)
            });
        }
        findings
    }
}

/// Says at admission what the operator's configuration refuses of a topic.
#[derive(Debug)]
pub struct AdmissionPolicy {
    topics: Arc<TopicIndex>,
}

impl AdmissionPolicy {
    pub fn new(topics: Arc<TopicIndex>) -> Self {
        Self { topics }
    }
}

impl Limits for AdmissionPolicy {
    fn review(
        &self,
        kind: TopicObjectKind,
        namespace: &str,
        name: &str,
        manifest: &TopicManifest,
        before: Option<&TopicManifest>,
    ) -> Vec<Finding> {
        let topic = &manifest.topic;
        let object = TopicObjectKey::new(kind, namespace, name);
        let mut findings = self.topics.with_policy(&object, |governed, created| {
            if let Some(pattern) = governed.policy().protects(topic) {
                let expected =
                    format!("topics {pattern} are never touched, as the operator's protected topics say");
                return vec![Finding::Denial(Problem::new(
                    kind.field(keys::data::NAME),
                    topic.as_str(),
                    expected,
                ))];
            }
            let mut findings = governed.review(&object, created, manifest, before);
            if governed.policy().unread {
                findings.push(Finding::Warning(format!(
                    "not applied yet: {}",
                    Refusal::PolicyUnread.message(kind)
                )));
            }
            findings
        });
        if let Some(grant) = self.topics.with_grants(|grants| grants.owner(topic.as_str()).cloned())
            && grant.owner != object
        {
            findings.push(Finding::Warning(format!(
                "topic {topic} is declared already, by {}: this one will be refused while that one owns it",
                grant.owner
            )));
        }
        findings
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;

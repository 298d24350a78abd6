use std::{collections::BTreeMap, sync::Arc};

use topicops_contract::{TopicManifest, TopicName, TopicObjectKind};
use topicops_webhook::Finding;

use super::TopicObject;
use crate::topic::{
    Extent, TopicObjectKey, TopicPolicy,
    limits::{Action, Declared, OverQuota, Usage, Violation},
};

/// The policy that counts now, and how much of it the topics take.
#[derive(Debug, Default)]
pub struct Governed {
    policy: TopicPolicy,
    usage: Usage,
    /// As [`Governed::over`] was last asked for.
    over: Arc<BTreeMap<TopicObjectKey, Vec<OverQuota>>>,
    /// Something changed since then.
    stale: bool,
}

impl Governed {
    pub fn policy(&self) -> &TopicPolicy {
        &self.policy
    }

    /// Takes another policy, for all the objects there are.
    pub(crate) fn replace<'a>(
        &mut self,
        policy: TopicPolicy,
        objects: impl Iterator<Item = &'a TopicObject>,
    ) {
        self.policy = policy;
        self.usage.clear();
        self.stale = true;
        objects.for_each(|object| self.count(object));
    }

    /// Counts what an object declares now, in namespaces that are counted at all.
    pub(super) fn count(&mut self, object: &TopicObject) {
        let counted = object.manifest.as_ref().and_then(|manifest| {
            let rules = self.policy.rules.of(&object.key.namespace);
            rules.has_totals().then(|| {
                let judged = rules.judge(manifest, self.policy.max_partitions);
                // Its status tells nothing of what is there: tenants may write it, and it may speak of another topic.
                Declared::new(object.key.clone(), object.created, object.deleting, manifest, &judged)
            })
        });
        self.stale |= match counted {
            Some(declared) => self.usage.set(declared),
            None => self.usage.remove(&object.key),
        };
    }

    /// Notes whose a topic is and what is there of it, or that it is nobody's or gone.
    pub(super) fn hold(&mut self, topic: &TopicName, now: Option<(&str, Extent)>) {
        self.stale |= self.usage.hold(topic, now);
    }

    /// Forgets what is there.
    pub(super) fn let_go(&mut self) {
        self.usage.clear_held();
        self.stale = true;
    }

    pub(super) fn forget(&mut self, key: &TopicObjectKey) {
        self.stale |= self.usage.remove(key);
    }

    /// What does not fit into its namespace's totals, and the objects for which that is news.
    pub(crate) fn over(&mut self) -> (Arc<BTreeMap<TopicObjectKey, Vec<OverQuota>>>, Vec<TopicObjectKey>) {
        let mut news = Vec::new();
        if std::mem::take(&mut self.stale) {
            let over = self.usage.over(|namespace| self.policy.rules.of(namespace));
            // How much the others have is told anew when something else is, or at the next look at everything.
            let changed = |one: &BTreeMap<TopicObjectKey, _>, other: &BTreeMap<TopicObjectKey, _>| {
                one.keys().filter(|key| !other.contains_key(key)).cloned().collect::<Vec<_>>()
            };
            news.extend(changed(&over, &self.over));
            news.extend(changed(&self.over, &over));
            self.over = Arc::new(over);
        }
        (Arc::clone(&self.over), news)
    }

    /// What limits say at admission to what an object is to declare, the same as the controller will. `created`: when the
    /// object was, `None` for a new one. `before`: what it declared until now; what was outside a limit then already is not
    /// denied again, because its author may have no way to mend it.
    pub fn review(
        &self,
        key: &TopicObjectKey,
        created: Option<i64>,
        manifest: &TopicManifest,
        before: Option<&TopicManifest>,
    ) -> Vec<Finding> {
        let kind = key.kind;
        let rules = self.policy.rules.of(&key.namespace);
        let judge =
            |manifest: &TopicManifest| rules.judge(&Arc::new(manifest.clone()), self.policy.max_partitions);
        let judged = judge(manifest);
        let known = before.map(judge).map(|judged| judged.refused).unwrap_or_default();
        let mut findings: Vec<Finding> = judged.notices(kind).map(Finding::Warning).collect();
        findings.extend(judged.refused.iter().map(|violation| match known.contains(violation) {
            true => not_applied(kind, violation),
            false => Finding::Denial(violation.problem(kind)),
        }));
        if judged.refused.iter().any(|violation| !known.contains(violation)) {
            return findings;
        }
        let declared = Declared::new(key.clone(), created.unwrap_or(i64::MAX), false, manifest, &judged);
        for over in self.usage.over_with(&rules, &declared) {
            findings.push(match over.action {
                Action::Warn => Finding::Warning(over.violation.problem(kind).to_string()),
                _ if self.usage.grows(&declared) => Finding::Denial(over.violation.problem(kind)),
                _ => not_applied(kind, &over.violation),
            });
        }
        findings
    }
}

fn not_applied(kind: TopicObjectKind, violation: &Violation) -> Finding {
    Finding::Warning(format!("not applied: {}", violation.problem(kind)))
}

use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::{TopicName, keys};

use super::{
    row::{By, May, OnBrokers, Row},
    since::Since,
};
use crate::{
    access::{Decision, GrantsMode},
    cli::{access::consent::Consent, cluster_objects::ClusterObjects},
    controller::Scope,
    kafka::{Acl, AclOperation, AclRule, PatternType, Quota, ResourceType},
    topic::TopicGrants,
};

/// What is asked and granted, and what the brokers really have.
pub(super) struct Facts<'a> {
    pub(super) objects: &'a ClusterObjects,
    pub(super) grants: &'a TopicGrants,
    pub(super) mode: GrantsMode,
    /// By user name.
    pub(super) decisions: &'a BTreeMap<String, Decision>,
    /// All rules, whoever wrote them.
    pub(super) rules: &'a [AclRule],
    /// Users that can log in with SCRAM.
    pub(super) users: &'a BTreeSet<String>,
    /// Quotas of topicops' users; `None`: the brokers do not let us see them.
    pub(super) quotas: Option<&'a BTreeSet<Quota>>,
    /// The topics that are on the brokers.
    pub(super) existing: &'a BTreeSet<String>,
    /// How the names of topicops' users begin.
    pub(super) prefix: &'a str,
    /// Users of other namespaces are left alone.
    pub(super) scope: &'a Scope,
}

impl Facts<'_> {
    /// What the decision about a user lets it do with a topic; in the order of [`May`].
    pub(super) fn decided(&self, username: &str, decision: &Decision, topic: &TopicName) -> Vec<Row> {
        let may = |may: &May| {
            let acl = decision.desired.acls.iter().find(|acl| {
                acl.operation == may.operation() && acl.resource.covers(ResourceType::Topic, topic.as_str())
            })?;
            let (by, since) = self.why(decision, topic, *may, acl);
            Some(Row {
                principal: format!("User:{username}"),
                workload: Some(decision.client.workload.to_string()),
                topic: topic.to_string(),
                may: *may,
                by,
                since,
                on_brokers: self.on_brokers(username, topic, *may, acl),
            })
        };
        May::ALL.iter().filter_map(may).collect()
    }

    /// Through what it may, and since when both sides say so.
    fn why(&self, decision: &Decision, topic: &TopicName, may: May, acl: &Acl) -> (By, Since) {
        let workload = &decision.client.workload;
        let asked = |key: &str| {
            let meta = self.objects.workloads.get(workload);
            meta.map_or_else(Since::default, |meta| Since::set(meta, &["metadata", "annotations", key]))
        };
        if acl.resource.pattern == PatternType::Prefixed {
            let by = By::StreamsApplication { prefix: acl.resource.name.clone() };
            return (by, asked(keys::client::STREAMS_APPLICATION_ID));
        }
        let asked = asked(may.annotation());
        let declared = self.grants.owner(topic.as_str()).and_then(|grant| {
            let by = self.objects.declared.get(&grant.owner)?;
            let consent = Consent::find(workload, may.of_topic(), (grant, &by.lines), self.mode)?;
            Some((grant, by, consent))
        });
        let Some((grant, by, consent)) = declared else { return (By::Kept, asked) };
        let granted = match &consent {
            Consent::SameNamespace | Consent::Open => Since::made(&by.meta),
            Consent::Line(_) => Since::set(&by.meta, &[may.part(grant.owner.kind), may.key()]),
        };
        (By::Owner { object: grant.owner.to_string(), consent }, asked.and(granted))
    }

    fn on_brokers(&self, username: &str, topic: &TopicName, may: May, acl: &Acl) -> OnBrokers {
        let principal = format!("User:{username}");
        let denied = self.denials(topic, may).any(|rule| rule.is_about(&principal));
        let there = self.rules.iter().any(|rule| rule.acl().as_ref() == Some(acl));
        match (denied, there && self.users.contains(username)) {
            (true, _) => OnBrokers::Denied,
            (false, true) => OnBrokers::AsGranted,
            (false, false) => OnBrokers::Missing,
        }
    }

    /// Rules that deny somebody this use of the topic.
    pub(super) fn denials(&self, topic: &TopicName, may: May) -> impl Iterator<Item = &AclRule> {
        self.rules.iter().filter(move |rule| {
            !rule.allow
                && rule.operation.stops(may.operation())
                && rule.resource.covers(ResourceType::Topic, topic.as_str())
        })
    }

    /// What the brokers allow beyond what is decided: rules of others, and topicops' own that are granted no more.
    pub(super) fn beyond(&self, topic: &TopicName, may: May) -> Vec<Row> {
        let allowed = self.allowances(topic, may);
        let rows = allowed.filter_map(|rule| {
            let own = rule.principal.strip_prefix("User:").filter(|name| self.is_own(name));
            let decided = own.and_then(|name| self.decisions.get(name));
            let granted = rule
                .acl()
                .is_some_and(|acl| decided.is_some_and(|decision| decision.desired.acls.contains(&acl)));
            (!granted).then(|| Row {
                principal: rule.principal.clone(),
                workload: decided.map(|decision| decision.client.workload.to_string()),
                topic: topic.to_string(),
                may,
                by: By::Rule { rule: rule.to_string() },
                since: Since::default(),
                on_brokers: if own.is_some() { OnBrokers::NotGranted } else { OnBrokers::Foreign },
            })
        });
        rows.collect()
    }

    fn is_own(&self, username: &str) -> bool {
        let rest = username.strip_prefix(self.prefix);
        rest.is_some_and(|rest| self.scope.covers(rest.split('.').next().unwrap_or_default()))
    }

    fn allowances(&self, topic: &TopicName, may: May) -> impl Iterator<Item = &AclRule> {
        self.rules.iter().filter(move |rule| {
            rule.allow
                && (rule.operation == may.operation() || rule.operation == AclOperation::All)
                && rule.resource.covers(ResourceType::Topic, topic.as_str())
        })
    }
}

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
};

use serde::Serialize;
use topicops_contract::{NamePattern, TopicName};

use super::{
    facts::Facts,
    quota_row::QuotaRow,
    row::{May, Row},
};
use crate::{
    Reason,
    access::{Client, Finding},
    kafka::{Acl, AclRule, ResourceType},
};

/// What one workload can do, for people (`Display`) and machines (JSON).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadReport {
    workload: String,
    username: String,
    /// Whether it can log in.
    user_on_brokers: bool,
    /// Whether it should; `None` where its annotations cannot be read, and it keeps what it has.
    #[serde(skip)]
    wants_user: Option<bool>,
    /// `None`: it asks for nothing.
    pub(super) secret: Option<SecretState>,
    topics: Vec<Row>,
    groups: Vec<String>,
    transactional_ids: Vec<String>,
    streams_application_id: Option<String>,
    quotas: Vec<QuotaRow>,
    refused: Vec<Refused>,
    /// Rules that are granted and that the brokers do not have.
    missing: Vec<String>,
    /// Rules that the brokers have and that are not granted, or not by topicops.
    not_granted: Vec<String>,
    /// Rules, its own or everybody's, that deny some of what is granted.
    denied: Vec<String>,
    pub(super) remarks: Vec<String>,
}

/// What it does not get, in the words of its Events.
#[derive(Debug, Serialize)]
struct Refused {
    reason: &'static str,
    message: String,
}

/// The Secret with its credentials.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecretState {
    /// `shop/app-kafka-credentials`.
    pub(super) name: String,
    pub(super) state: SecretIs,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is", content = "why")]
pub(super) enum SecretIs {
    Missing,
    /// Somebody else's.
    Foreign,
    /// As topicops wrote it.
    AsWritten,
    /// topicops', and changed by somebody since.
    Altered,
    /// The API server does not let us look.
    Hidden(String),
}

impl WorkloadReport {
    pub(super) fn of(
        client: &Client,
        username: &str,
        secret: Option<SecretState>,
        facts: &Facts<'_>,
    ) -> Self {
        let decision = facts.decisions.get(username);
        let granted = decision.map(|decision| decision.granted.clone()).unwrap_or_default();
        let wanted = decision.map(|decision| decision.desired.acls.clone()).unwrap_or_default();
        let principal = format!("User:{username}");
        let rules: Vec<&AclRule> = facts.rules.iter().filter(|rule| rule.principal == principal).collect();
        let there: BTreeSet<Acl> = rules.iter().filter_map(|rule| rule.acl()).collect();
        let extra =
            rules.iter().filter(|rule| rule.allow && rule.acl().is_none_or(|acl| !wanted.contains(&acl)));
        let denying = facts.rules.iter().filter(|rule| wanted.iter().any(|acl| rule.denies(acl)));
        let on_topics = wanted.iter().filter(|acl| acl.resource.resource_type == ResourceType::Topic);
        let topics: BTreeSet<TopicName> =
            on_topics.filter_map(|acl| acl.resource.name.parse().ok()).collect();
        let topics = decision
            .into_iter()
            .flat_map(|decision| topics.iter().flat_map(|topic| facts.decided(username, decision, topic)));
        let mut remarks = Vec::new();
        if matches!(client.request, Ok(None)) {
            remarks.push("it has the label and asks for nothing".to_owned());
        }
        if client.deleting {
            remarks.push("it is being deleted, and what it has goes with it".to_owned());
        }
        let findings = decision.map_or(&[][..], |decision| &decision.findings);
        // What the policy adjusts, or warns of, is as it should be.
        let (notices, refused): (Vec<_>, Vec<_>) =
            findings.iter().partition(|finding| finding.reason == Reason::QuotaOutOfBounds);
        remarks.extend(notices.into_iter().map(|notice| notice.message.clone()));
        let refused = refused
            .into_iter()
            .map(|Finding { reason, message }| Refused { reason: reason.as_str(), message: message.clone() });
        let request = client.request.as_ref().ok().and_then(Option::as_deref);
        let asked = request.map(|request| request.quotas).unwrap_or_default();
        let limits = decision.map(|decision| decision.desired.quotas.clone()).unwrap_or_default();
        Self {
            workload: client.workload.to_string(),
            username: username.to_owned(),
            user_on_brokers: facts.users.contains(username),
            wants_user: client.request.as_ref().ok().map(Option::is_some),
            secret,
            topics: topics.collect(),
            groups: strings(&granted.groups),
            transactional_ids: strings(&granted.transactional_ids),
            streams_application_id: granted.streams_application_id,
            quotas: QuotaRow::all(username, &asked, &limits, facts.quotas),
            refused: refused.collect(),
            missing: wanted.difference(&there).map(words).collect(),
            not_granted: extra.map(ToString::to_string).collect(),
            denied: denying.map(|rule| format!("{}: {rule}", rule.principal)).collect(),
            remarks,
        }
    }

    /// Whether user, rules, quotas and Secret are as they are granted.
    pub(super) fn is_as_granted(&self) -> bool {
        let secret = self.secret.as_ref();
        let secret =
            secret.is_none_or(|secret| matches!(secret.state, SecretIs::AsWritten | SecretIs::Hidden(_)));
        secret
            && self.wants_user.is_none_or(|wants| wants == self.user_on_brokers)
            && self.missing.is_empty()
            && self.not_granted.is_empty()
            && self.denied.is_empty()
            && !self.topics.iter().any(|row| row.on_brokers.differs())
            && !self.quotas.iter().any(QuotaRow::differs)
    }
}

fn strings(patterns: &BTreeSet<NamePattern>) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

/// Without the user, which is the same for all of them.
fn words(acl: &Acl) -> String {
    let rule = AclRule {
        principal: String::new(),
        host: "*".to_owned(),
        allow: true,
        resource: acl.resource.clone(),
        operation: acl.operation,
    };
    rule.to_string()
}

impl Display for SecretIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("MISSING"),
            Self::Foreign => f.write_str("NOT TOPICOPS', so it is left alone"),
            Self::AsWritten => f.write_str("as topicops wrote it"),
            Self::Altered => f.write_str("CHANGED by somebody since topicops wrote it"),
            Self::Hidden(why) => write!(f, "not known ({why})"),
        }
    }
}

impl Display for WorkloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.workload)?;
        let user = match (self.user_on_brokers, &self.secret) {
            (true, _) => "on the brokers",
            (false, Some(_)) => "MISSING on the brokers",
            (false, None) => "none",
        };
        writeln!(f, "    user {}: {user}", self.username)?;
        if let Some(secret) = &self.secret {
            writeln!(f, "    Secret {}: {}", secret.name, secret.state)?;
        }
        for may in May::ALL {
            for row in self.topics.iter().filter(|row| row.may == may) {
                writeln!(f, "    may {may} {}: {}; {}; {}", row.topic, row.by, row.on_brokers, row.since)?;
            }
        }
        list(f, "group", &self.groups)?;
        list(f, "transactional id", &self.transactional_ids)?;
        if let Some(id) = &self.streams_application_id {
            writeln!(f, "    streams application {id}: its group, and topics and transactional ids {id}-*")?;
        }
        self.quotas.iter().try_for_each(|quota| writeln!(f, "    quota {quota}"))?;
        for Refused { reason, message } in &self.refused {
            writeln!(f, "    refused ({reason}): {message}")?;
        }
        list(f, "MISSING on the brokers:", &self.missing)?;
        list(f, "NOT GRANTED, and on the brokers:", &self.not_granted)?;
        list(f, "DENIED on the brokers:", &self.denied)?;
        self.remarks.iter().try_for_each(|remark| writeln!(f, "    note: {remark}"))
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, items: &[String]) -> fmt::Result {
    items.iter().try_for_each(|item| writeln!(f, "    {what} {item}"))
}

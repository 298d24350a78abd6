use std::fmt;

use serde::Serialize;
use topicops_contract::TopicName;

use super::{
    facts::Facts,
    row::{May, Row},
};
use crate::kafka::{AclRule, ResourceType};

/// Who can read and write one topic, for people (`Display`) and machines (JSON).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopicReport {
    topic: TopicName,
    /// The object that owns it.
    owner: Option<String>,
    on_brokers: bool,
    access: Vec<Row>,
    /// Rules that deny somebody.
    denials: Vec<String>,
    pub(super) remarks: Vec<String>,
}

/// Of a topic that no rule is about.
const NO_RULE: &str =
    "no rule is about it: if the brokers run with allow.everyone.if.no.acl.found=true, everybody may use it";

impl TopicReport {
    /// `None`: nobody declares it, and it is not on the brokers.
    pub(super) fn of(topic: &TopicName, facts: &Facts<'_>) -> Option<Self> {
        let owner = facts.grants.owner(topic.as_str()).map(|grant| grant.owner.to_string());
        let on_brokers = facts.existing.contains(topic.as_str());
        let declared = facts.objects.declarations(topic);
        if declared.is_empty() && !on_brokers {
            return None;
        }
        let mut remarks = Vec::new();
        if owner.is_none() && !declared.is_empty() {
            let objects: Vec<String> = declared.iter().map(ToString::to_string).collect();
            remarks.push(format!("{} declares it, and does not own it", objects.join(", ")));
        }
        let of_topic = |rule: &AclRule| rule.resource.covers(ResourceType::Topic, topic.as_str());
        if on_brokers && !facts.rules.iter().any(of_topic) {
            remarks.push(NO_RULE.to_owned());
        }
        let decisions = facts.decisions.iter();
        let mut access: Vec<Row> =
            decisions.flat_map(|(username, decision)| facts.decided(username, decision, topic)).collect();
        access.extend(May::ALL.iter().flat_map(|may| facts.beyond(topic, *may)));
        access.sort_by(|one, two| (one.may, &one.principal).cmp(&(two.may, &two.principal)));
        let denials = May::ALL.iter().flat_map(|may| facts.denials(topic, *may));
        let mut denials: Vec<String> = denials.map(|rule| format!("{}: {rule}", rule.principal)).collect();
        denials.sort();
        denials.dedup();
        Some(Self { topic: topic.clone(), owner, on_brokers, access, denials, remarks })
    }

    /// Whether the brokers have all of it as it is granted.
    pub(super) fn is_as_granted(&self) -> bool {
        !self.access.iter().any(|row| row.on_brokers.differs())
    }
}

impl fmt::Display for TopicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "topic {}, owned by {owner}", self.topic)?,
            None => write!(f, "topic {}, owned by nobody", self.topic)?,
        }
        writeln!(f, "{}", if self.on_brokers { "" } else { "; it is not on the brokers" })?;
        for may in May::ALL {
            writeln!(f, "{may}:")?;
            let mut rows = self.access.iter().filter(|row| row.may == may).peekable();
            if rows.peek().is_none() {
                writeln!(f, "    nobody")?;
            }
            for row in rows {
                write!(f, "    {}", row.principal)?;
                if let Some(workload) = &row.workload {
                    write!(f, " ({workload})")?;
                }
                writeln!(f, ": {}; {}; {}", row.by, row.on_brokers, row.since)?;
            }
        }
        if !self.denials.is_empty() {
            writeln!(f, "denied:")?;
        }
        for denial in &self.denials {
            writeln!(f, "    {denial}")?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "note: {remark}"))
    }
}

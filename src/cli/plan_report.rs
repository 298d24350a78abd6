use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use serde::Serialize;
use topicops_contract::{PartitionCount, ReplicationFactor};

use super::plan::Verdict;
use crate::{
    Reason,
    controller::topics::TopicObject,
    kafka::{ConfigChange, NewTopic, TopicDescription},
    moves::{PartitionMove, size},
    topic::{Step, TopicObjectKey, TopicPlan},
};

/// What would be done about topics, for people (`Display`) and machines (JSON).
#[derive(Debug, Serialize)]
pub(super) struct PlanReport {
    topics: Vec<TopicReport>,
    summary: Summary,
}

/// What would be done about one topic.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopicReport {
    /// `None` where an object names no topic that could be.
    topic: Option<String>,
    /// The object that owns it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<ObjectName>,
    action: Action,
    changes: Vec<Change>,
    /// Where replicas would go, and how much that is to copy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    moves: Vec<Move>,
    /// What limits changed, or would have otherwise, of what is done.
    notices: Vec<String>,
    refusals: Vec<Refused>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    None,
    Create,
    Change,
    Delete,
    /// Its author wants nothing touched.
    Paused,
}

/// One value before and after; `None`: there is none of its own.
#[derive(Debug, Serialize)]
struct Change {
    what: String,
    before: Option<String>,
    after: Option<String>,
}

/// The brokers of one partition before and after, preferred leader first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Move {
    partition: i32,
    from: Vec<i32>,
    to: Vec<i32>,
    bytes_to_copy: u64,
}

#[derive(Debug, Serialize)]
struct Refused {
    object: ObjectName,
    reason: &'static str,
    message: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct ObjectName {
    kind: &'static str,
    namespace: String,
    name: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    in_sync: usize,
    create: usize,
    change: usize,
    delete: usize,
    paused: usize,
    /// Topics of which something that is declared would not be done.
    refused: usize,
}

impl From<&TopicObjectKey> for ObjectName {
    fn from(key: &TopicObjectKey) -> Self {
        Self { kind: key.kind.as_str(), namespace: key.namespace.clone(), name: key.name.clone() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl TopicReport {
    pub(super) fn of(plan: &TopicPlan, observed: Option<&TopicDescription>) -> Self {
        let mut report = Self {
            topic: Some(plan.topic.to_string()),
            owner: plan.owner.as_ref().map(|owner| ObjectName::from(&owner.object)),
            action: Action::None,
            changes: Vec::new(),
            moves: Vec::new(),
            notices: plan.notices.clone(),
            refusals: Vec::new(),
        };
        for step in &plan.steps {
            report.step(step, observed);
        }
        if let Some(owner) = &plan.owner {
            let told = |reason: Reason, message| Refused {
                object: ObjectName::from(&owner.object),
                reason: reason.as_str(),
                message,
            };
            let mistakes = owner.problems.iter().map(|problem| told(Reason::Invalid, problem.to_string()));
            let refusals = plan.refusals.iter().map(|one| told(one.reason(), one.message(owner.object.kind)));
            report.refusals.extend(mistakes.chain(refusals));
            if plan.held_back && owner.problems.is_empty() {
                report.action = Action::Paused;
            }
        }
        report.refusals.extend(plan.refused.iter().map(|(one, refusal)| Refused {
            object: ObjectName::from(&one.object),
            reason: refusal.reason().as_str(),
            message: refusal.message(one.object.kind),
        }));
        report
    }

    /// As the brokers are now: what is made or moved before it may lead to others.
    pub(super) fn with_moves(mut self, partitions: &BTreeMap<i32, PartitionMove>) -> Self {
        let one = |(partition, one): (&i32, &PartitionMove)| Move {
            partition: *partition,
            from: one.from.clone(),
            to: one.to.clone(),
            bytes_to_copy: one.to_copy(),
        };
        self.moves = partitions.iter().map(one).collect();
        self
    }

    pub(super) fn with_notice(mut self, notice: String) -> Self {
        self.notices.push(notice);
        self
    }

    /// Of an object that names no topic.
    pub(super) fn nameless(object: &TopicObject) -> Self {
        let refused = |message: String| Refused {
            object: ObjectName::from(&object.key),
            reason: Reason::Invalid.as_str(),
            message,
        };
        Self {
            topic: None,
            owner: None,
            action: Action::None,
            changes: Vec::new(),
            moves: Vec::new(),
            notices: Vec::new(),
            refusals: object.problems.iter().map(|problem| refused(problem.to_string())).collect(),
        }
    }

    fn step(&mut self, step: &Step, observed: Option<&TopicDescription>) {
        match step {
            Step::Create(topic) => self.create(topic),
            Step::Grow(more) => self.grow(more.total, observed),
            Step::ChangeFactor(factor) => self.change_factor(*factor, observed),
            Step::Configure(change) => self.configure(change, observed),
            Step::Delete { .. } => self.action = Action::Delete,
        }
    }

    fn create(&mut self, topic: &NewTopic) {
        self.action = Action::Create;
        let left = || "the brokers' default".to_owned();
        self.changed("partitions", None, Some(topic.partitions.map_or_else(left, |count| count.to_string())));
        let factor = topic.replication_factor.map_or_else(left, |factor| factor.to_string());
        self.changed("replication-factor", None, Some(factor));
        for (key, value) in &topic.configs {
            self.changed(key, None, Some(value.clone()));
        }
    }

    fn grow(&mut self, total: PartitionCount, observed: Option<&TopicDescription>) {
        self.action = Action::Change;
        let before = observed.map(|topic| topic.partitions().to_string());
        self.changed("partitions", before, Some(total.to_string()));
    }

    fn change_factor(&mut self, factor: ReplicationFactor, observed: Option<&TopicDescription>) {
        self.action = Action::Change;
        let before = observed.map(|topic| topic.replication_factor().to_string());
        self.changed("replication-factor", before, Some(factor.to_string()));
    }

    fn configure(&mut self, change: &ConfigChange, observed: Option<&TopicDescription>) {
        self.action = Action::Change;
        let before = |key: &String| observed.and_then(|topic| topic.configs.get(key).cloned());
        for (key, value) in &change.set {
            self.changed(key, before(key), Some(value.clone()));
        }
        for key in &change.unset {
            self.changed(key, before(key), None);
        }
    }

    fn changed(&mut self, what: &str, before: Option<String>, after: Option<String>) {
        self.changes.push(Change { what: what.to_owned(), before, after });
    }
}

impl PlanReport {
    pub(super) fn new(topics: Vec<TopicReport>) -> Self {
        let mut summary = Summary::default();
        for topic in &topics {
            match topic.action {
                Action::None if topic.refusals.is_empty() => summary.in_sync += 1,
                Action::None => {}
                Action::Create => summary.create += 1,
                Action::Change => summary.change += 1,
                Action::Delete => summary.delete += 1,
                Action::Paused => summary.paused += 1,
            }
            summary.refused += usize::from(!topic.refusals.is_empty());
        }
        Self { topics, summary }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let Summary { create, change, delete, refused, .. } = self.summary;
        match (refused, create + change + delete) {
            (0, 0) => Verdict::InSync,
            (0, _) => Verdict::Pending,
            _ => Verdict::Refused,
        }
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |topic: &&TopicReport| {
            topic.action != Action::None || !topic.refusals.is_empty() || !topic.notices.is_empty()
        };
        for topic in self.topics.iter().filter(told) {
            write!(f, "{topic}")?;
        }
        if self.verdict() == Verdict::InSync {
            write!(f, "nothing to do: ")?;
        }
        let Summary { in_sync, create, change, delete, paused, refused } = self.summary;
        let counts = [
            (create, "to create"),
            (change, "to change"),
            (delete, "to delete"),
            (paused, "paused"),
            (refused, "refused"),
        ];
        write!(f, "{in_sync} as declared")?;
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for TopicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::None => "nothing to do",
            Action::Create => "to create",
            Action::Change => "to change",
            Action::Delete => "to delete, unless somebody uses it",
            Action::Paused => "paused: nothing is touched",
        };
        match (&self.topic, &self.owner) {
            (Some(topic), Some(owner)) => writeln!(f, "{topic}: {action} ({owner})")?,
            (Some(topic), None) => writeln!(f, "{topic}: {action}")?,
            (None, _) => writeln!(f, "no topic: an object that cannot be read")?,
        }
        for Change { what, before, after } in &self.changes {
            let shown = |value: &Option<String>| match value {
                Some(value) if value.is_empty() => "\"\"".to_owned(),
                Some(value) => value.clone(),
                None => "(none of its own)".to_owned(),
            };
            match self.action {
                Action::Create => writeln!(f, "    {what}: {}", shown(after))?,
                _ => writeln!(f, "    {what}: {} -> {}", shown(before), shown(after))?,
            }
        }
        if !self.moves.is_empty() {
            writeln!(f, "    to move: {}", moved(&self.moves))?;
        }
        for notice in &self.notices {
            writeln!(f, "    note: {notice}")?;
        }
        for refused in &self.refusals {
            writeln!(f, "    refused ({}, {}): {}", refused.reason, refused.object, refused.message)?;
        }
        writeln!(f)
    }
}

fn moved(moves: &[Move]) -> String {
    let brokers = |of: fn(&Move) -> (&[i32], &[i32])| {
        let new = moves
            .iter()
            .map(of)
            .flat_map(|(these, others)| these.iter().filter(|broker| !others.contains(broker)));
        new.collect::<BTreeSet<_>>().into_iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
    };
    let (come, go) = (brokers(|one| (&one.to, &one.from)), brokers(|one| (&one.from, &one.to)));
    let mut text = format!("{} partitions", moves.len());
    if !come.is_empty() {
        let bytes = moves.iter().map(|one| one.bytes_to_copy).sum();
        let _ = write!(text, "; {} to copy to brokers {come}", size(bytes));
    }
    if !go.is_empty() {
        let _ = write!(text, "; replicas leave brokers {go}");
    }
    text
}

use std::{collections::BTreeMap, fmt};

use crate::Reason;

/// Something that a workload asked for and does not get, and what would have to be changed by whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// That of the Event.
    pub reason: Reason,
    /// For the workload's author: names the line and the object where it is missing.
    pub message: String,
}

impl Finding {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// One text per reason: an object has one Event of each.
    pub fn by_reason(findings: &[Self]) -> BTreeMap<Reason, String> {
        let mut notes: BTreeMap<Reason, String> = BTreeMap::new();
        for finding in findings {
            let note = notes.entry(finding.reason).or_default();
            if !note.is_empty() {
                note.push_str("; ");
            }
            note.push_str(&finding.message);
        }
        notes
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_one_reason_share_a_note() {
        let findings = [
            Finding::new(Reason::GroupTaken, "one"),
            Finding::new(Reason::SecretExists, "two"),
            Finding::new(Reason::GroupTaken, "three"),
        ];
        assert_eq!(
            Finding::by_reason(&findings),
            BTreeMap::from([
                (Reason::GroupTaken, "one; three".to_owned()),
                (Reason::SecretExists, "two".to_owned())
            ])
        );
    }
}

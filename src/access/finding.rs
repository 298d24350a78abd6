use std::{collections::BTreeMap, fmt};

/// Something that a workload asked for and does not get, and what would have to be changed by whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// One CamelCase word: the reason of the Event.
    pub reason: &'static str,
    /// For the workload's author: names the line and the object where it is missing.
    pub message: String,
}

impl Finding {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// One text per reason: an object has one Event of each.
    pub fn by_reason(findings: &[Self]) -> BTreeMap<&'static str, String> {
        let mut notes: BTreeMap<&'static str, String> = BTreeMap::new();
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
        let findings = [Finding::new("A", "one"), Finding::new("B", "two"), Finding::new("A", "three")];
        assert_eq!(
            Finding::by_reason(&findings),
            BTreeMap::from([("A", "one; three".to_owned()), ("B", "two".to_owned())])
        );
    }
}

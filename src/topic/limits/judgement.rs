use std::sync::Arc;

use topicops_contract::{TopicManifest, TopicObjectKind};

use super::{Action, Field, OverQuota, Violation};

/// What the policy makes of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What counts: the manifest with defaults and adjustments in it.
    pub manifest: Arc<TopicManifest>,
    /// What is outside a limit and is not done.
    pub refused: Vec<Violation>,
    /// What is outside a limit and is done all the same.
    pub warned: Vec<Violation>,
    /// What was outside a limit, with the value that was taken instead.
    pub adjusted: Vec<(Violation, String)>,
}

impl Judgement {
    pub(super) fn new(manifest: &Arc<TopicManifest>) -> Self {
        Self { manifest: Arc::clone(manifest), refused: Vec::new(), warned: Vec::new(), adjusted: Vec::new() }
    }

    /// Adds what the namespace's totals say.
    #[must_use]
    pub fn with_quota(mut self, over: &[OverQuota]) -> Self {
        for over in over {
            self.found(over.action, over.violation.clone());
        }
        self
    }

    pub(super) fn found(&mut self, action: Action, violation: Violation) {
        match action {
            Action::Warn => self.warned.push(violation),
            Action::Refuse | Action::Adjust => self.refused.push(violation),
        }
    }

    pub fn withholds(&self, field: &Field) -> bool {
        self.refused.iter().any(|violation| violation.withholds.contains(field))
    }

    pub fn withholds_config(&self, key: &str) -> bool {
        let is_key = |field: &Field| matches!(field, Field::Config(withheld) if withheld == key);
        self.refused.iter().flat_map(|violation| &violation.withholds).any(is_key)
    }

    /// What an author should know although it is done: what was adjusted, and what should not be so.
    pub fn notices(&self, kind: TopicObjectKind) -> impl Iterator<Item = String> + '_ {
        let adjusted = self
            .adjusted
            .iter()
            .map(move |(violation, instead)| format!("{}: {instead}", violation.problem(kind)));
        adjusted.chain(self.warned.iter().map(move |violation| violation.problem(kind).to_string()))
    }
}

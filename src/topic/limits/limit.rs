use super::Action;

/// A limit, what happens to what is outside, and where in the policy it stands, for those who are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit<T> {
    pub rule: T,
    pub action: Action,
    /// e.g. `namespaces.team-*.limits.partitions`
    pub path: String,
}

impl<T> Limit<T> {
    /// A sentence for an author: what would be right, and who says so.
    pub fn says(&self, what: &str) -> String {
        format!("{what}, says the operator's policy ({})", self.path)
    }
}

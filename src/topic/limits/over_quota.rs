use super::{Action, Violation};

/// A declaration that does not fit into what its namespace may have in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverQuota {
    pub action: Action,
    pub violation: Violation,
}

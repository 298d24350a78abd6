use std::collections::BTreeSet;

use crate::{ObjectKey, kafka::Acl};

/// What one user is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// All its rules; a rule that is not in here goes.
    pub acls: BTreeSet<Acl>,
    /// `None`: nothing new is provided, and what it has of user and Secret stays.
    pub secret: Option<DesiredSecret>,
}

/// The Secret that a workload waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSecret {
    pub key: ObjectKey,
    /// The workload's uid.
    pub owner_uid: String,
    /// The user whose place in the Secret this one is to take.
    pub replaces: Option<String>,
    /// What the Secret is to say of the user before this one.
    pub previous: Option<String>,
}

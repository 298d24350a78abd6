use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{ObjectKey, kafka::Acl};

/// What is there of ours: on the brokers, all under the operator's prefix, and in Kubernetes, all Secrets with our label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Users that can log in.
    pub users: BTreeSet<String>,
    pub acls: BTreeSet<Acl>,
    pub secrets: BTreeMap<ObjectKey, ObservedSecret>,
}

/// A labelled Secret, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSecret {
    /// The user name in its annotation; `None`: not one that we made.
    pub username: Option<String>,
    pub uid: String,
    /// The workload that it belongs to, by uid.
    pub owner_uid: Option<String>,
    pub content: SecretContent,
    /// When the password in it was made.
    pub made: Option<Timestamp>,
    /// What the workload's annotation said when that was.
    pub made_for: Option<String>,
    /// The user whose credentials were in it before, while Pods may run with them still.
    pub previous: Option<String>,
}

/// What is known of a Secret's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretContent {
    /// Nobody looked since it changed.
    Unread,
    /// Just as it would be written now.
    Current,
    /// As it was written once, with other addresses or another CA; the password in it is good.
    Outdated,
    /// Others changed it; the password in it may be another than the brokers know.
    Altered,
}

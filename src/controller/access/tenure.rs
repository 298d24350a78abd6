use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tracing::info;

use super::{
    backoff::Backoff, belief::Belief, failure::Failure, maker::Maker, prepared::Prepared, rotation::Rotations,
};
use crate::{
    Reason,
    kafka::{Acl, Item, QuotaTarget, QuotaValue},
};

/// What one leadership knows. It ends with it: the next leader looks for itself.
#[derive(Debug, Default)]
pub(super) struct Tenure {
    state: Mutex<Known>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) belief: Belief,
    pub(super) backoff: Backoff,
    /// Credentials that the brokers have and that are not in their Secret yet, by user name: they are tried again with
    /// the same password, because a new one would have to spread over the brokers all over again.
    pub(super) pending: HashMap<String, Prepared>,
    /// What went wrong in this pass, by user name; the first failure counts.
    pub(super) failures: BTreeMap<String, Failure>,
    /// What was said last about each client, by uid.
    pub(super) told: HashMap<String, BTreeMap<Reason, String>>,
    /// Those of whose labelled parts was said that the label does nothing there.
    pub(super) strays_told: BTreeSet<Maker>,
    pub(super) rotations: Rotations,
}

impl Tenure {
    /// Never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the brokers answered about rules that were to be added, or removed.
    pub(super) fn acls_answered(&self, acls: &[Acl], outcomes: Vec<Item<()>>, there: bool) {
        let now = Instant::now();
        let doing = if there { "add the rule" } else { "remove the rule" };
        let mut changed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (acl, outcome) in acls.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    changed.entry(&acl.username).or_default().push(acl.to_string());
                    self.lock().belief.acl_acknowledged(acl, there, now);
                }
                Err(error) => {
                    self.failed(&acl.username, Failure::kafka(&format!("{doing} \"{acl}\""), &error));
                }
            }
        }
        for (username, rules) in changed {
            info!(username, ?rules, "{}", if there { "added rules" } else { "removed rules" });
        }
    }

    /// Takes over what the brokers answered about quotas that were to be changed.
    pub(super) fn quotas_answered(
        &self,
        changes: &[(QuotaTarget, Option<QuotaValue>)],
        outcomes: Vec<Item<()>>,
    ) {
        let now = Instant::now();
        for ((target, value), outcome) in changes.iter().zip(outcomes) {
            match (outcome, value) {
                (Ok(()), value) => self.lock().belief.quota_acknowledged(target, *value, now),
                (Err(error), Some(value)) => {
                    self.failed(
                        &target.username,
                        Failure::kafka(&format!("set {target} to {value}"), &error),
                    );
                }
                (Err(error), None) => {
                    self.failed(&target.username, Failure::kafka(&format!("take away {target}"), &error));
                }
            }
        }
    }

    pub(super) fn has_failed(&self, username: &str) -> bool {
        self.lock().failures.contains_key(username)
    }

    pub(super) fn failed(&self, username: &str, failure: Failure) {
        self.lock().failures.entry(username.to_owned()).or_insert(failure);
    }
}

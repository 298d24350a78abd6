//! Revocation: rules, then quotas, then users, then Secrets. A crash in between leaves less access, and the next pass the rest.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use tracing::info;

use super::{AccessController, failure::Failure, tenure::Tenure};
use crate::{
    ObjectKey,
    fail_point::fail_point,
    kafka::{Acl, ClusterError, QuotaTarget},
};

impl AccessController {
    pub(super) async fn revoke(
        &self,
        tenure: &Tenure,
        (acls, quotas): (BTreeSet<Acl>, BTreeSet<QuotaTarget>),
        users: BTreeSet<String>,
        secrets: BTreeMap<ObjectKey, (String, String)>,
    ) -> Result<(), ClusterError> {
        let revokes = !acls.is_empty();
        self.remove_acls(tenure, acls).await?;
        if revokes {
            fail_point!("access/revoked");
        }
        self.alter_quotas(tenure, quotas.into_iter().map(|target| (target, None))).await?;
        let users: Vec<String> = users.into_iter().collect();
        if !users.is_empty() {
            let outcomes = self.cluster.delete_scram_users(&users).await?;
            self.count("delete_users", outcomes.iter().filter(|outcome| outcome.is_ok()).count());
            let now = Instant::now();
            for (username, outcome) in users.iter().zip(outcomes) {
                match outcome {
                    Ok(()) => {
                        let mut known = tenure.lock();
                        known.belief.user_acknowledged(username, false, now);
                        // What waited to be written for that user opens nothing any more.
                        known.pending.remove(username);
                        drop(known);
                        info!(username, "revoked");
                    }
                    Err(error) => tenure.failed(username, Failure::kafka("delete the user", &error)),
                }
            }
        }
        let deletions =
            secrets.into_iter().map(|(key, (username, uid))| self.delete(tenure, key, username, uid));
        futures::future::join_all(deletions).await;
        Ok(())
    }

    async fn delete(&self, tenure: &Tenure, key: ObjectKey, username: String, uid: String) {
        let Ok(_permit) = self.limits.kubernetes.acquire().await else { return };
        match self.store.delete(&key, &uid).await {
            Ok(()) => {
                self.secrets.note_gone(&key, &uid);
                self.count("delete_secrets", 1);
            }
            Err(error) => tenure.failed(&username, Failure::store(&error)),
        }
    }
}

//! Where passwords come from, and what is read of Secrets for it.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use tokio::task::spawn_blocking;
use topicops_contract::Password;

use super::{
    AccessController, StoredSecret,
    failure::Failure,
    pass::secret_exists,
    passwords,
    prepared::Prepared,
    secret_meta::{self, Making},
    tenure::Tenure,
};
use crate::{
    ObjectKey, Reason,
    access::{Decision, Provision, SecretContent, Source},
    kafka::ScramKeys,
};

impl AccessController {
    /// A credential ready to be told to the brokers; `None` when that has to wait for another pass, or failed.
    pub(super) async fn prepare(
        &self,
        tenure: &Tenure,
        decision: &Decision,
        step: Provision,
    ) -> Option<Prepared> {
        let pending = tenure.lock().pending.remove(&step.username);
        let is_good = |pending: &Prepared| {
            let mechanism = pending.keys.as_ref().map(|keys| keys.mechanism);
            pending.secret == step.secret && mechanism == Some(self.settings.mechanism())
        };
        // Its login is yet to be seen, whatever the brokers say that they have.
        if let Some(pending) = pending.filter(is_good) {
            if let Some(why) = self.doubt().filter(|_| pending.write) {
                self.waits_for_doubt(tenure, &step, &why);
                tenure.lock().pending.insert(step.username, pending);
                return None;
            }
            return Some(pending);
        }
        let mut replaces = None;
        let mut making = Making::default();
        let mut logs_in_otherwise = false;
        let (password, base, content) = match &step.source {
            Source::Generate => (None, None, SecretContent::Unread),
            Source::Succeed(before) => {
                let found = self.read_ours(tenure, &step.username, before, &step.secret).await?;
                replaces = Some(before.clone());
                (None, Some(found.meta), SecretContent::Unread)
            }
            Source::GenerateIfGone => {
                if let Some(found) = self.read(tenure, &step.username, &step.secret).await? {
                    self.found_after_all(tenure, &step, &found);
                    return None;
                }
                (None, None, SecretContent::Unread)
            }
            Source::Read(key) => {
                let found = self.read_ours(tenure, &step.username, &step.username, key).await?;
                let content = self.judge(&step.username, decision, &found);
                let password = found.password();
                logs_in_otherwise = found.logs_in_otherwise(&self.settings.endpoint);
                let says = secret_meta::says_made(&found.meta);
                let latest = tenure.lock().rotations.made(&step.username).max(says);
                making.made = latest.or_else(|| secret_meta::made(&found.meta));
                making.made_for = secret_meta::made_for(&found.meta).map(str::to_owned);
                let base = (*key == step.secret).then_some(found.meta);
                (password, base, content)
            }
        };
        // A Secret says how to log in once that was tried; who wrote the user, and what became of that, nobody remembers.
        let upsert = step.upsert || password.is_none() || logs_in_otherwise;
        let generated = password.is_none();
        if generated {
            making.made = Some((self.clock)());
            making.made_for = decision.wish().and_then(|wish| wish.token.clone());
        }
        making.previous = decision.desired.secret.as_ref().and_then(|secret| secret.previous.clone());
        let owner_uid = base.as_ref().and_then(secret_meta::owner_uid);
        let previous = base.as_ref().and_then(secret_meta::previous);
        let tells = content != SecretContent::Current || owner_uid != Some(decision.client.uid.as_str());
        let write = tells || previous != making.previous.as_deref();
        if let Some(why) = self.doubt().filter(|_| write) {
            self.waits_for_doubt(tenure, &step, &why);
            return None;
        }
        let fresh = password.is_none() || content == SecretContent::Altered;
        let kind = (self.settings.mechanism(), self.settings.iterations);
        let ahead = if generated { self.limits.made_ahead.take(kind) } else { None };
        let (ahead, hashed) = ahead.unzip();
        let Some(password) = password.or(ahead).or_else(passwords::generate) else {
            tenure
                .failed(&step.username, Failure::passing(Reason::NoRandomness, "no random bytes".to_owned()));
            return None;
        };
        let keys = match hashed {
            None if upsert => Some(self.hash(tenure, &step.username, &password).await?),
            hashed => hashed,
        };
        Some(Prepared {
            username: step.username,
            secret: step.secret,
            password,
            fresh,
            keys,
            base,
            replaces,
            making,
            generated,
            write,
            tells,
            upserted: None,
        })
    }

    /// What was prepared, or is to be, waits until clients would get through with what they are given.
    fn waits_for_doubt(&self, tenure: &Tenure, step: &Provision, why: &str) {
        let message = format!("no client would get through, so Secret {} waits: {why}", step.secret);
        tenure.failed(&step.username, Failure::now(Reason::VerificationFailed, message));
    }

    /// Looks at Secrets whose content nobody has judged since they changed.
    pub(super) async fn read_secrets(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
        read: BTreeMap<String, ObjectKey>,
    ) {
        let reading = read.into_iter().filter_map(|(username, key)| {
            let decision = decisions.get(&username)?;
            Some(async move {
                let found = self.read_ours(tenure, &username, &username, &key).await?;
                self.secrets.note(&found.meta, self.judge(&username, decision, &found));
                Some(())
            })
        });
        join_all(reading).await;
    }

    /// `None`: it could not be read, which is noted. `Some(None)`: it is not there.
    pub(super) async fn read(
        &self,
        tenure: &Tenure,
        username: &str,
        key: &ObjectKey,
    ) -> Option<Option<StoredSecret>> {
        let _permit = self.limits.kubernetes.acquire().await.ok()?;
        self.store.read(key).await.map_err(|error| tenure.failed(username, Failure::store(&error))).ok()
    }

    /// A Secret that the index says is the holder's; where Kubernetes says otherwise, the index is told.
    async fn read_ours(
        &self,
        tenure: &Tenure,
        username: &str,
        holder: &str,
        key: &ObjectKey,
    ) -> Option<StoredSecret> {
        match self.read(tenure, username, key).await? {
            None => {
                self.secrets.forget(key);
                None
            }
            Some(found) if secret_meta::is_ours(&found.meta, holder) => Some(found),
            Some(other) => {
                self.secrets.note(&other.meta, SecretContent::Unread);
                None
            }
        }
    }

    /// A Secret that no watch has shown is there: ours, and the next pass looks at it, or in the way.
    fn found_after_all(&self, tenure: &Tenure, step: &Provision, found: &StoredSecret) {
        if secret_meta::is_ours(&found.meta, &step.username) {
            self.secrets.note(&found.meta, SecretContent::Unread);
        } else {
            let finding = secret_exists(&step.secret);
            tenure.failed(&step.username, Failure::now(finding.reason, finding.message));
        }
    }

    fn judge(&self, username: &str, decision: &Decision, found: &StoredSecret) -> SecretContent {
        let group = decision.client.workload.default_group();
        match found.judge(username, &self.settings.endpoint, &group) {
            // What was written once stays as it is while there is nothing better.
            SecretContent::Outdated if self.doubt().is_some() && found.is_as_written() => {
                SecretContent::Current
            }
            judged => judged,
        }
    }

    /// Milliseconds of computing, so on a thread of its own, one per core.
    async fn hash(&self, tenure: &Tenure, username: &str, password: &Password) -> Option<ScramKeys> {
        let permit = Arc::clone(&self.limits.hashing).acquire_owned().await.ok()?;
        let (mechanism, iterations) = (self.settings.mechanism(), self.settings.iterations);
        let password = password.clone();
        let keys = spawn_blocking(move || {
            let _permit = permit;
            ScramKeys::derive(mechanism, iterations, &password)
        });
        match keys.await {
            Ok(Ok(keys)) => Some(keys),
            Ok(Err(error)) => {
                tenure.failed(username, Failure::passing(Reason::NoRandomness, error.to_string()));
                None
            }
            Err(error) => {
                tenure.failed(username, Failure::passing(Reason::HashingFailed, error.to_string()));
                None
            }
        }
    }
}

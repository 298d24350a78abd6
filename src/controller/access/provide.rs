//! Provision: quotas, a password, the user, its rules, a login, and then the Secret.
//!
//! Clients go in chunks, each one request per step, several at the same time: while one is with the brokers, another is with
//! the API server.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use topicops_contract::ClientSecret;
use tracing::{debug, info};

use super::{
    AccessController, SecretDraft, VerifyJob, Written, failure::Failure, pass::secret_exists,
    prepared::Prepared, secret_meta, tenure::Tenure,
};
use crate::{
    ObjectKey, Reason,
    access::{Decision, Provision, SecretContent},
    fail_point::fail_point,
    kafka::{Acl, ClusterError, LoginCheck, LoginReport, QuotaTarget, QuotaValue, ScramKeys, ScramMechanism},
};

/// Clients that share their requests: enough to make a request worth its way, few enough that the first Secrets are written
/// while others still log in.
const CHUNK: usize = 48;
/// Chunks under way: one being told to the brokers, two logging in, one with the API server.
const CHUNKS: usize = 4;
/// Credentials take a moment to spread over the brokers: how long to wait before each further look, about a second and a
/// half in all. What is not there by then is for a later pass.
const LOOKS: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(700),
];
/// A listener that does not answer costs a time-out for each look: after this long there is no further one.
const LOOKING: Duration = Duration::from_secs(5);
/// Longer than credentials ever take to spread; after that another upsert may help where this one did not.
const PENDING: Duration = Duration::from_secs(90);

impl AccessController {
    pub(super) async fn provide(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
        mut steps: Vec<Provision>,
        quotas: BTreeMap<QuotaTarget, Option<QuotaValue>>,
        acls: impl IntoIterator<Item = Acl>,
    ) -> Result<(), ClusterError> {
        // A user need not be there to be limited, and none is to be there unlimited.
        self.alter_quotas(tenure, quotas).await?;
        steps.retain(|step| !tenure.has_failed(&step.username));
        let mut later: HashMap<String, Vec<Acl>> =
            steps.iter().filter(|step| step.upsert).map(|step| (step.username.clone(), Vec::new())).collect();
        let mut now = Vec::new();
        for acl in acls {
            later.get_mut(&acl.username).unwrap_or(&mut now).push(acl);
        }
        self.add_acls(tenure, now).await?;
        let under_way = Semaphore::new(CHUNKS);
        let mut chunks = Vec::new();
        let mut steps = steps.into_iter().peekable();
        while steps.peek().is_some() {
            let chunk: Vec<Provision> = steps.by_ref().take(CHUNK).collect();
            let acls = chunk.iter().filter_map(|step| later.remove(&step.username)).flatten().collect();
            let under_way = &under_way;
            chunks.push(async move {
                let _permit = under_way.acquire().await;
                self.chunk(tenure, decisions, chunk, acls).await
            });
        }
        join_all(chunks).await.into_iter().collect()
    }

    async fn chunk(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
        steps: Vec<Provision>,
        acls: Vec<Acl>,
    ) -> Result<(), ClusterError> {
        let started = Instant::now();
        let mut prepared = self.prepare_all(tenure, decisions, steps).await;
        debug!(clients = prepared.len(), elapsed = ?started.elapsed(), "passwords are hashed");
        let mut result = self.end_others(tenure, &mut prepared).await;
        if result.is_ok() {
            result = self.upsert(tenure, &mut prepared).await;
        }
        fail_point!("access/user-made");
        if result.is_ok() {
            result = self.add_acls(tenure, acls).await;
        }
        if result.is_ok() {
            result = self.check_and_write(tenure, decisions, &mut prepared).await;
        }
        // Whatever the brokers know and no Secret holds goes on where it stopped.
        let mut known = tenure.lock();
        for one in prepared {
            if one.upserted.is_some_and(|at| at.elapsed() < PENDING) {
                known.pending.insert(one.username.clone(), one);
            }
        }
        result
    }

    async fn prepare_all(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
        steps: Vec<Provision>,
    ) -> Vec<Prepared> {
        let preparing = steps.into_iter().filter_map(|step| {
            let decision = decisions.get(&step.username)?;
            Some(self.prepare(tenure, decision, step))
        });
        join_all(preparing).await.into_iter().flatten().collect()
    }

    /// Takes away what opens the door by another mechanism with the password before. Where the password stays, that stays
    /// too: clients that run go on with it.
    async fn end_others(&self, tenure: &Tenure, prepared: &mut Vec<Prepared>) -> Result<(), ClusterError> {
        let other = match self.settings.mechanism() {
            ScramMechanism::Sha256 => ScramMechanism::Sha512,
            ScramMechanism::Sha512 => ScramMechanism::Sha256,
        };
        let ended: Vec<(String, ScramMechanism)> = {
            let known = tenure.lock();
            let otherwise = &known.belief.observed.otherwise;
            let ended = prepared.iter().filter(|one| one.fresh && otherwise.contains(&one.username));
            ended.map(|one| (one.username.clone(), other)).collect()
        };
        if ended.is_empty() {
            return Ok(());
        }
        let outcomes = self.cluster.delete_scram_credentials(&ended).await?;
        for ((username, _), outcome) in ended.iter().zip(outcomes) {
            match outcome {
                Ok(()) => tenure.lock().belief.others_acknowledged(username),
                Err(error) => {
                    tenure.failed(username, Failure::kafka("delete the user's password before", &error));
                    prepared.retain(|one| one.username != *username);
                }
            }
        }
        Ok(())
    }

    async fn upsert(&self, tenure: &Tenure, prepared: &mut Vec<Prepared>) -> Result<(), ClusterError> {
        let waiting = |one: &Prepared| one.upserted.is_none();
        let batch: Vec<(String, ScramKeys)> = prepared
            .iter()
            .filter(|one| waiting(one))
            .filter_map(|one| Some((one.username.clone(), one.keys.clone()?)))
            .collect();
        if batch.is_empty() {
            return Ok(());
        }
        let outcomes = self.cluster.upsert_scram_users(&batch).await?;
        let now = Instant::now();
        let mut refused = HashMap::new();
        for ((username, _), outcome) in batch.iter().zip(outcomes) {
            if let Err(error) = outcome {
                tenure.failed(username, Failure::kafka("set the user's password", &error));
                refused.insert(username.clone(), ());
            } else {
                tenure.lock().belief.user_acknowledged(username, true, now);
            }
        }
        self.count("upsert_users", batch.len() - refused.len());
        prepared.retain(|one| !refused.contains_key(&one.username));
        for one in prepared.iter_mut().filter(|one| one.keys.is_some() && one.upserted.is_none()) {
            one.upserted = Some(now);
        }
        Ok(())
    }

    /// Logs in as each of them, and writes the Secrets of those that got in. What is left in the list did not get in yet.
    async fn check_and_write(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
        prepared: &mut Vec<Prepared>,
    ) -> Result<(), ClusterError> {
        let started = Instant::now();
        self.until_listed(prepared).await?;
        debug!(clients = prepared.len(), elapsed = ?started.elapsed(), "the brokers list the users");
        let mut answers: HashMap<String, Failure> = HashMap::new();
        for wait in LOOKS {
            if prepared.is_empty() {
                return Ok(());
            }
            sleep(wait).await;
            let checks: Vec<LoginCheck> =
                prepared.iter().filter_map(|one| login_check(one, decisions.get(&one.username)?)).collect();
            let outcomes = self.cluster.check_logins(&checks).await?;
            debug!(clients = checks.len(), elapsed = ?started.elapsed(), "logins were tried");
            answers.clear();
            let mut hopeless: HashMap<String, Failure> = HashMap::new();
            for (check, outcome) in checks.into_iter().zip(outcomes) {
                match outcome {
                    Ok(report) => {
                        if let Some(failure) = hidden(&report) {
                            answers.insert(check.username, failure);
                        }
                    }
                    Err(error) => {
                        let failure = Failure::kafka("let the new user log in", &error);
                        let into = if error.retriable { &mut answers } else { &mut hopeless };
                        into.insert(check.username, failure);
                    }
                }
            }
            let (left, done): (Vec<_>, Vec<_>) =
                std::mem::take(prepared).into_iter().partition(|one| answers.contains_key(&one.username));
            *prepared = left;
            let (refused, done): (Vec<_>, Vec<_>) =
                done.into_iter().partition(|one| hopeless.contains_key(&one.username));
            for one in refused {
                if let Some(failure) = hopeless.remove(&one.username) {
                    tenure.failed(&one.username, failure);
                }
            }
            let writing = done.into_iter().filter_map(|one| {
                let decision = decisions.get(&one.username)?;
                Some(self.write(tenure, decision, one))
            });
            join_all(writing).await;
            if started.elapsed() > LOOKING {
                break;
            }
        }
        for one in prepared.iter() {
            if let Some(failure) = answers.remove(&one.username) {
                debug!(username = one.username, reason = %failure.finding, "not in yet");
                tenure.failed(&one.username, failure);
            }
        }
        Ok(())
    }

    /// Waits, for as long as the looks take, until the brokers list all of these users: asking costs a millisecond, and a login
    /// that comes too early a third of a second, because brokers hold back refusals.
    async fn until_listed(&self, prepared: &[Prepared]) -> Result<(), ClusterError> {
        // Users that were there before are listed anyway, so that nothing can be learnt about them.
        if prepared.iter().all(|one| one.upserted.is_none()) {
            return Ok(());
        }
        let (prefix, mechanism) = (self.settings.prefix(), self.settings.mechanism());
        for wait in LOOKS {
            sleep(wait).await;
            let listed: HashSet<String> = self
                .cluster
                .describe_scram_users(&prefix)
                .await?
                .into_iter()
                .filter(|user| user.has(mechanism))
                .map(|user| user.username)
                .collect();
            if prepared.iter().all(|one| listed.contains(&one.username)) {
                break;
            }
        }
        Ok(())
    }

    async fn write(&self, tenure: &Tenure, decision: &Decision, mut one: Prepared) {
        if let (false, Some(base)) = (one.write, &one.base) {
            self.secrets.note(base, SecretContent::Current);
            return;
        }
        if one.generated {
            // Its age counts from when it can be read: it may have waited for the brokers, or for the API server.
            one.making.made = Some((self.clock)());
        }
        let content = ClientSecret {
            username: one.username.clone(),
            password: one.password.clone(),
            endpoint: self.settings.endpoint.clone(),
            group_id: decision.client.workload.default_group(),
        };
        let meta = secret_meta::ours(
            one.base.as_ref(),
            &one.secret,
            &one.username,
            content.fingerprint(),
            &one.making,
            &decision.client,
        );
        let draft = SecretDraft { meta, content };
        let written = {
            let Ok(_permit) = self.limits.kubernetes.acquire().await else { return };
            match one.base {
                None => self.store.create(draft).await,
                Some(_) => self.store.replace(draft).await,
            }
        };
        match written {
            Ok(Written::Done(meta)) => {
                fail_point!("access/secret-written");
                self.count("write_secrets", 1);
                if !tenure.lock().belief.observed.users.contains(&one.username) {
                    // It says by now that another user stays; its own comes next, and is to be tried.
                    self.secrets.note(&meta, SecretContent::Altered);
                    return;
                }
                self.secrets.note(&meta, SecretContent::Current);
                if one.tells {
                    self.tell_ready(decision, &one.username, &one.secret);
                }
            }
            Ok(Written::Conflict) => self.conflict(tenure, one).await,
            Err(error) => {
                tenure.failed(&one.username, Failure::store(&error));
                if one.upserted.is_some() {
                    tenure.lock().pending.insert(one.username.clone(), one);
                }
            }
        }
    }

    /// Somebody else wrote the Secret since we looked: if it is ours by its marks, its password counts, and the brokers
    /// have to be told it again.
    async fn conflict(&self, tenure: &Tenure, one: Prepared) {
        let Some(found) = self.read(tenure, &one.username, &one.secret).await else { return };
        let Some(found) = found else {
            if let Some(base) = &one.base {
                self.secrets.note_gone(&one.secret, base.uid.as_deref().unwrap_or_default());
            }
            let message = format!("Secret {} comes and goes", one.secret);
            return tenure.failed(&one.username, Failure::passing(Reason::SecretRefused, message));
        };
        self.secrets.note(&found.meta, SecretContent::Unread);
        if secret_meta::is_ours(&found.meta, &one.username) {
            tenure.lock().belief.doubt_user(&one.username);
        } else if one.replaces.as_ref().is_some_and(|before| secret_meta::is_ours(&found.meta, before)) {
            // Something else about it changed: the same password goes into it as it is now.
            let again = Prepared { base: Some(found.meta), ..one };
            tenure.lock().pending.insert(again.username.clone(), again);
        } else {
            let finding = secret_exists(&one.secret);
            tenure.failed(&one.username, Failure::now(finding.reason, finding.message));
        }
    }

    fn tell_ready(&self, decision: &Decision, username: &str, secret: &ObjectKey) {
        info!(username, secret = %secret, "credentials are ready");
        let mut note = format!("Secret {} holds the credentials of user {username}, which work", secret.name);
        let reason = match decision.lineage.previous.as_ref().filter(|_| decision.lineage.begins) {
            None => Reason::CredentialsReady,
            Some(previous) => {
                note.push_str(&format!(
                    "; those of user {previous} stay good until no Pod has them any more"
                ));
                Reason::Rotating
            }
        };
        self.events.say(&decision.client, reason, &note);
        if let Some(queue) = &self.verify {
            queue.push(VerifyJob {
                client: decision.client.clone(),
                secret: secret.clone(),
                username: username.to_owned(),
                topics: decision.granted.topics().into_iter().collect(),
                groups: decision.granted.distinct_groups(),
            });
        }
    }
}

fn login_check(one: &Prepared, decision: &Decision) -> Option<LoginCheck> {
    let (keys, granted) = (one.keys.clone()?, &decision.granted);
    Some(LoginCheck {
        username: one.username.clone(),
        keys,
        topics: granted.visible_topics().into_iter().collect(),
        groups: granted.visible_groups(),
        transactional_ids: granted.visible_transactional_ids(),
    })
}

/// What a user that got in does not see and should. A topic that is not there yet is none of the user's concern.
fn hidden(report: &LoginReport) -> Option<Failure> {
    let topics = report.hidden_topics.iter().filter(|(_, answer)| !answer.contains("UNKNOWN_TOPIC"));
    let topics = topics.map(|(topic, answer)| format!("topic {topic} ({answer})"));
    let groups = report.hidden_groups.iter().map(|(group, answer)| format!("group {group} ({answer})"));
    let ids = report.hidden_transactional_ids.iter();
    let ids = ids.map(|(id, answer)| format!("transactional id {id} ({answer})"));
    let hidden: Vec<String> = topics.chain(groups).chain(ids).collect();
    if hidden.is_empty() {
        return None;
    }
    let message = format!(
        "the brokers let the user in and do not show it {}: look for DENY rules that concern it",
        hidden.join(", ")
    );
    Some(Failure::passing(Reason::AccessHidden, message))
}

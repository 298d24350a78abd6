//! Doubles for tests of the loop: Secrets in memory, Events in a list, and a cluster whose every step can be the last.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use topicops_contract::{TopicName, Workload};

pub(super) use super::death::{Death, StepIs};
use super::{
    ClientEvents, JobOwners, Rollout, RolloutError, Rollouts, SecretDraft, SecretIndex, SecretStore,
    StoreError, StoredSecret, Written,
};
use crate::{
    ObjectKey, Reason,
    access::Client,
    kafka::{
        Acl, BrokerConfigs, BrokerDisks, Cluster, ClusterDescription, ClusterError, ConfigChange, ConfigKeys,
        ConsumingGroup, DoomedTopic, Item, LoginCheck, LoginReport, MemoryCluster, NewPartitions, NewTopic,
        Quota, QuotaTarget, QuotaValue, Reassignment, ScramKeys, ScramMechanism, ScramUser, TopicDescription,
        TopicPartition,
    },
};

/// Secrets as an API server keeps them, with the watch of them at once in the index.
#[derive(Debug)]
pub(super) struct MemorySecrets {
    pub(super) death: Arc<Death>,
    pub(super) kept: Arc<Mutex<Kept>>,
    /// `None`: the watch lags for ever.
    pub(super) index: Option<Arc<SecretIndex>>,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) secrets: BTreeMap<ObjectKey, Secret>,
    version: u64,
    pub(super) writes: usize,
    pub(super) reads: usize,
}

impl Kept {
    /// Puts a Secret as somebody else would; its version and, when it is new, its uid are the server's.
    pub(super) fn put(&mut self, mut secret: Secret) -> Secret {
        self.version += 1;
        let key = ObjectKey::of(&secret.metadata);
        let uid = self.secrets.get(&key).and_then(|before| before.metadata.uid.clone());
        secret.metadata.uid = Some(uid.unwrap_or_else(|| format!("secret-{}", self.version)));
        secret.metadata.resource_version = Some(self.version.to_string());
        self.secrets.insert(key, secret.clone());
        secret
    }
}

impl MemorySecrets {
    fn write(&self, draft: SecretDraft, create: bool) -> Written {
        let mut kept = self.kept.lock().unwrap();
        let there = kept.secrets.get(&draft.key()).map(|secret| secret.metadata.clone());
        let fits = match &there {
            None => create,
            Some(there) => !create && there.resource_version == draft.meta.resource_version,
        };
        if !fits {
            return Written::Conflict;
        }
        kept.writes += 1;
        let secret = kept.put(draft.into_object());
        if let Some(index) = &self.index {
            index.apply_meta(&secret.metadata);
        }
        Written::Done(Box::new(secret.metadata))
    }
}

#[async_trait]
impl SecretStore for MemorySecrets {
    async fn read(&self, key: &ObjectKey) -> Result<Option<StoredSecret>, StoreError> {
        let read = async {
            let mut kept = self.kept.lock().unwrap();
            kept.reads += 1;
            kept.secrets.get(key).cloned().map(StoredSecret::new)
        };
        Ok(self.death.step("read Secret", read).await)
    }

    async fn create(&self, draft: SecretDraft) -> Result<Written, StoreError> {
        Ok(self.death.step("create Secret", async { self.write(draft, true) }).await)
    }

    async fn replace(&self, draft: SecretDraft) -> Result<Written, StoreError> {
        Ok(self.death.step("replace Secret", async { self.write(draft, false) }).await)
    }

    async fn delete(&self, key: &ObjectKey, uid: &str) -> Result<(), StoreError> {
        let delete = async {
            let mut kept = self.kept.lock().unwrap();
            if kept.secrets.get(key).is_some_and(|secret| secret.metadata.uid.as_deref() == Some(uid)) {
                kept.writes += 1;
                kept.secrets.remove(key);
            }
            if let Some(index) = &self.index {
                index.note_gone(key, uid);
            }
        };
        self.death.step("delete Secret", delete).await;
        Ok(())
    }
}

/// Workloads' Pods: which user each of them has, by workload.
#[derive(Debug)]
pub(super) struct MemoryRollouts {
    pub(super) death: Arc<Death>,
    pub(super) pods: Arc<Mutex<Pods>>,
}

#[derive(Debug, Default)]
pub(super) struct Pods {
    pub(super) users: BTreeMap<Workload, Vec<String>>,
    /// Rollouts do not get on.
    pub(super) stuck: bool,
    /// What would help.
    pub(super) needs: Option<&'static str>,
    /// Kubernetes refuses.
    pub(super) refused: bool,
    /// Kubernetes does not answer.
    pub(super) silent: bool,
    /// How many wait for an answer.
    pub(super) waiting: usize,
    /// So many of the next looks fail in a way that nobody thought of.
    pub(super) faults: usize,
    pub(super) asked: usize,
    /// The passwords that Pods were to have, each by when it was made, and since when Pods were said to find it.
    pub(super) made: Vec<Timestamp>,
    pub(super) since: Vec<Timestamp>,
}

/// One that waits for an answer, or was given up.
struct Waiting(Arc<Mutex<Pods>>);

impl Waiting {
    fn new(pods: &Arc<Mutex<Pods>>) -> Self {
        pods.lock().unwrap().waiting += 1;
        Self(Arc::clone(pods))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().unwrap().waiting -= 1;
    }
}

#[async_trait]
impl Rollouts for MemoryRollouts {
    /// At each call one more Pod is replaced.
    async fn advance(
        &self,
        client: &Client,
        username: &str,
        made: Timestamp,
        since: Timestamp,
        _: bool,
    ) -> Result<Rollout, RolloutError> {
        if self.pods.lock().unwrap().silent {
            let _waiting = Waiting::new(&self.pods);
            return pending().await;
        }
        let advance = async {
            let mut pods = self.pods.lock().unwrap();
            pods.asked += 1;
            if pods.made.last() != Some(&made) {
                pods.made.push(made);
            }
            if pods.since.last() != Some(&since) {
                pods.since.push(since);
            }
            if pods.faults > 0 {
                pods.faults -= 1;
                drop(pods);
                panic!("nobody thought of it");
            }
            if pods.refused {
                let workload = client.workload.to_string();
                return Err(RolloutError { doing: "roll out", workload, message: "forbidden".to_owned() });
            }
            let moves = !pods.stuck;
            let users = pods.users.entry(client.workload.clone()).or_default();
            if let Some(old) = users.iter_mut().find(|user| *user != username).filter(|_| moves) {
                username.clone_into(old);
            }
            let left: Vec<String> = users.iter().filter(|user| *user != username).cloned().collect();
            Ok(if left.is_empty() {
                Rollout::Done
            } else {
                Rollout::Waits { left, needs: pods.needs, rolled: false }
            })
        };
        self.death.step("look at Pods", advance).await
    }
}

/// Jobs, with the CronJobs that they are parts of.
#[derive(Debug, Default)]
pub(super) struct MemoryJobs {
    pub(super) cron_jobs: Mutex<BTreeMap<ObjectKey, Workload>>,
    /// Questions so far.
    pub(super) asked: AtomicUsize,
    /// Kubernetes does not say.
    pub(super) away: AtomicBool,
}

#[async_trait]
impl JobOwners for MemoryJobs {
    async fn cron_job_of(&self, job: &ObjectKey) -> Result<Option<Workload>, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) {
            return Err("away".to_owned());
        }
        Ok(self.cron_jobs.lock().unwrap().get(job).cloned())
    }
}

/// What authors were told, as `Kind namespace/name Reason: note`.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) lines: Mutex<Vec<String>>,
    /// By uid and reason: what was said last is not said again.
    last: Mutex<BTreeMap<(String, Reason), String>>,
}

impl Heard {
    pub(super) fn has(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    pub(super) fn count(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

impl ClientEvents for Heard {
    fn say(&self, client: &Client, reason: Reason, note: &str) {
        let said =
            self.last.lock().unwrap().get(&(client.uid.clone(), reason)).is_some_and(|said| said == note);
        if !said {
            self.say_again(client, reason, note);
        }
    }

    fn say_again(&self, client: &Client, reason: Reason, note: &str) {
        self.last.lock().unwrap().insert((client.uid.clone(), reason), note.to_owned());
        self.lines.lock().unwrap().push(format!("{} {reason}: {note}", client.workload));
    }

    fn forget(&self, uid: &str) {
        self.last.lock().unwrap().retain(|(of, _), _| of != uid);
    }
}

/// A cluster that the process may not live to hear from.
#[derive(Debug)]
pub(super) struct MortalCluster {
    pub(super) death: Arc<Death>,
    pub(super) inner: MemoryCluster,
    /// What the brokers were told last of each user: they never tell it back.
    pub(super) told: Arc<Mutex<BTreeMap<String, ScramKeys>>>,
}

impl MortalCluster {
    async fn upsert(&self, users: &[(String, ScramKeys)]) -> Answer<()> {
        let outcomes = self.inner.upsert_scram_users(users).await?;
        for ((username, keys), outcome) in users.iter().zip(&outcomes) {
            if outcome.is_ok() {
                self.told.lock().unwrap().insert(username.clone(), keys.clone());
            }
        }
        Ok(outcomes)
    }
}

type Answer<T> = Result<Vec<Item<T>>, ClusterError>;

#[async_trait]
impl Cluster for MortalCluster {
    async fn describe_cluster(&self) -> Result<ClusterDescription, ClusterError> {
        self.inner.describe_cluster().await
    }

    async fn describe_topics(
        &self,
        names: &[TopicName],
        keys: &ConfigKeys,
    ) -> Answer<Option<TopicDescription>> {
        self.inner.describe_topics(names, keys).await
    }

    async fn create_topics(&self, topics: &[NewTopic]) -> Answer<crate::kafka::CreatedTopic> {
        self.inner.create_topics(topics).await
    }

    async fn create_partitions(&self, topics: &[NewPartitions]) -> Answer<()> {
        self.inner.create_partitions(topics).await
    }

    async fn alter_configs(&self, changes: &[(TopicName, ConfigChange)]) -> Answer<()> {
        self.inner.alter_configs(changes).await
    }

    async fn delete_topics(&self, topics: &[DoomedTopic]) -> Answer<()> {
        self.inner.delete_topics(topics).await
    }

    async fn list_topics(&self) -> Result<Vec<String>, ClusterError> {
        self.inner.list_topics().await
    }

    async fn list_reassignments(&self) -> Result<Vec<Reassignment>, ClusterError> {
        self.inner.list_reassignments().await
    }

    async fn alter_reassignments(&self, changes: &[(TopicPartition, Option<Vec<i32>>)]) -> Answer<()> {
        self.inner.alter_reassignments(changes).await
    }

    async fn elect_preferred_leaders(&self, partitions: &[TopicPartition]) -> Answer<()> {
        self.inner.elect_preferred_leaders(partitions).await
    }

    async fn describe_log_dirs(&self) -> Result<BTreeMap<i32, Item<BrokerDisks>>, ClusterError> {
        self.inner.describe_log_dirs().await
    }

    async fn describe_broker_configs(&self, brokers: &[i32], keys: &ConfigKeys) -> Answer<BrokerConfigs> {
        self.inner.describe_broker_configs(brokers, keys).await
    }

    async fn alter_broker_configs(&self, changes: &[(i32, ConfigChange)]) -> Answer<()> {
        self.inner.alter_broker_configs(changes).await
    }

    async fn consuming_groups(&self) -> Result<Vec<ConsumingGroup>, ClusterError> {
        self.inner.consuming_groups().await
    }

    async fn describe_acls(&self, prefix: &str) -> Result<BTreeSet<Acl>, ClusterError> {
        self.death.step("look at rules", self.inner.describe_acls(prefix)).await
    }

    async fn create_acls(&self, acls: &[Acl]) -> Answer<()> {
        self.death.step("add rules", self.inner.create_acls(acls)).await
    }

    async fn delete_acls(&self, acls: &[Acl]) -> Answer<()> {
        self.death.step("remove rules", self.inner.delete_acls(acls)).await
    }

    async fn describe_quotas(&self, prefix: &str) -> Result<BTreeSet<Quota>, ClusterError> {
        self.death.step("look at quotas", self.inner.describe_quotas(prefix)).await
    }

    async fn alter_quotas(&self, changes: &[(QuotaTarget, Option<QuotaValue>)]) -> Answer<()> {
        self.death.step("change quotas", self.inner.alter_quotas(changes)).await
    }

    async fn describe_scram_users(&self, prefix: &str) -> Result<Vec<ScramUser>, ClusterError> {
        self.death.step("look at users", self.inner.describe_scram_users(prefix)).await
    }

    async fn upsert_scram_users(&self, users: &[(String, ScramKeys)]) -> Answer<()> {
        self.death.step("make users", self.upsert(users)).await
    }

    async fn delete_scram_users(&self, usernames: &[String]) -> Answer<()> {
        self.death.step("delete users", self.inner.delete_scram_users(usernames)).await
    }

    async fn delete_scram_credentials(&self, credentials: &[(String, ScramMechanism)]) -> Answer<()> {
        self.death.step("delete credentials", self.inner.delete_scram_credentials(credentials)).await
    }

    async fn check_logins(&self, checks: &[LoginCheck]) -> Answer<LoginReport> {
        self.death.step("log in", self.inner.check_logins(checks)).await
    }
}

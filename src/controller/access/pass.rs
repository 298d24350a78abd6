//! One pass: decide about all clients, plan, carry out, report.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep};
use topicops_contract::keys;
use tracing::{debug, warn};

use super::{
    AccessController,
    looks::Looks,
    tenure::{Known, Tenure},
};
use crate::{
    ObjectKey, Reason,
    access::{AccessPlan, Decision, Finding, plan},
    kafka::{Acl, ClusterError, QuotaTarget, QuotaValue},
    metrics::{OperationLabel, StateLabel},
    topic::TopicGrants,
};

/// Questions about Jobs with the API server at the same time, and after how long what was not answered is asked again.
const JOBS_AT_ONCE: usize = 4;
const JOBS_AGAIN: Duration = Duration::from_secs(10);

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pass {
    /// It found something to do, so there may be more.
    pub(super) busy: bool,
    /// The brokers were asked, and answered.
    pub(super) asked_kafka: bool,
}

impl AccessController {
    /// One pass over all clients.
    pub(super) async fn pass(
        &self,
        tenure: &Tenure,
        grants: &TopicGrants,
        looks: &mut Looks,
    ) -> Result<Pass, ClusterError> {
        let clients = self.clients.all();
        let now = Instant::now();
        let (decisions, plan) = {
            let mut known = tenure.lock();
            known.failures.clear();
            known.belief.observed.secrets = self.secrets.observed();
            let observed = &known.belief.observed;
            let settings = &self.settings;
            let policy = self.topics.policy();
            let rules = known.rotations.rules(settings.rotate_after, now, (self.clock)());
            let decisions =
                Decision::all(&clients, &settings.operator, grants, settings.mode, &policy, observed, &rules);
            let mut plan = plan(&settings.prefix(), &decisions, observed);
            let with_work = plan.users();
            known.backoff.retain(|username| with_work.contains(username));
            known.pending.retain(|username, _| with_work.contains(username));
            plan.retain(|username| {
                let desired = decisions.get(username).map(|decision| &decision.desired);
                !known.backoff.is_waiting(username, desired, now)
            });
            (decisions, plan)
        };
        self.look_up_jobs();
        if plan.is_empty() {
            self.report(tenure, &decisions, &plan.blocked);
            let busy = self.follow_rotations(tenure, &decisions, looks);
            return Ok(Pass { busy, asked_kafka: false });
        }
        let users = plan.users();
        let asks_kafka = plan.asks_kafka();
        let blocked = plan.blocked.clone();
        debug!(users = users.len(), "access has to change");
        self.set_busy(true);
        let result = Box::pin(self.carry_out(tenure, &decisions, plan)).await;
        self.set_busy(false);
        settle(tenure, &decisions, &users, result.is_ok());
        // Whoever has other work to do for ever holds up nobody's rotation.
        self.follow_rotations(tenure, &decisions, looks);
        self.report(tenure, &decisions, &blocked);
        result.map(|()| Pass { busy: true, asked_kafka: asks_kafka })
    }

    /// Granting and revoking concern different users, so neither waits for the other. What a client has too much goes
    /// after it has what it is to have; where a request failed as a whole, it goes from those that lack no rule all the same.
    async fn carry_out(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
        plan: AccessPlan,
    ) -> Result<(), ClusterError> {
        let AccessPlan {
            read,
            provide,
            set_quotas,
            add_acls,
            surplus_acls,
            revoke_acls,
            revoke_quotas,
            delete_users,
            delete_secrets,
            blocked: _,
        } = plan;
        let wanted = add_acls.clone();
        let (granted, revoked, ()) = tokio::join!(
            self.provide(tenure, decisions, provide, set_quotas, add_acls),
            self.revoke(tenure, (revoke_acls, revoke_quotas), delete_users, delete_secrets),
            self.read_secrets(tenure, decisions, read),
        );
        let mut surplus = surplus_acls;
        if granted.is_err() {
            let known = tenure.lock();
            let there = &known.belief.observed.acls;
            let lacking: BTreeSet<&String> = wanted.difference(there).map(|acl| &acl.username).collect();
            surplus.retain(|acl| !lacking.contains(&acl.username));
        }
        let removed = self.remove_acls(tenure, surplus).await;
        granted.and(revoked).and(removed)
    }

    /// Changes quotas in one request.
    pub(super) async fn alter_quotas(
        &self,
        tenure: &Tenure,
        changes: impl IntoIterator<Item = (QuotaTarget, Option<QuotaValue>)>,
    ) -> Result<(), ClusterError> {
        let changes: Vec<_> = changes.into_iter().collect();
        if changes.is_empty() {
            return Ok(());
        }
        let outcomes = self.cluster.alter_quotas(&changes).await?;
        self.count("alter_quotas", outcomes.iter().filter(|outcome| outcome.is_ok()).count());
        tenure.quotas_answered(&changes, outcomes);
        Ok(())
    }

    /// Adds rules in one request.
    pub(super) async fn add_acls(&self, tenure: &Tenure, acls: Vec<Acl>) -> Result<(), ClusterError> {
        if acls.is_empty() {
            return Ok(());
        }
        let outcomes = self.cluster.create_acls(&acls).await?;
        self.count("create_acls", outcomes.iter().filter(|outcome| outcome.is_ok()).count());
        tenure.acls_answered(&acls, outcomes, true);
        Ok(())
    }

    /// Removes rules in one request.
    pub(super) async fn remove_acls(&self, tenure: &Tenure, acls: BTreeSet<Acl>) -> Result<(), ClusterError> {
        if acls.is_empty() {
            return Ok(());
        }
        let acls: Vec<Acl> = acls.into_iter().collect();
        let outcomes = self.cluster.delete_acls(&acls).await?;
        self.count("delete_acls", outcomes.iter().filter(|outcome| outcome.is_ok()).count());
        tenure.acls_answered(&acls, outcomes, false);
        Ok(())
    }

    pub(super) fn count(&self, operation: &'static str, items: usize) {
        self.metrics.changes.get_or_create(&OperationLabel { operation }).inc_by(items as u64);
    }

    fn set_busy(&self, busy: bool) {
        if let Some(queue) = &self.verify {
            queue.set_busy(busy);
        }
    }

    /// Asks whose those Jobs are that may be parts of a client, beside the passes: it is for an Event, and an API server that takes
    /// its time holds up nobody's access. What is not answered is asked again a while later.
    fn look_up_jobs(&self) {
        let makers = self.clients.jobs_to_look_up().into_iter();
        let makers: Vec<_> = makers.filter_map(|maker| Some((maker.job()?, maker))).collect();
        if makers.is_empty() {
            return;
        }
        let Ok(only) = Arc::clone(&self.limits.job_looks).try_acquire_owned() else { return };
        let (jobs, clients) = (Arc::clone(&self.jobs), Arc::clone(&self.clients));
        tokio::spawn(async move {
            let looks = makers.into_iter().map(|(job, maker)| {
                let jobs = Arc::clone(&jobs);
                async move { (jobs.cron_job_of(&job).await, job, maker) }
            });
            let mut looks = stream::iter(looks).buffer_unordered(JOBS_AT_ONCE);
            let mut unanswered = false;
            while let Some((answer, job, maker)) = looks.next().await {
                match answer {
                    Ok(cron_job) => clients.looked_up(&maker, cron_job.as_ref()),
                    Err(error) => {
                        warn!(job = %job, error, "nobody knows whose Job that is; asking again");
                        unanswered = true;
                    }
                }
            }
            drop(looks);
            if unanswered {
                clients.changed();
                sleep(JOBS_AGAIN).await;
            }
            drop(only);
            clients.changed();
        });
    }

    /// Tells whoever put the label on a template and not on the workload.
    fn tell_strays(&self, known: &mut Known) {
        let strays = self.clients.strays();
        for (maker, part) in &strays {
            if !known.strays_told.contains(maker) {
                let note = format!(
                    "the label {} does nothing on this {}, because {maker} made it: put it, and the annotations, on the \
                     workload itself, under metadata and not under spec.template.metadata",
                    keys::INJECT_LABEL,
                    part.workload.kind()
                );
                self.events.say(part, Reason::LabelOnTemplate, &note);
            }
        }
        known.strays_told = strays.into_iter().map(|(maker, _)| maker).collect();
    }

    /// Tells every author what changed about what they do not get, and counts the clients by state.
    fn report(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
        blocked: &BTreeMap<String, ObjectKey>,
    ) {
        let mut states = BTreeMap::from([("ready", 0), ("partly", 0), ("waiting", 0), ("invalid", 0)]);
        let mut known = tenure.lock();
        let mut told = std::mem::take(&mut known.told);
        for (username, decision) in decisions.iter().filter(|(username, one)| one.is_current(username)) {
            let mut findings = decision.findings.clone();
            findings.extend(blocked.get(username).map(secret_exists));
            findings.extend(known.backoff.failure(username).map(|failure| failure.finding.clone()));
            let notes = Finding::by_reason(&findings);
            // What the policy adjusts is as it should be.
            let all_granted = notes.keys().all(|reason| *reason == Reason::QuotaOutOfBounds);
            let in_place = decision.desired.secret.as_ref().is_some_and(|secret| {
                known.belief.observed.users.contains(username)
                    && self.secrets.is_current(&secret.key, username)
            });
            let state = match (&decision.client.request, in_place, all_granted) {
                (Err(_), ..) => "invalid",
                (Ok(_), true, true) => "ready",
                (Ok(_), true, false) => "partly",
                (Ok(_), false, _) => "waiting",
            };
            *states.entry(state).or_default() += 1;
            let before = told.remove(&decision.client.uid).unwrap_or_default();
            for (reason, note) in notes.iter().filter(|(reason, note)| before.get(*reason) != Some(*note)) {
                self.events.say(&decision.client, *reason, note);
            }
            if notes.is_empty() {
                if !before.is_empty() {
                    self.events.forget(&decision.client.uid);
                }
            } else {
                known.told.insert(decision.client.uid.clone(), notes);
            }
        }
        for uid in told.keys() {
            self.events.forget(uid);
        }
        self.tell_strays(&mut known);
        for (state, count) in states {
            self.metrics.clients.get_or_create(&StateLabel { state }).set(count);
        }
    }
}

/// What failed waits; what went through does not any more. After a request that failed as a whole nothing is known of the
/// rest.
fn settle(tenure: &Tenure, decisions: &BTreeMap<String, Decision>, users: &BTreeSet<String>, whole: bool) {
    let now = Instant::now();
    let mut known = tenure.lock();
    let failures = std::mem::take(&mut known.failures);
    for username in users {
        match failures.get(username) {
            Some(failure) => {
                let desired = decisions.get(username).map(|decision| &decision.desired);
                // Nobody is left to be told about a user that goes.
                if desired.is_none() {
                    warn!(username, reason = %failure.finding, "a user could not be revoked; trying again");
                }
                known.backoff.failed(username, desired, failure.clone(), now);
            }
            None if whole => known.backoff.succeeded(username),
            None => {}
        }
    }
}

/// The words for a Secret that is in the way.
pub(super) fn secret_exists(key: &ObjectKey) -> Finding {
    let message = format!(
        "Secret {key} exists and was not made by topicops; delete it or choose another name with \
         topic.kafka.nb/topic-secret"
    );
    Finding::new(Reason::SecretExists, message)
}

//! Rotation: a new user with a password of its own takes the place of the one before in the Secret, the Pods are replaced, and
//! when none runs with the credentials before, their user goes. Until then both work, so nothing that runs is shut out,
//! whatever becomes of the rollout.
//!
//! How far it is stands in the Secret: see [`crate::access::Lineage`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{AccessController, Rollout, tenure::Tenure};
use crate::{
    Reason,
    access::{Decision, RotationRules},
    fail_point::fail_point,
};

/// What is known of the rotations whose Pods change over, by the name of the new user.
#[derive(Debug, Default)]
pub(super) struct Rotations {
    followed: HashMap<String, Followed>,
    /// Users whose credentials all Pods have by now.
    taken_up: BTreeSet<String>,
}

#[derive(Debug)]
struct Followed {
    since: Instant,
    due: Instant,
    /// When its author was told last that it does not get on.
    told: Option<Instant>,
}

/// Rotations that change Pods over at the same time, while they get on: a schedule that is due everywhere replaces no whole
/// cluster's Pods at once.
const AT_A_TIME: usize = 10;
/// After this long a rollout that is not done counts as stuck: it is told, and holds up no other.
const STUCK: Duration = Duration::from_secs(600);
/// Pods that were left, in one message.
const NAMED: usize = 5;

impl Rotations {
    pub(super) fn rules(&self, after: Option<Duration>, now: Instant) -> RotationRules {
        let stuck = self.followed.iter().filter(|(_, one)| now.duration_since(one.since) >= STUCK);
        RotationRules {
            now: Timestamp::now(),
            after,
            taken_up: self.taken_up.clone(),
            stuck: stuck.map(|(username, _)| username.clone()).collect(),
            at_a_time: AT_A_TIME,
        }
    }

    /// When the next rollout is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.followed.values().map(|one| one.due).min()
    }

    fn keep(&mut self, usernames: &BTreeSet<&String>, now: Instant) {
        self.followed.retain(|username, _| usernames.contains(username));
        for username in usernames {
            if !self.taken_up.contains(*username) {
                let new = Followed { since: now, due: now, told: None };
                self.followed.entry((*username).clone()).or_insert(new);
            }
        }
    }
}

impl Followed {
    fn look_again(&mut self, now: Instant) {
        let age = now.duration_since(self.since);
        let pace = match age.as_secs() {
            0..60 => 1,
            60..600 => 5,
            _ => 30,
        };
        self.due = now + Duration::from_secs(pace);
    }
}

impl AccessController {
    /// Looks at the rollouts that are due; whether one of them is done, so that there is something to do.
    pub(super) async fn follow_rotations(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
    ) -> bool {
        let now = Instant::now();
        let due: Vec<String> = {
            let mut known = tenure.lock();
            let secrets = &known.belief.observed.secrets;
            // As the Secret says; what was decided beyond that is not there yet.
            let changing: BTreeSet<&String> = decisions
                .iter()
                .filter(|(username, decision)| {
                    let Some(secret) = &decision.desired.secret else { return false };
                    let written = self.secrets.is_current(&secret.key, username)
                        || secrets
                            .get(&secret.key)
                            .is_some_and(|found| found.username.as_ref() == Some(*username));
                    written && secret.previous.is_some()
                })
                .map(|(username, _)| username)
                .collect();
            known.rotations.taken_up.retain(|username| decisions.contains_key(username));
            known.rotations.keep(&changing, now);
            self.metrics
                .rotations_running
                .set(i64::try_from(known.rotations.followed.len()).unwrap_or(i64::MAX));
            let followed = known.rotations.followed.iter().filter(|(_, one)| one.due <= now);
            followed.map(|(username, _)| username.clone()).collect()
        };
        if due.is_empty() {
            return false;
        }
        fail_point!("access/secret-rotated");
        let looks = due.into_iter().filter_map(|username| {
            let decision = decisions.get(&username)?;
            Some(self.follow(tenure, username, decision))
        });
        join_all(looks).await.into_iter().any(|done| done)
    }

    async fn follow(&self, tenure: &Tenure, username: String, decision: &Decision) -> bool {
        let key = decision.desired.secret.as_ref().map(|secret| &secret.key);
        let made = {
            let known = tenure.lock();
            key.and_then(|key| known.belief.observed.secrets.get(key)?.made)
        };
        let answer = {
            let Ok(_permit) = self.limits.kubernetes.acquire().await else { return false };
            let made = made.unwrap_or_else(Timestamp::now);
            self.rollouts.advance(&decision.client, &username, made).await
        };
        let now = Instant::now();
        let mut known = tenure.lock();
        let Some(followed) = known.rotations.followed.get_mut(&username) else { return false };
        let previous = decision.lineage.previous.as_deref().unwrap_or_default();
        let message = match answer {
            Ok(Rollout::Done) => {
                known.rotations.followed.remove(&username);
                known.rotations.taken_up.insert(username.clone());
                drop(known);
                fail_point!("access/taken-up");
                self.metrics.rotations.inc();
                info!(username, previous, "credentials were rotated");
                let note =
                    format!("all Pods have the credentials of user {username}; user {previous} is revoked");
                self.events.say(&decision.client, Reason::Rotated, &note);
                return true;
            }
            Ok(Rollout::Waits { left, needs }) => {
                let stuck = now.duration_since(followed.since) >= STUCK;
                (stuck || needs.is_some()).then(|| waits(&left, needs, previous))
            }
            Err(error) => Some(format!(
                "the Pods could not be replaced: {error}; the credentials of user {previous} stay good"
            )),
        };
        followed.look_again(now);
        let told = followed.told.is_some_and(|at| now.duration_since(at) < STUCK);
        if let Some(message) = message.filter(|_| !told) {
            followed.told = Some(now);
            warn!(username, message, "a rotation waits");
            self.events.say(&decision.client, Reason::RotationWaits, &message);
        }
        false
    }
}

fn waits(left: &[String], needs: Option<&str>, previous: &str) -> String {
    let mut names = left.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if left.len() > NAMED {
        names.push_str(&format!(" and {} more", left.len() - NAMED));
    }
    let needs = needs.map(|needs| format!(": {needs}")).unwrap_or_default();
    format!(
        "{} Pods may run with the credentials of user {previous} still ({names}){needs}; they stay good until none does",
        left.len()
    )
}

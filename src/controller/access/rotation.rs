//! Rotation: a new user with a password of its own takes the place of the one before in the Secret, the Pods are replaced, and
//! when none runs with the credentials before, their user goes. Until then both work, so nothing that runs is shut out,
//! whatever becomes of the rollout.
//!
//! How far it is stands in the Secret: see [`crate::access::Lineage`]. Passes begin looks at rollouts and take over what came
//! of them; they wait for none ([`super::looks`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{task::Id, time::Instant};
use tracing::{info, warn};

use super::{
    AccessController, Rollout,
    looks::{Asked, Look, Looks},
    tenure::Tenure,
};
use crate::{
    ObjectKey, Reason,
    access::{Decision, RotationRules, SecretContent},
    fail_point::fail_point,
};

/// What is known of the rotations whose Pods change over, by the name of the new user.
#[derive(Debug, Default)]
pub(super) struct Rotations {
    followed: HashMap<String, Followed>,
    /// Since when it is known of each that has a user before, whether its Secret says so yet or not.
    known_since: HashMap<String, Instant>,
    /// Users whose credentials all Pods have by now.
    taken_up: BTreeSet<String>,
    /// When the last one was done.
    done: Option<Instant>,
}

#[derive(Debug)]
struct Followed {
    /// The user before.
    previous: String,
    /// The latest that the Secret said its password was made, and when that was seen first, by this leader's clock: Pods that
    /// begin after it find the new credentials. What the Secret says of when they were made is somebody else's word.
    made: Option<Timestamp>,
    seen: Timestamp,
    /// When it got on last.
    since: Instant,
    due: Instant,
    /// The look that is under way: what came of any other says nothing of this rollout.
    looking: Option<Id>,
    /// How many Pods were left then.
    left: usize,
    /// It does not get on by itself.
    needs: bool,
    /// How often the Pods were asked to be replaced, and when last.
    rolled: (u32, Option<Instant>),
    /// When its author was told last that it does not get on, by what keeps it.
    told: BTreeMap<&'static str, Instant>,
}

/// Rotations that are under way at the same time, from the new user to the last Pod, while they get on: a schedule that is due
/// everywhere replaces no whole cluster's Pods at once, nor when something ends that kept all of them from going on.
const AT_A_TIME: usize = 10;
/// A rotation that has not got on for so long counts as stuck: it holds up no other, and of a rollout it is told, each time that
/// this passes.
const STUCK: Duration = Duration::from_secs(600);
/// Between asking for the Pods to be replaced and doing so again, where somebody takes back what asks for it: twice as long each
/// time.
const ROLL_AGAIN: Duration = Duration::from_secs(30);
/// Before one that got on in between is told to wait for the same reason again: answers of an API server may come and go.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Pods that were left, in one message.
const NAMED: usize = 5;

impl Rotations {
    pub(super) fn rules(&self, after: Option<Duration>, now: Instant, time: Timestamp) -> RotationRules {
        let is_stuck = |username: &str, since: Instant| match self.followed.get(username) {
            Some(followed) => followed.is_stuck(now),
            None => now.duration_since(since) >= STUCK,
        };
        let stuck: BTreeSet<String> = self
            .known_since
            .iter()
            .filter(|(username, since)| is_stuck(username, **since))
            .map(|(username, _)| username.clone())
            .collect();
        let waits = |username: &&String| self.followed.get(*username).is_some_and(|one| one.needs);
        let for_nothing_known = stuck.iter().filter(|username| !waits(username)).count();
        let done = self.done.is_some_and(|at| now.duration_since(at) < STUCK);
        let changing = self.followed.iter().map(|(username, one)| (username.clone(), one.previous.clone()));
        RotationRules {
            now: time,
            after,
            taken_up: self.taken_up.clone(),
            changing: changing.collect(),
            blocked: for_nothing_known >= AT_A_TIME && !done,
            stuck,
            room: AT_A_TIME,
        }
    }

    /// The latest that the Secret with this user said its password was made.
    pub(super) fn made(&self, username: &str) -> Option<Timestamp> {
        self.followed.get(username)?.made
    }

    /// When the next rollout is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.followed.values().filter(|one| one.looking.is_none()).map(|one| one.due).min()
    }

    /// `changing`: who has a user before, by the user that is to be; `written`: those whose Secrets have the new one.
    fn keep(
        &mut self,
        changing: &BTreeMap<&String, &String>,
        written: &BTreeSet<&String>,
        (now, time): (Instant, Timestamp),
    ) {
        self.followed.retain(|username, one| {
            if changing.contains_key(username) {
                return true;
            }
            // Where a Secret from before is put back, this is how it is known until that Secret says so. Pods may be made with
            // that one from now on.
            one.made = None;
            changing.get(&one.previous) == Some(&username)
        });
        self.known_since.retain(|username, _| changing.contains_key(username));
        for username in changing.keys() {
            self.known_since.entry((*username).clone()).or_insert(now);
        }
        for (username, previous) in changing {
            if written.contains(username) && !self.taken_up.contains(*username) {
                self.followed.entry((*username).clone()).or_insert_with(|| Followed {
                    previous: (*previous).clone(),
                    made: None,
                    seen: time,
                    since: now,
                    due: now,
                    looking: None,
                    left: usize::MAX,
                    needs: false,
                    rolled: (0, None),
                    told: BTreeMap::new(),
                });
            }
        }
    }
}

impl Followed {
    /// Takes note of when the Secret says that its password was made.
    fn hear(&mut self, said: Option<Timestamp>, time: Timestamp) {
        if said > self.made {
            (self.made, self.seen) = (said, time);
        }
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.needs || now.duration_since(self.since) >= STUCK
    }

    fn may_roll(&self, now: Instant) -> bool {
        let (times, last) = self.rolled;
        last.is_none_or(|last| {
            now.duration_since(last) >= ROLL_AGAIN.saturating_mul(1 << (times - 1).min(10))
        })
    }

    /// Whether its author is to be told of what keeps it, if anything does.
    fn is_news(&mut self, keeps: Option<&'static str>, now: Instant) -> bool {
        let Some(keeps) = keeps else {
            self.told.retain(|_, at| now.duration_since(*at) < TELL_AGAIN);
            return false;
        };
        let is_news = self.told.get(keeps).is_none_or(|at| now.duration_since(*at) >= STUCK);
        if is_news {
            self.told.insert(keeps, now);
        }
        is_news
    }

    fn look_again(&mut self, now: Instant) {
        let age = now.duration_since(self.since);
        let pace = match age.as_secs() {
            0..60 => 1,
            60..600 => 5,
            600..3_600 => 60,
            _ => 600,
        };
        self.due = now + Duration::from_secs(pace);
    }
}

impl AccessController {
    /// Takes over what came of looks at rollouts, and begins those that are due; whether a rollout is done, so that there is
    /// something to do.
    pub(super) fn follow_rotations(
        &self,
        tenure: &Tenure,
        decisions: &BTreeMap<String, Decision>,
        looks: &mut Looks,
    ) -> bool {
        let mut done = false;
        while let Some(look) = looks.try_next() {
            done |= self.looked(tenure, look);
        }
        let now = Instant::now();
        let mut known = tenure.lock();
        let (users, secrets) = (&known.belief.observed.users, &known.belief.observed.secrets);
        let changing: BTreeMap<&String, &String> = decisions
            .iter()
            .filter(|(username, decision)| decision.is_current(username))
            .filter_map(|(username, decision)| Some((username, decision.lineage.previous.as_ref()?)))
            .collect();
        // As the Secret says, and the brokers; what was decided beyond that is not there yet.
        let is_written = |username: &&String| {
            let secret = decisions.get(*username).and_then(|decision| decision.desired.secret.as_ref());
            users.contains(*username)
                && secret.is_some_and(|secret| {
                    let shown = secrets.get(&secret.key).filter(|it| it.content != SecretContent::Altered);
                    let shown = shown.and_then(|found| found.username.as_ref());
                    self.secrets.is_current(&secret.key, username) || shown == Some(*username)
                })
        };
        let written: BTreeSet<&String> = changing.keys().copied().filter(is_written).collect();
        // Who is the user before again, or still, may be put back.
        let is_current =
            |username: &String| decisions.get(username).is_some_and(|one| one.is_current(username));
        known.rotations.taken_up.retain(is_current);
        known.rotations.keep(&changing, &written, (now, (self.clock)()));
        let followed = &mut known.rotations.followed;
        let running = followed.keys().filter(|username| changing.contains_key(username)).count();
        self.metrics.rotations_running.set(i64::try_from(running).unwrap_or(i64::MAX));
        for (username, one) in followed.iter_mut().filter(|(_, one)| one.due <= now && one.looking.is_none())
        {
            one.look_again(now);
            let Some(decision) = decisions.get(username).filter(|_| written.contains(username)) else {
                continue;
            };
            fail_point!("access/secret-rotated");
            one.looking =
                self.asked(username, decision, one, now).map(|asked| looks.begin(&self.rollouts, asked));
        }
        done
    }

    /// What to look at; `None` while there is no Secret.
    fn asked(
        &self,
        username: &str,
        decision: &Decision,
        followed: &mut Followed,
        now: Instant,
    ) -> Option<Asked> {
        let secret = decision.desired.secret.as_ref()?.key.clone();
        let made = self.made(&secret, followed)?;
        Some(Asked {
            client: Arc::clone(&decision.client),
            username: username.to_owned(),
            previous: decision.lineage.previous.clone()?,
            made,
            since: followed.seen,
            secret,
            may_roll: followed.may_roll(now),
        })
    }

    /// When the password in the Secret was made, as far as is known; `None` while there is no Secret.
    fn made(&self, secret: &ObjectKey, followed: &mut Followed) -> Option<Timestamp> {
        let made = self.secrets.made(secret)?;
        followed.hear(self.secrets.says_made(secret), (self.clock)());
        Some(followed.made.unwrap_or(made))
    }

    /// Takes over what came of a look; whether the rollout is done.
    pub(super) fn looked(&self, tenure: &Tenure, look: Look) -> bool {
        let Look { id, asked: Asked { client, username, previous, secret, made, .. }, answer } = look;
        let now = Instant::now();
        let mut known = tenure.lock();
        let followed = known.rotations.followed.get_mut(&username);
        let Some(followed) = followed.filter(|one| one.looking == Some(id)) else { return false };
        followed.looking = None;
        if self.made(&secret, followed) != Some(made) {
            // It was about Pods with a password that is another by now.
            followed.due = now;
            return false;
        }
        let message = match answer {
            Ok(Rollout::Done) => {
                known.rotations.followed.remove(&username);
                known.rotations.taken_up.insert(username.clone());
                known.rotations.done = Some(now);
                drop(known);
                fail_point!("access/taken-up");
                self.metrics.rotations.inc();
                info!(username, previous, "credentials were rotated");
                let note = format!(
                    "all Pods have the credentials of user {username}; user {previous} is being revoked"
                );
                self.events.say_again(&client, Reason::Rotated, &note);
                return true;
            }
            Ok(Rollout::Waits { left, needs, rolled }) => {
                if left.len() < followed.left {
                    (followed.left, followed.since) = (left.len(), now);
                }
                if rolled {
                    followed.rolled = (followed.rolled.0 + 1, Some(now));
                }
                followed.needs = needs.is_some();
                followed
                    .is_stuck(now)
                    .then(|| (needs.unwrap_or("nothing known"), waits(&left, needs, &previous)))
            }
            Err(error) => {
                let message = format!(
                    "the Pods could not be replaced: {error}; the credentials of user {previous} stay good"
                );
                Some((error.doing, message))
            }
        };
        followed.look_again(now);
        let keeps = message.as_ref().map(|(keeps, _)| *keeps);
        if followed.is_news(keeps, now)
            && let Some((_, message)) = message
        {
            warn!(username, message, "a rotation waits");
            self.events.say_again(&client, Reason::RotationWaits, &message);
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

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use topicops_contract::{Generation, OperatorId, RotateAfter, Workload, WorkloadKind};

use super::{Client, Observed, ObservedSecret, SecretContent};
use crate::ObjectKey;

/// The users that one workload has at a time: one, and while its Pods change over two.
///
/// It is all in the Secret and on the brokers, so that whoever leads next goes on where the last one stopped:
/// - the Secret has no previous user: no rotation is under way. One that is due begins with another user;
/// - it has one: Pods may run with that still. Once none does, the name of the previous user is taken out of the Secret, and
///   nobody asks for that user any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The user that the Secret has, or is to have.
    pub current: String,
    /// The one before it, as long as Pods may run with it.
    pub previous: Option<String>,
    /// Whether `current` is to take the place of `previous` in the Secret.
    pub begins: bool,
}

/// What decides which rotations begin and end.
#[derive(Clone, Debug, Default)]
pub struct RotationRules {
    pub now: Timestamp,
    /// How old credentials become of workloads that do not say; `None`: as old as they like.
    pub after: Option<Duration>,
    /// Users whose credentials all Pods of their workload have by now.
    pub taken_up: BTreeSet<String>,
    /// Users whose workloads' Pods change over, with the user before, whatever becomes of what their Secrets say of it.
    pub changing: BTreeMap<String, String>,
    /// Users that have not got on for a while to take the place of the one before: they hold up no other.
    pub stuck: BTreeSet<String>,
    /// How many rotations may be under way beside those that are stuck.
    pub room: usize,
    /// As many are stuck for no reason of their own, and none has come to its end for a while: what was not asked for is tried
    /// with one at a time.
    pub blocked: bool,
}

impl Lineage {
    /// For every workload that may have a user.
    pub fn all(
        clients: &[Arc<Client>],
        operator: &OperatorId,
        observed: &Observed,
        rules: &RotationRules,
    ) -> BTreeMap<Workload, Self> {
        let held = secrets_by_first_username(observed);
        let mut there: BTreeMap<&str, BTreeSet<Generation>> = BTreeMap::new();
        for username in &observed.users {
            let (first, generation) = Generation::split(username);
            there.entry(first).or_default().insert(generation);
        }
        let none = BTreeSet::new();
        let mut lineages = BTreeMap::new();
        let mut due: Vec<(Urgency, &Workload, Self)> = Vec::new();
        for client in clients {
            let first = client.workload.username(operator);
            let wanted = secret_key(client);
            let secrets = held.get(first.as_str()).map(Vec::as_slice).unwrap_or_default();
            let found = secrets.iter().find(|one| Some(one.key) == wanted.as_ref()).or(secrets.last());
            let there = there.get(first.as_str()).unwrap_or(&none);
            let Some(found) = found else {
                let generation = there.last().copied().unwrap_or(Generation::FIRST);
                let current = generation.username(&first);
                // What the Secret said of it is gone; Pods may run with it all the same.
                let before = || there.range(..generation).next_back().map(|before| before.username(&first));
                let previous = rules.changing.get(&current).cloned().or_else(before);
                let previous = previous.filter(|_| !rules.taken_up.contains(&current));
                lineages.insert(client.workload.clone(), Self { current, previous, begins: false });
                continue;
            };
            let current = found.generation.username(&first);
            // A Secret from before a rotation was put back: Pods run with what came after it, all of them or those that have
            // changed over.
            let is_from_before =
                |(after, before): &(&String, &String)| **before == current && observed.users.contains(*after);
            let undone = rules.changing.iter().find(is_from_before).map(|(after, _)| after.clone());
            let other = there.last().filter(|_| !there.contains(&found.generation));
            let other = undone.or_else(|| other.map(|other| other.username(&first)));
            let said = found
                .secret
                .previous
                .as_deref()
                .filter(|previous| Generation::split(previous).0 == first && **previous != *current);
            // What somebody wrote into the Secret since shuts nobody out.
            let previous = rules.changing.get(&current).map(String::as_str);
            let previous = previous.or(other.as_deref()).or(said);
            let previous = previous.filter(|_| !rules.taken_up.contains(&current)).map(str::to_owned);
            let next = found.generation.next().map(|next| next.username(&first));
            // Begun before, and not remembered in the Secret yet.
            let begun = next.as_ref().is_some_and(|next| observed.users.contains(next));
            let settled = found.secret.previous.is_none()
                && previous.is_none()
                && Some(found.key) == wanted.as_ref()
                && (found.secret.content == SecretContent::Current
                    || begun && found.secret.content != SecretContent::Altered)
                && found.secret.owner_uid.as_ref() == Some(&client.uid)
                && observed.users.contains(&current);
            if let Some(asked) = asks(client, found.secret, rules).filter(|_| settled && !client.deleting)
                && let Some(next) = next
            {
                let begins = Self { current: next, previous: Some(current.clone()), begins: true };
                if begun || rules.stuck.contains(&begins.current) {
                    lineages.insert(client.workload.clone(), begins);
                    continue;
                }
                due.push((asked, &client.workload, begins));
            }
            lineages.insert(client.workload.clone(), Self { current, previous, begins: false });
        }
        let asking = clients.iter().filter(|client| !matches!(client.request, Ok(None)));
        let under_way = asking
            .filter_map(|client| lineages.get(&client.workload))
            .filter(|lineage| lineage.previous.is_some() && !rules.stuck.contains(&lineage.current));
        let mut under_way = under_way.count();
        due.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        for ((only_old, _), workload, begins) in due {
            let room = if rules.blocked && only_old { rules.room.min(1) } else { rules.room };
            if under_way < room {
                under_way += 1;
                lineages.insert(workload.clone(), begins);
            }
        }
        lineages
    }
}

/// What goes first when there is not room for all.
type Urgency = (bool, Timestamp);

/// Whether it is only their age that asks for new credentials, and since when they are there. `None`: nothing asks.
fn asks(client: &Client, secret: &ObservedSecret, rules: &RotationRules) -> Option<Urgency> {
    let kind = client.workload.kind();
    if kind == WorkloadKind::Pod {
        // It is one Pod for all its life: it cannot change over.
        return None;
    }
    let wish = &client.request.as_ref().ok()?.as_ref()?.rotation;
    let made = secret.made.unwrap_or(rules.now);
    if wish.token.is_some() && wish.token != secret.made_for {
        return Some((false, made));
    }
    // What runs in a Job ends by itself, and the Job with it.
    let age = wish.after.map_or(rules.after, RotateAfter::age).filter(|_| kind != WorkloadKind::Job)?;
    let age = age.mul_f64(1.0 - SPREAD * fraction(&client.uid));
    let old = Duration::try_from(rules.now.duration_since(made)).is_ok_and(|is| is >= age);
    old.then_some((true, made))
}

/// What was made on one day is not renewed in one minute: up to a tenth earlier, each workload at a time of its own.
const SPREAD: f64 = 0.1;

/// From 0 to 1, the same for a text at all times.
fn fraction(text: &str) -> f64 {
    let hash = Sha256::digest(text.as_bytes());
    let first = hash.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte));
    f64::from(first) / f64::from(u32::MAX)
}

struct Held<'a> {
    key: &'a ObjectKey,
    secret: &'a ObservedSecret,
    generation: Generation,
}

/// The Secrets of each workload, by the name of its first user, in the order of generations; only those of its own namespace.
fn secrets_by_first_username(observed: &Observed) -> BTreeMap<&str, Vec<Held<'_>>> {
    let mut held: BTreeMap<&str, Vec<Held<'_>>> = BTreeMap::new();
    for (key, secret) in &observed.secrets {
        let Some(username) = &secret.username else { continue };
        if username.split('.').nth(1) == Some(&key.namespace) {
            let (first, generation) = Generation::split(username);
            held.entry(first).or_default().push(Held { key, secret, generation });
        }
    }
    for secrets in held.values_mut() {
        secrets.sort_by_key(|one| one.generation);
    }
    held
}

fn secret_key(client: &Client) -> Option<ObjectKey> {
    let request = client.request.as_ref().ok()?.as_ref()?;
    Some(ObjectKey::new(request.workload.namespace(), &request.secret_name))
}

#[cfg(test)]
#[path = "lineage_tests.rs"]
mod tests;

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use super::{Desired, DesiredSecret, Observed, ObservedSecret, SecretContent};
use crate::{
    ObjectKey,
    kafka::{Acl, QuotaTarget, QuotaValue},
};

/// The steps from what is observed to what is desired, over all clients.
///
/// Order, for whoever carries it out: `provide` upserts the user and writes its Secret only after `set_quotas`, `add_acls`
/// and a login; `surplus_acls` go after that. Revocation is independent of it: `revoke_acls`, then `revoke_quotas`, then
/// `delete_users`, then `delete_secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessPlan {
    /// Secrets whose content has to be looked at before more can be said.
    pub read: BTreeMap<String, ObjectKey>,
    pub provide: Vec<Provision>,
    /// Quotas of users that stay: set, or with `None` taken away.
    pub set_quotas: BTreeMap<QuotaTarget, Option<QuotaValue>>,
    pub add_acls: BTreeSet<Acl>,
    /// Rules of users that stay.
    pub surplus_acls: BTreeSet<Acl>,
    /// Rules of users that go.
    pub revoke_acls: BTreeSet<Acl>,
    /// Quotas of users that go.
    pub revoke_quotas: BTreeSet<QuotaTarget>,
    pub delete_users: BTreeSet<String>,
    /// Secrets of users that go, or that have another Secret by now; user name and uid say which one is meant.
    pub delete_secrets: BTreeMap<ObjectKey, (String, String)>,
    /// Users whose Secret's name is taken by a Secret of somebody else.
    pub blocked: BTreeMap<String, ObjectKey>,
}

impl AccessPlan {
    /// Nothing to do; what is blocked cannot be done.
    pub fn is_empty(&self) -> bool {
        let Self {
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
        } = self;
        read.is_empty()
            && provide.is_empty()
            && set_quotas.is_empty()
            && add_acls.is_empty()
            && surplus_acls.is_empty()
            && revoke_acls.is_empty()
            && revoke_quotas.is_empty()
            && delete_users.is_empty()
            && delete_secrets.is_empty()
    }

    /// Whether some step is one for the brokers.
    pub fn asks_kafka(&self) -> bool {
        let acls = [&self.add_acls, &self.surplus_acls, &self.revoke_acls];
        acls.iter().any(|acls| !acls.is_empty())
            || !self.set_quotas.is_empty()
            || !self.revoke_quotas.is_empty()
            || !self.delete_users.is_empty()
            || self.provide.iter().any(|step| step.upsert)
    }

    /// All users with a step.
    pub fn users(&self) -> BTreeSet<String> {
        let acls = self.add_acls.iter().chain(&self.surplus_acls).chain(&self.revoke_acls);
        let users = self.read.keys().chain(self.provide.iter().map(|step| &step.username));
        let quotas = self.set_quotas.keys().chain(&self.revoke_quotas).map(|target| &target.username);
        let users = users.chain(acls.map(|acl| &acl.username)).chain(quotas).chain(&self.delete_users);
        users.chain(self.delete_secrets.values().map(|(username, _)| username)).cloned().collect()
    }

    /// Leaves out the steps of users that are not to be dealt with now.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.read.retain(|username, _| keep(username));
        self.provide.retain(|step| keep(&step.username));
        for acls in [&mut self.add_acls, &mut self.surplus_acls, &mut self.revoke_acls] {
            acls.retain(|acl| keep(&acl.username));
        }
        self.set_quotas.retain(|target, _| keep(&target.username));
        self.revoke_quotas.retain(|target| keep(&target.username));
        self.delete_users.retain(|username| keep(username));
        self.delete_secrets.retain(|_, (username, _)| keep(username));
    }
}

/// A user's credential and Secret, to be made or mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provision {
    pub username: String,
    pub secret: ObjectKey,
    /// Whether the brokers have to be told the password.
    pub upsert: bool,
    pub source: Source,
}

/// Where the password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A new one: nobody can be using another.
    Generate,
    /// A new one, as soon as Kubernetes itself says that the Secret is gone: a watch may lag, and Pods may be running
    /// with what is in it.
    GenerateIfGone,
    /// The one in this Secret, so that running Pods keep working.
    Read(ObjectKey),
    /// A new one, in the place of this user's: his credentials go on being good, for Pods that run with them.
    Succeed(String),
}

/// Compares all clients, by user name, with what is there. `prefix` begins every user name that is ours (`topicops.`):
/// what is observed outside it is left alone.
pub fn plan<D: Borrow<Desired>>(
    prefix: &str,
    desired: &BTreeMap<String, D>,
    observed: &Observed,
) -> AccessPlan {
    let mut plan = AccessPlan::default();
    let ours = Ours { prefix, desired };
    let held = secrets_by_username(observed);
    for (username, wanted) in desired.iter().filter(|(username, _)| username.starts_with(prefix)) {
        let wanted = wanted.borrow();
        plan.add_acls.extend(wanted.acls.difference(&observed.acls).cloned());
        let quotas = wanted.quotas.difference(&observed.quotas);
        plan.set_quotas.extend(quotas.map(|quota| (quota.target.clone(), Some(quota.value))));
        if let Some(secret) = &wanted.secret {
            let held = held.get(username.as_str()).map(Vec::as_slice).unwrap_or_default();
            plan.client(username, secret, observed, held, &ours);
        }
    }
    for acl in observed.acls.iter().filter(|acl| acl.username.starts_with(prefix)) {
        match desired.get(&acl.username).map(Borrow::borrow) {
            None => {
                plan.revoke_acls.insert(acl.clone());
            }
            Some(wanted) if !wanted.acls.contains(acl) => {
                plan.surplus_acls.insert(acl.clone());
            }
            Some(_) => {}
        }
    }
    for quota in observed.quotas.iter().filter(|quota| quota.target.username.starts_with(prefix)) {
        let target = &quota.target;
        match desired.get(&target.username).map(Borrow::borrow) {
            None => {
                plan.revoke_quotas.insert(target.clone());
            }
            Some(wanted) if wanted.quotas.iter().all(|wanted| wanted.target != *target) => {
                plan.set_quotas.insert(target.clone(), None);
            }
            Some(_) => {}
        }
    }
    let gone = |username: &&String| username.starts_with(prefix) && !desired.contains_key(*username);
    plan.delete_users = observed.users.union(&observed.otherwise).filter(gone).cloned().collect();
    for (key, secret) in &observed.secrets {
        if let Some(username) = &secret.username
            && ours.may_delete(key, username, observed)
        {
            plan.delete_secrets.insert(key.clone(), (username.clone(), secret.uid.clone()));
        }
    }
    plan
}

impl AccessPlan {
    fn client<D: Borrow<Desired>>(
        &mut self,
        username: &str,
        secret: &DesiredSecret,
        observed: &Observed,
        held: &[&ObjectKey],
        ours: &Ours<'_, D>,
    ) {
        let known = observed.users.contains(username);
        let mut provide = |upsert: bool, source: Source| {
            let secret = secret.key.clone();
            self.provide.push(Provision { username: username.to_owned(), secret, upsert, source });
        };
        let found = observed.secrets.get(&secret.key);
        if let Some(ObservedSecret { username: holder, .. }) = found
            && holder.as_deref() != Some(username)
        {
            if let Some(holder) = holder.as_ref().filter(|holder| secret.replaces.as_ref() == Some(*holder)) {
                provide(true, Source::Succeed(holder.clone()));
                return;
            }
            // One that goes in this very plan makes room; the next plan writes ours.
            let leaving =
                holder.as_ref().is_some_and(|holder| ours.may_delete(&secret.key, holder, observed));
            if !leaving {
                self.blocked.insert(username.to_owned(), secret.key.clone());
            }
            return;
        }
        match (known, found) {
            (_, None) => match (known, held.first()) {
                (_, Some(other)) => provide(!known, Source::Read((*other).clone())),
                (true, None) => provide(true, Source::GenerateIfGone),
                (false, None) => provide(true, Source::Generate),
            },
            // The brokers have another user of the workload. That he stays is written down before this one is there, too: from
            // then on nobody could tell which of them Pods run with.
            (false, Some(found)) if secret.previous.is_some() && found.previous != secret.previous => {
                provide(false, Source::Read(secret.key.clone()));
            }
            (false, Some(_)) => provide(true, Source::Read(secret.key.clone())),
            (true, Some(found)) => match (found.content, found.says(secret)) {
                (SecretContent::Current, true) => {}
                (SecretContent::Unread, _) => {
                    self.read.insert(username.to_owned(), secret.key.clone());
                }
                (SecretContent::Altered, _) => provide(true, Source::Read(secret.key.clone())),
                (SecretContent::Outdated, _) | (SecretContent::Current, false) => {
                    provide(false, Source::Read(secret.key.clone()));
                }
            },
        }
    }
}

impl ObservedSecret {
    /// Whether its metadata is as it should be.
    fn says(&self, secret: &DesiredSecret) -> bool {
        self.owner_uid.as_ref() == Some(&secret.owner_uid) && self.previous == secret.previous
    }
}

struct Ours<'a, D> {
    prefix: &'a str,
    desired: &'a BTreeMap<String, D>,
}

impl<D: Borrow<Desired>> Ours<'_, D> {
    /// Whether a Secret with this user name in its annotation goes. One that was copied into another namespace, mark and
    /// all, is not ours to delete.
    fn may_delete(&self, key: &ObjectKey, username: &str, observed: &Observed) -> bool {
        let home = username.strip_prefix(self.prefix).and_then(|rest| rest.split_once('.'));
        if home.is_none_or(|(namespace, _)| namespace != key.namespace) {
            return false;
        }
        match self.desired.get(username).map(|wanted| &wanted.borrow().secret) {
            None => true,
            Some(None) => false,
            Some(Some(secret)) => {
                let moved = observed.secrets.get(&secret.key).is_some_and(|new| {
                    new.username.as_deref() == Some(username) && new.content == SecretContent::Current
                });
                secret.key != *key && moved
            }
        }
    }
}

/// The Secrets that hold each user's credentials, whatever their names; only those of the user's own namespace.
fn secrets_by_username(observed: &Observed) -> BTreeMap<&str, Vec<&ObjectKey>> {
    let mut held: BTreeMap<&str, Vec<&ObjectKey>> = BTreeMap::new();
    for (key, secret) in &observed.secrets {
        if let Some(username) = &secret.username
            && username.split('.').nth(1) == Some(&key.namespace)
        {
            held.entry(username).or_default().push(key);
        }
    }
    held
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use super::{Desired, DesiredSecret, Observed, ObservedSecret, SecretContent};
use crate::{ObjectKey, kafka::Acl};

/// The steps from what is observed to what is desired, over all clients.
///
/// Order, for whoever carries it out: `provide` upserts the user and writes its Secret only after `add_acls` and a login;
/// `surplus_acls` go after that. Revocation is independent of it: `revoke_acls`, then `delete_users`, then
/// `delete_secrets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessPlan {
    /// Secrets whose content has to be looked at before more can be said.
    pub read: BTreeMap<String, ObjectKey>,
    pub provide: Vec<Provision>,
    pub add_acls: BTreeSet<Acl>,
    /// Rules of users that stay.
    pub surplus_acls: BTreeSet<Acl>,
    /// Rules of users that go.
    pub revoke_acls: BTreeSet<Acl>,
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
            add_acls,
            surplus_acls,
            revoke_acls,
            delete_users,
            delete_secrets,
            blocked: _,
        } = self;
        read.is_empty()
            && provide.is_empty()
            && add_acls.is_empty()
            && surplus_acls.is_empty()
            && revoke_acls.is_empty()
            && delete_users.is_empty()
            && delete_secrets.is_empty()
    }

    /// Whether some step is one for the brokers.
    pub fn asks_kafka(&self) -> bool {
        let acls = [&self.add_acls, &self.surplus_acls, &self.revoke_acls];
        acls.iter().any(|acls| !acls.is_empty())
            || !self.delete_users.is_empty()
            || self.provide.iter().any(|step| step.upsert)
    }

    /// All users with a step.
    pub fn users(&self) -> BTreeSet<String> {
        let acls = self.add_acls.iter().chain(&self.surplus_acls).chain(&self.revoke_acls);
        let users = self.read.keys().chain(self.provide.iter().map(|step| &step.username));
        let users = users.chain(acls.map(|acl| &acl.username)).chain(&self.delete_users);
        users.chain(self.delete_secrets.values().map(|(username, _)| username)).cloned().collect()
    }

    /// Leaves out the steps of users that are not to be dealt with now.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.read.retain(|username, _| keep(username));
        self.provide.retain(|step| keep(&step.username));
        for acls in [&mut self.add_acls, &mut self.surplus_acls, &mut self.revoke_acls] {
            acls.retain(|acl| keep(&acl.username));
        }
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
    let gone = |username: &&String| username.starts_with(prefix) && !desired.contains_key(*username);
    plan.delete_users = observed.users.iter().filter(gone).cloned().collect();
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::Granted;

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn acls(username: &str, topic: &str) -> BTreeSet<Acl> {
        Granted { consumes: [topic.parse().unwrap()].into(), ..Granted::default() }.acls(username)
    }

    fn wanted(username: &str, topic: &str, secret: &ObjectKey) -> Desired {
        let secret = DesiredSecret {
            key: secret.clone(),
            owner_uid: "owner".to_owned(),
            replaces: None,
            previous: None,
        };
        Desired { acls: acls(username, topic), secret: Some(secret) }
    }

    fn found(username: &str, content: SecretContent) -> ObservedSecret {
        ObservedSecret {
            username: Some(username.to_owned()),
            uid: "uid".to_owned(),
            owner_uid: Some("owner".to_owned()),
            content,
            made: None,
            made_for: None,
            previous: None,
        }
    }

    /// What a cluster and an API server make of a plan when everything goes well.
    fn apply(plan: &AccessPlan, desired: &BTreeMap<String, Desired>, observed: &mut Observed) {
        for key in plan.read.values() {
            observed.secrets.get_mut(key).unwrap().content = SecretContent::Current;
        }
        for step in &plan.provide {
            if step.upsert {
                observed.users.insert(step.username.clone());
            }
            let wanted = desired[&step.username].secret.as_ref().unwrap();
            let secret = ObservedSecret {
                owner_uid: Some(wanted.owner_uid.clone()),
                previous: wanted.previous.clone(),
                ..found(&step.username, SecretContent::Current)
            };
            observed.secrets.insert(step.secret.clone(), secret);
        }
        observed.acls.extend(plan.add_acls.iter().cloned());
        observed.acls.retain(|acl| !plan.surplus_acls.contains(acl) && !plan.revoke_acls.contains(acl));
        observed.users.retain(|user| !plan.delete_users.contains(user));
        observed.secrets.retain(|key, _| !plan.delete_secrets.contains_key(key));
    }

    #[test]
    fn what_is_known_of_user_and_secret_decides_the_step() {
        let name = "op.shop.orders";
        let own = key("shop", "orders-kafka-credentials");
        let other = key("shop", "older-name");
        let desired = BTreeMap::from([(name.to_owned(), wanted(name, "t", &own))]);
        let table = [
            (false, None, None, Some((true, Source::Generate))),
            (true, None, None, Some((true, Source::GenerateIfGone))),
            (false, None, Some(&other), Some((true, Source::Read(other.clone())))),
            (true, None, Some(&other), Some((false, Source::Read(other.clone())))),
            (false, Some(SecretContent::Unread), None, Some((true, Source::Read(own.clone())))),
            (true, Some(SecretContent::Unread), None, None),
            (true, Some(SecretContent::Current), None, None),
            (true, Some(SecretContent::Outdated), None, Some((false, Source::Read(own.clone())))),
            (true, Some(SecretContent::Altered), None, Some((true, Source::Read(own.clone())))),
        ];
        for (known, content, elsewhere, expected) in table {
            let mut observed = Observed { acls: acls(name, "t"), ..Observed::default() };
            observed.users.extend(known.then(|| name.to_owned()));
            let secrets = content.map(|content| (own.clone(), found(name, content)));
            observed.secrets.extend(secrets);
            observed.secrets.extend(elsewhere.map(|key| (key.clone(), found(name, SecretContent::Current))));
            let plan = plan("op.", &desired, &observed);
            let got = plan.provide.first().map(|step| (step.upsert, step.source.clone()));
            assert_eq!(got, expected, "{known} {content:?} {elsewhere:?}");
            assert_eq!(plan.read.len(), usize::from(known && content == Some(SecretContent::Unread)));
            assert!(plan.delete_secrets.is_empty(), "an old Secret stays until the new one is there");
        }
    }

    #[test]
    fn a_workload_that_came_again_gets_its_secret_without_a_new_password() {
        let name = "op.shop.orders";
        let own = key("shop", "s");
        let desired = BTreeMap::from([(name.to_owned(), wanted(name, "t", &own))]);
        let mut observed = Observed { acls: acls(name, "t"), ..Observed::default() };
        observed.users.insert(name.to_owned());
        let old =
            ObservedSecret { owner_uid: Some("before".to_owned()), ..found(name, SecretContent::Current) };
        observed.secrets.insert(own.clone(), old);
        let plan = plan("op.", &desired, &observed);
        assert_eq!(plan.provide.len(), 1);
        assert!(!plan.provide[0].upsert);
        assert_eq!(plan.provide[0].source, Source::Read(own));
    }

    #[test]
    fn a_new_user_takes_the_place_of_the_one_before_which_stays_until_it_is_given_up() {
        let (old, new, own) = ("op.shop.orders", "op.shop.orders_2", key("shop", "s"));
        let mut observed = Observed { acls: acls(old, "t"), ..Observed::default() };
        observed.users.insert(old.to_owned());
        observed.secrets.insert(own.clone(), found(old, SecretContent::Current));
        let mut desired = BTreeMap::from([
            (old.to_owned(), Desired { secret: None, ..wanted(old, "t", &own) }),
            (new.to_owned(), wanted(new, "t", &own)),
        ]);
        let secret = desired.get_mut(new).unwrap().secret.as_mut().unwrap();
        (secret.replaces, secret.previous) = (Some(old.to_owned()), Some(old.to_owned()));
        // Whether or not topicops was killed after it had made the user: nobody has that one's password.
        for made in [false, true] {
            let mut observed = observed.clone();
            observed.users.extend(made.then(|| new.to_owned()));
            let begun = plan("op.", &desired, &observed);
            let [step] = begun.provide.as_slice() else { panic!("{begun:?}") };
            assert_eq!((step.upsert, &step.source), (true, &Source::Succeed(old.to_owned())));
            assert!(begun.surplus_acls.is_empty() && begun.delete_users.is_empty(), "{begun:?}");
            assert!(begun.delete_secrets.is_empty() && begun.blocked.is_empty(), "{begun:?}");
        }
        let begun = plan("op.", &desired, &observed);
        apply(&begun, &desired, &mut observed);
        // From the next look on it is the one that the Secret has.
        desired.get_mut(new).unwrap().secret.as_mut().unwrap().replaces = None;
        assert!(plan("op.", &desired, &observed).is_empty(), "both stay");
        desired.remove(old);
        desired.get_mut(new).unwrap().secret.as_mut().unwrap().previous = None;
        let ended = plan("op.", &desired, &observed);
        assert_eq!(ended.provide[0].source, Source::Read(own.clone()));
        assert_eq!((ended.provide[0].upsert, &ended.delete_users), (false, &[old.to_owned()].into()));
        assert_eq!(ended.revoke_acls, acls(old, "t"));
        apply(&ended, &desired, &mut observed);
        assert!(plan("op.", &desired, &observed).is_empty());
        assert_eq!(observed.users, [new.to_owned()].into());
    }

    #[test]
    fn a_secret_of_somebody_else_is_never_written_or_deleted() {
        let name = "op.shop.orders";
        let own = key("shop", "s");
        let desired = BTreeMap::from([(name.to_owned(), wanted(name, "t", &own))]);
        for holder in [None, Some("their.user".to_owned()), Some("op.other.orders".to_owned())] {
            let mut observed = Observed::default();
            let foreign = ObservedSecret { username: holder, ..found(name, SecretContent::Unread) };
            observed.secrets.insert(own.clone(), foreign);
            let plan = plan("op.", &desired, &observed);
            assert_eq!(plan.blocked, BTreeMap::from([(name.to_owned(), own.clone())]));
            assert!(plan.provide.is_empty() && plan.delete_secrets.is_empty(), "{plan:?}");
        }
    }

    #[test]
    fn a_copy_of_a_secret_in_another_namespace_stays() {
        let mut observed = Observed::default();
        observed.secrets.insert(key("copies", "s"), found("op.shop.gone", SecretContent::Unread));
        observed.secrets.insert(key("shop", "s"), found("op.shop.gone", SecretContent::Unread));
        let plan = plan("op.", &BTreeMap::<String, Desired>::new(), &observed);
        assert_eq!(plan.delete_secrets.keys().collect::<Vec<_>>(), [&key("shop", "s")]);
    }

    #[test]
    fn an_old_secret_goes_once_the_one_of_the_new_name_is_there() {
        let name = "op.shop.orders";
        let new = key("shop", "new");
        let desired = BTreeMap::from([(name.to_owned(), wanted(name, "t", &new))]);
        let mut observed = Observed { acls: acls(name, "t"), ..Observed::default() };
        observed.users.insert(name.to_owned());
        observed.secrets.insert(key("shop", "old"), found(name, SecretContent::Current));
        let first = plan("op.", &desired, &observed);
        assert_eq!((first.provide.len(), first.delete_secrets.len()), (1, 0));
        apply(&first, &desired, &mut observed);
        let second = plan("op.", &desired, &observed);
        assert_eq!((second.provide.len(), second.delete_secrets.len()), (0, 1));
        apply(&second, &desired, &mut observed);
        assert!(plan("op.", &desired, &observed).is_empty());
    }

    #[test]
    fn clients_whose_secrets_stand_in_each_others_place_get_theirs_one_after_the_other() {
        let names = ["op.y.a", "op.y.b", "op.y.c"];
        let keys = ["a1", "b1", "c1"].map(|name| key("y", name));
        let of = |(name, key): (&&str, &ObjectKey)| ((*name).to_owned(), wanted(name, "t", key));
        let desired: BTreeMap<String, Desired> = names.iter().zip(&keys).map(of).collect();
        let mut observed = Observed::default();
        observed.secrets.insert(keys[0].clone(), found(names[1], SecretContent::Unread));
        observed.secrets.insert(keys[1].clone(), found(names[2], SecretContent::Unread));
        for _ in 0..5 {
            let next = plan("op.", &desired, &observed);
            apply(&next, &desired, &mut observed);
        }
        assert!(plan("op.", &desired, &observed).is_empty());
        for (name, key) in names.iter().zip(&keys) {
            assert_eq!(observed.secrets[key].username.as_deref(), Some(*name));
        }
    }

    #[test]
    fn who_is_not_provided_for_keeps_user_and_secret() {
        let name = "op.shop.orders";
        let kept = Desired { acls: acls(name, "t"), secret: None };
        let mut observed = Observed { acls: acls(name, "t"), ..Observed::default() };
        observed.users.insert(name.to_owned());
        observed.secrets.insert(key("shop", "s"), found(name, SecretContent::Unread));
        assert!(plan("op.", &BTreeMap::from([(name.to_owned(), kept)]), &observed).is_empty());
    }

    fn any_content() -> impl Strategy<Value = SecretContent> {
        proptest::sample::select(vec![
            SecretContent::Unread,
            SecretContent::Current,
            SecretContent::Outdated,
            SecretContent::Altered,
        ])
    }

    fn any_username() -> impl Strategy<Value = String> {
        "(op|foreign)\\.[xy]\\.[abc]".prop_map(|text: String| text)
    }

    prop_compose! {
        fn any_desired()(clients in proptest::collection::btree_map("[xy]\\.[abc]", ("[tuv]", "[12]"), 0..6))
            -> BTreeMap<String, Desired> {
            clients.into_iter().map(|(client, (topic, secret))| {
                let username = format!("op.{client}");
                let (namespace, workload) = client.split_once('.').unwrap();
                let key = key(namespace, &format!("{workload}{secret}"));
                (username.clone(), wanted(&username, &topic, &key))
            }).collect()
        }
    }

    prop_compose! {
        fn any_observed()(
            users in proptest::collection::btree_set(any_username(), 0..6),
            rules in proptest::collection::btree_set((any_username(), "[tuv]"), 0..6),
            secrets in proptest::collection::btree_map(
                ("[xy]", "[abc][12]"), (proptest::option::of(any_username()), any_content()), 0..6),
        ) -> Observed {
            Observed {
                users,
                acls: rules.iter().flat_map(|(username, topic)| acls(username, topic)).collect(),
                secrets: secrets.into_iter().map(|((namespace, name), (username, content))| {
                    (key(&namespace, &name), ObservedSecret { username, ..found("", content) })
                }).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn plans_lead_to_nothing_left_to_do_and_touch_only_ours(
            desired in any_desired(), before in any_observed(),
        ) {
            let mut observed = before.clone();
            let mut rounds = 0;
            loop {
                let next = plan("op.", &desired, &observed);
                if next.is_empty() {
                    break;
                }
                rounds += 1;
                // Where each Secret's name is taken by the next client's, one makes room after the other: it moves, and its old
                // Secret goes.
                prop_assert!(rounds <= 2 * desired.len() + 2, "{next:?}");
                apply(&next, &desired, &mut observed);
            }
            let foreign = |observed: &Observed| {
                let users: BTreeSet<String> = observed.users.iter().filter(|u| !u.starts_with("op.")).cloned().collect();
                let acls: BTreeSet<Acl> =
                    observed.acls.iter().filter(|acl| !acl.username.starts_with("op.")).cloned().collect();
                let secrets: BTreeSet<ObjectKey> = observed.secrets.iter()
                    .filter(|(_, s)| s.username.as_ref().is_none_or(|name| !name.starts_with("op.")))
                    .map(|(key, _)| key.clone()).collect();
                (users, acls, secrets)
            };
            prop_assert_eq!(foreign(&observed), foreign(&before));
            let last = plan("op.", &desired, &observed);
            for (username, wanted) in &desired {
                let rules: BTreeSet<Acl> =
                    observed.acls.iter().filter(|acl| acl.username == *username).cloned().collect();
                prop_assert_eq!(&rules, &wanted.acls);
                let secret = &observed.secrets.get(&wanted.secret.as_ref().unwrap().key);
                prop_assert!(last.blocked.contains_key(username) || secret.is_some());
            }
            let ours = observed.users.iter().filter(|username| username.starts_with("op."));
            prop_assert!(ours.into_iter().all(|username| desired.contains_key(username)));
        }

        #[test]
        fn a_client_that_is_in_order_is_in_no_step_of_anybody_elses_change(
            desired in any_desired(), before in any_observed(),
        ) {
            let (name, own) = ("op.quiet.one", key("quiet", "one"));
            let (mut desired, mut observed) = (desired, before);
            desired.insert(name.to_owned(), wanted(name, "q", &own));
            observed.users.insert(name.to_owned());
            observed.acls.extend(acls(name, "q"));
            observed.secrets.insert(own.clone(), found(name, SecretContent::Current));
            let plan = plan("op.", &desired, &observed);
            prop_assert!(!plan.read.contains_key(name));
            prop_assert!(plan.provide.iter().all(|step| step.username != name));
            let mut acls = plan.add_acls.iter().chain(&plan.surplus_acls).chain(&plan.revoke_acls);
            prop_assert!(acls.all(|acl| acl.username != name));
            prop_assert!(!plan.delete_users.contains(name) && !plan.delete_secrets.contains_key(&own));
        }
    }
}

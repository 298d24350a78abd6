use proptest::prelude::*;

use super::*;
use crate::{
    access::Granted,
    kafka::{Quota, QuotaClients},
};

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(namespace, name)
}

fn acls(username: &str, topic: &str) -> BTreeSet<Acl> {
    Granted { consumes: [topic.parse().unwrap()].into(), ..Granted::default() }.acls(username)
}

fn wanted(username: &str, topic: &str, secret: &ObjectKey) -> Desired {
    let secret =
        DesiredSecret { key: secret.clone(), owner_uid: "owner".to_owned(), replaces: None, previous: None };
    Desired { acls: acls(username, topic), quotas: BTreeSet::new(), secret: Some(secret) }
}

fn quota(username: &str, clients: QuotaClients, key: &str, amount: f64) -> Quota {
    let target = QuotaTarget { username: username.to_owned(), clients, key: key.to_owned() };
    Quota { target, value: QuotaValue::new(amount) }
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
    let touched =
        |target: &QuotaTarget| plan.set_quotas.contains_key(target) || plan.revoke_quotas.contains(target);
    observed.quotas.retain(|quota| !touched(&quota.target));
    let set = plan.set_quotas.iter().filter_map(|(target, value)| Some((target.clone(), (*value)?)));
    observed.quotas.extend(set.map(|(target, value)| Quota { target, value }));
    observed.acls.extend(plan.add_acls.iter().cloned());
    observed.acls.retain(|acl| !plan.surplus_acls.contains(acl) && !plan.revoke_acls.contains(acl));
    observed.users.retain(|user| !plan.delete_users.contains(user));
    observed.otherwise.retain(|user| !plan.delete_users.contains(user));
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
fn that_the_other_user_stays_is_written_down_before_the_one_in_a_secret_that_was_put_back_is_there() {
    let (name, other) = ("op.shop.orders", "op.shop.orders_2");
    let own = key("shop", "s");
    let mut desired = BTreeMap::from([
        (name.to_owned(), wanted(name, "t", &own)),
        (other.to_owned(), Desired { secret: None, ..wanted(other, "t", &own) }),
    ]);
    desired.get_mut(name).unwrap().secret.as_mut().unwrap().previous = Some(other.to_owned());
    let mut observed = Observed { users: [other.to_owned()].into(), ..Observed::default() };
    observed.secrets.insert(own.clone(), found(name, SecretContent::Unread));
    for upsert in [false, true] {
        let plan = plan("op.", &desired, &observed);
        let step = &plan.provide[0];
        assert_eq!((step.upsert, &step.source), (upsert, &Source::Read(own.clone())));
        assert!(plan.delete_users.is_empty());
        apply(&plan, &desired, &mut observed);
    }
    assert!(plan("op.", &desired, &observed).is_empty());
}

#[test]
fn a_workload_that_came_again_gets_its_secret_without_a_new_password() {
    let name = "op.shop.orders";
    let own = key("shop", "s");
    let desired = BTreeMap::from([(name.to_owned(), wanted(name, "t", &own))]);
    let mut observed = Observed { acls: acls(name, "t"), ..Observed::default() };
    observed.users.insert(name.to_owned());
    let old = ObservedSecret { owner_uid: Some("before".to_owned()), ..found(name, SecretContent::Current) };
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
fn quotas_become_those_that_are_wanted_and_nobody_elses_are_touched() {
    let all = QuotaClients::All;
    let own = quota("op.shop.w", all.clone(), "producer_byte_rate", 5.0);
    let mut wanted = wanted("op.shop.w", "t", &key("shop", "s"));
    wanted.quotas = [own.clone(), quota("op.shop.w", all.clone(), "request_percentage", 50.0)].into();
    let narrower = quota("op.shop.w", QuotaClients::EachOther, "producer_byte_rate", 9e9);
    let unasked = quota("op.shop.w", all.clone(), "controller_mutation_rate", 1.0);
    let orphan = quota("op.shop.gone", QuotaClients::Id("x".to_owned()), "consumer_byte_rate", 1.0);
    let changed = quota("op.shop.w", all.clone(), "request_percentage", 51.0);
    let others = [
        quota("opera", all.clone(), "producer_byte_rate", 1.0),
        quota("alice", all, "producer_byte_rate", 1.0),
    ];
    let observed = Observed {
        quotas: [own, narrower.clone(), unasked.clone(), orphan.clone(), changed.clone()]
            .into_iter()
            .chain(others)
            .collect(),
        ..Observed::default()
    };
    let plan = plan("op.", &BTreeMap::from([("op.shop.w".to_owned(), wanted)]), &observed);
    let expected = BTreeMap::from([
        (narrower.target, None),
        (unasked.target, None),
        (changed.target, Some(QuotaValue::new(50.0))),
    ]);
    assert_eq!(plan.set_quotas, expected);
    assert_eq!(plan.revoke_quotas, [orphan.target].into());
}

#[test]
fn who_is_not_provided_for_keeps_user_and_secret() {
    let name = "op.shop.orders";
    let kept = Desired { acls: acls(name, "t"), ..Desired::default() };
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

fn any_quota(username: impl Strategy<Value = String>) -> impl Strategy<Value = Quota> {
    let clients = proptest::sample::select(vec![
        QuotaClients::All,
        QuotaClients::EachOther,
        QuotaClients::Id("c".to_owned()),
    ]);
    (username, clients, "[pcr]", 1..4_u8)
        .prop_map(|(username, clients, key, amount)| quota(&username, clients, &key, f64::from(amount)))
}

/// A key has one value.
fn distinct(quotas: Vec<Quota>) -> BTreeSet<Quota> {
    let by_target: BTreeMap<QuotaTarget, QuotaValue> =
        quotas.into_iter().map(|quota| (quota.target, quota.value)).collect();
    by_target.into_iter().map(|(target, value)| Quota { target, value }).collect()
}

prop_compose! {
    fn any_desired()(clients in proptest::collection::btree_map("[xy]\\.[abc]", ("[tuv]", "[12]", 0..3_u8), 0..6))
        -> BTreeMap<String, Desired> {
        clients.into_iter().map(|(client, (topic, secret, amount))| {
            let username = format!("op.{client}");
            let (namespace, workload) = client.split_once('.').unwrap();
            let key = key(namespace, &format!("{workload}{secret}"));
            let mut wanted = wanted(&username, &topic, &key);
            if amount > 0 {
                wanted.quotas.insert(quota(&username, QuotaClients::All, "p", f64::from(amount)));
            }
            (username, wanted)
        }).collect()
    }
}

prop_compose! {
    fn any_observed()(
        users in proptest::collection::btree_set(any_username(), 0..6),
        otherwise in proptest::collection::btree_set(any_username(), 0..3),
        rules in proptest::collection::btree_set((any_username(), "[tuv]"), 0..6),
        quotas in proptest::collection::vec(any_quota(any_username()), 0..6),
        secrets in proptest::collection::btree_map(
            ("[xy]", "[abc][12]"), (proptest::option::of(any_username()), any_content()), 0..6),
    ) -> Observed {
        Observed {
            users,
            otherwise,
            acls: rules.iter().flat_map(|(username, topic)| acls(username, topic)).collect(),
            quotas: distinct(quotas),
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
            let users: BTreeSet<String> =
                observed.users.union(&observed.otherwise).filter(|u| !u.starts_with("op.")).cloned().collect();
            let acls: BTreeSet<Acl> =
                observed.acls.iter().filter(|acl| !acl.username.starts_with("op.")).cloned().collect();
            let secrets: BTreeSet<ObjectKey> = observed.secrets.iter()
                .filter(|(_, s)| s.username.as_ref().is_none_or(|name| !name.starts_with("op.")))
                .map(|(key, _)| key.clone()).collect();
            let quotas: BTreeSet<Quota> =
                observed.quotas.iter().filter(|quota| !quota.target.username.starts_with("op.")).cloned().collect();
            (users, acls, quotas, secrets)
        };
        prop_assert_eq!(foreign(&observed), foreign(&before));
        let last = plan("op.", &desired, &observed);
        for (username, wanted) in &desired {
            let rules: BTreeSet<Acl> =
                observed.acls.iter().filter(|acl| acl.username == *username).cloned().collect();
            prop_assert_eq!(&rules, &wanted.acls);
            let quotas: BTreeSet<Quota> =
                observed.quotas.iter().filter(|quota| quota.target.username == *username).cloned().collect();
            prop_assert_eq!(&quotas, &wanted.quotas);
            let secret = &observed.secrets.get(&wanted.secret.as_ref().unwrap().key);
            prop_assert!(last.blocked.contains_key(username) || secret.is_some());
        }
        let ours = observed.users.union(&observed.otherwise).filter(|username| username.starts_with("op."));
        prop_assert!(ours.into_iter().all(|username| desired.contains_key(username)));
        let mut limited = observed.quotas.iter().map(|quota| &quota.target.username);
        prop_assert!(limited.all(|username| !username.starts_with("op.") || desired.contains_key(username)));
    }

    #[test]
    fn a_client_that_is_in_order_is_in_no_step_of_anybody_elses_change(
        desired in any_desired(), before in any_observed(),
    ) {
        let (name, own) = ("op.quiet.one", key("quiet", "one"));
        let (mut desired, mut observed) = (desired, before);
        let mut quiet = wanted(name, "q", &own);
        quiet.quotas = [quota(name, QuotaClients::All, "p", 1.0)].into();
        observed.quotas.extend(quiet.quotas.iter().cloned());
        desired.insert(name.to_owned(), quiet);
        observed.users.insert(name.to_owned());
        observed.acls.extend(acls(name, "q"));
        observed.secrets.insert(own.clone(), found(name, SecretContent::Current));
        let plan = plan("op.", &desired, &observed);
        prop_assert!(!plan.read.contains_key(name));
        prop_assert!(plan.provide.iter().all(|step| step.username != name));
        let mut acls = plan.add_acls.iter().chain(&plan.surplus_acls).chain(&plan.revoke_acls);
        prop_assert!(acls.all(|acl| acl.username != name));
        prop_assert!(plan.set_quotas.keys().chain(&plan.revoke_quotas).all(|target| target.username != name));
        prop_assert!(!plan.delete_users.contains(name) && !plan.delete_secrets.contains_key(&own));
    }
}

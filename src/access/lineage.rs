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
        let mut highest: BTreeMap<&str, Generation> = BTreeMap::new();
        for username in &observed.users {
            let (first, generation) = Generation::split(username);
            let known = highest.entry(first).or_insert(generation);
            *known = generation.max(*known);
        }
        let mut lineages = BTreeMap::new();
        let mut due: Vec<(Urgency, &Workload, Self)> = Vec::new();
        for client in clients {
            let first = client.workload.username(operator);
            let wanted = secret_key(client);
            let secrets = held.get(first.as_str()).map(Vec::as_slice).unwrap_or_default();
            let found = secrets.iter().find(|one| Some(one.key) == wanted.as_ref()).or(secrets.last());
            let Some(found) = found else {
                let generation = highest.get(first.as_str()).copied().unwrap_or(Generation::FIRST);
                let current = generation.username(&first);
                let previous = rules.changing.get(&current).cloned();
                lineages.insert(client.workload.clone(), Self { current, previous, begins: false });
                continue;
            };
            let current = found.generation.username(&first);
            let said = found
                .secret
                .previous
                .as_deref()
                .filter(|previous| Generation::split(previous).0 == first && **previous != *current);
            // What somebody wrote into the Secret since shuts nobody out.
            let previous = rules.changing.get(&current).map(String::as_str).or(said);
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
        let room = rules.room.saturating_sub(under_way.count());
        due.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        for (_, workload, begins) in due.into_iter().take(room) {
            lineages.insert(workload.clone(), begins);
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
mod tests {
    use topicops_contract::{ClientRequest, RotationWish};

    use super::*;
    use crate::access::testing::{at, request};

    const DAY: i64 = 86_400;

    fn client(name: &str, wish: RotationWish) -> Arc<Client> {
        let mut asking = request(name).produce("t");
        asking.rotation = wish;
        Arc::new(Client {
            workload: asking.workload.clone(),
            uid: format!("uid-{name}"),
            created: at(1),
            deleting: false,
            request: Ok(Some(Arc::new((*asking).clone()))),
        })
    }

    fn token(text: &str) -> RotationWish {
        RotationWish { token: Some(text.to_owned()), after: None }
    }

    /// `shop/<name>` with its Secret, of this user, made on day 0.
    fn holds(observed: &mut Observed, name: &str, username: &str, previous: Option<&str>) {
        let secret = ObservedSecret {
            username: Some(username.to_owned()),
            uid: "s".to_owned(),
            owner_uid: Some(format!("uid-shop/{name}")),
            content: SecretContent::Current,
            made: Some(at(0)),
            made_for: Some("first".to_owned()),
            previous: previous.map(str::to_owned),
        };
        observed.secrets.insert(ObjectKey::new("shop", format!("{name}-kafka-credentials")), secret);
        observed.users.insert(username.to_owned());
        observed.users.extend(previous.map(str::to_owned));
    }

    fn rules(day: i64, after_days: Option<u64>) -> RotationRules {
        RotationRules {
            now: at(day * DAY),
            after: after_days.map(|days| Duration::from_secs(days * 86_400)),
            room: 10,
            ..RotationRules::default()
        }
    }

    fn lineage(client: &Arc<Client>, observed: &Observed, rules: &RotationRules) -> Lineage {
        let clients = [Arc::clone(client)];
        Lineage::all(&clients, &OperatorId::default(), observed, rules).remove(&client.workload).unwrap()
    }

    fn of(current: &str, previous: Option<&str>, begins: bool) -> Lineage {
        Lineage { current: current.to_owned(), previous: previous.map(str::to_owned), begins }
    }

    #[test]
    fn another_token_asks_for_the_next_user_and_the_same_does_not() {
        let mut observed = Observed::default();
        holds(&mut observed, "w", "topicops.shop.w", None);
        let rules = rules(1, None);
        let same = client("shop/w", token("first"));
        assert_eq!(lineage(&same, &observed, &rules), of("topicops.shop.w", None, false));
        let other = client("shop/w", token("second"));
        assert_eq!(
            lineage(&other, &observed, &rules),
            of("topicops.shop.w_2", Some("topicops.shop.w"), true)
        );
        let none = client("shop/w", RotationWish::default());
        assert_eq!(lineage(&none, &observed, &rules), of("topicops.shop.w", None, false));
    }

    #[test]
    fn while_pods_change_over_both_stay_and_no_other_rotation_begins() {
        let mut observed = Observed::default();
        holds(&mut observed, "w", "topicops.shop.w_3", Some("topicops.shop.w_2"));
        let asking = client("shop/w", token("next"));
        let mut rules = rules(1, None);
        assert_eq!(
            lineage(&asking, &observed, &rules),
            of("topicops.shop.w_3", Some("topicops.shop.w_2"), false)
        );
        // Its Secret is written without the previous one before anything else of it.
        rules.taken_up.insert("topicops.shop.w_3".to_owned());
        assert_eq!(lineage(&asking, &observed, &rules), of("topicops.shop.w_3", None, false));
    }

    #[test]
    fn a_secret_that_is_gone_is_made_anew_for_the_latest_user_that_is_there() {
        let mut observed = Observed::default();
        observed
            .users
            .extend(["topicops.shop.w", "topicops.shop.w_2", "topicops.shop.w-x_9"].map(str::to_owned));
        let asking = client("shop/w", token("next"));
        assert_eq!(lineage(&asking, &observed, &rules(1, Some(1))), of("topicops.shop.w_2", None, false));
        let new = client("shop/new", token("next"));
        assert_eq!(lineage(&new, &observed, &rules(1, Some(1))), of("topicops.shop.new", None, false));
    }

    #[test]
    fn nothing_begins_on_a_secret_that_is_not_in_order() {
        let asking = client("shop/w", token("next"));
        let begins = |change: &dyn Fn(&mut Observed)| {
            let mut observed = Observed::default();
            holds(&mut observed, "w", "topicops.shop.w", None);
            change(&mut observed);
            lineage(&asking, &observed, &rules(1, None)).begins
        };
        fn secret(observed: &mut Observed) -> &mut ObservedSecret {
            observed.secrets.values_mut().next().unwrap()
        }
        assert!(begins(&|_| {}));
        assert!(!begins(&|observed| secret(observed).content = SecretContent::Unread));
        assert!(!begins(&|observed| secret(observed).owner_uid = None));
        assert!(!begins(&|observed| observed.users.clear()));
        // What somebody wrote into the annotation is no user of this workload: it is taken out first.
        assert!(!begins(&|observed| secret(observed).previous = Some("topicops.billing.x".to_owned())));
    }

    #[test]
    fn credentials_are_renewed_within_the_last_tenth_of_their_age_and_by_nobody_who_says_never() {
        let mut observed = Observed::default();
        holds(&mut observed, "w", "topicops.shop.w", None);
        let begins = |wish: RotateAfter, day| {
            let wish = RotationWish { token: None, after: Some(wish) };
            lineage(&client("shop/w", wish), &observed, &rules(day, Some(1))).begins
        };
        let ten = RotateAfter::Age(Duration::from_secs(10 * 86_400));
        assert!(!begins(ten, 8) && begins(ten, 10) && !begins(RotateAfter::Never, 1_000));
        let silent = client("shop/w", RotationWish::default());
        assert!(lineage(&silent, &observed, &rules(2, Some(1))).begins);
        assert!(!lineage(&silent, &observed, &rules(2, None)).begins);
        let days: BTreeSet<i64> = (0..100)
            .map(|n| {
                let uid = format!("uid-{n}");
                let due = |hour: &i64| *hour as f64 * 3_600.0 >= 864_000.0 * (1.0 - SPREAD * fraction(&uid));
                (0..=240).find(due).unwrap()
            })
            .collect();
        assert!(days.len() > 10 && days.iter().all(|hour| (216..=240).contains(hour)), "{days:?}");
    }

    #[test]
    fn when_many_are_due_those_begun_go_on_then_those_asked_for_then_the_oldest() {
        let mut observed = Observed::default();
        for name in ["a", "b", "c", "d"] {
            holds(&mut observed, name, &format!("topicops.shop.{name}"), None);
        }
        let made = |observed: &mut Observed, name: &str, day: i64| {
            let key = ObjectKey::new("shop", format!("{name}-kafka-credentials"));
            observed.secrets.get_mut(&key).unwrap().made = Some(at(day * DAY));
        };
        made(&mut observed, "a", 3);
        made(&mut observed, "b", 2);
        made(&mut observed, "d", 3);
        observed.users.insert("topicops.shop.d_2".to_owned());
        let silent = RotationWish::default;
        let clients = [
            client("shop/a", silent()),
            client("shop/b", silent()),
            client("shop/c", token("next")),
            client("shop/d", silent()),
        ];
        let begun = |observed: &Observed, room: usize, stuck: &[&str]| -> Vec<String> {
            let stuck = stuck.iter().map(|username| (*username).to_owned()).collect();
            let rules = RotationRules { room, stuck, ..rules(100, Some(1)) };
            let all = Lineage::all(&clients, &OperatorId::default(), observed, &rules);
            let begun = all.into_iter().filter(|(_, one)| one.begins);
            begun.map(|(workload, _)| workload.name().to_owned()).collect()
        };
        // What was begun goes on whatever room there is.
        assert_eq!(begun(&observed, 0, &[]), ["d"]);
        assert_eq!(begun(&observed, 1, &[]), ["d"]);
        assert_eq!(begun(&observed, 2, &[]), ["c", "d"]);
        assert_eq!(begun(&observed, 3, &[]), ["b", "c", "d"]);
        assert_eq!(begun(&observed, 4, &[]), ["a", "b", "c", "d"]);
        // Should it not get on, it holds up no other, whether the brokers have its user or not.
        assert_eq!(begun(&observed, 1, &["topicops.shop.d_2"]), ["c", "d"]);
        assert_eq!(begun(&observed, 2, &["topicops.shop.c_2", "topicops.shop.d_2"]), ["a", "b", "c", "d"]);
        // Its Secret has it by now, and whoever leads need not know of it yet.
        holds(&mut observed, "d", "topicops.shop.d_2", Some("topicops.shop.d"));
        assert_eq!(begun(&observed, 1, &[]), Vec::<String>::new());
        assert_eq!(begun(&observed, 2, &[]), ["c"]);
        assert_eq!(begun(&observed, 1, &["topicops.shop.d_2"]), ["c"]);
    }

    #[test]
    fn who_changes_over_keeps_the_user_before_whatever_becomes_of_the_secret() {
        let asking = client("shop/w", token("next"));
        let (first, second) = ("topicops.shop.w", "topicops.shop.w_2");
        let changing = BTreeMap::from([(second.to_owned(), first.to_owned())]);
        let mut rules = RotationRules { changing, ..rules(1, None) };
        let mut observed = Observed::default();
        observed.users.extend([first, second].map(str::to_owned));
        assert_eq!(lineage(&asking, &observed, &rules), of(second, Some(first), false), "it was deleted");
        holds(&mut observed, "w", second, None);
        assert_eq!(
            lineage(&asking, &observed, &rules),
            of(second, Some(first), false),
            "its mark was taken off"
        );
        holds(&mut observed, "w", second, Some("topicops.shop.w_7"));
        assert_eq!(
            lineage(&asking, &observed, &rules),
            of(second, Some(first), false),
            "its mark is another by now"
        );
        holds(&mut observed, "w", second, None);
        rules.changing.clear();
        assert_eq!(lineage(&asking, &observed, &rules), of("topicops.shop.w_3", Some(second), true));
    }

    #[test]
    fn nothing_follows_a_number_that_somebody_made_up() {
        let mut observed = Observed::default();
        holds(&mut observed, "w", "topicops.shop.w_999999999", None);
        let asking = client("shop/w", token("next"));
        assert_eq!(
            lineage(&asking, &observed, &rules(1, None)),
            of("topicops.shop.w_999999999", None, false)
        );
    }

    #[test]
    fn a_bare_pod_does_not_change_over_and_a_job_only_when_asked() {
        let mut observed = Observed::default();
        for (kind, wish, begins) in [
            (WorkloadKind::Pod, token("next"), false),
            (WorkloadKind::Job, token("next"), true),
            (WorkloadKind::Job, RotationWish::default(), false),
            (WorkloadKind::CronJob, RotationWish::default(), true),
        ] {
            let workload = Workload::new("shop", kind, "w");
            holds(&mut observed, "w", &workload.username(&OperatorId::default()), None);
            let plain = client("shop/w", wish);
            let request = plain.request.as_ref().unwrap().as_ref().unwrap();
            let request = ClientRequest { workload: workload.clone(), ..(**request).clone() };
            let one = Client { workload, request: Ok(Some(Arc::new(request))), ..(*plain).clone() };
            assert_eq!(lineage(&Arc::new(one), &observed, &rules(100, Some(1))).begins, begins, "{kind}");
        }
    }
}

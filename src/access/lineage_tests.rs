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
    assert_eq!(lineage(&other, &observed, &rules), of("topicops.shop.w_2", Some("topicops.shop.w"), true));
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
fn a_secret_that_is_gone_is_made_anew_for_the_latest_user_that_is_there_and_the_one_before_stays() {
    let mut observed = Observed::default();
    observed.users.extend(
        ["topicops.shop.w", "topicops.shop.w_2", "topicops.shop.w_4", "topicops.shop.w-x_9"]
            .map(str::to_owned),
    );
    let asking = client("shop/w", token("next"));
    let mut rules = rules(1, Some(1));
    assert_eq!(
        lineage(&asking, &observed, &rules),
        of("topicops.shop.w_4", Some("topicops.shop.w_2"), false)
    );
    rules.taken_up.insert("topicops.shop.w_4".to_owned());
    assert_eq!(
        lineage(&asking, &observed, &rules),
        of("topicops.shop.w_4", None, false),
        "no Pod has the one before"
    );
    let alone = client("shop/w-x", token("next"));
    assert_eq!(lineage(&alone, &observed, &rules), of("topicops.shop.w-x_9", None, false));
    let new = client("shop/new", token("next"));
    assert_eq!(lineage(&new, &observed, &rules), of("topicops.shop.new", None, false));
}

#[test]
fn where_a_secret_from_before_is_put_back_pods_may_run_with_the_user_that_is_there() {
    let asking = client("shop/w", token("next"));
    let (first, second) = ("topicops.shop.w", "topicops.shop.w_2");
    let mut observed = Observed::default();
    holds(&mut observed, "w", first, None);
    observed.users = BTreeSet::from([second.to_owned(), "topicops.shop.w-x_3".to_owned()]);
    let mut rules = rules(1, None);
    assert_eq!(lineage(&asking, &observed, &rules), of(first, Some(second), false));
    // As it is said in the Secret next.
    holds(&mut observed, "w", first, Some(second));
    assert_eq!(lineage(&asking, &observed, &rules), of(first, Some(second), false));
    rules.taken_up.insert(first.to_owned());
    assert_eq!(lineage(&asking, &observed, &rules), of(first, None, false));
    // One from the middle of an earlier rotation.
    holds(&mut observed, "w", second, Some(first));
    observed.users = BTreeSet::from(["topicops.shop.w_5".to_owned()]);
    assert_eq!(lineage(&asking, &observed, &rules), of(second, Some("topicops.shop.w_5"), false));
}

#[test]
fn where_a_secret_is_put_back_while_pods_change_over_they_change_back_and_no_user_goes_before() {
    let (first, second) = ("topicops.shop.w", "topicops.shop.w_2");
    let mut observed = Observed::default();
    holds(&mut observed, "w", first, None);
    observed.users.insert(second.to_owned());
    let mut rules = rules(1, None);
    rules.changing.insert(second.to_owned(), first.to_owned());
    // Whether the rotation is asked for still, or not any more.
    for wish in [RotationWish::default(), token("next")] {
        let client = client("shop/w", wish);
        assert_eq!(lineage(&client, &observed, &rules), of(first, Some(second), false));
    }
    rules.taken_up.insert(first.to_owned());
    let asking = client("shop/w", token("next"));
    assert_eq!(lineage(&asking, &observed, &rules).current, second, "it is asked for still, and begins anew");
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
fn while_none_comes_to_its_end_one_at_a_time_is_tried_of_those_that_are_only_old() {
    let mut observed = Observed::default();
    for name in ["a", "b", "c"] {
        holds(&mut observed, name, &format!("topicops.shop.{name}"), None);
    }
    let silent = RotationWish::default;
    let begun = |observed: &Observed, third: RotationWish, stuck: &[&str]| -> Vec<String> {
        let clients = [client("shop/a", silent()), client("shop/b", silent()), client("shop/c", third)];
        let stuck = stuck.iter().map(|username| (*username).to_owned()).collect();
        let rules = RotationRules { stuck, blocked: true, ..rules(100, Some(1)) };
        let all = Lineage::all(&clients, &OperatorId::default(), observed, &rules);
        let begun = all.into_iter().filter(|(_, one)| one.begins);
        begun.map(|(workload, _)| workload.name().to_owned()).collect()
    };
    assert_eq!(begun(&observed, silent(), &[]), ["a"]);
    assert_eq!(begun(&observed, token("next"), &[]), ["c"], "whoever asks is one, too");
    observed.users.insert("topicops.shop.a_2".to_owned());
    assert_eq!(begun(&observed, silent(), &[]), ["a"], "it is on its way");
    assert_eq!(begun(&observed, token("next"), &[]), ["a", "c"], "whoever asks waits for no other");
    assert_eq!(begun(&observed, silent(), &["topicops.shop.a_2"]), ["a", "b"]);
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
    assert_eq!(lineage(&asking, &observed, &rules), of(second, Some(first), false), "its mark was taken off");
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
    assert_eq!(lineage(&asking, &observed, &rules(1, None)), of("topicops.shop.w_999999999", None, false));
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

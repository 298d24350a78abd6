use std::collections::BTreeSet;

use super::*;
use crate::{
    kafka::NewPartitions,
    topic::{Applied, Holding, PlanContext},
};

const KEY: &str = "retention.ms";

fn orders() -> TopicName {
    "orders".parse().unwrap()
}

fn shown(id: &str, partitions: usize, value: Option<&str>) -> TopicDescription {
    TopicDescription {
        id: id.to_owned(),
        replicas: vec![vec![1]; partitions],
        leaders: vec![Some(1); partitions],
        in_sync: vec![vec![1]; partitions],
        configs: value.map(|value| (KEY.to_owned(), value.to_owned())).into_iter().collect(),
        inherited: BTreeMap::new(),
    }
}

fn plan(steps: Vec<Step>) -> TopicPlan {
    TopicPlan { steps, ..TopicPlan::of(&orders(), &[], None, None, &PlanContext::default()) }
}

fn sets(value: &str) -> TopicPlan {
    let set = BTreeMap::from([(KEY.to_owned(), value.to_owned())]);
    plan(vec![Step::Configure(ConfigChange { set, unset: Vec::new() })])
}

/// Puts back what somebody changed.
fn corrects(found: &str, value: &str) -> TopicPlan {
    let (key, declared) = (KEY.to_owned(), value.to_owned());
    TopicPlan {
        corrected: vec![Drift::Config { key, declared, found: Some(found.to_owned()) }],
        ..sets(value)
    }
}

fn grows(total: i32) -> TopicPlan {
    plan(vec![Step::Grow(NewPartitions {
        topic: orders(),
        total: total.try_into().unwrap(),
        placement: None,
    })])
}

/// A plan that puts back partitions that are not there.
fn lacks(declared: i32, found: i32) -> TopicPlan {
    TopicPlan { drifted: vec![Drift::Partitions { declared, found }], ..plan(Vec::new()) }
}

fn done() -> Acknowledged {
    Acknowledged { configured: true, grown: true, ..Acknowledged::default() }
}

/// What is seen of the setting where a broker shows `value`.
fn seen(own: &OwnChanges, value: Option<&str>, now: Instant) -> Option<String> {
    let mut found = shown("a", 1, value);
    own.bring_up_to_date(&orders(), &mut found, now);
    found.configs.remove(KEY)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_broker_that_shows_fewer_partitions_than_there_are_for_certain_lags_whatever_came_between() {
    let (mut own, start) = (OwnChanges::default(), Instant::now());
    own.note(&grows(3), done(), Some(&shown("a", 1, None)), start);
    own.note(&grows(5), done(), Some(&shown("a", 1, None)), start);
    let later = start + SETTLING;
    for found in 1..5 {
        let found_by = shown("a", usize::try_from(found).unwrap(), None);
        assert!(own.explain(&lacks(5, found), Some(&found_by), later), "{found}");
    }
    assert!(!own.explain(&lacks(7, 5), Some(&shown("a", 5, None)), later), "of that nothing is known here");
    let anew = shown("b", 1, None);
    for now in [start, later] {
        assert!(!own.explain(&lacks(5, 1), Some(&anew), now), "it is another topic");
    }
    let remade = TopicPlan { remade: true, ..lacks(5, 1) };
    assert!(own.explain(&remade, Some(&anew), start), "a broker may show what was there before");
    assert!(!own.explain(&remade, Some(&anew), later));
    let found = Some("1".to_owned());
    let more = Drift::Config { key: KEY.to_owned(), declared: "2".to_owned(), found };
    let with_more = TopicPlan { corrected: vec![more], ..lacks(5, 1) };
    assert!(
        own.explain(&with_more, Some(&shown("a", 1, None)), later),
        "what lags tells nothing for certain"
    );
}

#[test]
fn what_is_shown_in_place_of_what_was_made_here_may_be_what_was_there_before() {
    let (mut own, start) = (OwnChanges::default(), Instant::now());
    let made = Acknowledged { created: Some("b".to_owned()), ..Acknowledged::default() };
    own.note(&plan(Vec::new()), made, None, start);
    assert_eq!(own.made_id(&orders()), Some("b"));
    own.note(&sets("1"), done(), Some(&shown("a", 1, None)), start);
    assert_eq!(own.made_id(&orders()), Some("b"), "a change of what was there before says nothing of it");
    let remade = TopicPlan { remade: true, ..plan(Vec::new()) };
    let later = start + LONGEST_LAG;
    assert!(own.explain(&remade, Some(&shown("a", 1, None)), later - SECOND));
    own.forget_old(later);
    assert!(!own.explain(&remade, Some(&shown("a", 1, None)), later));
}

#[test]
fn what_the_ledger_knew_once_gives_way_to_what_is_changed_since_and_may_still_be_shown() {
    let (mut own, start) = (OwnChanges::default(), Instant::now());
    let made = Acknowledged { created: Some("a".to_owned()), ..Acknowledged::default() };
    own.note(&plan(Vec::new()), made, None, start);
    own.note_known(&orders(), "another");
    assert_eq!(own.unnoted_id(&orders()), Some("a"));
    own.note_known(&orders(), "a");
    assert_eq!((own.unnoted_id(&orders()), own.made_id(&orders())), (None, Some("a")));
    own.note(&sets("2"), done(), Some(&shown("b", 1, Some("1"))), start);
    let mut found = shown("b", 1, Some("1"));
    assert!(own.bring_up_to_date(&orders(), &mut found, start).is_some(), "the change is remembered as ours");
    let remade = TopicPlan { remade: true, ..plan(Vec::new()) };
    let late = start + LONGEST_LAG - SECOND;
    assert!(
        own.explain(&remade, Some(&shown("a", 1, None)), late),
        "a broker that lags may show what was made"
    );
}

#[test]
fn each_value_that_was_there_before_has_a_time_of_its_own() {
    let (mut own, start) = (OwnChanges::default(), Instant::now());
    own.note(&sets("2"), done(), Some(&shown("a", 1, Some("1"))), start);
    let middle = start + LONGEST_LAG / 2;
    own.note(&sets("3"), done(), Some(&shown("a", 1, Some("2"))), middle);
    for past in ["1", "2"] {
        assert_eq!(seen(&own, Some(past), start + LONGEST_LAG - SECOND).as_deref(), Some("3"), "{past}");
    }
    let end = start + LONGEST_LAG;
    assert_eq!(seen(&own, Some("1"), end).as_deref(), Some("1"), "it is somebody's hand by now");
    assert_eq!(seen(&own, Some("2"), end).as_deref(), Some("3"));
    let until = own.bring_up_to_date(&orders(), &mut shown("a", 1, Some("2")), end);
    assert_eq!(until, Some(middle + LONGEST_LAG));
}

#[test]
fn what_was_put_back_is_no_hand_once_its_author_wants_something_else() {
    let (mut own, now) = (OwnChanges::default(), Instant::now());
    own.note(&corrects("hand", "1"), done(), Some(&shown("a", 1, Some("hand"))), now);
    assert_eq!(seen(&own, Some("hand"), now).as_deref(), Some("hand"), "whoever sets it again is noticed");
    own.note(&sets("2"), done(), Some(&shown("a", 1, Some("hand"))), now);
    for past in ["hand", "1"] {
        assert_eq!(seen(&own, Some(past), now).as_deref(), Some("2"), "{past}");
    }
}

#[test]
fn what_another_replica_applied_before_may_be_shown_late_too() {
    let (mut own, now) = (OwnChanges::default(), Instant::now());
    let mut applied = Applied::default();
    applied.set(KEY, "2");
    let (namespace, keys) = ("shop".to_owned(), BTreeSet::from([KEY.to_owned()]));
    let holding = Some(Holding { namespace, keys, applied, ..Holding::default() });
    own.note(&TopicPlan { holding, ..sets("1") }, done(), Some(&shown("a", 1, Some("1"))), now);
    assert_eq!(seen(&own, Some("2"), now).as_deref(), Some("1"));
}

#[test]
fn of_many_values_the_latest_are_known_also_when_one_comes_back() {
    let (mut own, now) = (OwnChanges::default(), Instant::now());
    let mut before = "0".to_owned();
    for value in ["1", "2", "3", "0", "4", "5", "6", "7", "8", "9"] {
        own.note(&sets(value), done(), Some(&shown("a", 1, Some(&before))), now);
        before = value.to_owned();
    }
    assert_eq!(seen(&own, Some("0"), now).as_deref(), Some("9"), "it came back later than three others");
    assert_eq!(seen(&own, Some("1"), now).as_deref(), Some("1"), "there are too many");
}

#[test]
fn a_refusal_ends_the_doubt_about_what_was_refused_and_about_nothing_before_it() {
    let refused = || Acknowledged { refused: true, ..Acknowledged::default() };
    let (mut own, now) = (OwnChanges::default(), Instant::now());
    own.note(&sets("2"), done(), Some(&shown("a", 1, Some("1"))), now);
    own.doubt(&sets("3"));
    assert_eq!(seen(&own, Some("1"), now).as_deref(), Some("1"), "it may be anything");
    own.note(&sets("3"), refused(), Some(&shown("a", 1, Some("1"))), now);
    assert_eq!(seen(&own, Some("1"), now).as_deref(), Some("2"));
    // Nobody knows what became of the first of these.
    own.doubt(&sets("3"));
    own.doubt(&sets("3"));
    own.note(&sets("3"), refused(), Some(&shown("a", 1, Some("1"))), now);
    assert_eq!(seen(&own, Some("1"), now).as_deref(), Some("1"));
}

use proptest::prelude::*;

use super::*;
use crate::{
    kafka::{BrokerConfigs, BrokerDisks, ItemError, LogDir, ReplicaSize, TopicPartition},
    topic::{RetentionSteps, StorageFacts},
};

const GB: u64 = 1_000_000_000;

fn dir(total_bytes: Option<u64>, stored: &[u64]) -> LogDir {
    let replicas = (0..).zip(stored).map(|(partition, bytes)| {
        let partition = TopicPartition { topic: "orders".parse().unwrap(), partition };
        (partition, ReplicaSize { bytes: *bytes, future: false })
    });
    LogDir { total_bytes, replicas: replicas.collect(), ..LogDir::default() }
}

fn failed_dir() -> LogDir {
    const KAFKA_STORAGE_ERROR: i16 = 56;
    let error = Some(ItemError::of(KAFKA_STORAGE_ERROR, None));
    LogDir { path: "/broken".to_owned(), error, ..LogDir::default() }
}

/// Brokers from 1 on with these log directories each.
fn facts(brokers: Vec<Vec<LogDir>>) -> StorageFacts {
    let disks = (1..).zip(brokers).map(|(broker, dirs)| (broker, Ok(BrokerDisks { dirs })));
    StorageFacts::of(&disks.collect())
}

fn in_context(
    declaration: &Declaration,
    observed: Option<&TopicDescription>,
    holding: Option<&Holding>,
    facts: Option<StorageFacts>,
    now: i64,
) -> TopicPlan {
    let steps = RetentionSteps { keep_percent: 50, interval: 60, above: 10 };
    let context = PlanContext { storage: facts.map(Arc::new), steps, now, ..PlanContext::default() };
    let topic = "orders".parse().unwrap();
    TopicPlan::of(&topic, std::slice::from_ref(declaration), observed, holding, &context)
}

/// With a disk of so many bytes.
fn under_policy(
    text: &str,
    declaration: &Declaration,
    observed: Option<&TopicDescription>,
    holding: Option<&Holding>,
    disk: u64,
) -> TopicPlan {
    let rules = Arc::new(TopicRules::parse(text).unwrap());
    let policy = TopicPolicy { rules, ..TopicPolicy::default() };
    let storage = Some(Arc::new(facts(vec![vec![dir(Some(disk), &[])]])));
    let context = PlanContext { storage, ..PlanContext::new(policy) };
    TopicPlan::of(&"orders".parse().unwrap(), std::slice::from_ref(declaration), observed, holding, &context)
}

#[test]
fn what_a_share_comes_to_keeps_to_the_limits_of_retention_bytes() {
    let gi = 1 << 30;
    let disk = 100 * gi;
    let new =
        declared(&[("retention-disk-share", "10%"), ("partitions", "1"), ("replication-factor", "1")], &[]);
    let told = |plan: &TopicPlan| plan.refusals[0].message(TopicObjectKind::ConfigMap);
    let bytes = |action: &str| format!("limits: {{ retention-bytes: {{ max: 8Gi, action: {action} }} }}");
    let refused = under_policy(&bytes("refuse"), &new, None, None, disk);
    assert!(refused.steps.is_empty() && refused.holding.is_none(), "{refused:?}");
    assert_eq!(refused.refusals[0].reason().as_str(), "RetentionOutOfBounds");
    assert_eq!(
        told(&refused),
        "retention-disk-share: \"10%\": comes to retention.bytes=10Gi: 8Gi at most, says the operator's policy \
         (limits.retention-bytes)"
    );
    let created = |plan: &TopicPlan| match plan.steps.as_slice() {
        [Step::Create(topic)] => topic.configs["retention.bytes"].clone(),
        other => panic!("{other:?}"),
    };
    let adjusted = under_policy(&bytes("adjust"), &new, None, None, disk);
    assert_eq!(created(&adjusted), "8589934592");
    assert!(adjusted.notices[0].ends_with("adjusted to 8Gi"), "{:?}", adjusted.notices);
    let warned = under_policy(&bytes("warn"), &new, None, None, disk);
    assert_eq!((created(&warned).as_str(), warned.notices.len()), ("10737418240", 1));

    let topic = placed(&[&[1]], &[("retention.bytes", "8589934592")]);
    let holding = adjusted.holding_after.unwrap();
    let again = under_policy(&bytes("adjust"), &new, Some(&topic), Some(&holding), disk);
    assert!(again.steps.is_empty() && again.corrected.is_empty(), "{again:?}");
    let grown = under_policy(&bytes("refuse"), &new, Some(&topic), Some(&holding), disk * 2);
    assert!(grown.steps.is_empty() && told(&grown).contains("retention.bytes=20Gi"), "it stays as it is");
    assert!(grown.holding_after.unwrap().keys.contains("retention.bytes"), "and stays ours");
    let share = "limits: { retention-disk-share: { max: 4%, action: adjust } }";
    let less = under_policy(share, &new, Some(&topic), Some(&holding), disk);
    assert_eq!(set(&less, "retention.bytes"), Some((4 * gi).to_string()));
    let one_of = "limits: { properties: { retention.bytes: { one-of: [5368709120] } } }";
    assert!(
        told(&under_policy(one_of, &new, Some(&topic), Some(&holding), disk)).contains("one of 5368709120")
    );
}

fn set(plan: &TopicPlan, key: &str) -> Option<String> {
    configure(plan).and_then(|change| change.set.get(key).cloned())
}

fn share(percent: &str) -> Declaration {
    declared(&[("retention-disk-share", percent)], &[])
}

fn placed(replicas: &[&[i32]], configs: &[(&str, &str)]) -> TopicDescription {
    TopicDescription {
        replicas: replicas.iter().map(|held| held.to_vec()).collect(),
        ..existing(1, 1, configs)
    }
}

#[test]
fn a_share_is_of_the_tightest_broker_for_each_of_its_replicas() {
    let brokers = || {
        facts(vec![vec![dir(Some(100 * GB), &[])], vec![dir(Some(40 * GB), &[])], vec![dir(Some(GB), &[])]])
    };
    // Broker 1 holds three replicas, broker 2 one, broker 3 none.
    let topic = placed(&[&[1, 2], &[1], &[1]], &[]);
    let holding = held(&[]);
    let asked = in_context(&share("6%"), Some(&topic), Some(&holding), None, 0);
    assert!(asked.wants_storage && asked.steps.is_empty());
    let plan = in_context(&share("6%"), Some(&topic), Some(&holding), Some(brokers()), 0);
    assert_eq!(set(&plan, "retention.bytes"), Some((2 * GB).to_string()));
    // Two directories: two of three replicas may be in the smaller one.
    let two =
        facts(vec![vec![dir(Some(50 * GB), &[]), dir(Some(80 * GB), &[])], vec![dir(Some(40 * GB), &[])]]);
    let plan = in_context(&share("6%"), Some(&topic), Some(&holding), Some(two), 0);
    assert_eq!(set(&plan, "retention.bytes"), Some((3 * GB / 2).to_string()));
}

#[test]
fn disks_and_partitions_are_followed_by_more_than_a_tenth_and_changes_by_hand_are_drift() {
    let disk = |total: u64| Some(facts(vec![vec![dir(Some(total), &[])]]));
    let topic = |bytes: u64| placed(&[&[1]], &[("retention.bytes", &bytes.to_string())]);
    let first = in_context(&share("10%"), Some(&placed(&[&[1]], &[])), Some(&held(&[])), disk(100 * GB), 0);
    let holding = first.holding_after.unwrap();
    for (total, expected) in
        [(100, None), (109, None), (91, None), (112, Some(112 * GB / 10)), (88, Some(88 * GB / 10))]
    {
        let plan = in_context(&share("10%"), Some(&topic(10 * GB)), Some(&holding), disk(total * GB), 0);
        assert_eq!(set(&plan, "retention.bytes"), expected.map(|bytes| bytes.to_string()), "{total}");
        assert!(plan.corrected.is_empty() && plan.refusals.is_empty());
    }
    let by_hand = in_context(&share("10%"), Some(&topic(11 * GB)), Some(&holding), disk(100 * GB), 0);
    assert_eq!(set(&by_hand, "retention.bytes"), Some((10 * GB).to_string()));
    assert_eq!(by_hand.corrected.len(), 1);
    // Another share is its author's change, however little it differs.
    let edited = in_context(&share("10.5%"), Some(&topic(10 * GB)), Some(&holding), disk(100 * GB), 0);
    assert_eq!(set(&edited, "retention.bytes"), Some((105 * GB / 10).to_string()));
}

#[test]
fn brokers_that_do_not_tell_refuse_a_new_share_and_leave_an_old_one() {
    let silent = || Some(facts(vec![vec![dir(None, &[])]]));
    let topic = placed(&[&[1]], &[]);
    let plan = in_context(&share("10%"), Some(&topic), Some(&held(&[])), silent(), 0);
    assert_eq!(plan.refusals[0].reason().as_str(), "DiskSizeUnknown");
    assert!(plan.refusals[0].message(TopicObjectKind::ConfigMap).contains("broker 1"));
    let broken = Some(facts(vec![vec![dir(Some(GB), &[])], vec![dir(Some(GB), &[]), failed_dir()]]));
    let both = placed(&[&[1, 2]], &[]);
    let plan = in_context(&share("10%"), Some(&both), Some(&held(&[])), broken, 0);
    let message = plan.refusals[0].message(TopicObjectKind::ConfigMap);
    assert!(
        message.contains("broker 2: it cannot use its log directory /broken (KAFKA_STORAGE_ERROR)"),
        "{message}"
    );
    let told = Some(facts(vec![vec![dir(Some(100 * GB), &[])]]));
    let holding = in_context(&share("10%"), Some(&topic), Some(&held(&[])), told, 0).holding_after.unwrap();
    let set = placed(&[&[1]], &[("retention.bytes", "10000000000")]);
    let plan = in_context(&share("10%"), Some(&set), Some(&holding), silent(), 0);
    assert!(plan.refusals.is_empty() && plan.steps.is_empty());
    assert_eq!(plan.holding_after, Some(holding));
}

#[test]
fn a_new_topic_gets_its_share_at_once_where_its_replicas_can_be_counted() {
    let three = || Some(facts(vec![vec![dir(Some(90 * GB), &[])]; 3]));
    let data = [("retention-disk-share", "10%"), ("partitions", "4"), ("replication-factor", "2")];
    let plan = in_context(&declared(&data, &[]), None, None, three(), 0);
    let [Step::Create(topic)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!(topic.configs["retention.bytes"], (3 * GB).to_string());
    assert!(plan.holding.unwrap().keys.contains("retention.bytes"));
    let plan = in_context(&share("10%"), None, None, three(), 0);
    assert!(plan.creates() && plan.again);
    let some_tell = || Some(facts(vec![vec![dir(Some(100 * GB), &[])], vec![dir(None, &[])]]));
    let plan = in_context(&declared(&data, &[]), None, None, some_tell(), 0);
    assert!(plan.creates() && plan.refusals.is_empty(), "one broken disk holds up nothing new: {plan:?}");
    let none_tells = Some(facts(vec![vec![dir(None, &[])], vec![dir(None, &[])]]));
    for (declared, facts) in [(declared(&data, &[]), none_tells), (share("10%"), some_tell())] {
        let plan = in_context(&declared, None, None, facts, 0);
        assert!(!plan.creates() && plan.holding.is_none() && !plan.again, "{plan:?}");
        assert_eq!(plan.refusals[0].reason().as_str(), "DiskSizeUnknown");
    }
}

#[test]
fn a_topic_is_not_made_to_find_out_whether_a_limit_refuses_what_its_share_comes_to() {
    let gi = 1 << 30;
    let half =
        |numbers: &[(&str, &str)]| declared(&[&[("retention-disk-share", "50%")], numbers].concat(), &[]);
    for policy in [
        "limits: { retention-bytes: { max: 8Gi } }",
        "limits: { properties: { retention.bytes: { one-of: [5368709120] } } }",
    ] {
        for numbers in [&[][..], &[("partitions", "1")], &[("replication-factor", "1")]] {
            let plan = under_policy(policy, &half(numbers), None, None, 100 * gi);
            assert!(plan.steps.is_empty() && plan.holding.is_none() && !plan.again, "{plan:?}");
            let told = plan.refusals[0].message(TopicObjectKind::ConfigMap);
            let needed = "retention-disk-share: \"50%\": what it comes to is limited, so partitions and replication factor \
                          must be declared beside it, says the operator's policy (limits.";
            assert!(told.starts_with(needed), "{told}");
        }
        let numbers = [("partitions", "1"), ("replication-factor", "1")];
        assert!(under_policy(policy, &half(&numbers), None, None, 10 * gi).creates());
        let defaults = format!("{{ defaults: {{ partitions: 1, replication-factor: 1 }}, {policy} }}");
        assert!(under_policy(&defaults, &half(&[]), None, None, 10 * gi).creates());
        let there = under_policy(policy, &half(&[]), Some(&existing(1, 1, &[])), Some(&held(&[])), 10 * gi);
        assert!(there.refusals.is_empty() && configure(&there).is_some(), "{there:?}");
    }
    for lenient in ["{ max: 5, action: adjust }", "{ max: 5, action: warn }"] {
        let plan = under_policy(
            &format!("limits: {{ retention-bytes: {lenient} }}"),
            &half(&[]),
            None,
            None,
            100 * gi,
        );
        assert!(plan.creates() && plan.again, "{lenient}");
    }
}

#[test]
fn what_is_refused_is_not_unset_either() {
    let set = declared(&[("properties", "retention.bytes=100\nflush.ms=5")], &[]);
    let topic = existing(1, 1, &[("retention.bytes", "100"), ("flush.ms", "5")]);
    let holding = settled(&set, &topic);
    let counted =
        "{ defaults: { partitions: 1, replication-factor: 1 }, limits: { total-bytes: { max: 1Gi } } }";
    let required =
        "limits: { properties: { flush.ms: { required: true }, retention.bytes: { required: true } } }";
    for (policy, lines) in [
        (counted, "retention.bytes=-1\nflush.ms=5"),
        (counted, "flush.ms=5"),
        (required, "retention.bytes=100"),
        (required, "flush.ms=5"),
        (required, ""),
    ] {
        let plan =
            under_policy(policy, &declared(&[("properties", lines)], &[]), Some(&topic), Some(&holding), GB);
        assert_eq!(plan.refusals[0].reason().as_str(), "PropertyRequired", "{lines}");
        assert!(plan.steps.is_empty() && plan.drifted.is_empty(), "{lines}: {plan:?}");
        assert_eq!(plan.holding_after.as_ref(), Some(&holding), "{lines}: what was ours stays ours");
    }
    let share = declared(&[("retention-disk-share", "50%"), ("properties", "flush.ms=5")], &[]);
    for policy in [counted, required] {
        let plan = under_policy(policy, &share, Some(&topic), Some(&holding), GB);
        assert!(plan.steps.is_empty() && plan.refusals.len() == 1, "{policy}: {plan:?}");
    }
    // Once nothing is required any more, what is gone from the manifest is unset.
    let lifted = under_policy("{}", &declared(&[], &[]), Some(&topic), Some(&holding), GB);
    assert_eq!(configure(&lifted).unwrap().unset, ["flush.ms", "retention.bytes"]);
}

/// Applies plan after plan, and gives the values that the broker saw with the seconds at which it did.
fn walk(
    declaration: &Declaration,
    mut topic: TopicDescription,
    mut holding: Holding,
    key: &str,
) -> Vec<(i64, String)> {
    let mut seen = Vec::new();
    for now in (0..3_600).step_by(10) {
        let facts = Some(facts(vec![vec![dir(None, &[1_000])]]));
        let plan = in_context(declaration, Some(&topic), Some(&holding), facts, now);
        if let Some(change) = configure(&plan) {
            topic.configs.retain(|key, _| !change.unset.contains(key));
            topic.configs.extend(change.set);
            seen.push((now, topic.configs.get(key).cloned().unwrap_or_default()));
        }
        assert!(plan.corrected.is_empty() && plan.drifted.is_empty(), "{plan:?}");
        holding = plan.holding_after.unwrap();
    }
    assert_eq!(holding.applied.stepped_at, None);
    seen
}

#[test]
fn a_large_cut_goes_down_in_steps_an_interval_apart() {
    let declaration = declared(&[("properties", "retention.ms=1000")], &[]);
    let topic = existing(1, 1, &[("retention.ms", "7000")]);
    let seen = walk(&declaration, topic, held(&[]), "retention.ms");
    assert_eq!(seen, [(0, "3500".to_owned()), (60, "1750".to_owned()), (120, "1000".to_owned())]);
}

#[test]
fn what_is_inherited_is_cut_in_steps_and_what_is_given_up_goes_down_to_the_brokers_default() {
    let mut topic = existing(1, 1, &[]);
    topic.inherited = map(&[("retention.ms", "4000")]);
    let declaration = declared(&[("properties", "retention.ms=1500")], &[]);
    let seen = walk(&declaration, topic, held(&[]), "retention.ms");
    assert_eq!(seen, [(0, "2000".to_owned()), (60, "1500".to_owned())]);
    let topic = existing(1, 1, &[("retention.ms", "3000000000")]);
    let holding = settled(&declared(&[("properties", "retention.ms=3000000000")], &[]), &existing(1, 1, &[]));
    let seen = walk(&declared(&[], &[]), topic, holding, "retention.ms");
    // Kafka's seven days: 604,800,000 ms.
    assert_eq!(seen, [(0, "1500000000".to_owned()), (60, "750000000".to_owned()), (120, String::new())]);
}

#[test]
fn what_brokers_show_still_of_a_setting_that_was_taken_away_is_cut_from_their_own_default() {
    // As it is described once what a lagging broker shows was taken out.
    let topic = TopicDescription { inherited: BTreeMap::new(), ..existing(1, 1, &[]) };
    let declaration = declared(&[("properties", "retention.ms=400000000")], &[]);
    let plan_with = |facts| in_context(&declaration, Some(&topic), Some(&held(&[])), facts, 0);
    let unasked = plan_with(None);
    assert!(unasked.wants_storage && set(&unasked, "retention.ms").is_none(), "{unasked:?}");
    let stored = facts(vec![vec![dir(None, &[1_000])]]);
    let default =
        BrokerConfigs { effective: map(&[("log.retention.ms", "4000000000")]), ..Default::default() };
    let plan = plan_with(Some(stored.with_defaults(&default)));
    assert_eq!(set(&plan, "retention.ms").as_deref(), Some("2000000000"));
    assert_eq!(plan.stepping[0].left, 3, "{:?}", plan.stepping);
}

#[test]
fn what_is_stored_decides_and_a_topic_of_little_is_cut_at_once() {
    let declaration = declared(&[("properties", "retention.ms=1000\nretention.bytes=100")], &[]);
    let topic = existing(1, 1, &[("retention.ms", "7000")]);
    let stored = |bytes: &[u64]| Some(facts(vec![vec![dir(None, bytes)]]));
    let little = in_context(&declaration, Some(&topic), Some(&held(&[])), stored(&[4, 6]), 0);
    assert_eq!(set(&little, "retention.ms").as_deref(), Some("1000"));
    assert!(little.stepping.is_empty());
    let much = in_context(&declaration, Some(&topic), Some(&held(&[])), stored(&[900, 6]), 0);
    assert_eq!(set(&much, "retention.ms").as_deref(), Some("3500"));
    assert_eq!(set(&much, "retention.bytes").as_deref(), Some("450"), "half of the largest replica");
    let [bytes, ms] = much.stepping.as_slice() else { panic!("{:?}", much.stepping) };
    assert_eq!((bytes.target, bytes.left, bytes.next_at), (100, 3, 60));
    assert_eq!((ms.now, ms.target, ms.left), (3_500, 1_000, 2));
    // Nobody knows how much there is; nor what a directory holds that cannot be read.
    for unknown in [StorageFacts::unknown("no".to_owned()), facts(vec![vec![dir(None, &[]), failed_dir()]])] {
        let plan = in_context(&declaration, Some(&topic), Some(&held(&[])), Some(unknown), 0);
        assert_eq!(set(&plan, "retention.bytes").as_deref(), Some("1600"));
        assert!(!plan.stepping.is_empty());
    }
    // Not asked yet: the rest of the manifest does not wait.
    let declaration = declared(&[("properties", "retention.ms=1000\nsegment.ms=9")], &[]);
    let asked = in_context(&declaration, Some(&topic), Some(&held(&[])), None, 0);
    assert!(asked.wants_storage && set(&asked, "retention.ms").is_none());
}

#[test]
fn a_higher_declaration_ends_the_steps_and_a_restart_does_not_hurry_them() {
    let stored = || Some(facts(vec![vec![dir(None, &[1_000])]]));
    let low = declared(&[("properties", "retention.ms=1000")], &[]);
    let first =
        in_context(&low, Some(&existing(1, 1, &[("retention.ms", "9000")])), Some(&held(&[])), stored(), 100);
    assert_eq!(first.holding.as_ref().unwrap().applied.stepped_at, Some(100), "remembered before it is done");
    let now = existing(1, 1, &[("retention.ms", "4500")]);
    let holding = first.holding_after.unwrap();
    // After a crash what was remembered before may be all there is.
    for remembered in [&holding, first.holding.as_ref().unwrap()] {
        let early = in_context(&low, Some(&now), Some(remembered), stored(), 130);
        assert!(early.steps.is_empty() && early.drifted.is_empty());
        assert_eq!(early.stepping[0].next_at, 160);
        assert!(!in_context(&low, Some(&now), Some(remembered), stored(), 160).steps.is_empty());
    }
    let higher = declared(&[("properties", "retention.ms=5000")], &[]);
    let ended = in_context(&higher, Some(&now), Some(&holding), stored(), 130);
    assert_eq!(set(&ended, "retention.ms").as_deref(), Some("5000"));
    assert_eq!(ended.holding_after.unwrap().applied.stepped_at, None);
    let paused = declared(&[("properties", "retention.ms=1000")], &[("topic.kafka.nb/paused", "true")]);
    assert!(in_context(&paused, Some(&now), Some(&holding), stored(), 500).steps.is_empty());
    // A clock that went back holds nothing up.
    assert!(!in_context(&low, Some(&now), Some(&holding), stored(), 5).steps.is_empty());
}

#[test]
fn brokers_tell_their_default_retention_in_three_units() {
    let told = |pairs: &[(&str, &str)]| {
        let settings = BrokerConfigs { effective: map(pairs), ..BrokerConfigs::default() };
        StorageFacts::default().with_defaults(&settings).default_retention("retention.ms")
    };
    assert_eq!(told(&[("log.retention.hours", "2")]), 7_200_000);
    assert_eq!(told(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]), 180_000);
    assert_eq!(told(&[("log.retention.hours", "2"), ("log.retention.ms", "-1")]), -1);
    assert_eq!(told(&[]), 604_800_000);
}

/// One thing that a manifest says of retention for a while.
#[derive(Clone, Debug)]
struct Wish {
    ms: Option<i64>,
    bytes: Option<i64>,
    share: bool,
    /// Seconds until its author wants something else; `None`: he waits until it is so.
    lasts: Option<i64>,
}

fn wish() -> impl Strategy<Value = Wish> {
    let value = || prop_oneof![3 => (0u32..40).prop_map(|bits| 1_000 + (1i64 << bits)), 1 => Just(-1i64)];
    (
        proptest::option::of(value()),
        proptest::option::of(value()),
        proptest::bool::weighted(0.3),
        proptest::option::of(0i64..900),
    )
        .prop_map(|(ms, bytes, share, lasts)| Wish { ms, bytes, share, lasts })
}

impl Wish {
    fn declaration(&self) -> Declaration {
        let line = |key: &str, value: Option<i64>| value.map(|value| format!("{key}={value}\n"));
        let bytes = self.bytes.filter(|_| !self.share);
        let text: String =
            [line("retention.ms", self.ms), line("retention.bytes", bytes)].into_iter().flatten().collect();
        let mut data = vec![("properties", text.as_str())];
        data.extend(self.share.then_some(("retention-disk-share", "10%")));
        declared(&data, &[])
    }
}

/// The retention that counts, with what is unlimited as the most there is.
fn counts(topic: &TopicDescription, key: &str) -> i64 {
    let kafkas = if key == "retention.ms" { 604_800_000 } else { -1 };
    let value = topic.configs.get(key).map_or(kafkas, |value| value.parse().unwrap());
    if value < 0 { i64::MAX } else { value }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// Whatever is declared one after the other, and wherever topicops is killed.
    #[test]
    fn no_cut_takes_more_than_half_or_follows_another_within_the_interval_and_all_end_as_declared(
        wishes in proptest::collection::vec(wish(), 1..4),
        stored in 11u64..1 << 40,
        disk in 1u64 << 20..1 << 40,
        killed in proptest::collection::vec(any::<bool>(), 24),
    ) {
        let mut topic = existing(1, 1, &[]);
        // Killed before it was noted, and taken back by its author then: that looks like somebody's hand.
        let mut unnoted: BTreeSet<String> = BTreeSet::new();
        let (mut holding, mut now, mut kills) = (held(&[]), 0, killed.into_iter().chain(std::iter::repeat(false)));
        let facts = || Some(facts(vec![vec![dir(Some(disk), &[stored])]]));
        for wish in &wishes {
            let declaration = wish.declaration();
            let mut stepped: BTreeMap<&str, i64> = BTreeMap::new();
            let changes_mind = wish.lasts.map(|lasts| now + lasts);
            let mut rests = false;
            while changes_mind.map_or(!rests, |at| now < at) {
                let plan = in_context(&declaration, Some(&topic), Some(&holding), facts(), now);
                let is_unnoted = |drift: &Drift| matches!(drift, Drift::Config { key, .. } if unnoted.contains(key));
                prop_assert!(plan.corrected.iter().all(is_unnoted), "{plan:?}");
                rests = plan.steps.is_empty() && plan.stepping.is_empty();
                unnoted.retain(|_| !rests);
                let before = topic.clone();
                if let Some(change) = configure(&plan) {
                    let changed = change.set.keys().chain(&change.unset).cloned().collect::<BTreeSet<_>>();
                    topic.configs.retain(|key, _| !change.unset.contains(key));
                    topic.configs.extend(change.set);
                    if kills.next().unwrap() {
                        unnoted.extend(changed);
                        holding = plan.holding.unwrap();
                    } else {
                        unnoted.retain(|key| !changed.contains(key));
                        holding = plan.holding_after.unwrap();
                    }
                } else {
                    holding = plan.holding_after.unwrap();
                }
                for key in ["retention.ms", "retention.bytes"] {
                    let ceiling = if key == "retention.ms" { 10 * 31_557_600_000 } else { stored.cast_signed() };
                    let (was, is) = (counts(&before, key).min(ceiling), counts(&topic, key));
                    if is < was {
                        prop_assert!(is >= was / 2, "{key} from {was} to {is}");
                        if let Some(last) = stepped.insert(key, now) {
                            prop_assert!(now - last >= 60, "{key} at {last} and at {now}");
                        }
                    }
                }
                now += 20;
                prop_assert!(now < 100_000, "it never comes to rest: {:?}", topic.configs);
            }
            if rests {
                for (key, declared) in [("retention.ms", wish.ms), ("retention.bytes", wish.bytes)] {
                    if !(wish.share && key == "retention.bytes") {
                        let is = topic.configs.get(key).map(|value| value.parse::<i64>().unwrap());
                        prop_assert_eq!(is, declared, "{}", key);
                    }
                }
                prop_assert_eq!(holding.applied.stepped_at, None);
            }
        }
    }
}

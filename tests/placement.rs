//! Placement over generated clusters: racks, draining, counts, order, and no more movement than the best there is, which is
//! found by trying everything.

#![allow(clippy::unwrap_used, clippy::panic)]

mod placement_support;

use std::collections::{BTreeMap, BTreeSet};

use placement_support::*;
use proptest::{prelude::*, test_runner::RngAlgorithm};
use topicops::placement::{
    Layout, PlacedPartition, PlacementError, Rebalance, RebalanceGoals, change_factor, place_added,
    place_new, rebalance,
};

const COUNTS_ONLY: RebalanceGoals = RebalanceGoals { bytes_within_percent: None };

/// Distinct brokers that take replicas, in as many racks as can be.
fn well_placed(layout: &Layout, replicas: &[i32], factor: usize) {
    let usable = usable(layout);
    let distinct: BTreeSet<_> = replicas.iter().collect();
    assert_eq!((replicas.len(), distinct.len()), (factor, factor), "{replicas:?}");
    assert!(replicas.iter().all(|id| usable.contains(id)), "{replicas:?} is not within {usable:?}");
    let best = best_spread(layout, &[], &usable, factor);
    assert_eq!(pairs_in_one_rack(layout, replicas), pairs_in_one_rack(layout, &best[0]), "{replicas:?}");
}

/// The difference of the most and the least that a usable broker has.
fn range_of(layout: &Layout, loads: impl IntoIterator<Item = i32>) -> u64 {
    let mut counts: BTreeMap<i32, u64> = usable(layout).into_iter().map(|id| (id, 0)).collect();
    for id in loads {
        *counts.entry(id).or_default() += 1;
    }
    counts.values().max().unwrap() - counts.values().min().unwrap()
}

/// Whether all racks have the same count of usable brokers, so that racks never stand in the way of even counts.
fn racks_are_equal(layout: &Layout) -> bool {
    let mut sizes: BTreeMap<_, usize> = BTreeMap::new();
    for broker in layout.brokers.values().filter(|broker| !broker.draining) {
        *sizes.entry(&broker.rack).or_default() += 1;
    }
    sizes.values().collect::<BTreeSet<_>>().len() == 1
}

fn refused(error: &PlacementError, layout: &Layout, factor: i16) {
    let usable = usable(layout).len();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("replication factor {factor} takes {factor} brokers, and {usable} can")),
        "{text}"
    );
}

fn leaders(placed: &[Vec<i32>]) -> impl Iterator<Item = i32> {
    placed.iter().filter_map(|replicas| replicas.first().copied())
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Proptest's own generator takes a third of the time in a build without optimization.
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: None,
        ..ProptestConfig::with_cases(30_000)
    })]

    #[test]
    fn new_topics_are_spread_over_racks_and_brokers(
        before in layout(8),
        partitions in 1i32..10,
        factor in 1i16..5,
        added in 1i32..6,
    ) {
        let (count, factor_) = (partitions.try_into().unwrap(), factor.try_into().unwrap());
        let mut after = before.clone();
        let replicas = usize::try_from(factor).unwrap();
        let placed = match place_new(&mut after, count, factor_) {
            Ok(placed) => placed,
            Err(error) => {
                refused(&error, &before, factor);
                assert!(usable(&before).len() < replicas);
                assert_eq!(before, after);
                return Ok(());
            }
        };
        assert_eq!(placed.len(), usize::try_from(partitions).unwrap());
        let mut counted = before.clone();
        for one in &placed {
            well_placed(&before, one, replicas);
            counted.hold(one, 0);
        }
        assert_eq!(after, counted);
        assert_eq!(place_new(&mut before.clone(), count, factor_).unwrap(), placed, "not the same again");
        if racks_are_equal(&before) {
            assert!(range_of(&before, placed.iter().flatten().copied()) <= 1, "uneven: {placed:?}");
            assert!(range_of(&before, leaders(&placed)) <= 1, "leaders are uneven: {placed:?}");
        }
        let grown = place_added(&mut after, &placed, added.try_into().unwrap(), factor_).unwrap();
        for one in &grown {
            well_placed(&before, one, replicas);
        }
        let free = usable(&before);
        if free.len() <= 4 && added <= 3 {
            let options = vec![best_spread(&before, &[], &free, replicas); usize::try_from(added).unwrap()];
            let mut own = Layout::new(before.brokers.keys().map(|id| (*id, None)));
            placed.iter().for_each(|one| own.hold(one, 0));
            let (own, all) = (base(&own, |broker| broker.replicas), base(&counted, |broker| broker.replicas));
            let worth = |grown: &[Vec<i32>]| {
                let ids = || grown.iter().flatten().copied();
                (unevenness(&own, ids()), unevenness(&all, ids()))
            };
            assert_eq!(Some(worth(&grown)), least_over(&options, &worth), "not the most even: {placed:?} {grown:?}");
        }
    }

    #[test]
    fn another_factor_keeps_and_drops_what_it_should(
        before in layout(5),
        seeds in proptest::collection::vec((any::<u32>(), 1usize..5, any::<u8>()), 1..4),
        factor in 1i16..5,
    ) {
        let mut layout = before;
        let existing: Vec<Vec<i32>> =
            seeds.iter().map(|(seed, factor, _)| replicas(&layout, *factor, *seed)).collect();
        let in_sync: Vec<Vec<i32>> = existing
            .iter()
            .zip(&seeds)
            .map(|(replicas, (_, _, mask))| {
                replicas.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, id)| *id).collect()
            })
            .collect();
        let sizes: Vec<u64> = seeds.iter().map(|(_, _, size)| u64::from(*size)).collect();
        existing.iter().zip(&sizes).for_each(|(replicas, size)| layout.hold(replicas, *size));
        let wanted = usize::try_from(factor).unwrap();
        // What each partition may become, in the order of what counts.
        let options: Vec<Vec<Vec<i32>>> = existing
            .iter()
            .zip(&in_sync)
            .map(|(existing, in_sync)| match wanted.checked_sub(existing.len()) {
                Some(more) => {
                    let free: Vec<i32> = usable(&layout).into_iter().filter(|id| !existing.contains(id)).collect();
                    let added = best_spread(&layout, existing, &free, more);
                    added.into_iter().map(|added| existing.iter().copied().chain(added).collect()).collect()
                }
                None => least_of(subsets(existing, wanted), |kept| {
                    let count = |wrong: &dyn Fn(i32) -> bool| kept.iter().filter(|id| wrong(**id)).count();
                    let known = |id: i32| layout.brokers.contains_key(&id);
                    let dead = count(&|id| !known(id));
                    // Of the dead no more is asked than which of them comes first.
                    let out_of_sync = count(&|id| known(id) && !in_sync.contains(&id));
                    let draining = |id: i32| layout.brokers.get(&id).is_some_and(|broker| broker.draining);
                    let draining_in_sync = count(&|id| draining(id) && in_sync.contains(&id));
                    let draining_out = count(&|id| draining(id) && !in_sync.contains(&id));
                    let led = kept.first() == existing.first();
                    (dead, out_of_sync, draining_in_sync, draining_out, !led, pairs_in_one_rack(&layout, kept))
                }),
            })
            .collect();
        let start = layout.clone();
        let Ok(placed) = change_factor(&mut layout, &existing, &in_sync, &sizes, factor.try_into().unwrap()) else {
            assert!(options.iter().any(Vec::is_empty), "refused: {existing:?}");
            assert_eq!(layout, start);
            return Ok(());
        };
        for (at, target) in placed.iter().enumerate() {
            let sorted = |ids: &[i32]| ids.iter().copied().collect::<BTreeSet<_>>();
            let right = options[at].iter().any(|option| sorted(option) == sorted(target));
            assert!(right, "{:?} became {target:?}, not one of {:?}", existing[at], options[at]);
            let stay: Vec<i32> = existing[at].iter().filter(|id| target.contains(id)).copied().collect();
            assert!(target.starts_with(&stay), "another order: {:?}, {target:?}", existing[at]);
            if target.len() >= existing[at].len() {
                assert!(target.starts_with(&existing[at]), "{:?} lost one: {target:?}", existing[at]);
            }
        }
        let mut others = start.clone();
        existing.iter().for_each(|replicas| others.release(replicas, 0));
        let (own, all) = (BTreeMap::new(), base(&others, |broker| broker.replicas));
        let known = |id: &i32| start.brokers.contains_key(id);
        let worth = |placed: &[Vec<i32>]| {
            let ids = || placed.iter().flatten().copied().filter(known);
            (unevenness(&own, ids()), unevenness(&all, ids()))
        };
        assert_eq!(Some(worth(&placed)), least_over(&options, &worth), "not the most even: {placed:?}");
        let mut again = layout.clone();
        let second = change_factor(&mut again, &placed, &in_sync, &sizes, factor.try_into().unwrap()).unwrap();
        assert_eq!((second, again), (placed, layout));
    }

    #[test]
    fn a_rebalance_copies_no_more_than_the_best_there_is(
        before in layout(4),
        seeds in proptest::collection::vec((any::<u32>(), 1usize..4, 0u64..4), 0..4),
    ) {
        let mut layout = before;
        let partitions = partitions(&mut layout, &seeds);
        let plan = rebalance(&layout, &partitions, &COUNTS_ONLY);
        let outcome = checked(&layout, &partitions, &plan, &COUNTS_ONLY);
        let movable: Vec<usize> = (0..partitions.len())
            .filter(|at| !plan.stuck.iter().any(|stuck| is_of(&partitions[*at], &stuck.topic, stuck.partition)))
            .collect();
        let free = usable(&layout);
        let known = |id: &i32| layout.brokers.contains_key(id);
        let options: Vec<Vec<Vec<i32>>> = movable
            .iter()
            .map(|at| {
                let (home, away): (Vec<i32>, Vec<i32>) = partitions[*at].replicas.iter().partition(|id| known(id));
                let chosen = best_spread(&layout, &[], &free, home.len());
                chosen.into_iter().map(|chosen| away.iter().copied().chain(chosen).collect()).collect()
            })
            .collect();
        let mut others = layout.clone();
        movable.iter().for_each(|at| others.release(&partitions[*at].replicas, partitions[*at].bytes));
        let all = base(&others, |broker| broker.replicas);
        let worth = |placed: &[Vec<i32>]| {
            let (mut bytes, mut copies) = (0, 0);
            for (at, target) in movable.iter().zip(placed) {
                let added = target.iter().filter(|id| !partitions[*at].replicas.contains(id)).count();
                copies += added;
                bytes += partitions[*at].bytes * u64::try_from(added).unwrap();
            }
            (unevenness(&all, placed.iter().flatten().copied().filter(known)), bytes, copies)
        };
        let reached: Vec<Vec<i32>> = movable.iter().map(|at| outcome[*at].clone()).collect();
        assert_eq!(Some(worth(&reached)), least_over(&options, &worth), "{plan:?}");
        assert_eq!(worth(&reached).1, plan.bytes_to_copy());
        assert_eq!(worth(&reached).2, plan.replicas_to_copy());

        let all = base(&others, |broker| broker.leaders);
        let leaders_of: Vec<Vec<i32>> = movable
            .iter()
            .map(|at| {
                let leader = partitions[*at].replicas[0];
                let leading = outcome[*at].iter().copied().filter(known).collect();
                if known(&leader) { leading } else { vec![leader] }
            })
            .collect();
        let worth = |led: &[i32]| {
            let changes = movable.iter().zip(led).filter(|(at, leader)| partitions[**at].replicas[0] != **leader).count();
            (unevenness(&all, led.iter().copied().filter(known)), changes)
        };
        let led: Vec<i32> = leaders(&reached).collect();
        assert_eq!(Some(worth(&led)), least_over(&leaders_of, &worth), "{plan:?}");
    }

    #[test]
    fn bytes_are_evened_out_until_no_swap_pays(
        before in layout(7),
        seeds in proptest::collection::vec((any::<u32>(), 1usize..4, prop_oneof![0u64..10, 100u64..1000]), 0..9),
        percent in 0u8..30,
    ) {
        let mut layout = before;
        let partitions = partitions(&mut layout, &seeds);
        let plain = rebalance(&layout, &partitions, &COUNTS_ONLY);
        let goals = RebalanceGoals { bytes_within_percent: Some(percent) };
        let plan = rebalance(&layout, &partitions, &goals);
        checked(&layout, &partitions, &plain, &COUNTS_ONLY);
        let outcome = checked(&layout, &partitions, &plan, &goals);
        let fair = fair_shares(&layout, &plain);
        let stays = |one: &PlacedPartition| plan.stuck.iter().any(|stuck| is_of(one, &stuck.topic, stuck.partition));
        let placed: Vec<(u64, Vec<i32>)> = partitions
            .iter()
            .zip(outcome)
            .filter(|(one, _)| !stays(one))
            .map(|(one, replicas)| (one.bytes, replicas))
            .collect();
        let swap = paying_swap(&layout, &plan, &placed, &fair, percent);
        assert_eq!(swap, None, "a swap is left that pays: {plan:?}");
        let free = usable(&layout);
        let (mut before, mut after) = (0, 0);
        let (mut counts_before, mut counts_after) = (0, 0);
        for id in &free {
            let off = |plan: &Rebalance| plan.brokers[id].after.bytes.abs_diff(fair[id]);
            assert!(off(&plan) <= off(&plain), "broker {id} is further from {}: {plan:?}", fair[id]);
            before += off(&plain);
            after += off(&plan);
            counts_before += plain.brokers[id].after.replicas.pow(2);
            counts_after += plan.brokers[id].after.replicas.pow(2);
        }
        assert_eq!(counts_before, counts_after, "counts are less even for the sake of bytes");
        let within = |id: &i32| plain.brokers[id].after.bytes.abs_diff(fair[id]) * 100 <= fair[id] * u64::from(percent);
        if free.iter().all(within) {
            assert_eq!(plain, plan, "moved although all were within {percent} %: {before} {after}");
        }
    }
}

#[test]
fn a_large_cluster_is_drained_extended_and_evened_out_at_once() {
    let mut layout = Layout::new((0..30).map(|id| (id, Some(format!("r{}", id % 3)))));
    let mut partitions = Vec::new();
    for at in 0u32..1_500 {
        // Brokers 24 to 29 are new. Sizes are those of many small topics and a few large ones.
        let first = i32::try_from(at * 7 % 24).unwrap();
        let replicas: Vec<i32> = (0..3).map(|step| (first + step * 4) % 24).collect();
        let bytes = u64::from(at * 7_919 % 1_000) * if at % 40 == 0 { 50 } else { 1 };
        layout.hold(&replicas, bytes);
        let topic = format!("t{}", at / 3).parse().unwrap();
        partitions.push(PlacedPartition {
            topic,
            partition: i32::try_from(at % 3).unwrap(),
            replicas,
            bytes,
        });
    }
    for id in [0, 1, 5] {
        layout.brokers.get_mut(&id).unwrap().draining = true;
    }
    let goals = RebalanceGoals::default();
    let plan = rebalance(&layout, &partitions, &goals);
    assert_eq!(plan.stuck, []);
    let mut after = layout.clone();
    for change in &plan.moves {
        let one = partitions.iter_mut().find(|one| is_of(one, &change.topic, change.partition)).unwrap();
        after.release(&one.replicas, one.bytes);
        after.hold(&change.to, one.bytes);
        one.replicas.clone_from(&change.to);
    }
    let fair: u64 = partitions.iter().map(|one| one.bytes).sum::<u64>() / 9;
    for one in &partitions {
        let distinct: BTreeSet<_> = one.replicas.iter().collect();
        assert_eq!((distinct.len(), pairs_in_one_rack(&layout, &one.replicas)), (3, 0), "{one:?}");
    }
    for (id, broker) in &after.brokers {
        let had = (broker.replicas, broker.leaders, broker.bytes);
        match id {
            0 | 1 | 5 => assert_eq!(had, (0, 0, 0), "broker {id} is not empty"),
            // 4,500 replicas, 1,500 leaders and three times all bytes, on 27 brokers.
            _ => {
                assert!((166..=167).contains(&broker.replicas), "broker {id}: {had:?}");
                assert!((55..=56).contains(&broker.leaders), "broker {id}: {had:?}");
                assert!(broker.bytes.abs_diff(fair) * 10 <= fair, "broker {id}: {had:?}, not about {fair}");
            }
        }
    }
    assert_eq!(rebalance(&after, &partitions, &goals).moves, [], "the second plan is not empty");
}

fn is_of(one: &PlacedPartition, topic: &topicops_contract::TopicName, partition: i32) -> bool {
    (&one.topic, one.partition) == (topic, partition)
}

/// What must be true of every rebalance. Returns where the partitions end up.
fn checked(
    layout: &Layout,
    partitions: &[PlacedPartition],
    plan: &Rebalance,
    goals: &RebalanceGoals,
) -> Vec<Vec<i32>> {
    let (mut after, mut moved) = (layout.clone(), partitions.to_vec());
    for change in &plan.moves {
        let one = moved.iter_mut().find(|one| is_of(one, &change.topic, change.partition)).unwrap();
        assert_eq!(one.replicas, change.from);
        assert_ne!(change.from, change.to, "no change");
        after.release(&change.from, one.bytes);
        after.hold(&change.to, one.bytes);
        one.replicas.clone_from(&change.to);
    }
    let free = usable(layout);
    for (one, was) in moved.iter().zip(partitions) {
        let known: Vec<i32> =
            one.replicas.iter().filter(|id| layout.brokers.contains_key(id)).copied().collect();
        if plan.stuck.iter().any(|stuck| is_of(one, &stuck.topic, stuck.partition)) {
            assert!(free.len() < known.len(), "{one:?} could move");
            assert_eq!(one.replicas, was.replicas);
        } else {
            well_placed(layout, &known, known.len());
            assert_eq!(one.replicas.len(), was.replicas.len());
            assert_eq!(one.replicas.contains(&DEAD), was.replicas.contains(&DEAD));
        }
    }
    for (id, broker) in &after.brokers {
        let (outlook, was) = (plan.brokers[id], &layout.brokers[id]);
        assert_eq!(
            (outlook.after.replicas, outlook.after.leaders, outlook.after.bytes),
            (broker.replicas, broker.leaders, broker.bytes)
        );
        assert_eq!((outlook.before.replicas, outlook.before.bytes), (was.replicas, was.bytes));
        let incoming = plan.moves.iter().filter(|change| change.adding().any(|added| added == *id));
        let incoming: u64 = incoming.map(|change| change.bytes).sum();
        assert_eq!(outlook.most.bytes, was.bytes + incoming);
    }
    assert_eq!(rebalance(&after, &moved, goals).moves, [], "the second plan is not empty");
    let mut reversed = partitions.to_vec();
    reversed.reverse();
    assert_eq!(rebalance(layout, &reversed, goals), *plan, "the order of the input counts");
    moved.into_iter().map(|one| one.replicas).collect()
}

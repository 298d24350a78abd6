//! Generated clusters, and what an assignment is worth, worked out without the planner's own code.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use topicops::placement::{BrokerLayout, Layout, PlacedPartition, Rebalance};

/// A broker id that no layout has.
pub const DEAD: i32 = 99;

/// Brokers with ids from 0, some being drained, with other topics' load on them.
pub fn layout(most_brokers: usize) -> impl Strategy<Value = Layout> {
    let racks = any::<bool>();
    (proptest::collection::vec(broker(), 1..=most_brokers), racks).prop_map(|(brokers, racks)| {
        let in_rack = |(id, broker): (i32, BrokerLayout)| {
            let rack = broker.rack.clone().filter(|_| racks);
            (id, BrokerLayout { rack, ..broker })
        };
        Layout { brokers: (0..).zip(brokers).map(in_rack).collect() }
    })
}

fn broker() -> impl Strategy<Value = BrokerLayout> {
    let rack = proptest::option::weighted(0.9, 0u8..3);
    let disk = proptest::option::weighted(0.9, 1u64..4);
    (rack, proptest::bool::weighted(0.15), 0u64..4, 0u64..3, disk).prop_map(
        |(rack, draining, replicas, leaders, disk)| BrokerLayout {
            rack: rack.map(|rack| format!("r{rack}")),
            draining,
            replicas,
            leaders,
            bytes: replicas * 10,
            disk_total: disk.map(|disk| disk * 1000),
            disk_usable: disk.map(|disk| disk * 700),
        },
    )
}

/// `factor` different brokers, in an order that the seed decides; now and then one that the layout does not have.
pub fn replicas(layout: &Layout, factor: usize, seed: u32) -> Vec<i32> {
    let mut ids: Vec<i32> = layout.brokers.keys().copied().collect();
    if seed.is_multiple_of(11) {
        ids.push(DEAD);
    }
    let mut seed = seed / 11;
    let mut chosen = Vec::new();
    while chosen.len() < factor && !ids.is_empty() {
        let at = usize::try_from(seed).unwrap() % ids.len();
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) >> 3;
        chosen.push(ids.swap_remove(at));
    }
    chosen
}

pub fn usable(layout: &Layout) -> Vec<i32> {
    layout.brokers.iter().filter(|(_, broker)| !broker.draining).map(|(id, _)| *id).collect()
}

/// Pairs of replicas in one rack: what spreading over racks keeps low. Brokers without a rack are in one together; those
/// that the layout does not have are in none.
pub fn pairs_in_one_rack(layout: &Layout, replicas: &[i32]) -> usize {
    let racks: Vec<_> =
        replicas.iter().filter_map(|id| layout.brokers.get(id)).map(|broker| &broker.rack).collect();
    (0..racks.len()).map(|one| racks[..one].iter().filter(|rack| **rack == racks[one]).count()).sum()
}

/// All ways to take `take` of these, in order.
pub fn subsets(of: &[i32], take: usize) -> Vec<Vec<i32>> {
    let all = 0u32..1 << of.len();
    all.filter(|mask| usize::try_from(mask.count_ones()).unwrap() == take)
        .map(|mask| of.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, id)| *id).collect())
        .collect()
}

/// The ways to add `take` of `candidates` to `kept` with the fewest pairs in one rack.
pub fn best_spread(layout: &Layout, kept: &[i32], candidates: &[i32], take: usize) -> Vec<Vec<i32>> {
    least_of(subsets(candidates, take), |added| {
        let all: Vec<i32> = kept.iter().chain(added).copied().collect();
        pairs_in_one_rack(layout, &all)
    })
}

/// Those with the least key.
pub fn least_of<T, K: Ord>(all: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let Some(least) = all.iter().map(&key).min() else { return Vec::new() };
    all.into_iter().filter(|one| key(one) == least).collect()
}

/// The least of `worth` over one option for each place.
pub fn least_over<T: Clone, K: Ord>(options: &[Vec<T>], worth: &impl Fn(&[T]) -> K) -> Option<K> {
    fn walk<T: Clone, K: Ord>(
        options: &[Vec<T>],
        taken: &mut Vec<T>,
        least: &mut Option<K>,
        worth: &impl Fn(&[T]) -> K,
    ) {
        let Some((first, rest)) = options.split_first() else {
            let key = worth(taken);
            if least.as_ref().is_none_or(|least| key < *least) {
                *least = Some(key);
            }
            return;
        };
        for option in first {
            taken.push(option.clone());
            walk(rest, taken, least, worth);
            taken.pop();
        }
    }
    let mut least = None;
    walk(options, &mut Vec::new(), &mut least, worth);
    least
}

/// How uneven the brokers are that `loads` puts something on beyond `base`: the sum of squares.
pub fn unevenness(base: &BTreeMap<i32, u64>, loads: impl IntoIterator<Item = i32>) -> u64 {
    let mut counts = base.clone();
    for id in loads {
        *counts.entry(id).or_default() += 1;
    }
    counts.values().map(|count| count * count).sum()
}

/// What `held` tells of each broker.
pub fn base(layout: &Layout, held: impl Fn(&BrokerLayout) -> u64) -> BTreeMap<i32, u64> {
    layout.brokers.iter().map(|(id, broker)| (*id, held(broker))).collect()
}

/// Partitions of topics with two each, counted in to the layout, with a size each.
pub fn partitions(layout: &mut Layout, seeds: &[(u32, usize, u64)]) -> Vec<PlacedPartition> {
    let mut placed = Vec::new();
    for (at, (seed, factor, bytes)) in seeds.iter().enumerate() {
        let replicas = replicas(layout, *factor, *seed);
        layout.hold(&replicas, *bytes);
        let topic = format!("t{}", at / 2).parse().unwrap();
        placed.push(PlacedPartition {
            topic,
            partition: i32::try_from(at % 2).unwrap(),
            replicas,
            bytes: *bytes,
        });
    }
    placed
}

/// A swap of one partition of `placed` (each with its bytes) for another, or for nothing where its broker has more replicas, that
/// racks allow, that takes neither broker past its fair share, and at least half of what it copies off a broker, where one of
/// them is beyond the tolerance: the brokers, and what goes and comes back.
pub fn paying_swap(
    layout: &Layout,
    plan: &Rebalance,
    placed: &[(u64, Vec<i32>)],
    fair: &BTreeMap<i32, u64>,
    percent: u8,
) -> Option<(i32, i32, u64, u64)> {
    let after = |id: i32| plan.brokers[&id].after;
    let tolerated = |id: i32| after(id).bytes.abs_diff(fair[&id]) * 100 <= fair[&id] * u64::from(percent);
    let can_go = |replicas: &[i32], from: i32, to: i32| {
        let known: Vec<i32> = replicas.iter().copied().filter(|id| layout.brokers.contains_key(id)).collect();
        let moved: Vec<i32> = known.iter().map(|id| if *id == from { to } else { *id }).collect();
        known.contains(&from)
            && !known.contains(&to)
            && pairs_in_one_rack(layout, &moved) == pairs_in_one_rack(layout, &known)
    };
    let free = usable(layout);
    for (heavy, light) in free.iter().flat_map(|heavy| free.iter().map(|light| (*heavy, *light))) {
        let above = after(heavy).bytes.saturating_sub(fair[&heavy]);
        let room = above.min(fair[&light].saturating_sub(after(light).bytes));
        if room == 0 || (tolerated(heavy) && tolerated(light)) {
            continue;
        }
        let sizes = |from: i32, to: i32| {
            let going = placed.iter().filter(move |(_, replicas)| can_go(replicas, from, to));
            going.map(|(bytes, _)| *bytes).collect::<Vec<u64>>()
        };
        let nothing = (after(heavy).replicas > after(light).replicas).then_some(0);
        let backs: Vec<u64> = sizes(light, heavy).into_iter().chain(nothing).collect();
        for (bytes, back) in sizes(heavy, light).iter().flat_map(|one| backs.iter().map(|back| (*one, *back)))
        {
            let relief = bytes.saturating_sub(back);
            if relief > 0 && relief <= room && relief * 2 >= bytes + back {
                return Some((heavy, light, bytes, back));
            }
        }
    }
    None
}

/// What of all bytes on usable brokers each of them should have: a share of the disks, or the same for all.
pub fn fair_shares(layout: &Layout, plan: &Rebalance) -> BTreeMap<i32, u64> {
    let disks: Option<Vec<u64>> = layout.brokers.values().map(|broker| broker.disk_total).collect();
    let weight = |id: &i32| disks.as_ref().map_or(1, |_| layout.brokers[id].disk_total.unwrap());
    let free = usable(layout);
    let bytes: u64 = free.iter().map(|id| plan.brokers[id].after.bytes).sum();
    let weights: u64 = free.iter().map(weight).sum();
    free.iter().map(|id| (*id, bytes * weight(id) / weights)).collect()
}

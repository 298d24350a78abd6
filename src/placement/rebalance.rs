use std::{collections::BTreeMap, rc::Rc};

use super::{
    BrokerLayout, BrokerLoad, BrokerOutlook, Layout, PlacedPartition, PlacementError, Rebalance,
    RebalanceGoals, ReplicaMove, StuckPartition,
    among::Among,
    brokers::{self, Brokers},
    bytes_balance::BytesBalance,
    choice::Choice,
    cost::Copying,
    evenly::choose_evenly,
    leaders::{Led, choose_leaders},
    rack_bounds::rack_bounds,
};

/// Moves replicas off brokers that are being drained, mends what racks do not hold, and evens out brokers.
///
/// Goals, the first first: (1) nothing is left on draining brokers, and racks hold; (2) counts of replicas are as even as
/// racks permit, counted over all topics; (3) the fewest bytes are copied, and of the same bytes the fewest replicas.
/// These are reached exactly. Then, if asked for: (4) bytes are brought within a tolerance of each broker's fair share
/// (of the disks, where all their sizes are known) by swaps that leave (1) and (2) as they are and pay; how much that
/// copies is not the least there could be. Last, (5) preferred leaders are evened out by order alone, with the fewest
/// changes. How a single topic spreads over brokers is no goal.
///
/// `layout` counts everything, also partitions that are not among `partitions` and so stay. Replicas on brokers that the
/// layout does not have stay where they are: a broker that is away for a while is not emptied; one that is gone for good
/// is put into the layout as draining.
///
/// A rebalance of the outcome is empty.
pub fn rebalance(layout: &Layout, partitions: &[PlacedPartition], goals: &RebalanceGoals) -> Rebalance {
    let brokers = Brokers::of(layout);
    let mut ordered: Vec<&PlacedPartition> = partitions.iter().collect();
    ordered.sort_by_key(|one| (&one.topic, one.partition));
    let mut plan = Rebalance::default();
    let mut movable = Vec::with_capacity(ordered.len());
    let mut choices = Vec::with_capacity(ordered.len());
    let mut bounds = BTreeMap::new();
    for one in ordered {
        match choice(&brokers, one, &mut bounds) {
            Ok(choice) => {
                movable.push(one);
                choices.push(choice);
            }
            Err(error) => {
                plan.stuck.push(StuckPartition { topic: one.topic.clone(), partition: one.partition, error });
            }
        }
    }
    let mut others = layout.clone();
    for one in &movable {
        others.release(&one.replicas, one.bytes);
    }
    let load = brokers.load(&others, |broker| broker.replicas);
    choose_evenly(&brokers, &load, &mut choices);
    if let Some(percent) = goals.bytes_within_percent {
        let bytes: Vec<i64> = others.brokers.values().map(|broker| brokers::bytes(broker.bytes)).collect();
        let disks: Option<Vec<u64>> =
            layout.brokers.values().map(|broker| broker.disk_total.filter(|total| *total > 0)).collect();
        BytesBalance::new(&brokers, &mut choices, &bytes, &load.all, disks.as_deref(), percent).balance();
    }
    let led = choices.iter().zip(&movable).map(|(choice, one)| {
        match one.replicas.first().map(|id| brokers.index(*id)) {
            // Whoever leads there while it is away leads anyway.
            Some(None) => Led { replicas: Vec::new(), leader: None },
            leader => Led { replicas: choice.chosen.clone(), leader: leader.flatten() },
        }
    });
    let load = brokers.load(&others, |broker| broker.leaders);
    let leaders = choose_leaders(&brokers, &load, led.collect());

    let (mut after, mut most) = (layout.clone(), layout.clone());
    for ((one, choice), leader) in movable.into_iter().zip(&choices).zip(leaders) {
        let to = target(&brokers, one, choice, leader);
        if to == one.replicas {
            continue;
        }
        after.release(&one.replicas, one.bytes);
        after.hold(&to, one.bytes);
        let change = ReplicaMove {
            topic: one.topic.clone(),
            partition: one.partition,
            from: one.replicas.clone(),
            to,
            bytes: one.bytes,
        };
        for id in change.adding() {
            most.hold(&[id], one.bytes);
        }
        plan.moves.push(change);
    }
    for (id, before) in &layout.brokers {
        let before = load_of(before);
        let after = after.brokers.get(id).map(load_of).unwrap_or_default();
        let most = most.brokers.get(id).map(load_of).unwrap_or_default();
        // Leaders change only once the copies are there.
        let most = BrokerLoad { leaders: before.leaders.max(after.leaders), ..most };
        plan.brokers.insert(*id, BrokerOutlook { before, after, most });
    }
    plan
}

type Bounds = Rc<[std::ops::RangeInclusive<usize>]>;

fn choice(
    brokers: &Brokers,
    one: &PlacedPartition,
    bounds: &mut BTreeMap<usize, Bounds>,
) -> Result<Choice, PlacementError> {
    let home = brokers.indexes(&one.replicas);
    let elsewhere = one.replicas.len() - home.len();
    let take = home.len();
    let usable = brokers.usable().count();
    if take > usable {
        return Err(PlacementError::TooFewBrokers {
            factor: one.replicas.len(),
            usable: usable + elsewhere,
            draining: brokers.draining_count(),
        });
    }
    let bounds = bounds.entry(take).or_insert_with(|| {
        let room = brokers.per_rack(brokers.usable());
        Rc::from(rack_bounds(&vec![0; brokers.rack_count], &room, take))
    });
    Ok(Choice {
        among: Among::Usable,
        take,
        bounds: bounds.clone(),
        home,
        price: Copying { bytes: brokers::bytes(one.bytes), replicas: 1 },
        chosen: Vec::new(),
    })
}

/// The leader, then what stays, in its order, then what is new.
fn target(brokers: &Brokers, one: &PlacedPartition, choice: &Choice, leader: Option<usize>) -> Vec<i32> {
    let leader = leader.map(|leader| brokers.id(leader));
    let chosen: Vec<i32> = choice.chosen.iter().map(|broker| brokers.id(*broker)).collect();
    let stays = |id: &&i32| chosen.contains(id) || brokers.index(**id).is_none();
    let mut target: Vec<i32> = leader.into_iter().collect();
    let staying = one.replicas.iter().filter(stays);
    for id in staying.chain(&chosen) {
        if !target.contains(id) {
            target.push(*id);
        }
    }
    target
}

fn load_of(broker: &BrokerLayout) -> BrokerLoad {
    BrokerLoad { replicas: broker.replicas, leaders: broker.leaders, bytes: broker.bytes }
}

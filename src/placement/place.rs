use std::{collections::BTreeMap, rc::Rc};

use topicops_contract::{PartitionCount, ReplicationFactor};

use super::{
    Layout, PlacementError,
    among::Among,
    brokers::Brokers,
    choice::Choice,
    cost::Copying,
    evenly::choose_evenly,
    leaders::{Led, choose_leaders},
    rack_bounds::rack_bounds,
};

/// Where a new topic's replicas go: for each partition its brokers, preferred leader first.
///
/// The topic's own replicas and leaders are spread first, so that all brokers share its traffic; where that leaves a
/// choice, brokers that hold or lead less of everything come first, then those whose disks are emptier. The layout counts
/// the topic afterwards, so that the next of a batch goes elsewhere.
///
/// # Errors
/// Fewer brokers can take replicas than the replication factor asks for, or there are more partitions than anybody means
/// (100,000). The layout is as before then.
pub fn place_new(
    layout: &mut Layout,
    partitions: PartitionCount,
    factor: ReplicationFactor,
) -> Result<Vec<Vec<i32>>, PlacementError> {
    place_added(layout, &[], partitions, factor)
}

/// Where the replicas of partitions go that are added to a topic: as for a new topic, counting in those it has.
///
/// `existing` are its partitions' replicas, which the layout counts already.
///
/// # Errors
/// As for [`place_new`].
pub fn place_added(
    layout: &mut Layout,
    existing: &[Vec<i32>],
    added: PartitionCount,
    factor: ReplicationFactor,
) -> Result<Vec<Vec<i32>>, PlacementError> {
    if added.get() > MOST_PARTITIONS {
        return Err(PlacementError::TooManyPartitions { partitions: added.get(), most: MOST_PARTITIONS });
    }
    let brokers = Brokers::of(layout);
    let take = usize::try_from(factor.get()).unwrap_or(0);
    let usable = brokers.usable().count();
    if usable < take {
        return Err(PlacementError::TooFewBrokers {
            factor: take,
            usable,
            draining: brokers.draining_count(),
        });
    }
    let room = brokers.per_rack(brokers.usable());
    let choice = Choice {
        among: Among::Usable,
        take,
        bounds: Rc::from(rack_bounds(&vec![0; brokers.rack_count], &room, take)),
        home: Vec::new(),
        price: Copying::default(),
        chosen: Vec::new(),
    };
    let mut choices = vec![choice; usize::try_from(added.get()).unwrap_or(0)];
    let held = existing.iter().flat_map(|replicas| brokers.indexes(replicas));
    let load = brokers.load(layout, |broker| broker.replicas).with_own(held);
    choose_evenly(&brokers, &load, &mut choices);

    let led = existing.iter().filter_map(|replicas| brokers.index(*replicas.first()?));
    let load = brokers.load(layout, |broker| broker.leaders).with_own(led);
    let led = choices.iter().map(|choice| Led { replicas: choice.chosen.clone(), leader: None }).collect();
    let leaders = choose_leaders(&brokers, &load, led);

    let mut successors = Successors::default();
    let mut placed = Vec::with_capacity(choices.len());
    for (choice, leader) in choices.into_iter().zip(leaders) {
        let order = successors.order(choice.chosen, leader);
        let replicas: Vec<i32> = order.into_iter().map(|broker| brokers.id(broker)).collect();
        layout.hold(&replicas, 0);
        placed.push(replicas);
    }
    Ok(placed)
}

/// Ten times what Kafka's controller accepts in one request. Beyond, planning would cost memory and time for nothing.
const MOST_PARTITIONS: i32 = 100_000;

/// Who leads next when a leader fails: the second of a partition's replicas.
#[derive(Default)]
struct Successors {
    of: BTreeMap<(usize, usize), u32>,
    all: BTreeMap<usize, u32>,
}

impl Successors {
    /// The leader, then the other replicas, so that one broker's partitions go to many when it fails.
    fn order(&mut self, mut replicas: Vec<usize>, leader: Option<usize>) -> Vec<usize> {
        let Some(leader) = leader else { return replicas };
        let count = |map: Option<&u32>| map.copied().unwrap_or(0);
        replicas.sort_by_key(|broker| {
            let order = (count(self.of.get(&(leader, *broker))), count(self.all.get(broker)), *broker);
            (*broker != leader, order)
        });
        if let Some(second) = replicas.get(1) {
            *self.of.entry((leader, *second)).or_default() += 1;
            *self.all.entry(*second).or_default() += 1;
        }
        replicas
    }
}

use std::rc::Rc;

use topicops_contract::ReplicationFactor;

use super::{
    Layout, PlacementError, among::Among, brokers::Brokers, choice::Choice, cost::Copying,
    evenly::choose_evenly, rack_bounds::rack_bounds,
};

/// The replicas of a topic's partitions, preferred leader first, at another replication factor.
///
/// `existing` are the partitions' replicas, which the layout counts; `in_sync` those of them that are in sync (a partition
/// that it does not have is taken to be in sync); `sizes` the bytes of one replica of each partition, 0 where it ends.
///
/// More replicas: all that there are stay, in their order, also those on brokers that are being drained or that the layout
/// does not have; exactly as many are added as are missing. Fewer: nothing is copied. Those leave first that are on brokers
/// the layout does not have, then those that are out of sync, then those on brokers being drained. Among equals the
/// preferred leader stays, then racks count, then those leave that are on the brokers with the most replicas. Partitions
/// with this factor stay as they are. The layout counts the outcome.
///
/// # Errors
/// Some partition's replicas and the brokers that could take one are fewer than the factor. The layout is as before then.
pub fn change_factor(
    layout: &mut Layout,
    existing: &[Vec<i32>],
    in_sync: &[Vec<i32>],
    sizes: &[u64],
    factor: ReplicationFactor,
) -> Result<Vec<Vec<i32>>, PlacementError> {
    let brokers = Brokers::of(layout);
    let factor = usize::try_from(factor.get()).unwrap_or(0);
    let changes = existing
        .iter()
        .enumerate()
        .map(|(partition, replicas)| Change::of(&brokers, replicas, in_sync.get(partition), factor))
        .collect::<Result<Vec<_>, _>>()?;

    let kept = changes.iter().flat_map(|change| brokers.indexes(&change.kept));
    let mut load = brokers.load(layout, |broker| broker.replicas).with_own(kept);
    for (change, replicas) in changes.iter().zip(existing) {
        let leaving = replicas.iter().filter(|id| !change.kept.contains(id));
        for broker in leaving.filter_map(|id| brokers.index(*id)) {
            load.all[broker] -= 1;
        }
    }
    let mut choices: Vec<Choice> = changes.iter().map(|change| change.choice(&brokers)).collect();
    choose_evenly(&brokers, &load, &mut choices);

    let mut placed = Vec::with_capacity(existing.len());
    for ((replicas, change), choice) in existing.iter().zip(&changes).zip(&choices) {
        let chosen: Vec<i32> = choice.chosen.iter().map(|broker| brokers.id(*broker)).collect();
        let stays = |id: &&i32| change.kept.contains(id) || chosen.contains(id);
        let mut target: Vec<i32> = replicas.iter().filter(stays).copied().collect();
        target.extend(chosen.iter().filter(|id| !replicas.contains(id)));
        placed.push(target);
    }
    for (partition, (before, after)) in existing.iter().zip(&placed).enumerate() {
        let size = sizes.get(partition).copied().unwrap_or(0);
        layout.release(before, size);
        layout.hold(after, size);
    }
    Ok(placed)
}

/// What one partition keeps for sure, and what the rest is chosen among.
struct Change {
    kept: Vec<i32>,
    among: Vec<usize>,
    take: usize,
}

impl Change {
    fn of(
        brokers: &Brokers,
        replicas: &[i32],
        in_sync: Option<&Vec<i32>>,
        factor: usize,
    ) -> Result<Self, PlacementError> {
        if replicas.len() > factor {
            return Ok(Self::fewer(brokers, replicas, in_sync, factor));
        }
        let kept = replicas.to_vec();
        let take = factor - kept.len();
        let among: Vec<usize> =
            brokers.usable().filter(|broker| !kept.contains(&brokers.id(*broker))).collect();
        if among.len() < take {
            let draining = brokers.draining_count();
            return Err(PlacementError::TooFewBrokers { factor, usable: kept.len() + among.len(), draining });
        }
        Ok(Self { kept, among, take })
    }

    fn fewer(brokers: &Brokers, replicas: &[i32], in_sync: Option<&Vec<i32>>, factor: usize) -> Self {
        let worth = |id: i32| {
            let broker = brokers.index(id);
            let known = broker.is_some();
            let in_sync = in_sync.is_none_or(|in_sync| in_sync.contains(&id));
            (known, in_sync, broker.is_some_and(|broker| brokers.usable[broker]))
        };
        let mut worths: Vec<_> = replicas.iter().map(|id| worth(*id)).collect();
        worths.sort_by(|one, other| other.cmp(one));
        let least = worths[factor - 1];
        let mut kept: Vec<i32> = replicas.iter().copied().filter(|id| worth(*id) > least).collect();
        if let Some(leader) = replicas.first().filter(|leader| worth(**leader) == least) {
            kept.push(*leader);
        }
        let mut equals = replicas.to_vec();
        equals.retain(|id| worth(*id) == least && !kept.contains(id));
        let missing = factor - kept.len();
        if least.0 {
            return Self { kept, among: brokers.indexes(&equals), take: missing };
        }
        // Of brokers that nothing is known about, the first stay.
        kept.extend(equals.into_iter().take(missing));
        Self { kept, among: Vec::new(), take: 0 }
    }

    fn choice(&self, brokers: &Brokers) -> Choice {
        let kept = brokers.per_rack(brokers.indexes(&self.kept));
        let room = brokers.per_rack(self.among.iter().copied());
        Choice {
            bounds: Rc::from(rack_bounds(&kept, &room, self.take)),
            among: Among::These(self.among.clone()),
            take: self.take,
            home: Vec::new(),
            price: Copying::default(),
            chosen: Vec::new(),
        }
    }
}

use super::{Layout, load::Load};

/// The brokers of a layout by index, in the order of their ids.
#[derive(Clone, Debug)]
pub(super) struct Brokers {
    ids: Vec<i32>,
    /// The index of each broker's rack.
    pub racks: Vec<usize>,
    pub rack_count: usize,
    pub usable: Vec<bool>,
}

impl Brokers {
    pub(super) fn of(layout: &Layout) -> Self {
        let mut names: Vec<_> = layout.brokers.values().map(|broker| &broker.rack).collect();
        names.sort();
        names.dedup();
        let rack = |rack| names.binary_search(&rack).unwrap_or(0);
        Self {
            ids: layout.brokers.keys().copied().collect(),
            racks: layout.brokers.values().map(|broker| rack(&broker.rack)).collect(),
            rack_count: names.len().max(1),
            usable: layout.brokers.values().map(|broker| !broker.draining).collect(),
        }
    }

    /// The same where racks have no say.
    pub(super) fn in_one_rack(&self) -> Self {
        Self { racks: vec![0; self.count()], rack_count: 1, ..self.clone() }
    }

    pub(super) fn count(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn id(&self, index: usize) -> i32 {
        self.ids[index]
    }

    /// `None` for a broker that the layout does not have.
    pub(super) fn index(&self, id: i32) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    pub(super) fn indexes(&self, ids: &[i32]) -> Vec<usize> {
        ids.iter().filter_map(|id| self.index(*id)).collect()
    }

    pub(super) fn usable(&self) -> impl Iterator<Item = usize> {
        (0..self.count()).filter(|broker| self.usable[*broker])
    }

    pub(super) fn draining_count(&self) -> usize {
        self.count() - self.usable().count()
    }

    /// How many of these brokers each rack has.
    pub(super) fn per_rack(&self, brokers: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut counts = vec![0; self.rack_count];
        for broker in brokers {
            counts[self.racks[broker]] += 1;
        }
        counts
    }

    /// What all brokers hold as `held` tells, and how full they are.
    pub(super) fn load(&self, layout: &Layout, held: impl Fn(&super::BrokerLayout) -> u64) -> Load {
        let all = layout.brokers.values().map(|broker| i64::try_from(held(broker)).unwrap_or(i64::MAX));
        Load { own: None, all: all.map(|held| held.min(MOST)).collect(), fullness: fullness(layout) }
    }
}

/// No broker holds as many replicas; sums of their squares stay within 64 bits.
const MOST: i64 = 1 << 24;

/// How full each broker is: the used share of its disks where all are known, else its bytes.
fn fullness(layout: &Layout) -> Vec<i64> {
    const WHOLE: u128 = 1_000_000;
    let share = |broker: &super::BrokerLayout| {
        let (total, usable) = (broker.disk_total.filter(|total| *total > 0)?, broker.disk_usable?);
        i64::try_from(u128::from(total.saturating_sub(usable)) * WHOLE / u128::from(total)).ok()
    };
    let shares: Option<Vec<i64>> = layout.brokers.values().map(share).collect();
    shares.unwrap_or_else(|| layout.brokers.values().map(|broker| bytes(broker.bytes)).collect())
}

/// A size as a cost, capped at a petabyte so that no sum overflows.
pub(super) fn bytes(size: u64) -> i64 {
    i64::try_from(size.min(1 << 50)).unwrap_or(1 << 50)
}

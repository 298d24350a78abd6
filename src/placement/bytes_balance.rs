use std::collections::BTreeSet;

use super::{brokers::Brokers, choice::Choice};

/// A swap has to take this much off its broker, as a part of what it copies; otherwise it does not pay.
const PAYS: (i64, i64) = (1, 2);

/// Brings the brokers' bytes nearer to their fair shares, by swapping large partitions for small ones, which leaves counts
/// as they are, and racks as well.
///
/// A swap never takes a broker past its fair share, so that every one of them brings both nearer to theirs; it ends when
/// every broker is within the tolerance, or no swap is left that pays. Whether one pays depends on what is chosen alone,
/// not on how it came about: from the outcome, no further one does.
#[derive(Debug)]
pub(super) struct BytesBalance<'a> {
    brokers: &'a Brokers,
    choices: &'a mut [Choice],
    /// The choices that have chosen each broker, smallest first.
    held: Vec<BTreeSet<(i64, usize)>>,
    /// How far each broker is above its fair share, in bytes; below is negative.
    over: Vec<i64>,
    fair: Vec<i64>,
    counts: Vec<i64>,
    tolerance_percent: i64,
}

impl<'a> BytesBalance<'a> {
    /// `bytes` and `counts` are what brokers hold beyond the choices, `disks` their sizes: where all are known, a fair
    /// share is one of the disk, else all brokers have the same.
    pub(super) fn new(
        brokers: &'a Brokers,
        choices: &'a mut [Choice],
        bytes: &[i64],
        counts: &[i64],
        disks: Option<&[u64]>,
        tolerance_percent: u8,
    ) -> Self {
        let mut held = vec![BTreeSet::new(); brokers.count()];
        let mut has = bytes.to_vec();
        let mut counts = counts.to_vec();
        for (one, choice) in choices.iter().enumerate() {
            for broker in &choice.chosen {
                held[*broker].insert((choice.price.bytes, one));
                has[*broker] = has[*broker].saturating_add(choice.price.bytes);
                counts[*broker] += 1;
            }
        }
        let fair = fair_shares(brokers, &has, disks);
        let over = has.iter().zip(&fair).map(|(has, fair)| has.saturating_sub(*fair)).collect();
        Self { brokers, choices, held, over, fair, counts, tolerance_percent: i64::from(tolerance_percent) }
    }

    pub(super) fn balance(&mut self) {
        loop {
            let mut swapped = false;
            let mut tried = vec![false; self.brokers.count()];
            while let Some(worst) = self.worst(&tried) {
                if self.relieve(worst) {
                    swapped = true;
                } else {
                    tried[worst] = true;
                }
            }
            if !swapped {
                return;
            }
        }
    }

    /// The broker that is furthest from its fair share, beyond the tolerance.
    fn worst(&self, tried: &[bool]) -> Option<usize> {
        let off = |broker: usize| self.over[broker].unsigned_abs();
        let tolerated = |broker: usize| {
            i128::from(off(broker)) * 100
                <= i128::from(self.fair[broker]) * i128::from(self.tolerance_percent)
        };
        self.brokers
            .usable()
            .filter(|broker| !tried[*broker] && !tolerated(*broker))
            .max_by_key(|broker| (off(*broker), std::cmp::Reverse(*broker)))
    }

    fn relieve(&mut self, worst: usize) -> bool {
        let above = self.over[worst] > 0;
        let mut others: Vec<usize> = self
            .brokers
            .usable()
            .filter(|other| (self.over[*other] < 0) == above && self.over[*other] != 0)
            .collect();
        others.sort_by_key(|other| (std::cmp::Reverse(self.over[*other].unsigned_abs()), *other));
        others
            .into_iter()
            .any(|other| if above { self.shift(worst, other) } else { self.shift(other, worst) })
    }

    /// Swaps a partition of `heavy` for a smaller one of `light`, or just moves it when `heavy` has one more.
    fn shift(&mut self, heavy: usize, light: usize) -> bool {
        let room = self.over[heavy].min(-self.over[light]);
        let alone = if self.counts[heavy] > self.counts[light] {
            self.largest_that_pays(heavy, light, room, 0).map(|one| (one, None))
        } else {
            None
        };
        let Some((one, back)) = alone.or_else(|| self.swap_that_pays(heavy, light, room)) else {
            return false;
        };
        self.exchange(one, heavy, light);
        if let Some(back) = back {
            self.exchange(back, light, heavy);
        }
        true
    }

    /// The smaller what comes back, the better it pays; but for a larger one, a larger one may go.
    fn swap_that_pays(&self, heavy: usize, light: usize, room: i64) -> Option<(usize, Option<usize>)> {
        // With more than that coming back, no relief within the room is worth its copying.
        let most = room.saturating_mul(PAYS.1 - PAYS.0) / (2 * PAYS.0);
        let mut tried = None;
        for (bytes, back) in self.held[light].range(..=(most, usize::MAX)) {
            if tried == Some(*bytes) || !self.choices[*back].can_exchange(self.brokers, light, heavy) {
                continue;
            }
            tried = Some(*bytes);
            if let Some(one) = self.largest_that_pays(heavy, light, room, *bytes) {
                return Some((one, Some(*back)));
            }
        }
        None
    }

    fn largest_that_pays(&self, heavy: usize, light: usize, room: i64, copied_back: i64) -> Option<usize> {
        let (bytes, one) = self.largest(heavy, light, room.saturating_add(copied_back))?;
        let relief = bytes - copied_back;
        (relief > 0 && relief * PAYS.1 >= (bytes + copied_back) * PAYS.0).then_some(one)
    }

    fn largest(&self, from: usize, to: usize, most: i64) -> Option<(i64, usize)> {
        let fitting = self.held[from].range(..=(most, usize::MAX)).rev();
        fitting.into_iter().find(|(_, one)| self.choices[*one].can_exchange(self.brokers, from, to)).copied()
    }

    fn exchange(&mut self, one: usize, out: usize, into: usize) {
        let bytes = self.choices[one].price.bytes;
        self.choices[one].exchange(out, into);
        self.held[out].remove(&(bytes, one));
        self.held[into].insert((bytes, one));
        self.over[out] -= bytes;
        self.over[into] += bytes;
        self.counts[out] -= 1;
        self.counts[into] += 1;
    }
}

fn fair_shares(brokers: &Brokers, has: &[i64], disks: Option<&[u64]>) -> Vec<i64> {
    let total: i128 = brokers.usable().map(|broker| i128::from(has[broker])).sum();
    let weight = |broker: usize| disks.map_or(1, |disks| i128::from(disks[broker]));
    let weights: i128 = brokers.usable().map(weight).sum();
    let share = |broker: usize| i64::try_from(total * weight(broker) / weights.max(1)).unwrap_or(i64::MAX);
    (0..brokers.count()).map(share).collect()
}

use std::{ops::RangeInclusive, rc::Rc};

use super::{among::Among, brokers::Brokers, cost::Copying};

/// Some brokers to be chosen for one partition.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub among: Among,
    /// How many brokers are to be chosen. There are as many.
    pub take: usize,
    /// How many of them each rack may give; see [`super::rack_bounds`].
    pub bounds: Rc<[RangeInclusive<usize>]>,
    /// The brokers that cost nothing: they have it already.
    pub home: Vec<usize>,
    /// What any other broker costs.
    pub price: Copying,
    pub chosen: Vec<usize>,
}

impl Choice {
    pub(super) fn allows(&self, brokers: &Brokers, broker: usize) -> bool {
        match &self.among {
            Among::Usable => brokers.usable[broker],
            Among::These(these) => these.contains(&broker),
        }
    }

    pub(super) fn candidates(&self, brokers: &Brokers) -> Vec<usize> {
        match &self.among {
            Among::Usable => brokers.usable().collect(),
            Among::These(these) => these.clone(),
        }
    }

    /// Whether `broker` can be chosen too, and the rest still be chosen within the bounds.
    pub(super) fn has_room_for(&self, brokers: &Brokers, broker: usize) -> bool {
        if self.chosen.len() >= self.take || self.chosen.contains(&broker) || !self.allows(brokers, broker) {
            return false;
        }
        let rack = brokers.racks[broker];
        let needed: usize = self
            .bounds
            .iter()
            .enumerate()
            .map(|(other, bounds)| {
                (self.in_rack(brokers, other) + usize::from(other == rack)).max(*bounds.start())
            })
            .sum();
        self.in_rack(brokers, rack) < *self.bounds[rack].end() && needed <= self.take
    }

    /// Whether `into` can be chosen instead of `out`.
    pub(super) fn can_exchange(&self, brokers: &Brokers, out: usize, into: usize) -> bool {
        if !self.chosen.contains(&out) || self.chosen.contains(&into) || !self.allows(brokers, into) {
            return false;
        }
        let (from, to) = (brokers.racks[out], brokers.racks[into]);
        from == to
            || (self.in_rack(brokers, from) > *self.bounds[from].start()
                && self.in_rack(brokers, to) < *self.bounds[to].end())
    }

    pub(super) fn exchange(&mut self, out: usize, into: usize) {
        for chosen in &mut self.chosen {
            if *chosen == out {
                *chosen = into;
            }
        }
    }

    /// What it costs to choose `into` instead of `out`; negative when that saves copying.
    pub(super) fn exchange_price(&self, out: usize, into: usize) -> Copying {
        self.price_of(into) - self.price_of(out)
    }

    /// Whether what is chosen is what there is, as far as it may be chosen.
    pub(super) fn is_at_home(&self, brokers: &Brokers) -> bool {
        self.chosen.iter().all(|broker| self.home.contains(broker))
            && self.home.iter().all(|broker| self.chosen.contains(broker) || !self.allows(brokers, *broker))
    }

    fn price_of(&self, broker: usize) -> Copying {
        if self.home.contains(&broker) { Copying::default() } else { self.price }
    }

    fn in_rack(&self, brokers: &Brokers, rack: usize) -> usize {
        self.chosen.iter().filter(|broker| brokers.racks[**broker] == rack).count()
    }
}

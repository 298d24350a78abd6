use std::{cmp::Reverse, collections::BinaryHeap};

use super::{brokers::Brokers, choice::Choice, cost::Copying};

/// For each pair of brokers, the choice that moves from the one to the other at the least price.
///
/// Most choices never change. They wait in one list per broker, cheapest first, that every pair walks down for itself;
/// only those that changed are entered in heaps, pair by pair. Entries are checked when they come up, not when they
/// become stale.
#[derive(Debug)]
pub(super) struct Exchanges {
    brokers: usize,
    /// Of each broker, the choices it is at home in, cheapest first.
    settled: Vec<Vec<usize>>,
    pairs: Vec<Pair>,
}

#[derive(Debug, Default)]
struct Pair {
    best: Option<(Copying, usize)>,
    /// How far this pair has walked down the list of its first broker.
    walked: usize,
    changed: BinaryHeap<Reverse<(Copying, usize)>>,
}

impl Exchanges {
    pub(super) fn among(brokers: &Brokers, choices: &[Choice]) -> Self {
        let count = brokers.count();
        let mut settled = vec![Vec::new(); count];
        let mut by_price: Vec<usize> =
            (0..choices.len()).filter(|one| choices[*one].is_at_home(brokers)).collect();
        by_price.sort_by_key(|one| (choices[*one].price, *one));
        for one in by_price {
            for broker in &choices[one].chosen {
                settled[*broker].push(one);
            }
        }
        let mut exchanges =
            Self { brokers: count, settled, pairs: (0..count * count).map(|_| Pair::default()).collect() };
        for (one, choice) in choices.iter().enumerate() {
            if !choice.is_at_home(brokers) {
                exchanges.enter(brokers, choices, one);
            }
        }
        for out in 0..count {
            for into in 0..count {
                exchanges.settle(brokers, choices, out, into);
            }
        }
        exchanges
    }

    /// The cheapest way from `out` to `into`, and which choice goes it.
    pub(super) fn best(&self, out: usize, into: usize) -> Option<(Copying, usize)> {
        self.pairs[out * self.brokers + into].best
    }

    /// Looks again at everything that the choice `one` took part in, now that `before` is no longer what it has chosen.
    pub(super) fn changed(&mut self, brokers: &Brokers, choices: &[Choice], one: usize, before: &[usize]) {
        self.enter(brokers, choices, one);
        for out in before.iter().chain(&choices[one].chosen) {
            for into in 0..self.brokers {
                self.settle(brokers, choices, *out, into);
            }
        }
    }

    fn enter(&mut self, brokers: &Brokers, choices: &[Choice], one: usize) {
        let choice = &choices[one];
        for out in &choice.chosen {
            for into in choice.candidates(brokers) {
                if choice.can_exchange(brokers, *out, into) {
                    let entry = Reverse((choice.exchange_price(*out, into), one));
                    self.pairs[out * self.brokers + into].changed.push(entry);
                }
            }
        }
    }

    fn settle(&mut self, brokers: &Brokers, choices: &[Choice], out: usize, into: usize) {
        let pair = &mut self.pairs[out * self.brokers + into];
        let holds = |price: Copying, one: usize| {
            choices[one].can_exchange(brokers, out, into) && choices[one].exchange_price(out, into) == price
        };
        let settled = &self.settled[out];
        while settled.get(pair.walked).is_some_and(|one| !holds(choices[*one].price, *one)) {
            pair.walked += 1;
        }
        while pair.changed.peek().is_some_and(|Reverse((price, one))| !holds(*price, *one)) {
            pair.changed.pop();
        }
        let settled = settled.get(pair.walked).map(|one| (choices[*one].price, *one));
        let changed = pair.changed.peek().map(|Reverse(entry)| *entry);
        pair.best = settled.into_iter().chain(changed).min();
    }
}

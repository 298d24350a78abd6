use std::{cmp::Reverse, collections::BinaryHeap};

use super::{brokers::Brokers, choice::Choice, cost::Cost, load::Load};

/// How much each broker passes on to the drain.
#[derive(Debug)]
pub(super) struct Intake<'a> {
    load: &'a Load,
    pub units: Vec<i64>,
    /// No broker is allowed by more choices than this.
    most: Vec<i64>,
    /// What the dearest unit of the beginning cost; the drain's prices are told in relation to it.
    threshold: Cost,
}

impl<'a> Intake<'a> {
    /// The most even intake there could be if every choice could choose freely.
    pub(super) fn cheapest(brokers: &Brokers, load: &'a Load, choices: &[Choice]) -> Self {
        let mut most = vec![0; brokers.count()];
        let mut total = 0;
        for choice in choices {
            total += choice.take;
            for broker in choice.candidates(brokers) {
                most[broker] += 1;
            }
        }
        let mut units = vec![0; brokers.count()];
        let mut threshold = Cost::default();
        let mut next: BinaryHeap<_> = (0..brokers.count())
            .filter(|broker| most[*broker] > 0)
            .map(|broker| Reverse((load.of_one_more(broker, 0), broker)))
            .collect();
        for _ in 0..total {
            let Some(Reverse((cost, broker))) = next.pop() else { break };
            threshold = cost;
            units[broker] += 1;
            if units[broker] < most[broker] {
                next.push(Reverse((load.of_one_more(broker, units[broker]), broker)));
            }
        }
        Self { load, units, most, threshold }
    }

    /// What it costs when `broker` passes on one more. `None`: it cannot have one more.
    pub(super) fn one_more(&self, broker: usize) -> Option<Cost> {
        (self.units[broker] < self.most[broker])
            .then(|| self.load.of_one_more(broker, self.units[broker]) - self.threshold)
    }

    /// What it costs when `broker` passes on one less. `None`: it passes on nothing.
    pub(super) fn one_less(&self, broker: usize) -> Option<Cost> {
        (self.units[broker] > 0)
            .then(|| self.threshold - self.load.of_one_more(broker, self.units[broker] - 1))
    }
}

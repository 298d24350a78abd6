use std::rc::Rc;

use super::{
    among::Among, brokers::Brokers, choice::Choice, cost::Copying, evenly::choose_evenly, load::Load,
};

/// A partition's replicas by index, and the one that leads now, which may not be among them.
#[derive(Debug)]
pub(super) struct Led {
    pub replicas: Vec<usize>,
    pub leader: Option<usize>,
}

/// Which of its replicas leads each partition, so that leaders are as even as they can be, with the fewest changes.
/// `load` is what the brokers lead beyond these. `None` for a partition without replicas.
pub(super) fn choose_leaders(brokers: &Brokers, load: &Load, partitions: Vec<Led>) -> Vec<Option<usize>> {
    let one_rack = brokers.in_one_rack();
    let bounds: Rc<[_]> = Rc::from([0..=1]);
    let none: Rc<[_]> = Rc::from([0..=0]);
    let mut choices: Vec<Choice> = partitions
        .into_iter()
        .map(|partition| {
            let take = partition.replicas.len().min(1);
            Choice {
                take,
                bounds: if take == 0 { none.clone() } else { bounds.clone() },
                among: Among::These(partition.replicas),
                home: partition.leader.into_iter().collect(),
                price: Copying { bytes: 0, replicas: 1 },
                chosen: Vec::new(),
            }
        })
        .collect();
    choose_evenly(&one_rack, load, &mut choices);
    choices.iter().map(|choice| choice.chosen.first().copied()).collect()
}

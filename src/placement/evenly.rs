//! Choices for many partitions at once, so that brokers get as even as can be, at the least price.
//!
//! # As a flow
//! Every choice sends as many units as it takes brokers, through one node per rack (with the least and the most that the
//! rack may give) to brokers, and on to one drain. Brokers that have the partition cost nothing, others the copy. From
//! broker to drain each unit costs more than the one before: the difference of squares. The cheapest flow is the most even
//! choice with the least copying; costs compare part by part, so that no weight has to be found.
//!
//! # How it is found
//! Shortest augmenting paths, which is exact. It begins where every choice is at its own cheapest and the drain has its
//! cheapest intake, whatever the choices; what brokers have too much or too little then travels, unit by unit, along the
//! cheapest chains of exchanges. Nodes within a choice are not searched: a chain passes them at most once (it could be
//! cut short there otherwise, and of equally cheap chains the shortest is taken), so that the search knows brokers and
//! the drain alone and its size does not depend on the count of partitions.

use super::{
    begin::begin, brokers::Brokers, cheapest_chain::cheapest_chain, choice::Choice, cost::Cost,
    exchanges::Exchanges, intake::Intake, load::Load,
};

/// Chooses for all; what they have chosen before is forgotten.
pub(super) fn choose_evenly(brokers: &Brokers, load: &Load, choices: &mut [Choice]) {
    let counts = begin(brokers, load, choices);
    let mut intake = Intake::cheapest(brokers, load, choices);
    let mut surplus: Vec<i64> = counts.iter().zip(&intake.units).map(|(has, passes)| has - passes).collect();
    if surplus.iter().all(|surplus| *surplus == 0) {
        return;
    }
    let drain = brokers.count();
    surplus.push(0);
    let mut exchanges = Exchanges::among(brokers, choices);
    let mut potentials = vec![Cost::default(); drain + 1];
    while let Some(from) = surplus.iter().position(|surplus| *surplus > 0) {
        let Some(chain) = cheapest_chain(&exchanges, &intake, &surplus, &mut potentials, from) else {
            debug_assert!(
                false,
                "no way from {from}, although all can reach the drain, and it all that lack something"
            );
            return;
        };
        let mut changed = Vec::new();
        for step in chain.windows(2) {
            let (out, into) = (step[0], step[1]);
            if into == drain {
                intake.units[out] += 1;
            } else if out == drain {
                intake.units[into] -= 1;
            } else if let Some((_, one)) = exchanges.best(out, into) {
                debug_assert!(choices[one].can_exchange(brokers, out, into));
                changed.push((one, choices[one].chosen.clone()));
                choices[one].exchange(out, into);
            }
        }
        for (one, before) in changed {
            exchanges.changed(brokers, choices, one, &before);
        }
        surplus[from] -= 1;
        if let Some(to) = chain.last() {
            surplus[*to] += 1;
        }
    }
}

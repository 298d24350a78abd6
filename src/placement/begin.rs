use std::collections::BTreeMap;

use super::{brokers::Brokers, choice::Choice, load::Load};

/// Chooses for each alone, at its own least price: what is at home stays as far as the bounds permit, the rest goes where
/// there is least. Returns how often each broker was chosen.
pub(super) fn begin(brokers: &Brokers, load: &Load, choices: &mut [Choice]) -> Vec<i64> {
    let mut counts = vec![0; brokers.count()];
    for choice in choices.iter_mut() {
        choice.chosen.clear();
        let mut home = choice.home.clone();
        home.sort_by_key(|broker| (load.of_one_more(*broker, counts[*broker]), *broker));
        for broker in home {
            if choice.has_room_for(brokers, broker) {
                choice.chosen.push(broker);
                counts[broker] += 1;
            }
        }
    }
    let mut together: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    for choice in choices.iter_mut().filter(|choice| choice.chosen.len() < choice.take) {
        let candidates = choice.candidates(brokers);
        while choice.chosen.len() < choice.take {
            // Partitions that share one broker shall share no other, so that its work, when it fails, goes to many.
            let met = |broker: usize| -> u32 {
                choice.chosen.iter().filter_map(|other| together.get(&pair(*other, broker))).sum()
            };
            let least = candidates
                .iter()
                .filter(|broker| choice.has_room_for(brokers, **broker))
                .min_by_key(|broker| {
                    let cost = load.of_one_more(**broker, counts[**broker]);
                    ((cost.own, cost.all), met(**broker), cost.fullness, **broker)
                })
                .copied();
            let Some(broker) = least else { break };
            choice.chosen.push(broker);
            counts[broker] += 1;
        }
        for (position, one) in choice.chosen.iter().enumerate() {
            for other in &choice.chosen[..position] {
                *together.entry(pair(*one, *other)).or_default() += 1;
            }
        }
    }
    counts
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

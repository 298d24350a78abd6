use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// What has to be tried again, each item with a back-off of its own: a second, then twice as long each time, up to a minute.
#[derive(Debug)]
pub struct Retries<K> {
    due: HashMap<K, (u32, Instant)>,
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

impl<K> Default for Retries<K> {
    fn default() -> Self {
        Self { due: HashMap::new() }
    }
}

impl<K: Eq + Hash + Clone> Retries<K> {
    /// Notes a failure; the next try is later than after the one before.
    pub fn failed(&mut self, item: K, now: Instant) {
        let tries = self.due.get(&item).map_or(0, |(tries, _)| *tries);
        let wait = FIRST.saturating_mul(1 << tries.min(6)).min(LONGEST);
        self.due.insert(item, (tries.saturating_add(1), now + wait));
    }

    pub fn succeeded(&mut self, item: &K) {
        self.due.remove(item);
    }

    /// Has an item looked at later, without anything having failed.
    pub fn at(&mut self, item: K, due: Instant) {
        self.due.insert(item, (0, due));
    }

    /// The same, unless it is looked at before.
    pub fn at_latest(&mut self, item: K, due: Instant) {
        let (_, noted) = self.due.entry(item).or_insert((0, due));
        *noted = due.min(*noted);
    }

    /// When the next item is due.
    pub fn next(&self) -> Option<Instant> {
        self.due.values().map(|(_, due)| *due).min()
    }

    /// The items that are due. They stay noted, so that another failure waits longer, but are not due again before that.
    pub fn take_due(&mut self, now: Instant) -> Vec<K> {
        let mut taken = Vec::new();
        for (item, (_, due)) in &mut self.due {
            if *due <= now {
                taken.push(item.clone());
                *due = now + LONGEST;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_failure_waits_longer_and_a_success_starts_afresh() {
        let mut retries = Retries::default();
        let start = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            retries.failed("a", start);
            waits.push((retries.next().unwrap() - start).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        retries.succeeded(&"a");
        assert_eq!(retries.next(), None);
        retries.failed("a", start);
        assert!(retries.take_due(start).is_empty());
        assert_eq!(retries.take_due(start + FIRST), ["a"]);
        assert!(retries.take_due(start + FIRST).is_empty());
    }
}

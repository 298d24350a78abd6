use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use topicops_contract::Workload;

use super::maker::Maker;
use crate::access::Client;

/// Labelled objects that are parts of something else, by what made them. One of its parts stands for all of them, and its maker
/// is there for as long as one of them is.
#[derive(Debug, Default)]
pub(super) struct Strays {
    parts: BTreeMap<Maker, BTreeMap<Workload, Arc<Client>>>,
    makers: BTreeMap<Workload, Maker>,
}

impl Strays {
    /// Whether its maker has no other part.
    pub(super) fn put(&mut self, maker: Maker, part: Client) -> bool {
        if self.makers.get(&part.workload).is_some_and(|before| *before != maker) {
            self.take(&part.workload);
        }
        self.makers.insert(part.workload.clone(), maker.clone());
        let parts = self.parts.entry(maker).or_default();
        let is_first = parts.is_empty();
        if let Entry::Vacant(entry) = parts.entry(part.workload.clone()) {
            entry.insert(Arc::new(part));
        }
        is_first
    }

    pub(super) fn take(&mut self, part: &Workload) {
        let Some(maker) = self.makers.remove(part) else { return };
        if let Entry::Occupied(mut entry) = self.parts.entry(maker) {
            entry.get_mut().remove(part);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    /// One part for each maker.
    pub(super) fn one_of_each(&self) -> impl Iterator<Item = (&Maker, &Arc<Client>)> {
        self.parts.iter().filter_map(|(maker, parts)| Some((maker, parts.values().next()?)))
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Workload> {
        self.makers.keys()
    }
}

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
    made: BTreeMap<Maker, Made>,
    makers: BTreeMap<Workload, Maker>,
}

#[derive(Debug, Default)]
struct Made {
    parts: BTreeMap<Workload, Arc<Client>>,
    /// What their maker is, or is itself a part of; `None`: a Job that nobody has looked up.
    whole: Option<Maker>,
    /// They were made for a client. When it is deleted they follow it, and until they have there is nothing to tell.
    excused: bool,
}

impl Strays {
    /// Whether its maker has no other part. `excused`: the maker is a client's.
    pub(super) fn put(&mut self, maker: Maker, part: Client, excused: bool) -> bool {
        if self.makers.get(&part.workload).is_some_and(|before| *before != maker) {
            self.take(&part.workload);
        }
        self.makers.insert(part.workload.clone(), maker.clone());
        let whole = maker.job().is_none().then(|| maker.clone());
        let made = self.made.entry(maker).or_insert_with(|| Made { whole, ..Made::default() });
        made.excused |= excused;
        let is_first = made.parts.is_empty();
        if let Entry::Vacant(entry) = made.parts.entry(part.workload.clone()) {
            entry.insert(Arc::new(part));
        }
        is_first
    }

    pub(super) fn take(&mut self, part: &Workload) {
        let Some(maker) = self.makers.remove(part) else { return };
        if let Entry::Occupied(mut entry) = self.made.entry(maker) {
            entry.get_mut().parts.remove(part);
            if entry.get().parts.is_empty() {
                entry.remove();
            }
        }
    }

    /// Notes for whose parts there is nothing to tell, as long as any of them is left.
    pub(super) fn excuse(&mut self, is_client: impl Fn(&Maker) -> bool) {
        for (maker, made) in &mut self.made {
            made.excused |= is_client(maker) || made.whole.as_ref().is_some_and(&is_client);
        }
    }

    /// Jobs of which is not known whether they are parts themselves.
    pub(super) fn not_looked_up(&self) -> impl Iterator<Item = &Maker> {
        let unknown = self.made.iter().filter(|(_, made)| made.whole.is_none() && !made.excused);
        unknown.map(|(maker, _)| maker)
    }

    /// What such a Job is, or is a part of.
    pub(super) fn looked_up(&mut self, job: &Maker, whole: Maker) {
        if let Some(made) = self.made.get_mut(job) {
            made.whole = Some(whole);
        }
    }

    /// One part for each whole.
    pub(super) fn one_of_each(&self) -> BTreeMap<&Maker, &Arc<Client>> {
        let told = self.made.values().filter(|made| !made.excused);
        told.filter_map(|made| Some((made.whole.as_ref()?, made.parts.values().next()?))).collect()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Workload> {
        self.makers.keys()
    }
}

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
    parts: BTreeMap<Workload, Part>,
    /// What their maker is, or is itself a part of; `None`: a Job that nobody has looked up.
    whole: Option<Maker>,
}

#[derive(Debug)]
struct Part {
    is: Arc<Client>,
    /// It was made for a client. When that is deleted it follows, and until it has there is nothing to tell.
    excused: bool,
}

impl Made {
    /// One that has something to be told.
    fn told_of(&self) -> Option<&Arc<Client>> {
        self.parts.values().find(|part| !part.excused).map(|part| &part.is)
    }
}

impl Strays {
    /// Whether it is the first of its maker's that has something to be told. `excused`: the maker is a client's.
    pub(super) fn put(&mut self, maker: Maker, part: Client, excused: bool) -> bool {
        if self.makers.get(&part.workload).is_some_and(|before| *before != maker) {
            self.take(&part.workload);
        }
        self.makers.insert(part.workload.clone(), maker.clone());
        let whole = maker.job().is_none().then(|| maker.clone());
        let made = self.made.entry(maker).or_insert_with(|| Made { whole, ..Made::default() });
        let is_first = !excused && made.told_of().is_none();
        match made.parts.entry(part.workload.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Part { is: Arc::new(part), excused });
                is_first
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().excused |= excused;
                false
            }
        }
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

    /// Notes whose parts there is nothing to tell of, now or later. What their makers make when they are no clients any more is
    /// told of.
    pub(super) fn excuse(&mut self, is_client: impl Fn(&Maker) -> bool) {
        for (maker, made) in &mut self.made {
            if is_client(maker) || made.whole.as_ref().is_some_and(&is_client) {
                made.parts.values_mut().for_each(|part| part.excused = true);
            }
        }
    }

    /// Jobs of which is not known whether they are parts themselves.
    pub(super) fn not_looked_up(&self) -> impl Iterator<Item = &Maker> {
        let unknown = self.made.iter().filter(|(_, made)| made.whole.is_none() && made.told_of().is_some());
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
        self.made.values().filter_map(|made| Some((made.whole.as_ref()?, made.told_of()?))).collect()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Workload> {
        self.makers.keys()
    }
}

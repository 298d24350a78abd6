use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
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
    /// When its maker was known to be a client last. A client that is deleted and one whose label is taken off look the same, and
    /// parts follow only the former.
    of_client: Option<Instant>,
}

/// Until then parts of a client that was deleted are being deleted, too, however long that takes them.
const FOLLOWS: Duration = Duration::from_secs(30);

impl Part {
    /// From when on it is told of.
    fn left_at(&self) -> Option<Instant> {
        self.of_client.map(|last| last + FOLLOWS).filter(|_| !self.is.deleting)
    }

    fn is_left(&self, now: Instant) -> bool {
        !self.is.deleting && self.left_at().is_none_or(|at| at <= now)
    }
}

impl Made {
    /// One that has something to be told.
    fn told_of(&self, now: Instant) -> Option<&Arc<Client>> {
        self.parts.values().find(|part| part.is_left(now)).map(|part| &part.is)
    }

    fn is_of(&self, maker: &Maker, is_client: &impl Fn(&Maker) -> bool) -> bool {
        is_client(maker) || self.whole.as_ref().is_some_and(is_client)
    }
}

impl Strays {
    /// Whether it is the first of its maker's that has something to be told.
    pub(super) fn put(&mut self, maker: Maker, part: Client, of_client: bool, now: Instant) -> bool {
        if self.makers.get(&part.workload).is_some_and(|before| *before != maker) {
            self.take(&part.workload);
        }
        self.makers.insert(part.workload.clone(), maker.clone());
        let whole = maker.job().is_none().then(|| maker.clone());
        let made = self.made.entry(maker).or_insert_with(|| Made { whole, ..Made::default() });
        let had_none = made.told_of(now).is_none();
        let before = made.parts.get(&part.workload).and_then(|part| part.of_client);
        let of_client = if of_client { Some(now) } else { before };
        made.parts.insert(part.workload.clone(), Part { is: Arc::new(part), of_client });
        had_none && made.told_of(now).is_some()
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

    /// Notes whose parts are those of clients now.
    pub(super) fn excuse(&mut self, is_client: impl Fn(&Maker) -> bool, now: Instant) {
        for (maker, made) in &mut self.made {
            if made.is_of(maker, &is_client) {
                made.parts.values_mut().for_each(|part| part.of_client = Some(now));
            }
        }
    }

    /// When the next of those that are of no client any more is to be told of.
    pub(super) fn next_left(&self, is_client: impl Fn(&Maker) -> bool, now: Instant) -> Option<Instant> {
        let of_none = self.made.iter().filter(|(maker, made)| !made.is_of(maker, &is_client));
        of_none
            .flat_map(|(_, made)| made.parts.values())
            .filter_map(Part::left_at)
            .filter(|at| *at > now)
            .min()
    }

    /// Jobs of which is not known whether they are parts themselves.
    pub(super) fn not_looked_up(&self, now: Instant) -> impl Iterator<Item = &Maker> {
        let unknown =
            self.made.iter().filter(move |(_, made)| made.whole.is_none() && made.told_of(now).is_some());
        unknown.map(|(maker, _)| maker)
    }

    /// What such a Job is, or is a part of.
    pub(super) fn looked_up(&mut self, job: &Maker, whole: Maker) {
        if let Some(made) = self.made.get_mut(job) {
            made.whole = Some(whole);
        }
    }

    /// One part for each whole.
    pub(super) fn one_of_each(&self, now: Instant) -> BTreeMap<&Maker, &Arc<Client>> {
        self.made.values().filter_map(|made| Some((made.whole.as_ref()?, made.told_of(now)?))).collect()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Workload> {
        self.makers.keys()
    }
}

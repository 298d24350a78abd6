use std::collections::{BTreeMap, BTreeSet};

use topicops_contract::TopicName;

use super::{LedgerError, LedgerStore, ledger_line};
use crate::{fail_point::fail_point, topic::Holding};

/// Whose each topic is, and which settings were set for it, remembered beyond ConfigMaps' lives and restarts.
///
/// Kept in pages of bounded size, so that a change rewrites one page and no page grows past what Kubernetes takes. A change
/// is written before it is acted upon; a crash in between leaves a name reserved, which heals at the next pass.
///
/// Lines grow with what their topics declare. Those of a page that has grown too large move to others, and the pages that
/// gain are written before the one that loses: after a crash in between a topic is in two of them, and the line that has
/// moved more often is the newer one. A page that has an older one is written anew before anything else is, so that there
/// are never more than those two, and none comes back when its topic is forgotten.
#[derive(Debug, Default)]
pub struct Ledger {
    pages: Vec<LoadedPage>,
    topics: BTreeMap<TopicName, Entry>,
    /// The topics whose deletion is due.
    deletions: BTreeSet<TopicName>,
    /// Pages as they are stored have lines that are not theirs any more.
    stale: BTreeSet<usize>,
}

#[derive(Debug)]
struct LoadedPage {
    name: String,
    version: Option<String>,
    bytes: usize,
}

/// What is held of one topic, and where.
#[derive(Clone, Debug)]
struct Entry {
    page: usize,
    /// How often it has moved to another page.
    moved: u32,
    holding: Holding,
}

/// What could not be written, while everything else was: those topics are remembered as they were before.
#[derive(Debug)]
#[must_use]
pub struct LeftOut {
    pub topics: BTreeSet<TopicName>,
    pub why: LedgerError,
}

/// Pages with less than this take new topics: a smaller page keeps a single write cheap.
const PAGE_BYTES: usize = 128 * 1024;
/// Topics move out of pages with more than this, until half of it is left.
const PAGE_MOST: usize = 512 * 1024;
/// What a page may have when there is no other: a ConfigMap holds 1 MiB.
const PAGE_LAST_RESORT: usize = 1_000_000;

impl Ledger {
    pub async fn load(store: &dyn LedgerStore) -> Result<Self, LedgerError> {
        let mut ledger = Self::default();
        for page in store.load().await? {
            let index = ledger.pages.len();
            for (number, line) in page.text.lines().enumerate() {
                let (topic, moved, holding) =
                    ledger_line::read(line).ok_or_else(|| LedgerError::Unreadable {
                        name: page.name.clone(),
                        line: number + 1,
                        text: line.chars().take(80).collect(),
                    })?;
                match ledger.topics.get(&topic) {
                    Some(other) if other.moved >= moved => {
                        ledger.stale.insert(index);
                        continue;
                    }
                    Some(other) => ledger.stale.insert(other.page),
                    None => false,
                };
                ledger.topics.insert(topic, Entry { page: index, moved, holding });
            }
            ledger.pages.push(LoadedPage {
                bytes: page.text.len(),
                name: page.name,
                version: Some(page.version),
            });
        }
        let due = ledger.topics.iter().filter(|(_, entry)| entry.holding.deletion.is_some());
        ledger.deletions = due.map(|(topic, _)| topic.clone()).collect();
        Ok(ledger)
    }

    pub fn get(&self, topic: &TopicName) -> Option<&Holding> {
        self.topics.get(topic).map(|entry| &entry.holding)
    }

    /// The topics held that nothing declares any more can be found among these.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.keys()
    }

    /// The topics whose deletion was asked for by an object that is gone.
    pub fn deletions(&self) -> &BTreeSet<TopicName> {
        &self.deletions
    }

    /// Writes what differs from what is remembered; `None` forgets a topic. Nothing is written when nothing differs. Where
    /// another page is needed and cannot be had, what would have been in it is left out.
    ///
    /// # Errors
    /// What is remembered then is unknown: load the ledger again.
    pub async fn record(
        &mut self,
        store: &dyn LedgerStore,
        changes: impl IntoIterator<Item = (TopicName, Option<Holding>)>,
    ) -> Result<Option<LeftOut>, LedgerError> {
        let differs = |(topic, holding): &(TopicName, Option<Holding>)| self.get(topic) != holding.as_ref();
        let changes: Vec<_> = changes.into_iter().filter(differs).collect();
        if changes.is_empty() {
            return Ok(None);
        }
        for page in std::mem::take(&mut self.stale) {
            self.write(store, page).await?;
        }
        let mut before = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for (topic, holding) in changes {
            let (page, moved) = match self.topics.get(&topic) {
                Some(entry) => (entry.page, entry.moved),
                None => (self.page_with_room(), 0),
            };
            let was = self.put(&topic, holding.map(|holding| Entry { page, moved, holding }));
            before.entry(topic).or_insert(was);
            touched.insert(page);
        }
        let mut gaining = BTreeSet::new();
        for page in &touched {
            gaining.extend(self.make_room(*page, &mut before));
        }
        let mut left_out: Option<LeftOut> = None;
        for page in gaining.iter().chain(touched.difference(&gaining)) {
            match self.write(store, *page).await {
                Ok(()) => {}
                Err(why) if self.pages[*page].version.is_none() && why.is_refusal() => {
                    let mut topics = self.take_back(*page, &before);
                    topics.extend(left_out.into_iter().flat_map(|left_out| left_out.topics));
                    left_out = (!topics.is_empty()).then_some(LeftOut { topics, why });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(left_out)
    }

    async fn write(&mut self, store: &dyn LedgerStore, index: usize) -> Result<(), LedgerError> {
        let held = self.topics.iter().filter(|(_, entry)| entry.page == index);
        let text: String = held.map(|(topic, entry)| entry.line(topic)).collect();
        let page = &mut self.pages[index];
        page.bytes = text.len();
        page.version = Some(store.write(&page.name, page.version.as_deref(), text).await?);
        fail_point!("topics/page-written");
        Ok(())
    }

    /// Puts this in the place of what is held of a topic, which is returned.
    fn put(&mut self, topic: &TopicName, entry: Option<Entry>) -> Option<Entry> {
        if entry.as_ref().is_some_and(|entry| entry.holding.deletion.is_some()) {
            self.deletions.insert(topic.clone());
        } else {
            self.deletions.remove(topic);
        }
        if let Some(entry) = &entry {
            self.pages[entry.page].bytes += entry.line(topic).len();
        }
        let before = match entry {
            Some(entry) => self.topics.insert(topic.clone(), entry),
            None => self.topics.remove(topic),
        };
        if let Some(before) = &before {
            let bytes = &mut self.pages[before.page].bytes;
            *bytes = bytes.saturating_sub(before.line(topic).len());
        }
        before
    }

    /// Moves topics out of a page that is too large; the pages that they move to. `before` gets what was held of them.
    fn make_room(&mut self, page: usize, before: &mut BTreeMap<TopicName, Option<Entry>>) -> BTreeSet<usize> {
        let mut gaining = BTreeSet::new();
        if self.pages[page].bytes <= PAGE_MOST {
            return gaining;
        }
        let here = self.topics.iter().filter(|(_, entry)| entry.page == page);
        let here: Vec<(TopicName, Entry)> =
            here.map(|(topic, entry)| (topic.clone(), entry.clone())).collect();
        for (topic, entry) in here {
            if self.pages[page].bytes <= PAGE_MOST / 2 {
                break;
            }
            let target = self.page_with_room();
            let moved = entry.moved.saturating_add(1);
            let was = self.put(&topic, Some(Entry { page: target, moved, ..entry }));
            before.entry(topic).or_insert(was);
            gaining.insert(target);
        }
        gaining
    }

    /// Leaves a new page, which cannot be had: what was to move there stays where it was, changed as far as there is room for
    /// that. The topics whose change is not to be had.
    fn take_back(&mut self, page: usize, before: &BTreeMap<TopicName, Option<Entry>>) -> BTreeSet<TopicName> {
        let mut left_out = BTreeSet::new();
        let mut wanted = Vec::new();
        // As it was, first: that has room.
        for (topic, was) in before {
            let Some(entry) = self.topics.get(topic).filter(|entry| entry.page == page).cloned() else {
                continue;
            };
            self.put(topic, was.clone());
            match was {
                Some(was) if was.holding == entry.holding => {}
                Some(was) => wanted.push((topic, Entry { holding: entry.holding, ..was.clone() })),
                None => drop(left_out.insert(topic.clone())),
            }
        }
        // What has grown on the same pages makes way for what was there before.
        for (topic, was) in before {
            let Some((is, was)) = self.topics.get(topic).zip(was.as_ref()) else { continue };
            let grew = is.page == was.page && is.holding != was.holding;
            if grew && self.pages[was.page].bytes > PAGE_LAST_RESORT {
                self.put(topic, Some(was.clone()));
                left_out.insert(topic.clone());
            }
        }
        for (topic, entry) in wanted {
            let is = self.topics.get(topic).map_or(0, |is| is.line(topic).len());
            if self.pages[entry.page].bytes - is + entry.line(topic).len() <= PAGE_LAST_RESORT {
                self.put(topic, Some(entry));
            } else {
                left_out.insert(topic.clone());
            }
        }
        left_out
    }

    fn page_with_room(&mut self) -> usize {
        if let Some(index) = self.pages.iter().position(|page| page.bytes < PAGE_BYTES) {
            return index;
        }
        let index = self.pages.len();
        let free = (0..).map(|number: usize| number.to_string());
        let name = free
            .into_iter()
            .find(|name| self.pages.iter().all(|page| page.name != *name))
            .unwrap_or_default();
        self.pages.push(LoadedPage { name, version: None, bytes: 0 });
        index
    }
}

impl Entry {
    fn line(&self, topic: &TopicName) -> String {
        ledger_line::write(topic, self.moved, &self.holding)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

use std::sync::Mutex;

use async_trait::async_trait;
use kube::core::Status;
use proptest::prelude::*;
use topicops_contract::TopicConfig;

use super::*;
use crate::{controller::topics::Page, topic::Deletion};

/// What a ConfigMap may hold.
const CONFIG_MAP: usize = 1024 * 1024;

#[derive(Default)]
struct MemoryLedger {
    pages: Mutex<BTreeMap<String, (u64, String)>>,
    /// Writes that are left until everything fails; `None`: all succeed.
    left: Mutex<Option<usize>>,
    /// No new page can be had.
    full: bool,
}

fn refused(name: &str, code: u16) -> LedgerError {
    let status = Status { code, ..Status::default() };
    LedgerError::Kubernetes {
        name: name.to_owned(),
        doing: "written",
        source: Box::new(kube::Error::Api(Box::new(status))),
    }
}

#[async_trait]
impl LedgerStore for MemoryLedger {
    async fn load(&self) -> Result<Vec<Page>, LedgerError> {
        let pages = self.pages.lock().unwrap();
        let page = |(name, (version, text)): (&String, &(u64, String))| Page {
            name: name.clone(),
            version: version.to_string(),
            text: text.clone(),
        };
        Ok(pages.iter().map(page).collect())
    }

    async fn write(&self, name: &str, version: Option<&str>, text: String) -> Result<String, LedgerError> {
        if let Some(left) = &mut *self.left.lock().unwrap() {
            *left = left.checked_sub(1).ok_or_else(|| refused(name, 503))?;
        }
        let mut pages = self.pages.lock().unwrap();
        if text.len() > CONFIG_MAP {
            return Err(refused(name, 422));
        }
        if self.full && version.is_none() && !pages.is_empty() {
            return Err(refused(name, 403));
        }
        let before = pages.get(name).map(|(version, _)| version.to_string());
        assert_eq!(before.as_deref(), version, "page {name} was written over a version that was not read");
        let next = pages.values().map(|(version, _)| version).max().unwrap_or(&0) + 1;
        pages.insert(name.to_owned(), (next, text));
        Ok(next.to_string())
    }
}

fn holding(namespace: &str, keys: &[String]) -> Holding {
    Holding { namespace: namespace.to_owned(), keys: keys.iter().cloned().collect(), ..Holding::default() }
}

proptest! {
    #[test]
    fn what_was_recorded_is_loaded_again(
        changes in proptest::collection::vec(
            ("[a-e]{1,2}", proptest::option::of(("[a-z]{1,5}", proptest::collection::vec("[a-z.]{1,9}", 0..3)))),
            0..40,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = MemoryLedger::default();
            let mut ledger = Ledger::load(&store).await.unwrap();
            let mut model = BTreeMap::new();
            for (topic, held) in changes {
                let topic: TopicName = topic.parse().unwrap();
                let held = held.map(|(namespace, keys)| holding(&namespace, &keys));
                match &held {
                    Some(held) => model.insert(topic.clone(), held.clone()),
                    None => model.remove(&topic),
                };
                assert!(ledger.record(&store, [(topic, held)]).await.unwrap().is_none());
            }
            let loaded = Ledger::load(&store).await.unwrap();
            let held: BTreeMap<_, _> = loaded.topics().map(|t| (t.clone(), loaded.get(t).unwrap().clone())).collect();
            assert_eq!(held, model);
        });
    }
}

#[tokio::test]
async fn a_full_page_is_followed_by_another() {
    let store = MemoryLedger::default();
    let mut ledger = Ledger::load(&store).await.unwrap();
    for batch in 0..20 {
        let topics = (0..100).map(|n| format!("topic-{batch}-{n}-{}", "x".repeat(100)).parse().unwrap());
        let changes: Vec<(TopicName, _)> = topics.map(|topic| (topic, Some(holding("shop", &[])))).collect();
        assert!(ledger.record(&store, changes).await.unwrap().is_none());
    }
    assert!(store.pages.lock().unwrap().len() > 1);
    assert!(store.pages.lock().unwrap().values().all(|(_, text)| text.len() < 2 * PAGE_BYTES));
    assert_eq!(Ledger::load(&store).await.unwrap().topics().count(), 2_000);
}

#[tokio::test]
async fn nothing_is_written_when_nothing_differs() {
    let store = MemoryLedger::default();
    let mut ledger = Ledger::load(&store).await.unwrap();
    let topic: TopicName = "t".parse().unwrap();
    for _ in 0..3 {
        let same = [(topic.clone(), Some(holding("shop", &[])))];
        assert!(ledger.record(&store, same).await.unwrap().is_none());
    }
    assert_eq!(store.pages.lock().unwrap()["0"].0, 1);
}

/// A page of small lines, which are more than a ConfigMap holds when they have grown.
async fn page_of_small_lines(store: &MemoryLedger) -> (Ledger, Vec<TopicName>) {
    let mut ledger = Ledger::load(store).await.unwrap();
    let topics: Vec<TopicName> = (0..1_200).map(|n| format!("t{n}").parse().unwrap()).collect();
    let small = topics.iter().map(|topic| (topic.clone(), Some(holding("shop", &[]))));
    assert!(ledger.record(store, small.collect::<Vec<_>>()).await.unwrap().is_none());
    assert_eq!(store.pages.lock().unwrap().len(), 1);
    (ledger, topics)
}

fn grown() -> Holding {
    let keys: Vec<String> = TopicConfig::keys().map(str::to_owned).collect();
    let mut grown = holding("shop", &keys);
    keys.iter().for_each(|key| grown.applied.set(key, "1000000000"));
    grown
}

fn held(ledger: &Ledger) -> BTreeMap<TopicName, Holding> {
    ledger.topics().map(|topic| (topic.clone(), ledger.get(topic).unwrap().clone())).collect()
}

#[tokio::test]
async fn topics_whose_lines_grow_move_to_other_pages_before_theirs_is_too_large() {
    let store = MemoryLedger::default();
    let (mut ledger, topics) = page_of_small_lines(&store).await;
    let grown = grown();
    for some in topics.chunks(60) {
        let changes = some.iter().map(|topic| (topic.clone(), Some(grown.clone())));
        assert!(ledger.record(&store, changes).await.unwrap().is_none());
    }
    assert!(store.pages.lock().unwrap().values().all(|(_, text)| text.len() <= PAGE_MOST));
    let expected: BTreeMap<_, _> = topics.into_iter().map(|topic| (topic, grown.clone())).collect();
    assert_eq!(held(&ledger), expected);
    assert_eq!(held(&Ledger::load(&store).await.unwrap()), expected);
}

#[tokio::test]
async fn a_crash_between_two_pages_loses_no_topic_and_brings_none_back() {
    let grown = grown();
    for writes in 0..30 {
        let store = MemoryLedger::default();
        let (mut ledger, topics) = page_of_small_lines(&store).await;
        *store.left.lock().unwrap() = Some(writes);
        let changes: Vec<_> = topics.iter().map(|topic| (topic.clone(), Some(grown.clone()))).collect();
        let done = ledger.record(&store, changes).await.is_ok();
        *store.left.lock().unwrap() = None;
        let mut ledger = Ledger::load(&store).await.unwrap();
        assert_eq!(ledger.topics().count(), topics.len(), "after {writes} writes");
        let newer = ledger.topics().filter(|topic| ledger.get(topic) == Some(&grown)).count();
        assert!(
            (writes == 0) == (newer == 0) && done == (newer == topics.len()),
            "{newer} after {writes} writes"
        );
        // What was in two pages is forgotten in both, also when that is interrupted.
        for again in 0..4 {
            *store.left.lock().unwrap() = Some(again);
            let forgotten = ledger.record(&store, topics.iter().map(|topic| (topic.clone(), None))).await;
            *store.left.lock().unwrap() = None;
            ledger = Ledger::load(&store).await.unwrap();
            let left = ledger.topics().filter(|topic| ledger.get(topic) != Some(&grown)).count();
            assert!(left + newer <= topics.len(), "an older line came back");
            if forgotten.is_ok() {
                break;
            }
        }
        assert!(ledger.record(&store, topics.iter().map(|topic| (topic.clone(), None))).await.is_ok());
        assert_eq!(Ledger::load(&store).await.unwrap().topics().count(), 0, "after {writes} writes");
        if done {
            return;
        }
    }
    panic!("it was never done");
}

#[tokio::test]
async fn where_no_new_page_is_to_be_had_only_what_would_be_in_it_is_left_out() {
    let grown = grown();
    let store = MemoryLedger { full: true, ..MemoryLedger::default() };
    let (mut ledger, topics) = page_of_small_lines(&store).await;
    let before = held(&ledger);
    let long = |n: usize| -> TopicName { format!("{}{n}", "x".repeat(240)).parse().unwrap() };
    let page: Vec<_> = (0..500).map(|n| (long(n), Some(holding("shop", &[])))).collect();
    let some = ledger.record(&store, page).await.unwrap().unwrap().topics.len();
    assert!((1..500).contains(&some), "there was some room left, and not for all");
    let new: TopicName = "new".parse().unwrap();
    let changes = [
        (new.clone(), Some(grown.clone())),
        (topics[0].clone(), Some(grown.clone())),
        (topics[1].clone(), None),
    ];
    let left_out = ledger.record(&store, changes).await.unwrap().unwrap();
    assert_eq!(left_out.topics, BTreeSet::from([new.clone()]));
    assert!(ledger.get(&new).is_none());
    for ledger in [&ledger, &Ledger::load(&store).await.unwrap()] {
        assert_eq!(ledger.get(&topics[0]), Some(&grown));
        assert_eq!(ledger.get(&topics[1]), None);
        assert_eq!(ledger.get(&topics[2]), before.get(&topics[2]));
    }
    // Lines grow where they are, as far as they can.
    let all: Vec<_> = topics.iter().map(|topic| (topic.clone(), Some(grown.clone()))).collect();
    let left_out = ledger.record(&store, all).await.unwrap().unwrap();
    assert!(!left_out.topics.is_empty() && left_out.topics.len() < topics.len());
    let loaded = Ledger::load(&store).await.unwrap();
    assert_eq!(held(&loaded), held(&ledger));
    let right = |topic| (loaded.get(topic) == Some(&grown)) != left_out.topics.contains(topic);
    assert!(topics.iter().all(right));
    // And where they are as large as they can be, what is there stays.
    let before = held(&ledger);
    let more =
        Deletion { consumers: (0..200).map(|_| "a/b".parse().unwrap()).collect(), ..Deletion::default() };
    let more = Holding { deletion: Some(more), ..grown };
    let all: Vec<_> = topics.iter().map(|topic| (topic.clone(), Some(more.clone()))).collect();
    let left_out = ledger.record(&store, all).await.unwrap().unwrap();
    assert!(!left_out.topics.is_empty());
    let loaded = Ledger::load(&store).await.unwrap();
    assert_eq!(held(&loaded), held(&ledger));
    for topic in &topics {
        let expected = if left_out.topics.contains(topic) { before.get(topic) } else { Some(&more) };
        assert_eq!(loaded.get(topic), expected, "{topic}");
    }
}

#[test]
fn no_line_is_too_long_for_a_page() {
    let mut longest = holding(&"n".repeat(63), &[]);
    for key in TopicConfig::keys() {
        longest.keys.insert(key.to_owned());
        longest.applied.set(key, &",".repeat(48));
    }
    let everybody: Vec<_> = (0..512).map(|_| "a/b".parse().unwrap()).collect();
    longest.deletion =
        Some(Deletion { consumers: everybody.clone(), producers: everybody, ..Deletion::default() });
    let topic: TopicName = "x".repeat(249).parse().unwrap();
    assert!(ledger_line::write(&topic, u32::MAX, &longest).len() < 32 * 1024);
}

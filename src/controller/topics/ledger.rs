use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use thiserror::Error;
use topicops_contract::{OperatorId, TopicName};

use super::ledger_line;
use crate::topic::Holding;

/// Where a [`Ledger`] is kept.
#[async_trait]
pub trait LedgerStore: Send + Sync + 'static {
    /// All pages with their text.
    async fn load(&self) -> Result<Vec<Page>, LedgerError>;

    /// Writes one page; `version` is that of the page written over, `None` for a new one.
    async fn write(&self, name: &str, version: Option<&str>, text: String) -> Result<String, LedgerError>;
}

/// One page of the ledger as it is stored.
#[derive(Clone, Debug)]
pub struct Page {
    pub name: String,
    pub version: String,
    pub text: String,
}

#[derive(Debug, Error)]
pub enum LedgerError {
    #[error("the ledger of topics (ConfigMaps {name}) could not be {doing}")]
    Kubernetes { name: String, doing: &'static str, source: Box<kube::Error> },
    #[error(
        "the ledger of topics (ConfigMap {name}, line {line}) cannot be read: \"{text}\" is not \"topic namespace keys applied\""
    )]
    Unreadable { name: String, line: usize, text: String },
}

/// Whose each topic is, and which settings were set for it, remembered beyond ConfigMaps' lives and restarts.
///
/// Kept in pages of bounded size, so that a change rewrites one page and no page grows past what Kubernetes takes. A change
/// is written before it is acted upon; a crash in between leaves a name reserved, which heals at the next pass.
#[derive(Debug, Default)]
pub struct Ledger {
    pages: Vec<LoadedPage>,
    /// Topic to its page and what is held of it.
    topics: BTreeMap<TopicName, (usize, Holding)>,
    /// The topics whose deletion is due.
    deletions: BTreeSet<TopicName>,
}

#[derive(Debug)]
struct LoadedPage {
    name: String,
    version: Option<String>,
    bytes: usize,
}

/// A ConfigMap holds at most 1 MiB; a smaller page keeps a single write cheap.
const PAGE_BYTES: usize = 128 * 1024;

impl Ledger {
    pub async fn load(store: &dyn LedgerStore) -> Result<Self, LedgerError> {
        let mut ledger = Self::default();
        for page in store.load().await? {
            let index = ledger.pages.len();
            for (number, line) in page.text.lines().enumerate() {
                let (topic, holding) = ledger_line::read(line).ok_or_else(|| LedgerError::Unreadable {
                    name: page.name.clone(),
                    line: number + 1,
                    text: line.chars().take(80).collect(),
                })?;
                if holding.deletion.is_some() {
                    ledger.deletions.insert(topic.clone());
                }
                ledger.topics.insert(topic, (index, holding));
            }
            ledger.pages.push(LoadedPage {
                bytes: page.text.len(),
                name: page.name,
                version: Some(page.version),
            });
        }
        Ok(ledger)
    }

    pub fn get(&self, topic: &TopicName) -> Option<&Holding> {
        self.topics.get(topic).map(|(_, holding)| holding)
    }

    /// The topics held that nothing declares any more can be found among these.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.keys()
    }

    /// The topics whose deletion was asked for by an object that is gone.
    pub fn deletions(&self) -> &BTreeSet<TopicName> {
        &self.deletions
    }

    /// Writes what differs from what is remembered; `None` forgets a topic. Nothing is written when nothing differs.
    ///
    /// # Errors
    /// What is remembered then is unknown: load the ledger again.
    pub async fn record(
        &mut self,
        store: &dyn LedgerStore,
        changes: impl IntoIterator<Item = (TopicName, Option<Holding>)>,
    ) -> Result<(), LedgerError> {
        let mut touched: Vec<usize> = Vec::new();
        for (topic, holding) in changes {
            if self.get(&topic) == holding.as_ref() {
                continue;
            }
            let page = match self.topics.get(&topic) {
                Some((page, _)) => *page,
                None => self.page_with_room(),
            };
            if holding.as_ref().is_some_and(|holding| holding.deletion.is_some()) {
                self.deletions.insert(topic.clone());
            } else {
                self.deletions.remove(&topic);
            }
            match holding {
                Some(holding) => {
                    self.pages[page].bytes += ledger_line::write(&topic, &holding).len();
                    self.topics.insert(topic, (page, holding));
                }
                None => {
                    self.topics.remove(&topic);
                }
            }
            if !touched.contains(&page) {
                touched.push(page);
            }
        }
        for index in touched {
            let held = self.topics.iter().filter(|(_, (page, _))| *page == index);
            let text: String = held.map(|(topic, (_, holding))| ledger_line::write(topic, holding)).collect();
            let page = &mut self.pages[index];
            page.bytes = text.len();
            page.version = Some(store.write(&page.name, page.version.as_deref(), text).await?);
        }
        Ok(())
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

/// Keeps the pages as ConfigMaps in the operator's own namespace.
#[derive(Clone)]
pub struct ConfigMapLedger {
    api: Api<ConfigMap>,
    operator: OperatorId,
}

const LEDGER_LABEL: &str = "topic.kafka.nb/ledger";
const LEDGER_KEY: &str = "topics";

impl ConfigMapLedger {
    pub fn new(client: Client, namespace: &str, operator: OperatorId) -> Self {
        Self { api: Api::namespaced(client, namespace), operator }
    }

    fn object_name(&self, page: &str) -> String {
        format!("{}-ledger-{page}", self.operator)
    }

    fn error(&self, page: &str, doing: &'static str, source: kube::Error) -> LedgerError {
        LedgerError::Kubernetes { name: self.object_name(page), doing, source: Box::new(source) }
    }
}

impl std::fmt::Debug for ConfigMapLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConfigMapLedger({})", self.operator)
    }
}

#[async_trait]
impl LedgerStore for ConfigMapLedger {
    async fn load(&self) -> Result<Vec<Page>, LedgerError> {
        let params = ListParams::default().labels(&format!("{LEDGER_LABEL}={}", self.operator));
        let list = self.api.list(&params).await.map_err(|error| self.error("*", "read", error))?;
        let prefix = self.object_name("");
        let pages = list.items.into_iter().filter_map(|config_map| {
            let name = config_map.metadata.name?.strip_prefix(&prefix)?.to_owned();
            let text = config_map.data.and_then(|mut data| data.remove(LEDGER_KEY)).unwrap_or_default();
            Some(Page { name, version: config_map.metadata.resource_version?, text })
        });
        Ok(pages.collect())
    }

    async fn write(&self, name: &str, version: Option<&str>, text: String) -> Result<String, LedgerError> {
        let object_name = self.object_name(name);
        let config_map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(object_name.clone()),
                labels: Some(BTreeMap::from([(LEDGER_LABEL.to_owned(), self.operator.to_string())])),
                resource_version: version.map(str::to_owned),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(LEDGER_KEY.to_owned(), text)])),
            ..ConfigMap::default()
        };
        let params = PostParams::default();
        let written = match version {
            Some(_) => self.api.replace(&object_name, &params, &config_map).await,
            None => self.api.create(&params, &config_map).await,
        };
        let written = written.map_err(|error| self.error(name, "written", error))?;
        Ok(written.metadata.resource_version.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct MemoryLedger {
        pages: Mutex<BTreeMap<String, (u64, String)>>,
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

        async fn write(
            &self,
            name: &str,
            version: Option<&str>,
            text: String,
        ) -> Result<String, LedgerError> {
            let mut pages = self.pages.lock().unwrap();
            let before = pages.get(name).map(|(version, _)| version.to_string());
            assert_eq!(
                before.as_deref(),
                version,
                "page {name} was written over a version that was not read"
            );
            let next = pages.values().map(|(version, _)| version).max().unwrap_or(&0) + 1;
            pages.insert(name.to_owned(), (next, text));
            Ok(next.to_string())
        }
    }

    fn holding(namespace: &str, keys: &[String]) -> Holding {
        Holding {
            namespace: namespace.to_owned(),
            keys: keys.iter().cloned().collect(),
            ..Holding::default()
        }
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
                    ledger.record(&store, [(topic, held)]).await.unwrap();
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
            let changes: Vec<(TopicName, _)> =
                topics.map(|topic| (topic, Some(holding("shop", &[])))).collect();
            ledger.record(&store, changes).await.unwrap();
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
            ledger.record(&store, [(topic.clone(), Some(holding("shop", &[])))]).await.unwrap();
        }
        assert_eq!(store.pages.lock().unwrap()["0"].0, 1);
    }
}

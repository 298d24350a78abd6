use async_trait::async_trait;
use thiserror::Error;

/// Where a [`super::Ledger`] is kept.
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

impl LedgerError {
    /// Whether the API server understood, and will not have this page: a quota, a policy, its size. What says nothing of
    /// the page is left out: who we are, who was faster, how busy it is.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Kubernetes { source, .. } => matches!(
                source.as_ref(),
                kube::Error::Api(status)
                    if (400..500).contains(&status.code) && ![401, 408, 409, 429].contains(&status.code)
            ),
            Self::Unreadable { .. } => false,
        }
    }
}

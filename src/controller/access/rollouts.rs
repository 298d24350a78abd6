use async_trait::async_trait;
use jiff::Timestamp;
use thiserror::Error;

use crate::access::Client;

/// Where a workload's Pods are replaced by ones that run with its new credentials: Kubernetes, and a double of it for tests.
#[async_trait]
pub trait Rollouts: Send + Sync + 'static {
    /// Has the Pods replaced, where that is not under way yet, and tells how far it is. To be called again and again.
    ///
    /// `username`: the user whose credentials they are to have; `made`: when those were made; `since`: since when Pods that begin
    /// find them in the Secret; `may_roll`: whether the Pods may be asked to be replaced now, where they are not yet, or somebody
    /// took that back.
    async fn advance(
        &self,
        client: &Client,
        username: &str,
        made: Timestamp,
        since: Timestamp,
        may_roll: bool,
    ) -> Result<Rollout, RolloutError>;
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// No Pod that may run with other credentials is left.
    Done,
    Waits {
        /// Pods that may run with the credentials before these, by name.
        left: Vec<String>,
        /// Why nothing will come of it by itself, and what would help.
        needs: Option<&'static str>,
        /// They were asked to be replaced just now.
        rolled: bool,
    },
}

/// Kubernetes did not do it.
#[derive(Debug, Error)]
#[error("{doing} {workload}: {message}")]
pub struct RolloutError {
    pub doing: &'static str,
    pub workload: String,
    pub message: String,
}

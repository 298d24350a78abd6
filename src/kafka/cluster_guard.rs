use async_trait::async_trait;

use super::Trouble;

/// Decides whether brokers belong to the cluster that is to be kept as declared.
///
/// Asked about each connection before anything else is asked there: whatever is the truth of another cluster would be
/// changed into what is declared for this one, and what another topicops made there would be taken for our own.
#[async_trait]
pub trait ClusterGuard: Send + Sync + 'static {
    /// # Errors
    /// Why nothing is to be asked of brokers of the cluster with this id.
    async fn admit(&self, cluster_id: &str) -> Result<(), (Trouble, String)>;
}

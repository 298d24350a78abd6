use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;
use topicops_contract::OperatorId;

use crate::kafka::{ClusterGuard, Trouble};

/// The one Kafka cluster that is kept: the first that was ever reached, remembered in the ConfigMap
/// `<operator-id>-kafka-cluster` in topicops' own namespace. Whoever deletes that lets the next one take its place.
pub struct HomeCluster {
    api: Api<ConfigMap>,
    namespace: String,
    name: String,
    leading: watch::Receiver<bool>,
    /// The id that was admitted last in this leadership. Whatever else is asked about is looked up each time.
    admitted: Mutex<Option<String>>,
}

const KEY: &str = "cluster-id";

impl HomeCluster {
    /// `leading`: whether this replica does.
    pub fn new(
        client: Client,
        namespace: &str,
        operator: &OperatorId,
        leading: watch::Receiver<bool>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: format!("{operator}-kafka-cluster"),
            leading,
            admitted: Mutex::default(),
        }
    }

    /// To be called when a leadership ends: the next one may be months later.
    pub fn forget(&self) {
        *self.admitted() = None;
    }

    /// The id that is remembered; this one, where none was.
    async fn remembered(&self, cluster_id: &str) -> Result<String, kube::Error> {
        loop {
            if let Some(found) = self.api.get_opt(&self.name).await? {
                return Ok(found.data.and_then(|mut data| data.remove(KEY)).unwrap_or_default());
            }
            let first = ConfigMap {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                data: Some([(KEY.to_owned(), cluster_id.to_owned())].into()),
                ..ConfigMap::default()
            };
            match self.api.create(&PostParams::default(), &first).await {
                Ok(_) => return Ok(cluster_id.to_owned()),
                // Another replica was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn admitted(&self) -> MutexGuard<'_, Option<String>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ClusterGuard for HomeCluster {
    async fn admit(&self, cluster_id: &str) -> Result<(), (Trouble, String)> {
        if self.admitted().as_deref() == Some(cluster_id) {
            return Ok(());
        }
        let Self { namespace, name, .. } = self;
        let home = self.remembered(cluster_id).await.map_err(|error| {
            let cause = crate::chain(&error);
            let message = format!(
                "which Kafka cluster is kept is in ConfigMap {namespace}/{name}, and that is not to be had: {cause}"
            );
            (Trouble::Unreachable, message)
        })?;
        if home != cluster_id {
            let message = format!(
                "this is Kafka cluster \"{cluster_id}\", and the one that is kept is \"{home}\", as ConfigMap \
                 {namespace}/{name} says: nothing is done here. If it has taken that one's place, delete the ConfigMap"
            );
            return Err((Trouble::OtherCluster, message));
        }
        *self.admitted() = Some(home).filter(|_| *self.leading.borrow());
        Ok(())
    }
}

impl std::fmt::Debug for HomeCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HomeCluster({}/{})", self.namespace, self.name)
    }
}

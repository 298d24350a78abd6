//! The policy file, as its ConfigMap brings it to topicops.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{PATIENCE, World, operator::metric, wait};

impl World {
    /// Puts a policy in its ConfigMap, and waits until it counts in all replicas.
    pub async fn put_policy(&self, policy: &str) -> Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        self.write_policy(policy).await?;
        wait::until("the policy to count", PATIENCE, || async {
            for pod in self.pods("topicops", "app.kubernetes.io/name=topicops").await? {
                let (_, metrics) = self.probe(&pod, "/metrics").await?;
                let loaded = metric(&metrics, "topicops_policy_loaded_timestamp_seconds");
                ensure!(
                    loaded.is_some_and(|loaded| loaded >= since),
                    "read at {loaded:?}, and changed at {since}"
                );
                ensure!(
                    metric(&metrics, "topicops_policy_valid") == Some(1.0),
                    "{:?}",
                    self.probe(&pod, "/readyz").await?
                );
            }
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    pub async fn write_policy(&self, policy: &str) -> Result<()> {
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "topicops-policy" },
            "data": { "policy.yaml": policy },
        });
        let params = PatchParams::apply("administrator").force();
        self.api::<ConfigMap>("topicops").patch("topicops-policy", &params, &Patch::Apply(object)).await?;
        Ok(())
    }
}

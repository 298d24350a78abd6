//! Tells the API server how a Pod fares.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::sync::watch;

use super::context::Context;
use super::pod_state::PodState;
use crate::wait;

/// The API server may be taken away for a while; a Pod's end has to reach it all the same.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) struct Reporter {
    pods: Api<Pod>,
    pod: watch::Receiver<Arc<Pod>>,
    state: Arc<PodState>,
}

impl Reporter {
    pub(super) fn new(context: &Context, pod: watch::Receiver<Arc<Pod>>, state: Arc<PodState>) -> Self {
        let namespace = pod.borrow().namespace().unwrap_or_default();
        Self { pods: Api::namespaced(context.client.clone(), &namespace), pod, state }
    }

    /// Reports every change, for as long as it is polled; several changes may become one report. Does
    /// not end by itself.
    pub(super) async fn run(&self) {
        let mut changes = self.state.changes();
        let mut pod = self.pod.clone();
        let mut reported: Option<PodStatus> = None;
        loop {
            let object = Arc::clone(&pod.borrow_and_update());
            changes.mark_unchanged();
            let status = self.state.status(&object);
            if reported.as_ref() != Some(&status) {
                match self.report(&object, &status).await {
                    Ok(()) => reported = Some(status),
                    Err(error) => {
                        tracing::debug!(pod = object.name_any(), %error, "a status was not reported");
                        wait::pause_unless(wait::SHORT_WHILE, pod.changed()).await;
                        continue;
                    }
                }
            }
            let object_lives = tokio::select! {
                _ = changes.changed() => true,
                changed = pod.changed() => changed.is_ok(),
            };
            if !object_lives {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Reports the state as it is now, for the last time.
    pub(super) async fn finish(&self) {
        let object = Arc::clone(&self.pod.borrow());
        if let Err(error) = self.report(&object, &self.state.status(&object)).await {
            tracing::debug!(pod = object.name_any(), %error, "a last status was not reported");
        }
    }

    async fn report(&self, pod: &Pod, status: &PodStatus) -> Result<(), kube::Error> {
        // With the uid, a Pod of the same name that came later cannot be meant.
        let patch = json!({ "metadata": { "uid": pod.uid() }, "status": status });
        self.pods
            .patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch))
            .await
            .map(drop)
    }

    /// Removes the Pod's object: all that ran has ended.
    pub(super) async fn remove(&self) -> Result<()> {
        let pod = Arc::clone(&self.pod.borrow());
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        wait::until(format!("Pod {} to be removed", pod.name_any()), PATIENCE, || async {
            match self.pods.delete(&pod.name_any(), &parameters).await {
                Ok(_) => Ok(()),
                // Gone, or another one of the same name.
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
                Err(error) => Err(anyhow!(error)),
            }
        })
        .await
    }
}

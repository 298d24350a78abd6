use kube::runtime::watcher;
use tokio::sync::watch;

use super::health::Health;

/// How the first listing of the objects of one kind stands: no replica is ready before it knows them.
#[derive(Debug)]
pub struct FirstListing {
    complete: watch::Sender<bool>,
    health: Health,
}

impl FirstListing {
    /// With what becomes true when it is complete.
    pub fn new(health: &Health) -> (Self, watch::Receiver<bool>) {
        let (complete, listed) = watch::channel(false);
        (Self { complete, health: health.clone() }, listed)
    }

    pub(super) fn complete(&self, kind: &str) {
        if !self.complete.send_replace(true) {
            self.health.listed(kind);
        }
    }

    /// Later failures take no readiness: what is known goes on being known. `namespace`: the one whose objects are listed;
    /// `None`: all.
    pub(super) fn failed(&self, kind: &str, namespace: Option<&str>, error: &watcher::Error) {
        if *self.complete.borrow() {
            return;
        }
        let why = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
                if status.code == 403 =>
            {
                let (message, gives) = (&status.message, "of this version gives that right");
                match namespace {
                    None => format!("{message}; deploy/install/20-rbac.yaml {gives}"),
                    Some(namespace) => format!(
                        "{message}; deploy/namespaced/namespace.yaml {gives}: kubectl --namespace {namespace} apply -f \
                         deploy/namespaced/namespace.yaml"
                    ),
                }
            }
            error => error.to_string(),
        };
        self.health.not_listed(kind, &why);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use axum::{Json, Router, extract::State, http::StatusCode};
    use kube::{Api, Client};
    use serde_json::json;

    use super::*;
    use crate::{
        KafkaTopic,
        controller::{keep_watching_if_served, topics::TopicIndex},
        metrics::Metrics,
    };

    #[tokio::test(start_paused = true)]
    async fn what_may_not_be_listed_is_named_until_it_may_with_the_file_that_gives_the_right() {
        let refused =
            "kafkatopics.topic.kafka.nb is forbidden: User \"topicops\" cannot list resource \"kafkatopics\"";
        let one = "--namespace shop apply -f deploy/namespaced/namespace.yaml";
        for (namespace, file) in [(None, "deploy/install/20-rbac.yaml"), (Some("shop"), one)] {
            let allowed = Arc::new(AtomicBool::new(false));
            let answer = move |State(allowed): State<Arc<AtomicBool>>| async move {
                if allowed.load(Ordering::Relaxed) {
                    let listed = json!({
                        "apiVersion": "topic.kafka.nb/v1beta1", "kind": "KafkaTopicList",
                        "metadata": { "resourceVersion": "1" }, "items": [],
                    });
                    return (StatusCode::OK, Json(listed));
                }
                let status = json!({
                    "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": refused,
                });
                (StatusCode::FORBIDDEN, Json(status))
            };
            let server = Router::new().fallback(answer).with_state(Arc::clone(&allowed));
            let client = Client::new(server, "default");
            let api: Api<KafkaTopic> = match namespace {
                None => Api::all(client),
                Some(namespace) => Api::namespaced(client, namespace),
            };
            let health = Health::new(Metrics::with_registry().0);
            let (listing, mut listed) = FirstListing::new(&health);
            let caches = || health.check("caches").unwrap().unwrap_err();
            let before = caches();
            let watching =
                tokio::spawn(keep_watching_if_served(api, Arc::new(TopicIndex::default()), listing));
            while caches() == before {
                tokio::time::advance(std::time::Duration::from_millis(100)).await;
                tokio::task::yield_now().await;
            }
            let told = caches();
            assert!(
                told.contains("KafkaTopic") && told.contains(refused) && told.contains(file),
                "{namespace:?}: {told}"
            );
            allowed.store(true, Ordering::Relaxed);
            listed.wait_for(|listed| *listed).await.unwrap();
            assert_eq!(caches(), before, "the others are not listed yet");
            watching.abort();
        }
    }
}

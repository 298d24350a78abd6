use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt, watcher,
        watcher::{Config, Event},
    },
};
use topicops_contract::OperatorId;
use tracing::warn;

use super::{
    MoveDesk,
    store::{ConfigMapMoveStore, REQUEST_KEY},
};

/// Watches for rebalances that somebody asks for, for ever, and lays them on the desk.
pub async fn watch_requests(client: Client, namespace: String, operator: OperatorId, desk: Arc<MoveDesk>) {
    let name = ConfigMapMoveStore::request_name(&operator);
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let stream = watcher(api, Config::default().fields(&format!("metadata.name={name}"))).default_backoff();
    pin_mut!(stream);
    let mut listed = false;
    // `None`: nothing was said yet, not even that there is no request.
    let mut last: Option<Option<String>> = None;
    while let Some(event) = stream.next().await {
        let config_map = match event {
            Ok(Event::Init) => {
                listed = false;
                continue;
            }
            Ok(Event::InitApply(config_map) | Event::Apply(config_map)) => {
                listed = true;
                Some(config_map)
            }
            Ok(Event::InitDone) if listed => continue,
            Ok(Event::InitDone | Event::Delete(_)) => None,
            Err(error) => {
                warn!(error = %error, "watching for rebalances failed; trying again");
                continue;
            }
        };
        let text = config_map.and_then(|config_map| config_map.data?.remove(REQUEST_KEY));
        // Its status changes more often than the request.
        if last.as_ref() == Some(&text) {
            continue;
        }
        match text.as_deref().map(serde_json::from_str).transpose() {
            Ok(request) => desk.request(request),
            Err(error) => warn!(config_map = name, error = %error, "this is no request for a rebalance"),
        }
        last = Some(text);
    }
}

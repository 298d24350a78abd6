//! The objects that tests send, and what is answered to those that are refused.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use serde_json::{Value, json};

use super::KAFKA_IMAGE;

pub(super) fn object(value: &Value) -> BTreeMap<String, Value> {
    value.as_object().map(|object| object.clone().into_iter().collect()).unwrap_or_default()
}

/// Annotation names are given without their prefix.
pub fn topic_config_map(name: &str, data: Value, annotations: Value) -> Result<ConfigMap> {
    let annotations: BTreeMap<String, Value> = object(&annotations)
        .into_iter()
        .map(|(key, value)| (format!("topic.kafka.nb/{key}"), value))
        .collect();
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "config": "kafka-topic" }, "annotations": annotations },
        "data": data,
    }))?)
}

/// A labelled Deployment of one container `main`; annotation names are given without their prefix.
pub fn client_deployment(name: &str, annotations: Value, replicas: i32, script: &str) -> Result<Deployment> {
    let annotations: BTreeMap<String, Value> = object(&annotations)
        .into_iter()
        .map(|(key, value)| (format!("topic.kafka.nb/{key}"), value))
        .collect();
    Ok(serde_json::from_value(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": { "kafka-operator": "inject-credentials" },
            "annotations": annotations,
        },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "main",
                        "image": KAFKA_IMAGE,
                        "command": ["/bin/sh", "-c", script],
                    }],
                },
            },
        },
    }))?)
}

/// The message of a refusal by the API server; an error when it was no refusal.
pub fn refusal<T>(result: Result<T>) -> Result<String> {
    match result {
        Ok(_) => bail!("it was accepted"),
        Err(error) => match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Ok(status.message.clone()),
            _ => Err(error),
        },
    }
}

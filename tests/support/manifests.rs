//! The objects that tests send, and what is answered to those that are refused.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use serde_json::{Value, json};

use super::KAFKA_IMAGE;

pub(super) fn object(value: &Value) -> BTreeMap<String, Value> {
    value.as_object().map(|object| object.clone().into_iter().collect()).unwrap_or_default()
}

/// Annotations of topicops, whose names are given without their prefix.
pub fn annotations(short: &Value) -> Value {
    let all = object(short).into_iter().map(|(key, value)| (format!("topic.kafka.nb/{key}"), value));
    all.collect()
}

/// Annotation names are given without their prefix.
pub fn topic_config_map(name: &str, data: Value, short: Value) -> Result<ConfigMap> {
    let annotations = annotations(&short);
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "config": "kafka-topic" }, "annotations": annotations },
        "data": data,
    }))?)
}

/// A labelled workload of one container `main`, of one of the kinds that Deployments are like; annotation names are given without
/// their prefix.
pub fn client_workload(kind: &str, name: &str, short: &Value, replicas: i32, script: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "labels": { "kafka-operator": "inject-credentials" },
            "annotations": annotations(short),
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
    })
}

/// The same as a Deployment.
pub fn client_deployment(name: &str, short: Value, replicas: i32, script: &str) -> Result<Deployment> {
    Ok(serde_json::from_value(client_workload("Deployment", name, &short, replicas, script))?)
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

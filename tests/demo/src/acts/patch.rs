//! What the webhook does to a pod template: the same Deployment with the label and without, side by side.

use std::fs;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::PostParams};
use serde::Deserialize as _;
use similar::{ChangeTag, TextDiff};
use topicops_contract::keys::{INJECT_LABEL, injected};

use crate::{
    report::Report,
    stage::{Stage, repository},
};

pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<()> {
    report.heading("What admission added to the order service's pod template");
    let api: Api<Deployment> = Api::namespaced(stage.client().await?, "shop");
    let with = template(&api.get("order-service").await?)?;

    let mut plain = written("deploy/examples/1-shop.yaml", "order-service")?;
    plain.metadata.labels.get_or_insert_default().remove(INJECT_LABEL);
    plain.metadata.name = Some("order-service-without".to_owned());
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let without = template(&api.create(&dry, &plain).await?)?;

    let diff = TextDiff::from_lines(&without, &with);
    report.show(&diff.unified_diff().context_radius(2).header("without the label", "with it").to_string());
    let removed: Vec<String> = diff
        .iter_all_changes()
        .filter(|change| change.tag() == ChangeTag::Delete)
        .map(|change| change.value().trim().to_owned())
        .collect();
    report.claim("nothing was taken away or changed, only added", removed.is_empty(), removed.join("; "));
    let mount = format!("mountPath: {}/{}", injected::BINDING_ROOT, injected::BINDING_NAME);
    for added in [&mount, "name: SERVICE_BINDING_ROOT", "name: KAFKA_OPTS"] {
        report.claim(&format!("it holds \"{added}\""), with.contains(added), "it does not");
    }
    Ok(())
}

fn template(deployment: &Deployment) -> Result<String> {
    let spec = deployment.spec.as_ref().context("the Deployment has no spec")?;
    Ok(serde_norway::to_string(&spec.template)?)
}

/// The Deployment of that name, as it stands in the file.
fn written(file: &str, name: &str) -> Result<Deployment> {
    let text = fs::read_to_string(repository().join(file)).with_context(|| format!("reading {file}"))?;
    for document in serde_norway::Deserializer::from_str(&text) {
        let value = serde_json::Value::deserialize(document)?;
        if value["kind"] == "Deployment" && value["metadata"]["name"] == name {
            return Ok(serde_json::from_value(value)?);
        }
    }
    anyhow::bail!("{file} holds no Deployment {name}")
}

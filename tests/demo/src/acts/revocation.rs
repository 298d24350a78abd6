//! A service goes, and what it held opens nothing any more.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use topicops_testbed::wait;

use crate::{report::Report, stage::Stage};

const SECRET: &str = "order-service-kafka-credentials";
const REFUSAL: &str = "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512";

pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<()> {
    report.heading("The order service is deleted, and its credentials fail");
    let api: Api<Secret> = Api::namespaced(stage.client().await?, "shop");
    let data = api.get(SECRET).await?.data.unwrap_or_default();
    let properties = data.get("client.properties").context("the Secret has no client.properties")?;
    let folder = tempfile::tempdir()?;
    let stolen = folder.path().join("client.properties");
    fs::write(&stolen, &properties.0)?;

    let list = stage.kafka_tool_as(&stolen, "kafka-topics.sh", &["--list"]).await?;
    report.note("kafka-topics.sh --list with a copy of its client.properties, while it runs:");
    report.show(&list.out);
    let claim = "the copy works, and shows the one topic that it may use";
    report.claim(claim, list.out.trim() == "orders", format!("{}{}", list.out, list.err));

    report.show(&stage.kubectl(["-n", "shop", "delete", "deployment", "order-service"]).await?.out);
    let gone = wait::until("the Secret to go", Duration::from_secs(60), || async {
        ensure!(api.get_opt(SECRET).await?.is_none(), "it is still there");
        anyhow::Ok(())
    });
    report.step("waiting until its Secret is gone", gone).await?;
    let refused = report.step("trying the copy again", refusal(stage, &stolen)).await?;
    report.show(&refused);
    report.claim("Kafka does not know it any more", refused.contains(REFUSAL), refused);

    let user = "User:topicops.shop.order-service";
    let rules = stage.kafka()?.tool("kafka-acls.sh", ["--list", "--principal", user]).await?;
    let held = !rules.contains("operation=");
    report.claim(&format!("no rule is left of {user}"), held, rules);
    Ok(())
}

/// The line in which the broker refuses; it may let the old login pass for a moment after it was revoked.
async fn refusal(stage: &Stage, properties: &Path) -> Result<String> {
    wait::until("the broker to refuse the old login", Duration::from_secs(60), || async {
        let list = stage.kafka_tool_as(properties, "kafka-topics.sh", &["--list"]).await?;
        let text = list.out + &list.err;
        match text.lines().find(|line| line.contains("Authentication failed")) {
            Some(line) => Ok(line.to_owned()),
            None => bail!("{text}"),
        }
    })
    .await
}

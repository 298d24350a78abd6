//! A service that asks for a topic nobody granted it, and the three places where it is told why.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use topicops_testbed::wait;

use crate::{report::Report, stage::Stage};

/// The line that is missing, and where.
const MISSING: &str = "add \"nosy/snoop\" to its data key \"consumers\"";

/// What Kafka's Java client says.
const REFUSAL: &str = "TopicAuthorizationException: Not authorized to access topics: [payments]";

pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<()> {
    report.heading("A nosy service asks for payments, which nobody granted it");
    let applied = stage.kubectl(["apply", "-f", "deploy/examples/3-nosy.yaml"]).await?;
    report.show(&(applied.err.clone() + &applied.out));
    let warned = applied.err.contains("Warning:") && applied.err.contains(MISSING);
    report.claim("kubectl apply warns which line is missing where", warned, applied.err);

    let event = report.step("waiting for an Event on the Deployment", event(stage)).await?;
    report.show(&event);
    report.claim("the Event says the same", event.contains(MISSING), event);

    let refusal = wait::until("a refusal in its log", Duration::from_secs(120), || async {
        let log = stage.logs("nosy", "snoop").await?;
        let line = log.lines().find(|line| line.contains(REFUSAL)).map(str::to_owned);
        line.with_context(|| format!("the log ends with: {}", log.lines().last().unwrap_or_default()))
    });
    let refusal = report.step("waiting for what Kafka tells it", refusal).await?;
    report.show(&refusal);
    report.claim("Kafka itself refuses it", true, "");
    Ok(())
}

async fn event(stage: &Stage) -> Result<String> {
    let api: Api<Event> = Api::namespaced(stage.client().await?, "nosy");
    wait::until("an Event TopicNotGranted", Duration::from_secs(60), || async {
        let events = api.list(&ListParams::default()).await?.items;
        let reasons: Vec<String> = events.iter().filter_map(|event| event.reason.clone()).collect();
        let found = events.into_iter().find(|event| event.reason.as_deref() == Some("TopicNotGranted"));
        let found = found.with_context(|| format!("reasons so far: {}", reasons.join(", ")))?;
        let regarding = found.regarding.unwrap_or_default();
        let (kind, name) = (regarding.kind.unwrap_or_default(), regarding.name.unwrap_or_default());
        anyhow::Ok(format!(
            "{} TopicNotGranted {kind}/{name}: {}",
            found.type_.unwrap_or_default(),
            found.note.unwrap_or_default()
        ))
    })
    .await
}

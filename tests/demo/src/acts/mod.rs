//! What is shown, in order. An act that cannot go on is noted as failed, and the next one is tried: it may well hold.

mod install;
mod nosy;
mod patch;
mod records;
mod retention;
mod revocation;
mod secret;
mod topics;

use anyhow::Result;

use crate::{report::Report, stage::Stage};

/// All acts.
///
/// # Errors
/// When topicops cannot even be installed.
pub(crate) async fn all(stage: &Stage, report: &mut Report) -> Result<()> {
    install::show(stage, report).await?;
    let topics = topics::show(stage, report).await;
    note(report, "topics are shown", topics);
    let patch = patch::show(stage, report).await;
    note(report, "the patch is shown", patch);
    let secret = secret::show(stage, report).await;
    note(report, "the Secret is shown", secret);
    let records = records::show(stage, report).await;
    note(report, "records are shown", records);
    let nosy = nosy::show(stage, report).await;
    note(report, "the refusal is shown", nosy);
    let retention = retention::show(stage, report).await;
    note(report, "the new retention is shown", retention);
    let revocation = revocation::show(stage, report).await;
    note(report, "the revocation is shown", revocation);
    Ok(())
}

fn note(report: &mut Report, claim: &str, outcome: Result<()>) {
    if let Err(error) = outcome {
        report.failed(claim, &error);
    }
}

//! The Secret that the Pods find, by its keys only, and what topicops' own account cannot do with Secrets.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use topicops_contract::{ClientSecret, SECRET_KEYS};
use topicops_testbed::wait;

use crate::{report::Report, stage::Stage};

pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<()> {
    report.heading("The order service's Secret: a key for every kind of client");
    let api: Api<Secret> = Api::namespaced(stage.client().await?, "shop");
    let secret =
        wait::until("the Secret", Duration::from_secs(60), || api.get("order-service-kafka-credentials"));
    let secret = report.step("waiting until its credentials work", secret).await?;
    let type_ = secret.type_.unwrap_or_default();
    let data = secret.data.unwrap_or_default();
    let lines = data.iter().map(|(key, value)| format!("{key:<24}{:>6} bytes", value.0.len()));
    report.show(&lines.collect::<Vec<_>>().join("\n"));

    let keys: BTreeSet<&str> = data.keys().map(String::as_str).collect();
    let held = keys == BTreeSet::from(SECRET_KEYS);
    report.claim("it has exactly the keys of the contract", held, format!("{keys:?}"));
    report.claim(&format!("its type is {}", ClientSecret::TYPE), type_ == ClientSecret::TYPE, type_);

    let account = "--as=system:serviceaccount:topicops:topicops";
    let loot = ["-n", "shop", "create", "secret", "generic", "loot", "--from-literal=a=b", account];
    let refused = stage.refused_kubectl(loot).await?;
    report.note("the same account, asked to write any other Secret:");
    report.show(&refused.err);
    let held = !refused.succeeded && refused.err.contains("topicops writes only Secrets of type");
    report.claim("the API server keeps topicops to Secrets of that type", held, refused.out);
    Ok(())
}

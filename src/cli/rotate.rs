use std::{io::Write, str::FromStr, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep};
use topicops_contract::{ClientRequest, Workload, WorkloadKind, keys};

use super::settings::duration;
use crate::workload_resource::workload_resource;

/// The settings of `topicops rotate`.
#[derive(Args, Clone, Debug)]
pub struct RotateSettings {
    /// The workload, as NAMESPACE/NAME.
    pub workload: Name,

    /// Its kind, where several of them have that name: Deployment, StatefulSet, DaemonSet, Job or CronJob.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<WorkloadKind>,

    /// Waits until all its Pods run with the new credentials, and the ones before are revoked.
    #[arg(long)]
    pub wait: bool,

    /// How long --wait waits at most; exit code 3 when that was not enough.
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// A namespace and a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    namespace: String,
    name: String,
}

/// How a rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// Asked for, or done where that was waited for.
    Done,
    /// It goes on.
    Pending,
}

const LOOK: Duration = Duration::from_secs(1);

/// `topicops rotate`: asks for new credentials of one workload, by its annotation, as anybody may who may change the workload.
///
/// # Errors
/// There is no such workload, or several; it asks for no credentials; the API server refuses.
pub async fn rotate(settings: &RotateSettings, out: &mut (dyn Write + Send)) -> Result<Rotated> {
    let config = Config::infer().await.context("finding the Kubernetes API server")?;
    let client = Client::try_from(config).context("setting up the Kubernetes client")?;
    let (workload, meta) = find(&client, settings).await?;
    if workload.kind() == WorkloadKind::Pod {
        bail!("{workload} is one Pod for all its life and cannot change over: delete it and create it again");
    }
    let none = std::collections::BTreeMap::new();
    if !ClientRequest::is_labelled(meta.labels.as_ref().unwrap_or(&none)) {
        bail!(
            "{workload} has no label {}={}, so topicops gave it no credentials",
            keys::INJECT_LABEL,
            keys::INJECT_LABEL_VALUE
        );
    }
    let request = ClientRequest::parse(workload.clone(), meta.annotations.as_ref().unwrap_or(&none))
        .map_err(|problems| anyhow::anyhow!("{workload} has mistakes in its annotations: {problems}"))?;
    let Some(request) = request else { bail!("{workload} asks for no topic, so it has no credentials") };
    let token = Timestamp::now().to_string();
    let patch = json!({ "metadata": { "uid": meta.uid, "annotations": { (keys::client::ROTATE): token } } });
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), workload.namespace(), &workload_resource(workload.kind()));
    api.patch(workload.name(), &PatchParams::default(), &Patch::Merge(patch))
        .await
        .with_context(|| format!("annotating {workload}"))?;
    writeln!(out, "{workload}: asked for new credentials ({}: {token})", keys::client::ROTATE)?;
    if !settings.wait {
        return Ok(Rotated::Done);
    }
    let secrets: Api<Secret> = Api::namespaced(client, workload.namespace());
    wait(&secrets, &request.secret_name, &token, settings.timeout, out).await
}

async fn wait(
    secrets: &Api<Secret>,
    name: &str,
    token: &str,
    timeout: Duration,
    out: &mut (dyn Write + Send),
) -> Result<Rotated> {
    let until = Instant::now() + timeout;
    let mut told = String::new();
    loop {
        // An API server that does not answer is asked again.
        let stands = match secrets.get_metadata_opt(name).await {
            Ok(Some(secret)) => stands(&secret.metadata, token),
            Ok(None) => (format!("there is no Secret {name} yet"), false),
            Err(error) => (format!("trying again: {}", crate::chain(&error)), false),
        };
        let (message, done) = stands;
        if message != told {
            writeln!(out, "{message}")?;
            told = message;
        }
        if done {
            return Ok(Rotated::Done);
        }
        if Instant::now() >= until {
            writeln!(out, "it goes on: the Events of the workload tell how")?;
            return Ok(Rotated::Pending);
        }
        sleep(LOOK).await;
    }
}

/// How far the rotation is, by what its Secret says; and whether it is over.
fn stands(secret: &ObjectMeta, token: &str) -> (String, bool) {
    let says = |key: &str| secret.annotations.as_ref()?.get(key).map(String::as_str);
    let user = says(keys::secret::USERNAME).unwrap_or("?");
    match (says(keys::secret::MADE_FOR) == Some(token), says(keys::secret::PREVIOUS)) {
        (false, Some(previous)) => {
            (format!("waiting for the rotation before, from user {previous} to {user}"), false)
        }
        (false, None) => (format!("user {user}; topicops has not taken it up yet"), false),
        (true, Some(previous)) => {
            (format!("user {user} is in the Secret; Pods may run with user {previous} still"), false)
        }
        (true, None) => (format!("all Pods have user {user}"), true),
    }
}

/// The one workload of that name.
async fn find(client: &Client, settings: &RotateSettings) -> Result<(Workload, ObjectMeta)> {
    let Name { namespace, name } = &settings.workload;
    let kinds = settings.kind.map_or_else(|| WorkloadKind::ALL.to_vec(), |kind| vec![kind]);
    let mut found = Vec::new();
    for kind in kinds {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &workload_resource(kind));
        let object = api.get_metadata_opt(name).await;
        let object = object.with_context(|| format!("looking for {kind} {namespace}/{name}"))?;
        found.extend(object.map(|object| (Workload::new(namespace, kind, name), object.metadata)));
    }
    match found.len() {
        0 => bail!("there is no workload {namespace}/{name}"),
        1 => Ok(found.remove(0)),
        _ => {
            let all: Vec<String> = found.iter().map(|(workload, _)| workload.to_string()).collect();
            bail!("several workloads have that name: {}; choose one with --kind", all.join(", "))
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self { namespace: (*namespace).to_owned(), name: (*name).to_owned() })
            }
            _ => Err(format!("\"{text}\" is no NAMESPACE/NAME, such as shop/orders")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> ObjectMeta {
        let annotations = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ObjectMeta { annotations: Some(annotations), ..ObjectMeta::default() }
    }

    #[test]
    fn what_the_secret_says_tells_how_far_it_is() {
        use keys::secret::{MADE_FOR, PREVIOUS, USERNAME};
        let told = |pairs: &[(&str, &str)]| stands(&secret(pairs), "now");
        assert!(told(&[(USERNAME, "u")]).0.contains("not taken it up"));
        assert!(
            told(&[(USERNAME, "u_2"), (PREVIOUS, "u"), (MADE_FOR, "then")]).0.contains("the rotation before")
        );
        assert!(!told(&[(USERNAME, "u_2"), (PREVIOUS, "u"), (MADE_FOR, "now")]).1);
        assert_eq!(
            told(&[(USERNAME, "u_2"), (MADE_FOR, "now")]),
            ("all Pods have user u_2".to_owned(), true)
        );
    }

    #[test]
    fn a_workload_is_named_with_its_namespace() {
        assert_eq!("shop/orders".parse::<Name>().unwrap().name, "orders");
        for wrong in ["orders", "shop/", "/orders", "a/b/c", ""] {
            assert!(wrong.parse::<Name>().unwrap_err().contains(wrong), "{wrong}");
        }
    }
}

//! `topicops access`: who can read and write a topic, and what a workload can do, told from what is declared and from what
//! the brokers have.

mod consent;
mod facts;
mod row;
mod since;
#[cfg(test)]
mod tests;
mod topic_report;
mod workload_report;

use std::{collections::BTreeSet, fmt::Display, io::Write, path::PathBuf, str::FromStr};

use anyhow::{Context, Result, bail};
use clap::Args;
use kube::{Client as KubeClient, Config};
use serde::Serialize;
use topicops_contract::{NamePattern, OperatorId, Problem, TopicName};

pub(super) use self::consent::GrantLines;
use self::{
    facts::Facts,
    topic_report::TopicReport,
    workload_report::{SecretIs, SecretState, WorkloadReport},
};
use super::{
    Grants, Output, WorkloadName,
    cluster_objects::{ClusterObjects, ledger, users_of},
    kafka_config::cluster,
    settings::{namespace, pattern},
};
use crate::{
    ObjectKey,
    access::Client,
    controller::{
        Scope,
        access::{KubeSecretStore, SecretStore},
    },
    kafka::{AclRule, Cluster, WireCluster},
    topic::TopicPolicy,
};

/// The settings of `topicops access`.
#[derive(Args, Clone, Debug)]
pub struct AccessSettings {
    /// A topic, or a workload.
    #[arg(value_name = "TOPIC|NAMESPACE/WORKLOAD")]
    pub what: AccessOf,

    /// Kafka client properties file with which the brokers are asked, as Java clients use it.
    #[arg(long, env = "TOPICOPS_KAFKA_CONFIG", value_name = "FILE")]
    pub kafka_config: PathBuf,

    /// The --operator-id of the topicops that is asked about.
    #[arg(long, env = "TOPICOPS_OPERATOR_ID", default_value = "topicops")]
    pub operator_id: OperatorId,

    /// The namespace it runs in: its ledger is there.
    #[arg(long, env = "TOPICOPS_NAMESPACE", default_value = "topicops", value_name = "NAMESPACE")]
    pub namespace: String,

    /// The namespaces that are looked after, as topicops run has it.
    #[arg(long, env = "TOPICOPS_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE,…", value_parser = namespace)]
    pub namespaces: Vec<String>,

    /// Who may use a topic, as topicops run has it.
    #[arg(long, env = "TOPICOPS_GRANTS", value_enum, default_value = "namespace")]
    pub grants: Grants,

    /// Topics that are never touched, as topicops run has it.
    #[arg(long, env = "TOPICOPS_PROTECTED_TOPICS", value_delimiter = ',', value_name = "PATTERN", value_parser = pattern)]
    pub protected_topics: Vec<NamePattern>,

    /// How it is told.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub output: Output,
}

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessOf {
    Topic(TopicName),
    Workload(WorkloadName),
}

impl FromStr for AccessOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return text.parse().map(Self::Workload);
        }
        text.parse().map(Self::Topic).map_err(|problem: Problem| problem.to_string())
    }
}

/// Whether the brokers have what is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accessed {
    AsGranted,
    /// Something is missing there, or is there and is not granted.
    Differs,
}

/// What nobody can be asked about.
const SUPER_USERS: &str = "the brokers' super users may do everything, and brokers tell nobody who they are";

/// `topicops access`: tells who can do what, and changes nothing.
///
/// # Errors
/// The API server or the brokers do not answer, or there is no such topic or workload.
pub async fn access(settings: &AccessSettings, out: &mut (dyn Write + Send)) -> Result<Accessed> {
    let cluster = cluster(&settings.kafka_config)?;
    let config = Config::infer().await.context("finding the Kubernetes API server")?;
    let client = KubeClient::try_from(config).context("setting up the Kubernetes client")?;
    let scope = Scope::of(settings.namespaces.clone());
    let (objects, kafka) = tokio::try_join!(ClusterObjects::read(&client, &scope), Kafka::ask(&cluster))?;
    let policy = TopicPolicy { protected: settings.protected_topics.clone(), ..TopicPolicy::default() };
    let ledger = ledger(&client, &settings.namespace, &settings.operator_id);
    let by_ledger = objects.grants_by_ledger(&ledger, &policy, &kafka.existing).await?;
    let hidden = by_ledger.is_none();
    let grants = by_ledger.unwrap_or_else(|| objects.grants_by_status());
    let prefix = format!("{}.", settings.operator_id);
    let mode = settings.grants.into();
    let acls = kafka.rules.iter().filter_map(AclRule::acl).collect();
    let decisions = objects.decisions(&settings.operator_id, &grants, mode, &kafka.users, acls);
    let facts = Facts {
        objects: &objects,
        grants: &grants,
        mode,
        decisions: &decisions,
        rules: &kafka.rules,
        users: &kafka.users,
        existing: &kafka.existing,
        prefix: &prefix,
        scope: &scope,
    };
    let mut remarks = vec![SUPER_USERS.to_owned()];
    if hidden {
        let namespace = &settings.namespace;
        remarks.push(format!(
            "topicops' ledger in namespace {namespace} may not be read: whose a topic is, is told as statuses say"
        ));
    }
    match &settings.what {
        AccessOf::Topic(topic) => {
            let Some(mut report) = TopicReport::of(topic, &facts) else {
                bail!("nobody declares topic {topic}, and it is not on the brokers");
            };
            report.remarks.extend(remarks);
            tell(settings.output, &report, &report, out)?;
            Ok(verdict(report.is_as_granted()))
        }
        AccessOf::Workload(name) => {
            let clients = objects.named(name)?;
            let store = KubeSecretStore::new(client);
            let mut reports = Vec::new();
            for client in &clients {
                let (username, other) = users_of(&client.workload, &settings.operator_id, &decisions);
                let secret = secret(&store, client, &username).await;
                let mut report = WorkloadReport::of(client, &username, secret, &facts);
                report.remarks.extend(other);
                report.remarks.extend(remarks.iter().skip(1).cloned());
                reports.push(report);
            }
            let as_granted = reports.iter().all(WorkloadReport::is_as_granted);
            let text: String = reports.iter().map(ToString::to_string).collect();
            tell(settings.output, &reports, &text, out)?;
            Ok(verdict(as_granted))
        }
    }
}

fn verdict(as_granted: bool) -> Accessed {
    if as_granted { Accessed::AsGranted } else { Accessed::Differs }
}

/// What the brokers have.
struct Kafka {
    rules: Vec<AclRule>,
    users: BTreeSet<String>,
    existing: BTreeSet<String>,
}

impl Kafka {
    async fn ask(cluster: &WireCluster) -> Result<Self> {
        let (rules, users, existing) =
            tokio::try_join!(cluster.all_acls(), cluster.describe_scram_users(""), cluster.list_topics())?;
        let users = users.into_iter().map(|user| user.username).collect();
        Ok(Self { rules, users, existing: existing.into_iter().collect() })
    }
}

async fn secret(store: &KubeSecretStore, client: &Client, username: &str) -> Option<SecretState> {
    let request = client.request.as_ref().ok()?.as_ref()?;
    let key = ObjectKey::new(client.workload.namespace(), &request.secret_name);
    let state = match store.read(&key).await {
        Ok(None) => SecretIs::Missing,
        Ok(Some(secret)) if !secret.is_of(username) => SecretIs::Foreign,
        Ok(Some(secret)) if secret.is_as_written() => SecretIs::AsWritten,
        Ok(Some(_)) => SecretIs::Altered,
        Err(error) => SecretIs::Hidden(error.message),
    };
    Some(SecretState { name: key.to_string(), state })
}

/// Tells it as it was asked for.
pub(super) fn tell(
    output: Output,
    json: &impl Serialize,
    text: &impl Display,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    match output {
        Output::Text => write!(out, "{text}")?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, json)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

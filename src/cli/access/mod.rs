//! `topicops access`: who can read and write a topic, and what a workload can do, told from what is declared and from what
//! the brokers have.

mod consent;
mod facts;
mod quota_row;
mod row;
mod since;
#[cfg(test)]
mod tests;
mod topic_report;
mod workload_report;

use std::{collections::BTreeSet, fmt::Display, io::Write, path::PathBuf, str::FromStr, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::{Arg, Args};
use kube::{Client as KubeClient, Config};
use serde::Serialize;
use topicops_contract::{NamePattern, Problem, TopicName};

pub(super) use self::consent::GrantLines;
use self::{
    facts::Facts,
    topic_report::TopicReport,
    workload_report::{SecretIs, SecretState, WorkloadReport},
};
use super::{
    Grants, Installation, Output, WorkloadName,
    cluster_objects::{ClusterObjects, ledger, users_of},
    kafka_config::cluster,
    policy_memory::{ConfigMapPolicyMemory, PolicyMemory},
    settings::pattern,
};
use crate::{
    ObjectKey,
    access::{Client, Observed},
    controller::{
        Scope,
        access::{KubeSecretStore, SecretStore},
    },
    kafka::{AclRule, Cluster, ClusterError, Quota, Trouble, WireCluster},
    topic::{TopicPolicy, limits::TopicRules},
};

/// The settings of `topicops access`.
#[derive(Args, Clone, Debug)]
#[command(mut_args(in_its_own_words))]
pub struct AccessSettings {
    /// A topic, or a workload.
    #[arg(value_name = "TOPIC|NAMESPACE/WORKLOAD")]
    pub what: AccessOf,

    /// Kafka client properties file with which the brokers are asked, as Java clients use it.
    #[arg(long, env = "TOPICOPS_KAFKA_CONFIG", value_name = "FILE")]
    pub kafka_config: PathBuf,

    #[command(flatten)]
    pub installation: Installation,

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

/// What flags that others have, too, mean here.
fn in_its_own_words(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "operator_id" => arg.help("The --operator-id of the topicops that is asked about"),
        "namespace" => arg.help("The namespace it runs in: its ledger is there"),
        _ => arg,
    }
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
    let Installation { operator_id, namespace, namespaces } = &settings.installation;
    let cluster = cluster(&settings.kafka_config)?;
    let config = Config::infer().await.context("finding the Kubernetes API server")?;
    let client = KubeClient::try_from(config).context("setting up the Kubernetes client")?;
    let scope = Scope::of(namespaces.clone());
    let prefix = format!("{}.", operator_id);
    let (objects, kafka) =
        tokio::try_join!(ClusterObjects::read(&client, &scope), Kafka::ask(&cluster, &prefix))?;
    let policy = policy(&client, settings).await?;
    let ledger = ledger(&client, namespace, operator_id);
    let by_ledger = objects.grants_by_ledger(&ledger, &policy, &kafka.existing).await?;
    let hidden = by_ledger.is_none();
    let grants = by_ledger.unwrap_or_else(|| objects.grants_by_status(&policy));
    let mode = settings.grants.into();
    let decisions = objects.decisions(operator_id, &grants, mode, &policy, kafka.observed());
    let facts = Facts {
        objects: &objects,
        grants: &grants,
        mode,
        decisions: &decisions,
        rules: &kafka.rules,
        users: &kafka.users,
        quotas: kafka.quotas.as_ref().ok(),
        existing: &kafka.existing,
        prefix: &prefix,
        scope: &scope,
    };
    let mut remarks = vec![SUPER_USERS.to_owned()];
    if hidden {
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
                let (username, other) = users_of(&client.workload, operator_id, &decisions);
                let secret = secret(&store, client, &username).await;
                let mut report = WorkloadReport::of(client, &username, secret, &facts);
                report.remarks.extend(other);
                report.remarks.extend(remarks.iter().skip(1).cloned());
                report.remarks.extend(unknown_of_quotas(settings, &policy, &kafka));
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

/// The policy that counted last on the topicops that is asked about, as far as it may be read.
async fn policy(client: &KubeClient, settings: &AccessSettings) -> Result<TopicPolicy> {
    let Installation { operator_id, namespace, .. } = &settings.installation;
    let memory = ConfigMapPolicyMemory::new(client.clone(), namespace, operator_id);
    let (rules, unread) = match memory.recall().await {
        Ok(text) => match TopicRules::parse(&text.unwrap_or_default()) {
            Ok(rules) => (rules, false),
            Err(_) => (TopicRules::default(), true),
        },
        Err(kube::Error::Api(status)) if status.code == 403 => (TopicRules::default(), true),
        Err(error) => return Err(error).context("reading the policy that counted last"),
    };
    let protected = settings.protected_topics.clone();
    Ok(TopicPolicy { protected, rules: Arc::new(rules), unread, ..TopicPolicy::default() })
}

/// Why what is told of quotas may not be all of it.
fn unknown_of_quotas(settings: &AccessSettings, policy: &TopicPolicy, kafka: &Kafka) -> Vec<String> {
    let mut remarks = Vec::new();
    if policy.unread {
        let namespace = &settings.installation.namespace;
        remarks.push(format!(
            "the policy that counted last in namespace {namespace} may not be read: quotas count as the brokers have them"
        ));
    }
    if let Err(error) = &kafka.quotas {
        remarks.push(format!("the brokers' quotas are not known ({error})"));
    }
    remarks
}

/// What the brokers have.
struct Kafka {
    rules: Vec<AclRule>,
    users: BTreeSet<String>,
    /// Of topicops' users; an error where they may not be seen.
    quotas: Result<BTreeSet<Quota>, ClusterError>,
    existing: BTreeSet<String>,
}

impl Kafka {
    async fn ask(cluster: &WireCluster, prefix: &str) -> Result<Self> {
        let quotas = async {
            match cluster.describe_quotas(prefix).await {
                Err(error) if error.trouble != Trouble::Authorization => Err(error),
                seen => Ok(seen),
            }
        };
        let (rules, users, quotas, existing) = tokio::try_join!(
            cluster.all_acls(),
            cluster.describe_scram_users(""),
            quotas,
            cluster.list_topics()
        )?;
        let users = users.into_iter().map(|user| user.username).collect();
        Ok(Self { rules, users, quotas, existing: existing.into_iter().collect() })
    }

    fn observed(&self) -> Observed {
        Observed {
            users: self.users.clone(),
            acls: self.rules.iter().filter_map(AclRule::acl).collect(),
            quotas: self.quotas.as_ref().ok().cloned().unwrap_or_default(),
            ..Observed::default()
        }
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

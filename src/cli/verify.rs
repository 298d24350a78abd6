use std::{fmt, io::Write};

use anyhow::{Context, Result, bail};
use clap::Args;
use kube::{Client as KubeClient, Config};
use serde::Serialize;
use topicops_contract::{OperatorId, Password, PropertiesText};

use super::{
    Grants, Output, WorkloadName,
    access::tell,
    cluster_objects::{ClusterObjects, users_of},
    settings::namespace,
};
use crate::{
    ObjectKey,
    access::{Client, Granted, Observed},
    controller::{
        Scope,
        access::{KubeSecretStore, SecretStore},
    },
    topic::TopicPolicy,
};

/// The settings of `topicops verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifySettings {
    /// The workload whose credentials are tried.
    #[arg(value_name = "NAMESPACE/WORKLOAD")]
    pub workload: WorkloadName,

    /// Brokers to log in at, where those that the Secret names are not to be reached from here.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub bootstrap_servers: Option<String>,

    /// The --operator-id of the topicops that made the credentials.
    #[arg(long, env = "TOPICOPS_OPERATOR_ID", default_value = "topicops")]
    pub operator_id: OperatorId,

    /// The namespaces that are looked after, as topicops run has it.
    #[arg(long, env = "TOPICOPS_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE,…", value_parser = namespace)]
    pub namespaces: Vec<String>,

    /// Who may use a topic, as topicops run has it.
    #[arg(long, env = "TOPICOPS_GRANTS", value_enum, default_value = "namespace")]
    pub grants: Grants,

    /// How it is told.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub output: Output,
}

/// Whether a client gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    Works,
    Fails,
}

/// What a client with one workload's credentials sees, for people (`Display`) and machines (JSON).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    workload: String,
    username: String,
    /// `None`: it asks for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// `None`: there is no Secret that says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bootstrap_servers: Option<String>,
    steps: Vec<Step>,
    /// What else it is granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_looked_at: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    step: String,
    /// What the client would see, or why there is none; `None`: it gets through.
    error: Option<String>,
}

/// What is looked at in one session.
enum Look {
    Login,
    Topic(topicops_contract::TopicName),
    Group(String),
}

/// `topicops verify`: logs in with a workload's own Secret, as a client library does, and looks at all that it is granted, as
/// far as that does no harm. Writes nothing.
///
/// # Errors
/// The API server does not answer, or there is no such workload.
pub async fn verify(settings: &VerifySettings, out: &mut (dyn Write + Send)) -> Result<Verified> {
    if !cfg!(feature = "verify") {
        bail!(
            "this topicops was built without librdkafka (its feature verify), with which credentials are tried"
        );
    }
    let config = Config::infer().await.context("finding the Kubernetes API server")?;
    let client = KubeClient::try_from(config).context("setting up the Kubernetes client")?;
    let objects = ClusterObjects::read(&client, &Scope::of(settings.namespaces.clone())).await?;
    let named = objects.named(&settings.workload)?;
    let (grants, mode) = (objects.grants_by_status(&TopicPolicy::default()), settings.grants.into());
    let operator = &settings.operator_id;
    // Limits of quotas are the operator's, and quotas give no access.
    let (policy, observed) = (TopicPolicy::default(), Observed::default());
    let decisions = objects.decisions(operator, &grants, mode, &policy, observed);
    let store = KubeSecretStore::new(client);
    let mut reports = Vec::new();
    for client in named {
        let (username, _) = users_of(&client.workload, operator, &decisions);
        let granted = decisions.get(&username).map(|decision| decision.granted.clone()).unwrap_or_default();
        reports.push(report(settings, &store, &client, username, &granted).await);
    }
    let text: String = reports.iter().map(ToString::to_string).collect();
    tell(settings.output, &reports, &text, out)?;
    let works = reports.iter().flat_map(|report| &report.steps).all(|step| step.error.is_none());
    Ok(if works { Verified::Works } else { Verified::Fails })
}

async fn report(
    settings: &VerifySettings,
    store: &KubeSecretStore,
    client: &Client,
    username: String,
    granted: &Granted,
) -> Report {
    let mut report = Report {
        workload: client.workload.to_string(),
        username,
        secret: None,
        bootstrap_servers: None,
        steps: Vec::new(),
        not_looked_at: Vec::new(),
    };
    let request = match &client.request {
        Ok(Some(request)) => request,
        Ok(None) => return report.without_secret("it asks for nothing, and so it has none"),
        Err(problems) => return report.without_secret(problems),
    };
    let key = ObjectKey::new(client.workload.namespace(), &request.secret_name);
    report.secret = Some(key.to_string());
    let secret = match store.read(&key).await {
        Ok(Some(secret)) => secret,
        Ok(None) => return report.without_secret("it is not there yet; the workload's Events say why"),
        Err(error) => return report.without_secret(error),
    };
    if !secret.is_of(&report.username) {
        return report.without_secret(
            "it was not made by topicops for this workload, whose Events say what is in the way",
        );
    }
    let Some(text) = secret.text("client.properties") else {
        return report.without_secret("it has no key client.properties");
    };
    let Some((properties, bootstrap_servers)) = properties(&text, settings.bootstrap_servers.as_deref())
    else {
        return report.without_secret("its client.properties cannot be read");
    };
    report.bootstrap_servers = Some(bootstrap_servers);
    let mut looks = vec![Look::Login];
    // An internal topic of Kafka Streams has no name until there is one.
    looks.extend(granted.topics().into_iter().map(Look::Topic));
    looks.extend(granted.distinct_groups().into_iter().map(Look::Group));
    for look in looks {
        let error = attempt(&properties, &look).await.err();
        let hopeless = error.is_some() && matches!(look, Look::Login);
        report.steps.push(Step { step: look.to_string(), error });
        // Without a login there is nothing more to see.
        if hopeless {
            return report;
        }
    }
    report.not_looked_at = granted.not_looked_at();
    report
}

impl Report {
    /// There is nothing to log in with.
    fn without_secret(mut self, why: impl fmt::Display) -> Self {
        self.steps.push(Step { step: "Secret".to_owned(), error: Some(why.to_string()) });
        self
    }
}

/// The very text, but for other brokers where some are given; and which brokers it names. Nothing is told of what cannot be
/// read: it may be the line with the password.
fn properties(text: &str, brokers: Option<&str>) -> Option<(Password, String)> {
    const BROKERS: &str = "bootstrap.servers";
    let mut pairs = PropertiesText::parse("client.properties", text).ok()?;
    let Some(brokers) = brokers else {
        return Some((Password::new(text), pairs.remove(BROKERS)?));
    };
    pairs.insert(BROKERS.to_owned(), brokers.to_owned());
    let text = PropertiesText::render(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    Some((Password::new(text), brokers.to_owned()))
}

#[cfg(feature = "verify")]
async fn attempt(properties: &Password, look: &Look) -> Result<(), String> {
    use crate::controller::access::{ClientVerifier, LibrdkafkaVerifier};

    let (topics, groups) = match look {
        Look::Login => (Vec::new(), Vec::new()),
        Look::Topic(topic) => (vec![topic.clone()], Vec::new()),
        Look::Group(group) => (Vec::new(), vec![group.clone()]),
    };
    LibrdkafkaVerifier.verify(properties.reveal(), &topics, &groups).await
}

#[cfg(not(feature = "verify"))]
async fn attempt(_: &Password, _: &Look) -> Result<(), String> {
    Err("built without librdkafka".to_owned())
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login => f.write_str("login"),
            Self::Topic(topic) => write!(f, "topic {topic}"),
            Self::Group(group) => write!(f, "group {group}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.workload)?;
        if let Some(secret) = &self.secret {
            write!(f, ", with Secret {secret}")?;
        }
        if let Some(servers) = &self.bootstrap_servers {
            write!(f, ", at {servers}")?;
        }
        writeln!(f)?;
        for Step { step, error } in &self.steps {
            match error {
                None => writeln!(f, "    {step}: ok")?,
                Some(error) if self.bootstrap_servers.is_none() => writeln!(f, "    {step}: FAILS; {error}")?,
                Some(error) => writeln!(f, "    {step}: FAILS; the client sees: {error}")?,
            }
        }
        self.not_looked_at.iter().try_for_each(|what| writeln!(f, "    {what}: not looked at"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_very_one_unless_other_brokers_are_asked_for() {
        let text = "# mine\nbootstrap.servers=a:1\nsasl.jaas.config=x password=\"p\";\n";
        let (same, brokers) = properties(text, None).unwrap();
        assert_eq!((same.reveal(), brokers.as_str()), (text, "a:1"));
        let (other, brokers) = properties(text, Some("b:2,c:3")).unwrap();
        assert_eq!(brokers, "b:2,c:3");
        let pairs = PropertiesText::parse("t", other.reveal()).unwrap();
        assert_eq!(pairs["bootstrap.servers"], "b:2,c:3");
        assert_eq!(pairs["sasl.jaas.config"], "x password=\"p\";");
        assert!(properties("bootstrap.servers=a\nbootstrap.servers=b\n", None).is_none());
        assert!(properties("x=y\n", None).is_none(), "without brokers there is nowhere to log in");
    }

    #[test]
    fn what_fails_is_told_with_what_the_client_sees() {
        let step =
            |step: &str, error: Option<&str>| Step { step: step.to_owned(), error: error.map(str::to_owned) };
        let report = Report {
            workload: "Deployment shop/app".to_owned(),
            username: "topicops.shop.app".to_owned(),
            secret: Some("shop/s".to_owned()),
            bootstrap_servers: Some("a:1".to_owned()),
            steps: vec![step("login", None), step("topic orders", Some("topic orders: no"))],
            not_looked_at: vec!["transactional id tx*".to_owned()],
        };
        let told = "Deployment shop/app, with Secret shop/s, at a:1\n    login: ok\n    topic orders: FAILS; the client sees: topic orders: no\n    \
                    transactional id tx*: not looked at\n";
        assert_eq!(report.to_string(), told);
        let without =
            Report { bootstrap_servers: None, steps: Vec::new(), not_looked_at: Vec::new(), ..report };
        let told = "Deployment shop/app, with Secret shop/s\n    Secret: FAILS; it is not there yet\n";
        assert_eq!(without.without_secret("it is not there yet").to_string(), told);
    }
}

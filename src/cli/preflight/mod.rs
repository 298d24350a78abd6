//! `topicops preflight`: looks whether the brokers and Kubernetes let topicops do what it has to, before it is installed or
//! after. What it has to do on the brokers is [`OwnRight::ALL`](crate::kafka::OwnRight::ALL), and in Kubernetes what
//! `deploy/install/20-rbac.yaml` or the files of `deploy/namespaced` give it: nothing of either is written down here once more.

mod check;
mod clients_listener;
mod kafka_checks;
mod kubernetes_checks;
mod kubernetes_right;
#[cfg(test)]
mod testing;

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::{Arg, Args};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Config};

pub use self::check::On;
use self::{
    check::{Check, Report},
    clients_listener::ClientsListener,
    kafka_checks::Asking,
    kubernetes_checks::{KAFKA_SECRET, KAFKA_SECRET_KEY},
    kubernetes_right::Names,
};
use super::{ClientFlags, Installation, Output, access::tell, kafka_config};
use crate::kafka::{ClientProperties, WireCluster};

/// The settings of `topicops preflight`.
#[derive(Args, Clone, Debug)]
#[command(mut_args(in_its_own_words))]
pub struct PreflightSettings {
    /// Kafka client properties file with which topicops itself administers the brokers. Default: that in its Secret.
    #[arg(long, env = "TOPICOPS_KAFKA_CONFIG", value_name = "FILE")]
    pub kafka_config: Option<PathBuf>,

    /// As whom Kubernetes is asked, by impersonation: system:serviceaccount:topicops:topicops. Default: as yourself.
    #[arg(long = "as", value_name = "USER")]
    pub as_user: Option<String>,

    /// Only this half.
    #[arg(long, value_enum)]
    pub only: Option<On>,

    #[command(flatten)]
    pub installation: Installation,

    #[command(flatten)]
    pub clients: ClientFlags,

    /// The webhook configurations (mutating and validating), as topicops run has it.
    #[arg(
        long,
        env = "TOPICOPS_WEBHOOK_CONFIGURATION",
        default_value = "topicops",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub webhook_configuration: Vec<String>,

    /// How it is told.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub output: Output,
}

/// What flags that others have, too, mean here.
fn in_its_own_words(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "client_bootstrap_servers" => arg.help("Where clients log in, as topicops run has it"),
        "client_ca" => arg.help("PEM file with the CA that clients trust, as topicops run has it"),
        "client_sasl_mechanism" => arg.help("The mechanism that clients log in with, as topicops run has it"),
        "client_security_protocol" => arg.help("The security protocol of clients, as topicops run has it"),
        _ => arg,
    }
}

/// Whether topicops finds all that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    Ready,
    Lacking,
}

/// `topicops preflight`: says what is missing, and changes nothing.
///
/// # Errors
/// A file that cannot be read, or no way to find the API server: what is wrong beyond that is in what is told.
pub async fn preflight(settings: &PreflightSettings, out: &mut (dyn Write + Send)) -> Result<Preflight> {
    let mut checks = Vec::new();
    if settings.only != Some(On::Kubernetes) {
        match properties(settings).await? {
            Ok(properties) => checks.extend(kafka(settings, properties).await?),
            Err(check) => checks.push(check),
        }
    }
    if settings.only != Some(On::Kafka) {
        let names = Names {
            operator: settings.installation.operator_id.as_str(),
            namespace: &settings.installation.namespace,
            webhook_configurations: &settings.webhook_configuration,
            namespaces: &settings.installation.namespaces,
        };
        checks.extend(kubernetes_checks::look(&client(settings).await?, names).await);
    }
    let report = Report { checks };
    tell(settings.output, &report, &report, out)?;
    Ok(if report.is_ready() { Preflight::Ready } else { Preflight::Lacking })
}

async fn client(settings: &PreflightSettings) -> Result<Client> {
    let mut config = Config::infer().await.context("finding the Kubernetes API server")?;
    config.auth_info.impersonate.clone_from(&settings.as_user);
    Client::try_from(config).context("setting up the Kubernetes client")
}

/// Those of the file, or else of the Secret; the check that says why there are none.
async fn properties(settings: &PreflightSettings) -> Result<Result<ClientProperties, Check>> {
    if let Some(file) = &settings.kafka_config {
        return kafka_config::properties(file).map(Ok);
    }
    let namespace = &settings.installation.namespace;
    let name = format!("Secret {namespace}/{KAFKA_SECRET}");
    let what = format!("{KAFKA_SECRET_KEY} of topicops in {name}");
    let api: Api<Secret> = Api::namespaced(client(settings).await?, namespace);
    let data = match api.get_opt(KAFKA_SECRET).await {
        Ok(secret) => secret.and_then(|secret| secret.data).unwrap_or_default(),
        Err(error) => return Ok(Err(Check::unknown(On::Kafka, what, crate::chain(&error)))),
    };
    let text = data.get(KAFKA_SECRET_KEY).and_then(|text| std::str::from_utf8(&text.0).ok());
    let Some(text) = text else {
        let why = "it is not there; or name a file with --kafka-config";
        return Ok(Err(Check::missing(On::Kafka, what, why)));
    };
    ClientProperties::parse(&name, text).map(Ok).map_err(|problems| anyhow!("{name}: {problems}"))
}

async fn kafka(settings: &PreflightSettings, properties: ClientProperties) -> Result<Vec<Check>> {
    let servers: Vec<String> = properties.bootstrap_servers.iter().map(ToString::to_string).collect();
    let asking = Asking {
        username: properties.sasl.as_ref().map(|sasl| sasl.username.clone()),
        bootstrap_servers: servers.join(","),
        prefix: format!("{}.", settings.installation.operator_id),
        clients: ClientsListener::of(&settings.clients, &properties),
    };
    let cluster = match WireCluster::new(properties) {
        Ok(cluster) => cluster,
        // What stands in the Secret may name files that only topicops' Pod has.
        Err(problems) if settings.kafka_config.is_none() => {
            let what = format!("the brokers, with {KAFKA_SECRET_KEY} of topicops in its Secret");
            let check = Check::unknown(On::Kafka, what, problems.to_string());
            return Ok(vec![check.todo("name a file that can be used from here with --kafka-config")]);
        }
        Err(problems) => return Err(problems).context("setting up the connection to Kafka"),
    };
    Ok(asking.look(&cluster).await)
}

#[cfg(test)]
mod tests {
    use super::{check::State, testing::settings as of, *};

    #[tokio::test]
    async fn files_of_topicops_pod_that_are_not_here_are_not_known_unless_a_file_was_named() {
        let text = "bootstrap.servers=a:1\nsecurity.protocol=SSL\nssl.truststore.type=PEM\n\
                    ssl.truststore.location=/nowhere/ca.pem\n";
        let properties = ClientProperties::parse("t", text).unwrap();
        let checks = kafka(&of(&[]), properties.clone()).await.unwrap();
        assert_eq!(checks.iter().map(|check| check.state).collect::<Vec<_>>(), [State::Unknown]);
        assert!(checks[0].why.as_deref().is_some_and(|why| why.contains("/nowhere/ca.pem")), "{checks:?}");
        assert!(checks[0].todo.as_deref().is_some_and(|todo| todo.contains("--kafka-config")), "{checks:?}");
        let named = kafka(&of(&["--kafka-config", "/nowhere/client.properties"]), properties).await;
        assert!(named.is_err(), "what was named is to be right");
    }
}

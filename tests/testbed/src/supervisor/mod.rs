//! Runs a bed: starts its parts, answers what tests ask of them, and is its node.
mod authority;
mod broker_settings;
mod brokers;
mod class_archive;
mod component;
mod control_plane;
mod control_server;
mod disk;
mod kafka_home;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::bed_info::BedInfo;
use crate::cache::Cache;
use crate::node::{Images, Node, NodeSettings};
use crate::residence::Slot;
use crate::services::ServiceProxy;
use crate::{Options, manifests, wait};

use brokers::Brokers;
use class_archive::ClassArchive;
use control_plane::ControlPlane;

#[derive(Debug, Args)]
pub struct SupervisorArguments {
    #[arg(long)]
    pub directory: PathBuf,
    #[arg(long)]
    pub cache: PathBuf,
    #[arg(long)]
    pub options: String,
    #[arg(long)]
    pub slot: u8,
}

/// The one line that a bed says about itself on standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Announcement {
    Ready(Box<BedInfo>),
    Failed(String),
}

/// Runs a bed until it is asked to shut down.
///
/// # Errors
/// When a part does not start; the one who started the bed has been told then.
pub async fn run(arguments: SupervisorArguments) -> Result<()> {
    let filter = EnvFilter::try_from_env("TOPICOPS_TESTBED_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube=warn,tower=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
    let shutdown = CancellationToken::new();
    match start(&arguments, &shutdown).await {
        Ok(info) => {
            announce(&Announcement::Ready(Box::new(info)))?;
            shutdown.cancelled().await;
            Ok(())
        }
        Err(error) => {
            announce(&Announcement::Failed(format!("{error:#}")))?;
            Err(error)
        }
    }
}

fn announce(announcement: &Announcement) -> Result<()> {
    let mut line = serde_json::to_string(announcement)?;
    line.push('\n');
    let mut output = io::stdout().lock();
    output.write_all(line.as_bytes())?;
    output.flush().context("announcing the bed")
}

/// What the control server acts upon.
#[derive(Debug)]
struct Bed {
    directory: PathBuf,
    info: BedInfo,
    control_plane: ControlPlane,
    brokers: Option<Brokers>,
    images: Arc<Images>,
}

async fn start(arguments: &SupervisorArguments, shutdown: &CancellationToken) -> Result<BedInfo> {
    let options: Options = serde_json::from_str(&arguments.options)?;
    let directory = arguments.directory.as_path();
    let cache = Cache::at(arguments.cache.clone(), options.kafka);
    let slot = Slot(arguments.slot);
    std::fs::create_dir_all(directory.join("logs"))?;
    let control_plane = ControlPlane::prepare(directory, &cache, slot, &options)?;
    let brokers = match options.brokers {
        0 => None,
        _ => Some(Brokers::prepare(directory, &cache, slot, &options)?),
    };
    let images = Arc::new(Images::default());
    let archive = ClassArchive::new(&cache)?;
    images.map(&options.kafka.image(), kafka_home::program(directory, &cache, &archive));

    let kubernetes = async {
        control_plane.start().await?;
        let client = client(control_plane.kubeconfig()).await?;
        if options.node {
            let proxy = ServiceProxy::start(&client, control_plane.api_address()).await?;
            let settings = NodeSettings {
                client: client.clone(),
                directory: directory.to_owned(),
                slot,
                images: Arc::clone(&images),
            };
            Node::start(settings, proxy).await?;
        }
        if let Some(brokers) = &brokers {
            manifests::apply(&client, &kafka_service(brokers)).await?;
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        wait::until("service account default/default", Duration::from_secs(60), || async {
            accounts.get("default").await.map(drop)
        })
        .await
    };
    let kafka = async {
        match &brokers {
            Some(brokers) => brokers.start().await,
            None => Ok(()),
        }
    };
    tokio::try_join!(kubernetes, kafka)?;

    let info = BedInfo {
        directory: directory.to_owned(),
        kubeconfig: control_plane.kubeconfig().to_owned(),
        kubectl: cache.kubectl(),
        api_server: format!("https://{}", control_plane.api_address()),
        service_range: slot.service_range(),
        pod_range: slot.pod_range(),
        kafka: brokers.as_ref().map(Brokers::info).transpose()?,
        started_in_ms: 0,
    };
    if let Some(kafka) = info.kafka.clone() {
        tokio::spawn(async move {
            if let Err(error) = archive.make(&cache, &kafka).await {
                tracing::warn!(error = format!("{error:#}"), "Kafka's tools stay slow to start");
            }
        });
    }
    let bed = Bed { directory: directory.to_owned(), info: info.clone(), control_plane, brokers, images };
    control_server::start(bed, shutdown.clone())?;
    Ok(info)
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Pods find the brokers by the name that a cluster would give them.
fn kafka_service(brokers: &Brokers) -> String {
    let targets: Vec<String> = brokers.client_addresses().iter().map(ToString::to_string).collect();
    format!(
        "apiVersion: v1\n\
         kind: Namespace\n\
         metadata: {{name: kafka}}\n\
         ---\n\
         apiVersion: v1\n\
         kind: Service\n\
         metadata: {{name: kafka, namespace: kafka, annotations: {{{}: \"{}\"}}}}\n\
         spec: {{ports: [{{name: clients, port: 9093}}]}}\n",
        crate::services::TARGETS_ANNOTATION,
        targets.join(",")
    )
}

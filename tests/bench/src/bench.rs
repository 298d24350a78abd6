use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Error, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use topicops::kafka::{ClientProperties, Cluster, WireCluster};
use topicops_testbed::{Options, RequestLog, Testbed, wait};

use crate::{
    process::{Topicops, Usage},
    setup::Setup,
};

/// A bed, a look at its brokers, and the topicops under measurement.
pub(crate) struct Bench {
    bed: Testbed,
    topicops: Option<Topicops>,
    pub(crate) client: Client,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) setup: Setup,
}

/// What topicops is installed from.
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/install");
/// It runs beside the bed here, where the API server finds no webhook of its.
const LEFT_OUT: [&str; 2] = ["30-deployment.yaml", "40-webhooks.yaml"];
/// Enough heap for ten thousand partitions.
const HEAP_MIB: u32 = 1_024;
/// For all statuses of the largest set-up.
const QUIET: Duration = Duration::from_secs(300);

impl Bench {
    pub(crate) async fn start(setup: Setup, log_requests: bool) -> Result<Self> {
        let mut options = Options::default().without_node().brokers(setup.brokers);
        if setup.n > 2_000 {
            options = options.broker_heap_mib(HEAP_MIB);
        }
        if log_requests {
            options = options.log_requests();
        }
        let bed = Testbed::start(options).await?;
        let client = bed.client().await?;
        let text = std::fs::read_to_string(bed.kafka()?.admin_properties())?;
        let properties = ClientProperties::parse("admin.properties", &text)?;
        let cluster: Arc<dyn Cluster> = Arc::new(WireCluster::new(properties)?);
        bed.apply_all_but(INSTALL, &LEFT_OUT).await?;
        Ok(Self { bed, topicops: None, client, cluster, setup })
    }

    #[allow(clippy::print_stderr)]
    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        eprintln!("{what}");
    }

    pub(crate) async fn namespace(&self, name: &str) -> Result<()> {
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    /// Starts topicops against the bed, under its own service account, and waits until it keeps what is there.
    pub(crate) async fn start_topicops(&mut self, arguments: &[&str]) -> Result<()> {
        let kubeconfig = self.kubeconfig().await?;
        let kafka_config = self.bed.kafka()?.admin_properties();
        self.topicops = Some(Topicops::start(&kubeconfig, kafka_config, arguments)?);
        let first: ConfigMap = serde_json::from_value(json!({
            "metadata": { "name": "first", "labels": { "config": "kafka-topic" } },
        }))?;
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), "topicops");
        match api.create(&PostParams::default(), &first).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => drop(other?),
        }
        self.until_quiet().await?;
        wait::until("the access side to have looked", Duration::from_secs(60), || async {
            let passes = self.topicops()?.metric("topicops_passes_total{pass=\"access\"}").await?;
            ensure!(passes > 0.0, "no pass yet");
            Ok::<_, Error>(())
        })
        .await
    }

    pub(crate) async fn stop_topicops(&mut self) -> Result<()> {
        self.topicops.take().context("topicops was not started")?.stop().await
    }

    async fn kubeconfig(&self) -> Result<PathBuf> {
        let file = self.bed.info().directory.join("topicops.kubeconfig");
        let text = wait::until("a token for topicops", Duration::from_secs(20), || {
            self.bed.service_account_kubeconfig("topicops", "topicops")
        })
        .await?;
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Until every topic ConfigMap has its status: nothing of the work before goes on in the background.
    pub(crate) async fn until_quiet(&self) -> Result<()> {
        let api: Api<ConfigMap> = Api::all(self.client.clone());
        let labelled = kube::api::ListParams::default().labels("config=kafka-topic");
        wait::until("every status to be written", QUIET, || async {
            let all = api.list_metadata(&labelled).await?.items;
            let told = all.iter().filter(|object| {
                let annotations = object.metadata.annotations.as_ref();
                annotations.is_some_and(|annotations| annotations.contains_key("topic.kafka.nb/status"))
                    && object.metadata.deletion_timestamp.is_none()
            });
            let told = told.count();
            ensure!(told == all.len(), "{told} of {}", all.len());
            Ok::<_, Error>(())
        })
        .await
    }

    pub(crate) fn topicops(&self) -> Result<&Topicops> {
        self.topicops.as_ref().context("topicops was not started")
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        self.topicops()?.usage()
    }

    /// What the API server and the brokers are asked from now on.
    pub(crate) fn requests(&self) -> Result<RequestLog> {
        self.bed.requests()
    }
}

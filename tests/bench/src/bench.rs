use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Error, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use topicops::kafka::{ClientProperties, Cluster, WireCluster};
use topicops_testbed::{Options, Testbed, wait};

use crate::process::{Topicops, Usage};

/// A bed, a look at its broker, and the topicops under measurement.
pub(crate) struct Bench {
    bed: Testbed,
    topicops: Option<Topicops>,
    pub(crate) client: Client,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) n: usize,
    pub(crate) rounds: usize,
}

impl Bench {
    pub(crate) async fn start(n: usize, rounds: usize) -> Result<Self> {
        let bed = Testbed::start(Options::default().without_node()).await?;
        let client = bed.client().await?;
        let text = std::fs::read_to_string(bed.kafka()?.admin_properties())?;
        let properties = ClientProperties::parse("admin.properties", &text)?;
        let cluster: Arc<dyn Cluster> = Arc::new(WireCluster::new(properties)?);
        Ok(Self { bed, topicops: None, client, cluster, n, rounds })
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

    /// Starts topicops against the bed and waits until it keeps a first topic.
    pub(crate) async fn start_topicops(&mut self, arguments: &[&str]) -> Result<()> {
        self.namespace("topicops").await?;
        let mut all =
            vec!["--namespace=topicops", "--webhook-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"];
        all.extend(arguments);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let kafka_config = self.bed.kafka()?.admin_properties();
        self.topicops = Some(Topicops::start(self.bed.kubeconfig_path(), kafka_config, &all)?);
        let first: ConfigMap = serde_json::from_value(json!({
            "metadata": { "name": "first", "labels": { "config": "kafka-topic" } },
        }))?;
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), "topicops");
        api.create(&PostParams::default(), &first).await?;
        self.until_quiet().await
    }

    /// Until every topic ConfigMap has its status: nothing of the work before goes on in the background.
    pub(crate) async fn until_quiet(&self) -> Result<()> {
        let api: Api<ConfigMap> = Api::all(self.client.clone());
        let labelled = kube::api::ListParams::default().labels("config=kafka-topic");
        wait::until("every status to be written", Duration::from_secs(120), || async {
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

    pub(crate) fn usage(&self) -> Result<Usage> {
        self.topicops.as_ref().context("topicops was not started")?.usage()
    }
}

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, Client, api::ListParams};
use tokio::process::Command;
use topicops_contract::{Status, keys};
use topicops_testbed::{Kafka, Options, Program, Testbed};

use crate::report::Report;

/// The cluster, the broker, and the tools that people use on them.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) bed: Testbed,
}

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) succeeded: bool,
}

/// Longer than anything here takes, rollouts included.
const PATIENCE: Duration = Duration::from_secs(240);

const TOPICOPS_IMAGE: &str = concat!("ghcr.io/topicops/topicops:", env!("CARGO_PKG_VERSION"));

impl Stage {
    /// Starts a bed in which topicops' image stands for the binary that was built beside this program.
    pub(crate) async fn set(report: &mut Report) -> Result<Self> {
        report.heading("A cluster and a broker");
        let binary = std::env::current_exe()?.with_file_name("topicops");
        ensure!(binary.is_file(), "{} is not built: run this as ./dev demo", binary.display());
        let start = Testbed::start(Options::default());
        let bed = report.step("starting an API server, its controllers, a broker and a node", start).await?;
        let program = Program::binary(binary, "/usr/local/bin/topicops").cmd(["run"]);
        bed.map_image(TOPICOPS_IMAGE, program).await?;
        let stage = Self { bed };
        report.show(&stage.kubectl(["version"]).await?.out);
        report.note(&format!("brokers: {}", stage.kafka()?.bootstrap_servers()));
        Ok(stage)
    }

    pub(crate) fn kafka(&self) -> Result<&Kafka> {
        self.bed.kafka()
    }

    pub(crate) async fn client(&self) -> Result<Client> {
        self.bed.client().await
    }

    /// Runs kubectl as the administrator, at the root of the repository.
    ///
    /// # Errors
    /// When it fails; with what it printed.
    pub(crate) async fn kubectl<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Printed> {
        let mut command = Command::new(self.bed.kubectl_path());
        command.args(args);
        let shown = shown(&command);
        let printed = self.try_kubectl(command).await?;
        ensure!(printed.succeeded, "{shown}: {}{}", printed.out, printed.err);
        Ok(printed)
    }

    /// The same for a command that may well be refused.
    pub(crate) async fn refused_kubectl<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Printed> {
        let mut command = Command::new(self.bed.kubectl_path());
        command.args(args);
        self.try_kubectl(command).await
    }

    async fn try_kubectl(&self, mut command: Command) -> Result<Printed> {
        command.env("KUBECONFIG", self.bed.kubeconfig_path()).current_dir(repository());
        run(command).await
    }

    /// Runs one of Kafka's tools with a client configuration of somebody's.
    pub(crate) async fn kafka_tool_as(
        &self,
        properties: &Path,
        tool: &str,
        args: &[&str],
    ) -> Result<Printed> {
        let mut command = self.kafka()?.command(tool)?;
        command.arg("--bootstrap-server").arg(self.kafka()?.bootstrap_servers());
        command.arg("--command-config").arg(properties).args(args);
        run(command).await
    }

    /// The status that topicops wrote into a topic's ConfigMap, if any.
    pub(crate) async fn status(&self, namespace: &str, name: &str) -> Result<Option<Status>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client().await?, namespace);
        let annotations = api.get(name).await?.metadata.annotations.unwrap_or_default();
        let text = annotations.get(keys::topic::STATUS);
        text.map(|text| serde_json::from_str(text).with_context(|| format!("the status {text}"))).transpose()
    }

    /// Everything that the containers of an application printed, in all its Pods.
    pub(crate) async fn logs(&self, namespace: &str, app: &str) -> Result<String> {
        let api: Api<Pod> = Api::namespaced(self.client().await?, namespace);
        let pods = api.list(&ListParams::default().labels(&format!("app={app}"))).await?;
        let mut text = String::new();
        for pod in pods.items {
            let name = pod.metadata.name.unwrap_or_default();
            text.extend(self.bed.log_instances(namespace, &name, app)?);
        }
        if text.is_empty() {
            bail!("{namespace}/{app} has printed nothing yet");
        }
        Ok(text)
    }

    /// For whoever wants to look around.
    pub(crate) fn how_to_reach(&self) -> String {
        let info = self.bed.info();
        let mut lines = vec![
            format!("export KUBECONFIG={}", info.kubeconfig.display()),
            format!("alias kubectl={}", info.kubectl.display()),
            "kubectl get configmaps -A -l config=kafka-topic".to_owned(),
            "kubectl -n topicops get all".to_owned(),
        ];
        if let Some(kafka) = &info.kafka {
            let tool = kafka.tools.join("kafka-topics.sh");
            let (tool, properties) = (tool.display(), kafka.admin_properties.display());
            let servers = &kafka.bootstrap_servers;
            lines.push(format!("{tool} --bootstrap-server {servers} --command-config {properties} --list"));
        }
        lines.push(format!("ls {}", info.directory.join("logs").display()));
        lines.join("\n")
    }
}

/// The root of the repository this was built from.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    let name = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(name).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

async fn run(mut command: Command) -> Result<Printed> {
    let shown = shown(&command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .with_context(|| format!("{shown}: no end after {PATIENCE:.0?}"))?
        .with_context(|| format!("running {shown}"))?;
    Ok(Printed {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        succeeded: output.status.success(),
    })
}

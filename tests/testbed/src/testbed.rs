//! A bed as a test holds it.
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DynamicObject, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::bed_info::BedInfo;
use crate::cache::Cache;
use crate::control::{self, Change, DiskChange, Request};
use crate::launcher::{self, Launched, Lifetime};
use crate::program::Program;
use crate::{Kafka, Options, RequestLog, dump, manifests, tail, wait};

/// A running API server with controllers, brokers and a node. It ends with this value, and at the
/// latest with the process that started it, however that ends.
///
/// It may be shared by tests that each have a runtime of their own (a `OnceCell` in a static): nothing
/// in it belongs to a runtime.
#[derive(Debug)]
pub struct Testbed {
    info: BedInfo,
    kafka: Option<Kafka>,
    // Dropped last: it stops everything.
    _launched: Launched,
}

impl Testbed {
    /// Builds what the cache lacks, which takes minutes the first time, and starts a bed, which takes
    /// seconds.
    ///
    /// # Errors
    /// When a tool is missing, or a part does not start: which one, and the end of its log.
    pub async fn start(options: Options) -> Result<Self> {
        let launched = tokio::task::spawn_blocking(move || {
            let cache = Cache::ready_for(options.kafka)?;
            launcher::launch(&cache, &options, &Lifetime::ThisProcess)
        })
        .await??;
        let info = launched.info().clone();
        let kafka = info.kafka.clone().map(Kafka::new).transpose()?;
        Ok(Self { info, kafka, _launched: launched })
    }

    #[must_use]
    pub fn info(&self) -> &BedInfo {
        &self.info
    }

    /// A client with all rights. Each call makes a new one, which belongs to the caller's runtime.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        client_of(Kubeconfig::read_from(&self.info.kubeconfig)?).await
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig_path(&self) -> &Path {
        &self.info.kubeconfig
    }

    #[must_use]
    pub fn kubectl_path(&self) -> &Path {
        &self.info.kubectl
    }

    /// A kubeconfig that acts as a service account, with exactly its rights; its token lives an hour.
    ///
    /// # Errors
    /// When the account does not exist or the API server does not answer.
    pub async fn service_account_kubeconfig(&self, namespace: &str, account: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("a token for service account {namespace}/{account}"))?;
        let token = answer.status.context("the API server answered without a token")?.token;
        let ca = std::fs::read(self.info.directory.join("pki/kubernetes-ca.pem"))?;
        Ok(kubeconfig_text(&self.info.api_server, &BASE64.encode(ca), &token))
    }

    /// A client that acts as a service account.
    ///
    /// # Errors
    /// As [`Self::service_account_kubeconfig`].
    pub async fn service_account_client(&self, namespace: &str, account: &str) -> Result<Client> {
        let text = self.service_account_kubeconfig(namespace, account).await?;
        client_of(Kubeconfig::from_yaml(&text)?).await
    }

    /// The brokers.
    ///
    /// # Errors
    /// When the bed was started without any.
    pub fn kafka(&self) -> Result<&Kafka> {
        self.kafka.as_ref().context("this bed was started without Kafka")
    }

    /// This bed, as one that has the brokers of another: they are the other's to stop, and end with it.
    #[must_use]
    pub fn with_brokers_of(self, other: &Self) -> Self {
        Self { kafka: other.kafka.clone(), ..self }
    }

    /// Creates a namespace and waits until Pods can be created in it, which takes a service account.
    ///
    /// # Errors
    /// When it exists already, or its default service account does not appear.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let client = self.client().await?;
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, name);
        wait::until(format!("service account {name}/default"), Duration::from_secs(60), || async {
            accounts.get("default").await.map(drop)
        })
        .await
    }

    /// Applies every document of a YAML text, in order, by server-side apply; waits for nothing.
    ///
    /// # Errors
    /// At the first document that is no Kubernetes object or is refused, naming it.
    pub async fn apply(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        manifests::apply(&self.client().await?, yaml).await
    }

    /// Applies a file of YAML documents, or every `*.yaml` in a folder by order of name.
    ///
    /// # Errors
    /// As [`Self::apply`], and when the file cannot be read.
    pub async fn apply_path(&self, path: impl AsRef<Path>) -> Result<Vec<DynamicObject>> {
        manifests::apply_path(&self.client().await?, path.as_ref()).await
    }

    /// Applies every `*.yaml` in a folder by order of name, but for the files named.
    ///
    /// # Errors
    /// As [`Self::apply_path`], and when a file that is left out is not there.
    pub async fn apply_all_but(&self, folder: impl AsRef<Path>, left_out: &[&str]) -> Result<()> {
        let folder = folder.as_ref();
        for name in left_out {
            ensure!(folder.join(name).is_file(), "there is no {name} in {}", folder.display());
        }
        let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.retain(|file| {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.ends_with(".yaml") && !left_out.contains(&name)
        });
        files.sort();
        for file in files {
            self.apply_path(file).await?;
        }
        Ok(())
    }

    /// Lets an image name stand for a local program, from now on; replaces what it stood for.
    ///
    /// # Errors
    /// When the bed does not answer.
    pub async fn map_image(&self, image: impl Into<String>, program: Program) -> Result<()> {
        self.ask(Request::MapImage { image: image.into(), program }).await
    }

    /// What the newest instance of a container printed so far, standard output and error together.
    ///
    /// # Errors
    /// When it never started.
    pub fn logs(&self, namespace: &str, pod: &str, container: &str) -> Result<String> {
        self.log_instances(namespace, pod, container)?
            .pop()
            .ok_or_else(|| anyhow!("container {container} of Pod {namespace}/{pod} never started"))
    }

    /// What each instance of a container printed, the oldest first: one entry per (re)start.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn log_instances(&self, namespace: &str, pod: &str, container: &str) -> Result<Vec<String>> {
        tail::instances(&self.info.directory, namespace, pod, container)
    }

    /// Ends a broker as an administrator would: it hands over its partitions first.
    ///
    /// # Errors
    /// When there is no such broker.
    pub async fn stop_broker(&self, id: u8) -> Result<()> {
        self.ask(Request::Broker { id, change: Change::Stop }).await
    }

    /// Ends a broker as a power cut would.
    ///
    /// # Errors
    /// When there is no such broker.
    pub async fn kill_broker(&self, id: u8) -> Result<()> {
        self.ask(Request::Broker { id, change: Change::Kill }).await
    }

    /// Starts a stopped broker again, with its data, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up; with the end of its log.
    pub async fn start_broker(&self, id: u8) -> Result<()> {
        self.ask(Request::Broker { id, change: Change::Start }).await
    }

    /// Freezes a broker: its connections stay open, and nobody answers.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn pause_broker(&self, id: u8) -> Result<()> {
        self.ask(Request::Broker { id, change: Change::Pause }).await
    }

    /// Lets a frozen broker go on.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn resume_broker(&self, id: u8) -> Result<()> {
        self.ask(Request::Broker { id, change: Change::Resume }).await
    }

    /// Gives a broker's own disk another size, at once; the broker tells it when it is asked.
    ///
    /// # Errors
    /// When the bed was started without [`Options::disks`], or more is stored there.
    pub async fn resize_disk(&self, broker: u8, mebibytes: u32) -> Result<()> {
        self.ask(Request::Disk { broker, change: DiskChange::Resize { mebibytes } }).await
    }

    /// Takes a broker's own disk away. The broker takes that log directory for lost as soon as it is to write there (see
    /// `log.flush.offset.checkpoint.interval.ms`), and until it is started again.
    ///
    /// # Errors
    /// When the bed was started without [`Options::disks`], or it is away already.
    pub async fn pull_disk(&self, broker: u8) -> Result<()> {
        self.ask(Request::Disk { broker, change: DiskChange::Pull }).await
    }

    /// Puts back what [`Self::pull_disk`] took, with all that was stored there.
    ///
    /// # Errors
    /// When it is not away.
    pub async fn put_back_disk(&self, broker: u8) -> Result<()> {
        self.ask(Request::Disk { broker, change: DiskChange::PutBack }).await
    }

    /// Takes the API server away, at once; its data stays.
    ///
    /// # Errors
    /// When the bed does not answer.
    pub async fn stop_api_server(&self) -> Result<()> {
        self.ask(Request::ApiServer { change: Change::Kill }).await
    }

    /// Brings the API server back, at the same address, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up; with the end of its log.
    pub async fn start_api_server(&self) -> Result<()> {
        self.ask(Request::ApiServer { change: Change::Start }).await
    }

    /// Leaves the bed's directory in place when it ends, for a look at logs and data.
    ///
    /// # Errors
    /// When the bed does not answer.
    pub async fn keep(&self) -> Result<()> {
        self.ask(Request::Keep).await
    }

    /// Evidence for a failed test: objects, Events, and the end of every log.
    pub async fn dump(&self) -> String {
        dump::everything(&self.info).await
    }

    /// What the API server and the brokers are asked from now on.
    ///
    /// # Errors
    /// When the bed was started without [`Options::log_requests`].
    pub fn requests(&self) -> Result<RequestLog> {
        RequestLog::from_now(&self.info.directory)
    }

    async fn ask(&self, request: Request) -> Result<()> {
        control::call(&BedInfo::control_socket(&self.info.directory), &request).await.map(drop)
    }
}

async fn client_of(kubeconfig: Kubeconfig) -> Result<Client> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// A kubeconfig with one cluster and one user that has a token.
pub(crate) fn kubeconfig_text(server: &str, ca_base64: &str, token: &str) -> String {
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         current-context: testbed\n\
         clusters: [{{name: testbed, cluster: {{server: \"{server}\", certificate-authority-data: \"{ca_base64}\"}}}}]\n\
         users: [{{name: testbed, user: {{token: \"{token}\"}}}}]\n\
         contexts: [{{name: testbed, context: {{cluster: testbed, user: testbed}}}}]\n"
    )
}

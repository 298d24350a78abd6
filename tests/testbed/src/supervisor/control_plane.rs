//! etcd, the API server and the controller manager.
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::authority::{self, Authority};
use super::component::Component;
use crate::cache::Cache;
use crate::http_get::HttpGet;
use crate::residence::Slot;
use crate::testbed::kubeconfig_text;
use crate::{Options, request_log, tail};

const ETCD: u8 = 2;
const API_SERVER: u8 = 3;
const CONTROLLER_MANAGER: u8 = 4;
const ETCD_PORT: u16 = 2379;
/// Whoever listens on loopback answers in far less.
const ANSWER: Duration = Duration::from_secs(1);

/// Those that need a cloud, real addresses (EndpointSlices refuse loopback ones, and our own proxy
/// selects Pods itself) or a kubelet that reports its health.
const LEFT_OUT: &str = "*,-node-lifecycle-controller,-taint-eviction-controller,-node-ipam-controller,\
                        -node-route-controller,-cloud-node-lifecycle-controller,-service-lb-controller,\
                        -endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller";

/// Every request once, when it is answered; a watch when it begins and when it ends.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1\n\
                            kind: Policy\n\
                            omitStages: [RequestReceived]\n\
                            rules: [{level: Metadata}]\n";

#[derive(Debug)]
pub(super) struct ControlPlane {
    etcd: Component,
    api_server: Component,
    controller_manager: Component,
    etcd_address: SocketAddr,
    api_address: SocketAddr,
    controllers_address: SocketAddr,
    kubeconfig: PathBuf,
}

impl ControlPlane {
    pub(super) fn prepare(bed: &Path, cache: &Cache, slot: Slot, options: &Options) -> Result<Self> {
        let pki = bed.join("pki");
        let api_address = SocketAddr::from((slot.part(API_SERVER), 6443));
        let controllers_address = SocketAddr::from((slot.part(CONTROLLER_MANAGER), 10257));
        let token = write_pki(&pki, slot)?;
        let kubeconfig = bed.join("kubeconfig");
        let ca = BASE64.encode(fs::read(pki.join("kubernetes-ca.pem"))?);
        authority::write(&kubeconfig, &kubeconfig_text(&format!("https://{api_address}"), &ca, &token))?;
        Ok(Self {
            etcd: etcd(bed, cache, slot),
            api_server: api_server(bed, cache, slot, options)?,
            controller_manager: controller_manager(bed, cache, slot, &kubeconfig),
            etcd_address: SocketAddr::from((slot.part(ETCD), ETCD_PORT)),
            api_address,
            controllers_address,
            kubeconfig,
        })
    }

    pub(super) async fn start(&self) -> Result<()> {
        self.etcd.start().await?;
        self.api_server.start().await?;
        self.api_server_ready().await?;
        self.controller_manager.start().await?;
        let healthz = HttpGet::https(self.controllers_address, "/healthz");
        self.controller_manager.ready(|| healthz.succeed()).await
    }

    pub(super) async fn api_server_ready(&self) -> Result<()> {
        let readyz = HttpGet::https(self.api_address, "/readyz");
        let ready = self.api_server.ready_on(&[&self.etcd], || readyz.succeed()).await;
        let Err(error) = ready else { return Ok(()) };
        // The API server's own log says no more than that nobody answers.
        Err(match self.trouble_of_etcd().await {
            Some(trouble) => error.context(format!("{trouble}; its log ends:\n{}", self.etcd.last_lines())),
            None => error,
        })
    }

    async fn trouble_of_etcd(&self) -> Option<String> {
        if let Some(ending) = self.etcd.ending().await.ok()? {
            return Some(format!("etcd ended ({ending}), and there is no API server without it"));
        }
        let listens = timeout(ANSWER, TcpStream::connect(self.etcd_address)).await;
        let silent = !matches!(listens, Ok(Ok(_)));
        silent.then(|| format!("etcd runs and does not listen at {}", self.etcd_address))
    }

    pub(super) fn api_server(&self) -> &Component {
        &self.api_server
    }

    pub(super) fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

/// Writes certificates and keys, and the administrator's token, which it returns.
fn write_pki(pki: &Path, slot: Slot) -> Result<String> {
    fs::create_dir_all(pki)?;
    let authority = Authority::new("topicops testbed Kubernetes CA")?;
    authority::write(&pki.join("kubernetes-ca.pem"), authority.certificate_pem())?;
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
    hosts.extend([slot.part(API_SERVER), slot.kubernetes_service()].map(|address| address.to_string()));
    for name in
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    {
        hosts.push(name.to_owned());
    }
    authority.issue(pki, "api-server", hosts)?;
    authority.issue(pki, "controller-manager", vec![slot.part(CONTROLLER_MANAGER).to_string()])?;
    authority.issue(pki, "node", vec![slot.node().to_string()])?;
    authority::write_signing_key(pki, "service-accounts")?;
    // Short-lived beds on loopback: the token keeps other beds apart rather than intruders out.
    let token = format!("admin-of-slot-{}", slot.0);
    authority::write(&pki.join("tokens.csv"), &format!("{token},admin,admin,\"system:masters\"\n"))?;
    Ok(token)
}

fn etcd(bed: &Path, cache: &Cache, slot: Slot) -> Component {
    let client = format!("http://{}:{ETCD_PORT}", slot.part(ETCD));
    let peer = format!("http://{}:2380", slot.part(ETCD));
    let args = vec![
        format!("--data-dir={}", bed.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Component::new(bed, "etcd", cache.etcd(), args)
}

fn api_server(bed: &Path, cache: &Cache, slot: Slot, options: &Options) -> Result<Component> {
    let pki = bed.join("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    let mut args = vec![
        format!("--etcd-servers=http://{}:{ETCD_PORT}", slot.part(ETCD)),
        format!("--bind-address={}", slot.part(API_SERVER)),
        format!("--advertise-address={}", slot.part(API_SERVER)),
        "--secure-port=6443".to_owned(),
        format!("--tls-cert-file={}", file("api-server.pem")),
        format!("--tls-private-key-file={}", file("api-server-key.pem")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("service-accounts.pem")),
        format!("--service-account-signing-key-file={}", file("service-accounts-key.pem")),
        format!("--service-cluster-ip-range={}", slot.service_range()),
        "--endpoint-reconciler-type=none".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--kubelet-certificate-authority={}", file("kubernetes-ca.pem")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        // Without a kubelet nobody would take the taint of a new node away.
        "--disable-admission-plugins=TaintNodesByCondition".to_owned(),
        "--profiling=false".to_owned(),
    ];
    if options.log_requests {
        let policy = pki.join("audit-policy.yaml");
        authority::write(&policy, AUDIT_POLICY)?;
        args.push(format!("--audit-policy-file={}", policy.display()));
        args.push(format!("--audit-log-path={}", tail::component_log(bed, request_log::AUDIT).display()));
    }
    Ok(Component::new(bed, "kube-apiserver", cache.kube_apiserver(), args))
}

fn controller_manager(bed: &Path, cache: &Cache, slot: Slot, kubeconfig: &Path) -> Component {
    let pki = bed.join("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    let args = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--bind-address={}", slot.part(CONTROLLER_MANAGER)),
        "--secure-port=10257".to_owned(),
        format!("--tls-cert-file={}", file("controller-manager.pem")),
        format!("--tls-private-key-file={}", file("controller-manager-key.pem")),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={}", file("service-accounts-key.pem")),
        format!("--root-ca-file={}", file("kubernetes-ca.pem")),
        format!("--controllers={LEFT_OUT}"),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
        "--profiling=false".to_owned(),
    ];
    Component::new(bed, "kube-controller-manager", cache.kube_controller_manager(), args)
}

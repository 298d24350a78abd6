use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, Config, runtime::watcher};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use topicops_certs::{LeafResolver, Policy, ServerName};
use topicops_contract::{ClientEndpoint, keys};
use topicops_webhook::{Limits, MinimumTls, Shutdown, WebhookState};
use tracing::{error, info};

use super::{
    Admission, Settings, TlsMin,
    policy_file::PolicyFile,
    policy_memory::ConfigMapPolicyMemory,
    probes,
    reach::Reach,
    reach_files::{Counts, ForClients, ReachFiles},
};
use crate::{
    KafkaTopic,
    access::GrantsMode,
    controller::{
        HomeCluster, Index, Leadership, Reporter, Scope, Watch, Watches,
        access::{
            AccessController, AccessSettings, ClientEvents, ClientIndex, Consented, KubeJobOwners,
            KubeRollouts, KubeSecretStore, Limits as AccessLimits, ReporterEvents, SecretIndex, SecretStore,
            Verifier, VerifyQueue, Vouched,
        },
        admission::{AdmissionConsent, AdmissionPolicy},
        certificates::{CertificateSettings, Certificates},
        healing::{Healer, KubeTemplates},
        health::Health,
        moves::{ConfigMapMoveStore, MoveDesk, Mover, watch_requests},
        topics::{ConfigMapLedger, KubeEvidence, StatusWriter, TopicController, TopicIndex},
    },
    fail_point::fail_point,
    kafka::{Cluster, MeasuredCluster, WireCluster},
    metrics::{Metrics, ReasonLabel, StateLabel},
    moves::BatchLimits,
    topic::{TopicGrants, TopicPolicy, limits::TopicRules},
};

/// `topicops run`: controller and webhook together, until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> Result<()> {
    #[cfg(feature = "fail-points")]
    crate::fail_point::begin();
    fail_point!("run/begun");
    let reach = Reach::read(&settings)?;
    let counts = Counts::from(&reach);
    let (endpoint, endpoints) = watch::channel(Arc::new(reach.endpoint));
    let (vouching, vouched) = watch::channel(Vouched::default());
    let config = Config::infer().await.context("finding the Kubernetes API server")?;
    let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let identity = settings.identity.clone().unwrap_or_else(host_name);
    let client = Client::try_from(config).context("setting up the Kubernetes client")?;
    let (leads, leading) = watch::channel(false);
    let home = Arc::new(HomeCluster::new(client.clone(), &namespace, &settings.operator_id, leading.clone()));
    let wire = WireCluster::with_clients(reach.own, reach.logins, Some(Arc::clone(&home) as _))
        .context("setting up the connection to Kafka")?;

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let webhook_metrics = topicops_webhook::Metrics::register(registry.sub_registry_with_prefix("topicops"));
    let cluster: Arc<dyn Cluster> = Arc::new(MeasuredCluster::new(Arc::new(wire.clone()), metrics.clone()));
    let health = Health::new(metrics.clone());
    let mut tasks = Tasks::default();
    let told = (health.clone(), metrics.clone());
    let for_clients = ForClients { endpoint, vouched: vouching };
    let files = ReachFiles::new(settings.clone(), counts, wire, for_clients, told);
    tasks.spawn("files about the brokers", files.follow());

    let probe_listener = listen("--metrics-listen", settings.metrics_listen).await?;
    let webhook_listener = listen("--webhook-listen", settings.webhook_listen).await?;
    let webhook_address = webhook_listener.local_addr()?;
    let topics = Arc::new(TopicIndex::default());
    govern(&mut tasks, &settings, (client.clone(), &namespace), &topics, (&health, &metrics)).await;
    let probes = probes::router(health.clone(), Arc::new(registry), count_states(&topics, &metrics));
    tasks.spawn("probes", async move {
        if let Err(error) = axum::serve(probe_listener, probes).await {
            error!(%error, "the probes are not served any more");
        }
    });
    let clients = Arc::new(ClientIndex::default());
    let secrets = Arc::new(SecretIndex::default());
    let scope = Scope::of(settings.namespaces.clone());
    let watches = Watches { client: client.clone(), scope: scope.clone(), health: health.clone() };
    let listed = watch_all(&mut tasks, &watches, (&topics, &clients, &secrets));
    let reporter = Reporter::new(client.clone(), Some(identity.clone()));
    tasks.spawn("events", reporter.clone().run());
    let statuses = StatusWriter::new(client.clone(), Arc::clone(&topics));
    tasks.spawn("statuses", statuses.clone().run());

    let resolver = Arc::new(LeafResolver::new());
    let certificates = Certificates::new(
        client.clone(),
        certificate_settings(&settings, &namespace, webhook_address)?,
        Policy::default(),
        Arc::clone(&resolver),
        health.clone(),
    );
    tasks.spawn("certificates", certificates.run());

    let mode = GrantsMode::from(settings.grants);
    let consented = Consented::new(Arc::clone(&clients), mode);
    let state = WebhookState::new(
        Arc::new(AdmissionConsent::new(
            consented,
            Arc::clone(&topics),
            settings.admission == Admission::Deny,
        )),
        Arc::new(AdmissionPolicy::new(Arc::clone(&topics))),
        webhook_metrics.clone(),
    );
    let state = match &scope {
        Scope::All => state,
        Scope::Only(namespaces) => state.only_in(namespaces.clone()),
    };
    let shutdown = Shutdown::default();
    let server = topicops_webhook::serve(
        webhook_listener,
        resolver,
        match settings.tls_min {
            TlsMin::V1_2 => MinimumTls::V1_2,
            TlsMin::V1_3 => MinimumTls::V1_3,
        },
        topicops_webhook::router(state),
        Limits { drain: settings.shutdown_drain, ..Limits::default() },
        webhook_metrics,
        shutdown.clone(),
    );
    let server = tokio::spawn(server);
    health.set("serving", Ok(()));

    let (stop_leading, stopping) = watch::channel(false);
    let leadership =
        Leadership::new(client.clone(), &namespace, settings.operator_id.as_str(), identity.clone());
    let caches = wait_for_all(listed.clone(), health.clone());
    tasks.spawn("caches", caches);
    let leader = tokio::spawn({
        let listed = listed.clone();
        let (metrics, health) = (metrics.clone(), health.clone());
        let mut observed = leading.clone();
        async move {
            all_true(listed).await;
            let gauge = async {
                while observed.changed().await.is_ok() {
                    let leads = *observed.borrow_and_update();
                    metrics.leader.set(i64::from(leads));
                    if !leads {
                        home.forget();
                    }
                }
            };
            tokio::select! {
                () = leadership.run(leads, stopping, health) => {}
                () = gauge => {}
            }
        }
    });

    let (grants, granted_topics) = watch::channel(Arc::new(TopicGrants::default()));
    let (granted, whole) = watch::channel(false);
    let desk = Arc::new(MoveDesk::default());
    let requests =
        watch_requests(client.clone(), namespace.clone(), settings.operator_id.clone(), Arc::clone(&desk));
    tasks.spawn("watch of rebalances", requests);
    let topic_controller = TopicController {
        cluster: Arc::clone(&cluster),
        store: Arc::new(ConfigMapLedger::new(client.clone(), &namespace, settings.operator_id.clone())),
        index: Arc::clone(&topics),
        users: Arc::clone(&clients) as _,
        open: mode == GrantsMode::Open,
        evidence: Arc::new(KubeEvidence::new(client.clone(), scope.clone())),
        statuses,
        reporter: reporter.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        context: settings.plan_context(),
        desk: Arc::clone(&desk),
        grants,
        granted,
        resync: settings.resync,
    };
    tasks.spawn("topics", topic_controller.run(leading.clone()));
    let mover = Mover {
        cluster: Arc::clone(&cluster),
        store: Arc::new(ConfigMapMoveStore::new(client.clone(), &namespace, settings.operator_id.clone())),
        desk,
        index: Arc::clone(&topics),
        limits: move_limits(&settings),
        reporter: reporter.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn("moves", mover.run(leading.clone()));

    let events: Arc<dyn ClientEvents> = Arc::new(ReporterEvents::new(reporter));
    let healer = Healer {
        templates: Arc::new(KubeTemplates::new(client.clone(), scope.clone())),
        clients: Arc::clone(&clients),
        secrets: Arc::clone(&secrets),
        events: Arc::clone(&events),
        except: NEVER_ADMITTED.into_iter().chain([namespace.as_str()]).map(str::to_owned).collect(),
        ready: listed.clone(),
    };
    tasks.spawn("healing", healer.run(leading.clone()));
    let rollouts = Arc::new(KubeRollouts::new(client.clone()));
    let jobs = Arc::new(KubeJobOwners::new(client.clone()));
    let store: Arc<dyn SecretStore> = Arc::new(KubeSecretStore::new(client));
    let verify = verifier(&mut tasks, &store, &events, &metrics);
    let mut ready = listed;
    ready.push(whole);
    let access_controller = AccessController {
        cluster,
        store,
        rollouts,
        jobs,
        clients,
        secrets,
        grants: granted_topics,
        topics: Arc::clone(&topics),
        ready,
        endpoints: endpoints.clone(),
        vouched,
        settings: AccessSettings {
            operator: settings.operator_id.clone(),
            mode,
            endpoint: ClientEndpoint::clone(&endpoints.borrow()),
            iterations: settings.scram_iterations,
            scope,
            resync: settings.resync,
            rotate_after: settings.rotate_after.age(),
        },
        events,
        health: health.clone(),
        metrics,
        verify,
        clock: Arc::new(Timestamp::now),
        limits: Arc::new(AccessLimits::default()),
    };
    tasks.spawn("access", access_controller.run(leading));
    info!(webhook = %webhook_address, identity, namespace, "topicops {} runs", env!("CARGO_PKG_VERSION"));

    let ended = tokio::select! {
        signal = stop_signal() => signal.map(|name| info!("{name}: stopping")),
        name = tasks.first_to_end() => Err(anyhow!("the task {name} ended, which it never should")),
    };
    health.set("serving", Err("shutting down".to_owned()));
    stop_leading.send_replace(true);
    shutdown.last_requests.cancel();
    tokio::time::sleep(settings.shutdown_delay).await;
    shutdown.drain.cancel();
    let report =
        server.await.context("the webhook server panicked")?.context("the webhook's TLS settings")?;
    info!(broken_off = report.broken_off, accepted = report.accepted, "the webhook has ended");
    // Bounded by its own request time-out.
    let _ = tokio::time::timeout(Duration::from_secs(5), leader).await;
    ended
}

/// Puts topics under the policy, and keeps it up to date.
async fn govern(
    tasks: &mut Tasks,
    settings: &Settings,
    (client, namespace): (Client, &str),
    topics: &Arc<TopicIndex>,
    (health, metrics): (&Health, &Metrics),
) {
    let (owners, protected) = (settings.topic_owners.clone(), settings.protected_topics.clone());
    let policy = TopicPolicy::new(owners, protected, settings.max_partitions, TopicRules::default());
    let Some(file) = settings.policy.clone() else {
        topics.govern(policy);
        return;
    };
    topics.govern(TopicPolicy { unread: true, ..policy.clone() });
    let memory = Arc::new(ConfigMapPolicyMemory::new(client, namespace, &settings.operator_id));
    let told = (health.clone(), metrics.clone());
    let mut policy = PolicyFile::new(file, policy, memory, Arc::clone(topics), told);
    policy.look().await;
    tasks.spawn("policy", policy.follow());
}

/// Beside topicops' own namespace: as `deploy/install/40-webhooks.yaml` has it.
const NEVER_ADMITTED: [&str; 1] = ["kube-system"];

/// Replicas that one broker copies at the same time: more would only share what its throttle lets through.
const COPIES_PER_BROKER: usize = 5;

fn move_limits(settings: &Settings) -> BatchLimits {
    BatchLimits {
        partitions: usize::try_from(settings.move_batch).unwrap_or(usize::MAX),
        per_broker: COPIES_PER_BROKER,
        throttle: settings.move_throttle,
    }
}

/// The parts that run for as long as the process does, by name.
#[derive(Default)]
struct Tasks {
    set: JoinSet<&'static str>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    /// One that ends, or panics, ends the process: half an operator is worse than one that is started anew.
    async fn first_to_end(&mut self) -> String {
        match self.set.join_next().await {
            Some(Ok(name)) => name.to_owned(),
            Some(Err(error)) => error.to_string(),
            None => std::future::pending().await,
        }
    }
}

fn count_states(topics: &Arc<TopicIndex>, metrics: &Metrics) -> Arc<dyn Fn() + Send + Sync> {
    let (topics, metrics) = (Arc::clone(topics), metrics.clone());
    Arc::new(move || {
        for (state, count) in topics.states() {
            metrics.topics.get_or_create(&StateLabel { state }).set(count);
        }
        // One that is refused no more is not to be shown as it was.
        metrics.refusals.clear();
        for (reason, count) in topics.refusals() {
            metrics.refusals.get_or_create(&ReasonLabel { reason: reason.as_str() }).set(count);
        }
    })
}

#[cfg(feature = "verify")]
fn verifier(
    tasks: &mut Tasks,
    store: &Arc<dyn SecretStore>,
    events: &Arc<dyn ClientEvents>,
    metrics: &Metrics,
) -> Option<VerifyQueue> {
    let queue = VerifyQueue::default();
    let verifier = Verifier {
        queue: queue.clone(),
        store: Arc::clone(store),
        verifier: Arc::new(crate::controller::access::LibrdkafkaVerifier),
        events: Arc::clone(events),
        metrics: metrics.clone(),
    };
    tasks.spawn("verifier", verifier.run());
    Some(queue)
}

/// Built without librdkafka: nothing tries the Secrets beyond the login that precedes them.
#[cfg(not(feature = "verify"))]
fn verifier(
    _: &mut Tasks,
    _: &Arc<dyn SecretStore>,
    _: &Arc<dyn ClientEvents>,
    _: &Metrics,
) -> Option<VerifyQueue> {
    None
}

/// Starts all watches; each answers when its first listing is complete.
fn watch_all(
    tasks: &mut Tasks,
    watches: &Watches,
    (topics, clients, secrets): (&Arc<TopicIndex>, &Arc<ClientIndex>, &Arc<SecretIndex>),
) -> Vec<watch::Receiver<bool>> {
    let mut listed = Vec::new();
    let mut add = |name: &'static str, all: Vec<Watch>| {
        for (watching, done) in all {
            tasks.spawn(name, watching);
            listed.push(done);
        }
    };
    let labels = format!("{}={}", keys::CONFIG_LABEL, keys::CONFIG_LABEL_TOPIC);
    let config_maps: Arc<dyn Index<ConfigMap>> = Arc::clone(topics) as _;
    add("watch of ConfigMaps", watches.of(&watcher::Config::default().labels(&labels), &config_maps));
    let custom: Arc<dyn Index<KafkaTopic>> = Arc::clone(topics) as _;
    add("watch of KafkaTopics", watches.if_served(&custom));
    add("watch of workloads", clients.watches(watches));
    add("watch of Secrets", secrets.watches(watches));
    listed
}

async fn all_true(listed: Vec<watch::Receiver<bool>>) {
    for mut one in listed {
        let _ = one.wait_for(|done| *done).await;
    }
}

async fn wait_for_all(listed: Vec<watch::Receiver<bool>>, health: Health) {
    all_true(listed).await;
    health.set("caches", Ok(()));
    std::future::pending::<()>().await;
}

async fn listen(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}: cannot listen there"))
}

async fn stop_signal() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

fn certificate_settings(
    settings: &Settings,
    namespace: &str,
    listening: SocketAddr,
) -> Result<CertificateSettings> {
    let service = &settings.webhook_service;
    let mut hosts = vec![
        service.clone(),
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
    ];
    // A port of 0 in the URL stands for the one that was given to us.
    let url = settings.webhook_url.as_ref().map(|url| url.replace(":0", &format!(":{}", listening.port())));
    if let Some(url) = &url {
        hosts.push(host_of(url).with_context(|| format!("--webhook-url {url}: write https://host:port"))?);
    }
    let names = hosts
        .into_iter()
        .map(|host| ServerName::try_from(host.clone()).with_context(|| format!("{host} is no host name")))
        .collect::<Result<_>>()?;
    Ok(CertificateSettings {
        namespace: namespace.to_owned(),
        secret: format!("{}-ca", settings.operator_id),
        configurations: settings.webhook_configuration.clone(),
        url,
        names,
    })
}

fn host_of(url: &str) -> Option<String> {
    let authority = url.strip_prefix("https://")?.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    (!host.is_empty()).then(|| host.to_owned())
}

fn host_name() -> String {
    fs::read_to_string("/etc/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| format!("topicops-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_found() {
        assert_eq!(host_of("https://127.0.0.1:9443/x").as_deref(), Some("127.0.0.1"));
        assert_eq!(host_of("https://[::1]:9443").as_deref(), Some("::1"));
        assert_eq!(host_of("https://hooks.example").as_deref(), Some("hooks.example"));
        assert_eq!(host_of("http://hooks.example"), None);
        assert_eq!(host_of("https://:1"), None);
    }
}

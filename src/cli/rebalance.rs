use std::{collections::BTreeSet, io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, Config, api::ListParams};
use topicops_contract::{NamePattern, OperatorId, TopicName, keys};

use super::{byte_rate::byte_rate, kafka_config::cluster, rebalance_table::table, settings::pattern};
use crate::{
    KafkaTopic,
    controller::{
        Index, leader,
        moves::{ConfigMapMoveStore, Movable, Survey, plan_rebalance},
        topics::{ConfigMapLedger, Ledger, TopicIndex},
    },
    moves::{RebalanceRequest, RebalanceState, RebalanceStatus, Room},
    topic::TopicPolicy,
};

/// The settings of `topicops rebalance`.
#[derive(Args, Clone, Debug)]
pub struct RebalanceSettings {
    /// Brokers that are to hold nothing any more, comma-separated; they get nothing new as long as the request stands.
    #[arg(long, value_delimiter = ',', value_name = "BROKER")]
    pub drain: Vec<i32>,

    /// Only topics of this name, or that begin so: name or prefix*.
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub topics: Option<NamePattern>,

    /// Bytes per second that a broker copies, or is copied from, at most: 50MB/s. Default: as topicops run has it.
    #[arg(long, value_name = "RATE", value_parser = byte_rate)]
    pub throttle: Option<u64>,

    /// Moves topics that nobody declares, too.
    #[arg(long)]
    pub include_undeclared: bool,

    /// Moves Kafka's own topics, too.
    #[arg(long, requires = "include_undeclared")]
    pub include_internal: bool,

    /// Shows what would be moved, and asks for nothing. Exit code 3 when something would be.
    #[arg(long, requires = "kafka_config")]
    pub dry_run: bool,

    /// Waits until it is done, and says how far it is.
    #[arg(long, conflicts_with_all = ["dry_run", "status"])]
    pub wait: bool,

    /// Calls off what was asked for: what is under way goes back, and brokers are not drained any more.
    #[arg(long, conflicts_with_all = ["drain", "topics", "throttle", "include_undeclared", "dry_run", "status"])]
    pub cancel: bool,

    /// Says how the last one stands.
    #[arg(long, conflicts_with_all = ["drain", "topics", "throttle", "include_undeclared", "dry_run"])]
    pub status: bool,

    /// Kafka client properties file, for --dry-run.
    #[arg(long, env = "TOPICOPS_KAFKA_CONFIG", value_name = "FILE")]
    pub kafka_config: Option<PathBuf>,

    /// Topics that are never touched, for --dry-run: as for topicops run.
    #[arg(long, env = "TOPICOPS_PROTECTED_TOPICS", value_delimiter = ',', value_name = "PATTERN", value_parser = pattern)]
    pub protected_topics: Vec<NamePattern>,

    /// The --operator-id of the topicops that is asked.
    #[arg(long, env = "TOPICOPS_OPERATOR_ID", default_value = "topicops")]
    pub operator_id: OperatorId,

    /// The namespace it runs in.
    #[arg(long, env = "TOPICOPS_NAMESPACE", default_value = "topicops", value_name = "NAMESPACE")]
    pub namespace: String,
}

/// What asking for a rebalance came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebalanced {
    Done,
    /// Something would be moved.
    Pending,
}

/// Between two looks of --wait.
const LOOK: Duration = Duration::from_secs(1);

/// `topicops rebalance`: asks the replica that leads to move replicas, or says how that stands. It moves nothing by itself, so
/// that there is one mover.
///
/// # Errors
/// The API server or, for `--dry-run`, the brokers do not answer; the rebalance is refused.
pub async fn rebalance(settings: &RebalanceSettings, out: &mut (dyn Write + Send)) -> Result<Rebalanced> {
    let config = Config::infer().await.context("finding the Kubernetes API server")?;
    let client = Client::try_from(config).context("setting up the Kubernetes client")?;
    let request = RebalanceRequest {
        id: new_id()?,
        drain: settings.drain.iter().copied().collect(),
        topics: settings.topics.clone(),
        throttle: settings.throttle,
        include_undeclared: settings.include_undeclared,
        include_internal: settings.include_internal,
        cancel: settings.cancel,
    };
    if settings.dry_run {
        return dry_run(settings, &client, &request, out).await;
    }
    let store = ConfigMapMoveStore::new(client.clone(), &settings.namespace, settings.operator_id.clone());
    if settings.status {
        let (request, status) = store.requested().await?;
        match (request, status) {
            (None, _) => writeln!(out, "nobody asked for a rebalance")?,
            (Some(request), Some(status)) if status.id == request.id => writeln!(out, "{}", told(&status))?,
            (Some(_), _) => writeln!(out, "asked for, and not taken up yet")?,
        }
        return Ok(Rebalanced::Done);
    }
    store.leave(&request).await?;
    writeln!(out, "{}", if settings.cancel { "asked to call it off" } else { "asked for" })?;
    if leader(&client, settings.operator_id.as_str()).await.is_ok_and(|leads| leads.is_none()) {
        writeln!(out, "no replica of topicops leads now: it is taken up when one does")?;
    }
    if settings.wait {
        wait(&store, &request.id, out).await?;
    }
    Ok(Rebalanced::Done)
}

async fn wait(store: &ConfigMapMoveStore, id: &str, out: &mut (dyn Write + Send)) -> Result<()> {
    let mut last = None;
    loop {
        let (request, status) = store.requested().await?;
        if request.is_none_or(|request| request.id != id) {
            bail!("somebody asked for something else meanwhile");
        }
        if let Some(status) = status.filter(|status| status.id == id && last.as_ref() != Some(status)) {
            writeln!(out, "{}", told(&status))?;
            match status.state {
                RebalanceState::Done | RebalanceState::Cancelled => return Ok(()),
                RebalanceState::Refused => return Err(anyhow!("it cannot be done as asked")),
                RebalanceState::Waiting | RebalanceState::Moving => last = Some(status),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn told(status: &RebalanceStatus) -> String {
    let state = match status.state {
        RebalanceState::Waiting => "waiting",
        RebalanceState::Moving => "moving",
        RebalanceState::Done => "done",
        RebalanceState::Cancelled => "called off",
        RebalanceState::Refused => "refused",
    };
    let parts = [state, status.message.as_str(), status.remarks.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// Plans as the replica that leads would, from the same ledger and objects.
async fn dry_run(
    settings: &RebalanceSettings,
    client: &Client,
    request: &RebalanceRequest,
    out: &mut (dyn Write + Send),
) -> Result<Rebalanced> {
    let file = settings.kafka_config.as_ref().context("--dry-run needs --kafka-config")?;
    let cluster = cluster(file)?;
    let (owned, paused) = declared(settings, client).await?;
    let policy = TopicPolicy { protected: settings.protected_topics.clone(), ..TopicPolicy::default() };
    let survey = Survey::take(&cluster, &request.drain).await?;
    let busy = BTreeSet::new();
    let movable = Movable { owned: &owned, paused: &paused, busy: &busy, policy: &policy };
    let (_, taken, plan) =
        plan_rebalance(&survey, request, movable, Room::ALL).map_err(anyhow::Error::msg)?;
    write!(out, "{}", table(&plan, settings.throttle))?;
    if !taken.remarks.is_empty() {
        writeln!(out, "{}", taken.remarks)?;
    }
    Ok(if plan.moves.is_empty() { Rebalanced::Done } else { Rebalanced::Pending })
}

/// The topics that are declared and owned, and those of them that are paused.
async fn declared(
    settings: &RebalanceSettings,
    client: &Client,
) -> Result<(BTreeSet<TopicName>, BTreeSet<TopicName>)> {
    let index = TopicIndex::default();
    let labels = format!("{}={}", keys::CONFIG_LABEL, keys::CONFIG_LABEL_TOPIC);
    let api: Api<ConfigMap> = Api::all(client.clone());
    let listed =
        api.list(&ListParams::default().labels(&labels)).await.context("listing topic ConfigMaps")?;
    listed.items.into_iter().for_each(|object| index.apply(object));
    let api: Api<KafkaTopic> = Api::all(client.clone());
    match api.list(&ListParams::default()).await {
        Ok(listed) => listed.items.into_iter().for_each(|object| index.apply(object)),
        // The custom resource is not installed.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error).context("listing KafkaTopics"),
    }
    let store = ConfigMapLedger::new(client.clone(), &settings.namespace, settings.operator_id.clone());
    let ledger = Ledger::load(&store).await?;
    let owned: BTreeSet<TopicName> =
        index.topics().into_iter().filter(|topic| ledger.get(topic).is_some()).collect();
    let is_paused = |topic: &&TopicName| index.declarations(topic).iter().any(|one| one.manifest.paused);
    let paused = owned.iter().filter(is_paused).cloned().collect();
    Ok((owned, paused))
}

fn new_id() -> Result<String> {
    let mut bytes = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the machine gave no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

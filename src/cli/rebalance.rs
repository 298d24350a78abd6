use std::{collections::BTreeSet, io::Write, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, Config, api::ListParams};
use topicops_contract::{NamePattern, OperatorId, TopicName, keys};

use super::{
    byte_rate::byte_rate,
    kafka_config::cluster,
    rebalance_table::table,
    rebalance_wait::{told, wait},
    settings::{DEFAULT_MOVE_THROTTLE, namespace, pattern},
};
use crate::{
    KafkaTopic,
    controller::{
        Index, Scope, leader,
        moves::{ConfigMapMoveStore, Movable, Survey, plan_rebalance},
        topics::{ConfigMapLedger, Ledger, TopicIndex},
    },
    moves::{RebalanceRequest, RebalanceState, Room},
    topic::{Holding, Ownership, TopicPolicy},
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
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,

    /// Calls off what was asked for: what is under way goes back, and brokers are not drained any more.
    #[arg(long, conflicts_with_all = ["drain", "topics", "throttle", "include_undeclared", "dry_run", "status"])]
    pub cancel: bool,

    /// Says how the last one stands. Exit code 3 while it is not over, 1 when it cannot be done.
    #[arg(long, conflicts_with_all = ["drain", "topics", "throttle", "include_undeclared", "dry_run"])]
    pub status: bool,

    /// The namespaces whose topics are declared, for --dry-run: as for topicops run.
    #[arg(long, env = "TOPICOPS_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE,…", value_parser = namespace)]
    pub namespaces: Vec<String>,

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
    /// Something would be moved, or is not over.
    Pending,
    /// It cannot be done as asked.
    Refused,
}

/// `topicops rebalance`: asks the replica that leads to move replicas, or says how that stands. It moves nothing by itself, so
/// that there is one mover.
///
/// # Errors
/// The API server or, for `--dry-run`, the brokers do not answer; `--dry-run` finds that it cannot be done; topicops runs in another
/// namespace.
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
        let (standing, status) = store.requested().await?;
        let Some(standing) = standing else {
            check_namespace(settings, &client).await?;
            writeln!(out, "nobody asked for a rebalance")?;
            return Ok(Rebalanced::Done);
        };
        if settings.wait {
            return wait(&store, standing, out).await;
        }
        let status = status.filter(|status| status.id == standing.id);
        writeln!(out, "{}", status.as_ref().map_or_else(|| UNKNOWN.to_owned(), told))?;
        return Ok(status.map_or(Rebalanced::Pending, |status| status.state.into()));
    }
    let led = check_namespace(settings, &client).await?;
    store.leave(&request).await?;
    writeln!(out, "{}", if settings.cancel { "asked to call it off" } else { "asked for" })?;
    if !led {
        writeln!(out, "no replica of topicops leads now: it is taken up when one does")?;
    }
    if settings.wait {
        return wait(&store, request, out).await;
    }
    Ok(Rebalanced::Done)
}

/// What is said of a request that nobody has looked at.
const UNKNOWN: &str = "asked for, and not taken up yet";

impl From<RebalanceState> for Rebalanced {
    fn from(state: RebalanceState) -> Self {
        match state {
            RebalanceState::Waiting | RebalanceState::Moving => Self::Pending,
            RebalanceState::Done | RebalanceState::Cancelled => Self::Done,
            RebalanceState::Refused => Self::Refused,
        }
    }
}

/// Whether a replica of this topicops leads, as far as the API server tells.
///
/// # Errors
/// When it leads from another namespace: what is left in this one would be taken up by nobody.
async fn check_namespace(settings: &RebalanceSettings, client: &Client) -> Result<bool> {
    match leader(client, settings.operator_id.as_str()).await {
        Ok(Some(holder)) => match elsewhere(&holder, &settings.namespace) {
            Some(right) => bail!(
                "--namespace {}: topicops \"{}\" leads from namespace {right}; ask it with --namespace {right}",
                settings.namespace,
                settings.operator_id
            ),
            None => Ok(true),
        },
        Ok(None) => Ok(false),
        // Who may not see Leases may ask all the same.
        Err(_) => Ok(true),
    }
}

/// The namespace of a leader (`namespace/replica`) that is not in this one.
fn elsewhere<'a>(holder: &'a str, namespace: &str) -> Option<&'a str> {
    holder.split_once('/').map(|(found, _)| found).filter(|found| *found != namespace)
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
    let policy = TopicPolicy { protected: settings.protected_topics.clone(), ..TopicPolicy::default() };
    let survey = Survey::take(&cluster, &request.drain).await?;
    let (owned, paused) = declared(settings, client, &survey, &policy).await?;
    let busy = BTreeSet::new();
    let movable = Movable { owned: &owned, paused: &paused, busy: &busy, policy: &policy };
    let (_, taken, plan) =
        plan_rebalance(&survey, request, movable, Room::ALL).map_err(anyhow::Error::msg)?;
    let assumed = byte_rate(DEFAULT_MOVE_THROTTLE).map_err(anyhow::Error::msg)?;
    write!(out, "{}", table(&plan, settings.throttle, assumed))?;
    if !taken.remarks.is_empty() {
        writeln!(out, "{}", taken.remarks)?;
    }
    Ok(if plan.moves.is_empty() { Rebalanced::Done } else { Rebalanced::Pending })
}

/// The topics that are declared and owned, and those of them that are paused.
async fn declared(
    settings: &RebalanceSettings,
    client: &Client,
    survey: &Survey,
    policy: &TopicPolicy,
) -> Result<(BTreeSet<TopicName>, BTreeSet<TopicName>)> {
    let index = TopicIndex::default();
    let labels = format!("{}={}", keys::CONFIG_LABEL, keys::CONFIG_LABEL_TOPIC);
    let scope = Scope::of(settings.namespaces.clone());
    for api in scope.apis::<ConfigMap>(client) {
        let listed =
            api.list(&ListParams::default().labels(&labels)).await.context("listing topic ConfigMaps")?;
        listed.items.into_iter().for_each(|object| index.apply(object));
    }
    for api in scope.apis::<KafkaTopic>(client) {
        match api.list(&ListParams::default()).await {
            Ok(listed) => listed.items.into_iter().for_each(|object| index.apply(object)),
            // The custom resource is not installed.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).context("listing KafkaTopics"),
        }
    }
    let store = ConfigMapLedger::new(client.clone(), &settings.namespace, settings.operator_id.clone());
    let ledger = Ledger::load(&store).await?;
    Ok(standings(&index, |topic| ledger.get(topic), |topic| survey.topics.contains_key(topic), policy))
}

/// As the replica that leads settles it. Whom rules let adopt a topic is in the ledger by now.
fn standings<'a>(
    index: &TopicIndex,
    holding: impl Fn(&TopicName) -> Option<&'a Holding>,
    exists: impl Fn(&TopicName) -> bool,
    policy: &TopicPolicy,
) -> (BTreeSet<TopicName>, BTreeSet<TopicName>) {
    let (mut owned, mut paused) = (BTreeSet::new(), BTreeSet::new());
    for topic in index.topics().into_iter().filter(exists) {
        let declarations = index.declarations(&topic);
        let settled = Ownership::settle(&topic, &declarations, holding(&topic), true, policy);
        let Some(owner) = settled.owner.filter(|owner| !owner.deleting) else { continue };
        if owner.manifest.paused || !owner.problems.is_empty() {
            paused.insert(topic.clone());
        }
        owned.insert(topic);
    }
    (owned, paused)
}

fn new_id() -> Result<String> {
    let mut bytes = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the machine gave no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn declare(index: &TopicIndex, namespace: &str, paused: bool) {
        let label = (keys::CONFIG_LABEL.to_owned(), keys::CONFIG_LABEL_TOPIC.to_owned());
        let paused = paused.then(|| (keys::topic::PAUSED.to_owned(), "true".to_owned()));
        index.apply(ConfigMap {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some("orders".to_owned()),
                uid: Some(namespace.to_owned()),
                labels: Some([label].into()),
                annotations: Some(paused.into_iter().collect()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::new()),
            ..ConfigMap::default()
        });
    }

    #[test]
    fn only_its_owner_has_a_topic_moved_and_only_its_owner_pauses_it() {
        let topic: TopicName = "orders".parse().unwrap();
        let holding = Holding { namespace: "shop".to_owned(), ..Holding::default() };
        let policy = TopicPolicy::default();
        let of = |namespaces: &[(&str, bool)], exists: bool| {
            let index = TopicIndex::default();
            namespaces.iter().for_each(|(namespace, paused)| declare(&index, namespace, *paused));
            let (owned, paused) = standings(&index, |_| Some(&holding), |_| exists, &policy);
            (owned.contains(&topic), paused.contains(&topic))
        };
        assert_eq!(of(&[("shop", false), ("thief", true)], true), (true, false));
        assert_eq!(of(&[("shop", true), ("thief", false)], true), (true, true));
        assert_eq!(of(&[("thief", false)], true), (false, false), "remembered is not owned");
        assert_eq!(of(&[("shop", false)], false), (false, false), "it is not there yet");
    }

    #[test]
    fn a_leader_in_another_namespace_is_named() {
        assert_eq!(elsewhere("kafka/topicops-0", "topicops"), Some("kafka"));
        assert_eq!(elsewhere("topicops/topicops-0", "topicops"), None);
    }
}

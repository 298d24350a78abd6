use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use topicops_contract::{NamePattern, TopicName, TopicObjectKind};

use super::{kafka_config::cluster, settings::pattern};
use crate::{
    import::{ImportedTopic, Manifest, object_names},
    kafka::{Cluster, ConfigKeys, Item, TopicDescription},
    topic::TopicPolicy,
};

/// The settings of `topicops import`.
#[derive(Args, Clone, Debug)]
pub struct ImportSettings {
    /// Kafka client properties file with which the brokers are asked, as Java clients use it.
    #[arg(long, env = "TOPICOPS_KAFKA_CONFIG", value_name = "FILE")]
    pub kafka_config: PathBuf,

    /// Which topics: names or prefix*, comma-separated. Default: all but those that are never touched.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN", value_parser = pattern)]
    pub topics: Vec<NamePattern>,

    /// Topics that are never touched, beside those that begin with __: names or prefix*, comma-separated.
    #[arg(long, env = "TOPICOPS_PROTECTED_TOPICS", value_delimiter = ',', value_name = "PATTERN", value_parser = pattern)]
    pub protected_topics: Vec<NamePattern>,

    /// The namespace that is written into the objects. Default: none, so that it is up to whoever applies them.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// The kind of object that is written.
    #[arg(long = "as", value_enum, default_value = "configmap")]
    pub kind: Kind,

    /// A folder that gets one file for each topic, or - for standard output.
    #[arg(long, short = 'o', default_value = "-", value_name = "FOLDER")]
    pub output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    #[value(name = "configmap")]
    ConfigMap,
    #[value(name = "kafkatopic")]
    KafkaTopic,
}

impl From<Kind> for TopicObjectKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::ConfigMap => Self::ConfigMap,
            Kind::KafkaTopic => Self::KafkaTopic,
        }
    }
}

/// `topicops import`: writes a manifest for every topic that is on the brokers, which declares it as it is. Manifests go to
/// `out` or the folder, remarks to `remarks`.
///
/// # Errors
/// The brokers do not answer or do not let us look, or what is written cannot be.
pub async fn import(
    settings: &ImportSettings,
    out: &mut (dyn Write + Send),
    remarks: &mut (dyn Write + Send),
) -> Result<()> {
    let cluster = cluster(&settings.kafka_config)?;
    let cluster_id = cluster.describe_cluster().await?.cluster_id;
    let topics = observe(&cluster, settings).await?;
    for wanted in &settings.topics {
        if !topics.iter().any(|topic| wanted.matches(topic.topic.as_str())) {
            writeln!(remarks, "--topics {}: there is no such topic, or none that may be touched", wanted)?;
        }
    }
    let names: Vec<TopicName> = topics.iter().map(|topic| topic.topic.clone()).collect();
    let origin = format!("by topicops {} from Kafka cluster {cluster_id}", env!("CARGO_PKG_VERSION"));
    let folder = Some(&settings.output).filter(|output| *output != Path::new("-"));
    if let Some(folder) = folder {
        fs::create_dir_all(folder).with_context(|| format!("--output {}", folder.display()))?;
    }
    for (index, (topic, name)) in topics.iter().zip(object_names(&names)).enumerate() {
        for remark in &topic.remarks {
            writeln!(remarks, "{}: {remark}", topic.topic)?;
        }
        let namespace = settings.namespace.as_deref();
        let manifest =
            Manifest { kind: settings.kind.into(), name: &name, namespace, origin: &origin, topic };
        let text = manifest.to_yaml().with_context(|| format!("writing {}", topic.topic))?;
        match folder {
            Some(folder) => {
                let file = folder.join(format!("{name}.yaml"));
                fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
            }
            None => write!(out, "{}{text}", if index == 0 { "" } else { "---\n" })?,
        }
    }
    if let Some(folder) = folder {
        writeln!(remarks, "{} topics in {}", topics.len(), folder.display())?;
    }
    Ok(())
}

/// The topics as they are, in the order of their names.
async fn observe(cluster: &dyn Cluster, settings: &ImportSettings) -> Result<Vec<ImportedTopic>> {
    let policy = TopicPolicy { protected: settings.protected_topics.clone(), ..TopicPolicy::default() };
    let mut names: Vec<TopicName> = Vec::new();
    for name in cluster.list_topics().await? {
        let name: TopicName = name.parse().context("the brokers name a topic that cannot be")?;
        let asked = settings.topics.is_empty()
            || settings.topics.iter().any(|pattern| pattern.matches(name.as_str()));
        if asked && policy.protects(&name).is_none() {
            names.push(name);
        }
    }
    let moves = cluster.list_reassignments().await?;
    let described: Vec<Item<Option<TopicDescription>>> =
        cluster.describe_topics(&names, &ConfigKeys::All).await?;
    let mut topics = Vec::with_capacity(names.len());
    for (name, description) in names.into_iter().zip(described) {
        match description {
            Ok(Some(description)) => topics.push(ImportedTopic::of(name, &description, &moves)),
            // Deleted since it was listed.
            Ok(None) => {}
            Err(error) => bail!("topic {name}: {error}"),
        }
    }
    Ok(topics)
}

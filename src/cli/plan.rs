use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Result, bail};
use clap::Args;
use topicops_contract::{NamePattern, TopicName};

use super::{
    kafka_config::cluster,
    manifest_files,
    plan_report::{PlanReport, TopicReport},
    policy_file,
    settings::pattern,
};
use crate::{
    controller::{
        moves::{BrokerDefaults, Survey, plan_factor},
        topics::{Governed, TopicObject, ask_storage},
    },
    kafka::{Cluster, ConfigKeys},
    topic::{
        Applied, BrokerFacts, Declaration, Holding, MIN_IN_SYNC, OwnerRule, PlanContext, Refusal, TopicPlan,
        TopicPolicy, limits::TopicRules,
    },
};

/// The settings of `topicops plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanSettings {
    /// Kafka client properties file with which the brokers are asked, as Java clients use it.
    #[arg(long, env = "TOPICOPS_KAFKA_CONFIG", value_name = "FILE")]
    pub kafka_config: PathBuf,

    /// The namespace of objects that name none.
    #[arg(long, short = 'n', default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,

    /// Which namespaces may own topics that exist already, as for topicops run. Default: all may own all of them.
    #[arg(
        long,
        env = "TOPICOPS_TOPIC_OWNERS",
        value_delimiter = ',',
        default_value = "*=*",
        value_name = "NAMESPACE=PATTERN"
    )]
    pub topic_owners: Vec<OwnerRule>,

    /// Topics that are never touched, beside those that begin with __: names or prefix*, comma-separated.
    #[arg(long, env = "TOPICOPS_PROTECTED_TOPICS", value_delimiter = ',', value_name = "PATTERN", value_parser = pattern)]
    pub protected_topics: Vec<NamePattern>,

    /// YAML file with limits and defaults for topics, as for topicops run.
    #[arg(long, env = "TOPICOPS_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Partitions that a topic may be declared with at most.
    #[arg(long, env = "TOPICOPS_MAX_PARTITIONS", default_value_t = 1000, value_parser = clap::value_parser!(i32).range(1..=10000))]
    pub max_partitions: i32,

    /// How it is told.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub output: Output,

    /// Files and folders with manifests in YAML, or - for standard input. Other objects in them are passed over.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// What a plan comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The brokers are as declared.
    InSync,
    /// Something would be changed, and nothing stands against it.
    Pending,
    /// Something that is declared is mistaken, or would not be done.
    Refused,
}

/// `topicops plan`: tells what topicops would do if these manifests were applied. Changes nothing.
///
/// What `topicops run` remembers about the topics it holds is not known here: who owns a topic that exists is settled by
/// `--topic-owners` alone, and a setting that was declared once and is not any more is not seen.
///
/// # Errors
/// Files that cannot be read, or brokers that do not answer.
pub async fn plan(settings: &PlanSettings, out: &mut (dyn Write + Send)) -> Result<Verdict> {
    let objects = manifest_files::read(&settings.files, &settings.namespace)?;
    if objects.is_empty() {
        bail!(
            "no topic is declared there: a KafkaTopic declares one, or a ConfigMap with the label config: kafka-topic"
        );
    }
    let cluster = cluster(&settings.kafka_config)?;
    let rules = match &settings.policy {
        Some(file) => policy_file::load_named(file).await?,
        None => TopicRules::default(),
    };
    let (owners, protected) = (settings.topic_owners.clone(), settings.protected_topics.clone());
    let policy = TopicPolicy::new(owners, protected, settings.max_partitions, rules);
    let report = PlanReport::new(reports(&cluster, &objects, policy).await?);
    match settings.output {
        Output::Text => write!(out, "{report}")?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)?;
        }
    }
    Ok(report.verdict())
}

async fn reports(
    cluster: &dyn Cluster,
    objects: &[TopicObject],
    policy: TopicPolicy,
) -> Result<Vec<TopicReport>> {
    let mut governed = Governed::default();
    governed.replace(policy.clone(), objects.iter());
    let mut context = PlanContext { over_quota: governed.over().0, ..PlanContext::new(policy) };
    let mut reports = Vec::new();
    let mut declared: BTreeMap<TopicName, Vec<Declaration>> = BTreeMap::new();
    for object in objects {
        match object.declaration() {
            Some(one) => declared.entry(one.manifest.topic.clone()).or_default().push(one),
            None => reports.push(TopicReport::nameless(object)),
        }
    }
    let names: Vec<TopicName> = declared.keys().cloned().collect();
    // What a manifest leaves to a default has to be compared as well.
    let mut keys: BTreeSet<String> = context.policy.rules.default_configs().map(str::to_owned).collect();
    keys.extend(declared.values().flatten().flat_map(|one| one.manifest.config_keys().map(str::to_owned)));
    keys.insert(MIN_IN_SYNC.to_owned());
    let keys = ConfigKeys::Only(keys);
    let (described, moves, description) = tokio::try_join!(
        cluster.describe_topics(&names, &keys),
        cluster.list_reassignments(),
        cluster.describe_cluster()
    )?;
    let brokers: Vec<i32> = description.brokers.iter().map(|(broker, _)| *broker).collect();
    let defaults = BrokerDefaults::read(cluster, &brokers).await?;
    context.brokers =
        defaults.map(|defaults| BrokerFacts { count: brokers.len(), min_in_sync: defaults.min_in_sync });
    let mut survey: Option<Survey> = None;
    let moving: BTreeSet<&TopicName> = moves.iter().map(|running| &running.partition.topic).collect();
    for ((topic, declarations), observed) in declared.iter().zip(described) {
        let observed = match observed {
            Ok(observed) => observed,
            Err(error) => bail!("topic {topic}: {error}"),
        };
        if let Some(observed) = observed.as_ref().filter(|_| moving.contains(topic)) {
            let factors = observed.factors_after(topic, &moves);
            let one = factors.first().filter(|_| factors.len() == 1).and_then(|one| i16::try_from(*one).ok());
            context.moving.extend(one.map(|one| (topic.clone(), one)));
        }
        let mut plan = TopicPlan::of(topic, declarations, observed.as_ref(), None, &context);
        if plan.wants_storage {
            context.storage = Some(Arc::new(ask_storage(cluster).await?));
            plan = TopicPlan::of(topic, declarations, observed.as_ref(), None, &context);
        }
        let never_seen = plan.refusals.iter().any(|refusal| matches!(refusal, Refusal::NeverSeen { .. }));
        if let (true, Some(owner), Some(there)) = (never_seen, &plan.owner, &observed) {
            // What is remembered is not known here: the topic that is there is taken for the one that the object stood for.
            let applied = Applied { topic_id: Some(there.id.clone()), ..Applied::default() };
            let namespace = owner.object.namespace.clone();
            let known = Holding { namespace, applied, ..Holding::default() };
            plan = TopicPlan::of(topic, declarations, observed.as_ref(), Some(&known), &context);
        }
        let mut report = TopicReport::of(&plan, observed.as_ref());
        if let Some(factor) = plan.changes_factor() {
            if survey.is_none() {
                survey = Some(Survey::take(cluster, &BTreeSet::new()).await?);
            }
            report = match survey.as_mut().map(|survey| plan_factor(survey, topic, factor)) {
                Some(Ok(Some(moves))) => report.with_moves(&moves.partitions),
                Some(Err(error)) => report.with_notice(format!("replicas have nowhere to go: {error}")),
                Some(Ok(None)) | None => report,
            };
        }
        reports.push(report);
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{MemoryCluster, NewTopic, TopicPartition};
    use crate::topic::OwnerRules;

    async fn cluster_with(topic: &str, partitions: i32) -> MemoryCluster {
        let cluster = MemoryCluster::new(1);
        let new = NewTopic {
            name: topic.parse().unwrap(),
            partitions: Some(partitions.try_into().unwrap()),
            replication_factor: None,
            placement: None,
            configs: BTreeMap::from([("segment.ms".to_owned(), "5".to_owned())]),
        };
        cluster.create_topics(&[new]).await.unwrap().remove(0).unwrap();
        cluster
    }

    fn object(name: &str, topic: &str, metadata: &str, data: &str) -> String {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, labels: {{ config: kafka-topic }}, {metadata} }}\n\
             data: {{ name: {topic}, {data} }}\n---\n"
        )
    }

    async fn report(cluster: &MemoryCluster, manifests: &str) -> PlanReport {
        report_under(cluster, manifests, "").await
    }

    async fn report_under(cluster: &MemoryCluster, manifests: &str, rules: &str) -> PlanReport {
        let mut objects = manifest_files::of_text(manifests, "shop").unwrap();
        (0..).zip(&mut objects).for_each(|(age, object)| object.created = age);
        let owners = OwnerRules::new(vec!["*=*".parse().unwrap()]);
        let rules = Arc::new(TopicRules::parse(rules).unwrap());
        let policy = TopicPolicy { owners, rules, ..TopicPolicy::default() };
        PlanReport::new(reports(cluster, &objects, policy).await.unwrap())
    }

    #[tokio::test]
    async fn a_paused_topic_is_told_and_is_nothing_to_do() {
        let cluster = cluster_with("orders", 1).await;
        let paused = "annotations: { topic.kafka.nb/paused: 'true' }";
        let report = report(&cluster, &object("a", "orders", paused, "partitions: '7'")).await;
        assert_eq!(report.verdict(), Verdict::InSync);
        let told = report.to_string();
        assert!(told.contains("orders: paused") && told.contains("1 paused"), "{told}");
    }

    #[tokio::test]
    async fn of_two_objects_for_one_topic_the_first_owns_it_and_the_second_is_refused() {
        let cluster = cluster_with("orders", 1).await;
        let both = object("b", "orders", "", "") + &object("a", "orders", "", "partitions: '7'");
        let report = report(&cluster, &both).await;
        assert_eq!(report.verdict(), Verdict::Refused);
        let told = report.to_string();
        let right = told.contains("orders: nothing to do (ConfigMap shop/b)")
            && told.contains("refused (OwnedByAnother, ConfigMap shop/a)");
        assert!(right, "{told}");
    }

    #[tokio::test]
    async fn an_object_that_is_being_deleted_takes_its_topic_along_when_it_says_so() {
        let cluster = cluster_with("orders", 1).await;
        let going = "deletionTimestamp: '2026-01-01T00:00:00Z', annotations: { topic.kafka.nb/deletion-policy: delete }";
        let report = report(&cluster, &object("a", "orders", going, "")).await;
        assert_eq!(report.verdict(), Verdict::Pending);
        assert!(report.to_string().contains("orders: to delete"), "{report}");
    }

    #[tokio::test]
    async fn what_others_set_is_no_difference_and_the_text_has_every_change_once() {
        let cluster = cluster_with("orders", 2).await;
        let told = report(&cluster, &object("a", "orders", "", "partitions: '2'")).await.to_string();
        assert_eq!(told, "nothing to do: 1 as declared\n");
        let wanted = object("a", "orders", "", "partitions: '3', properties: 'segment.ms=6', retention: 1s");
        let told = report(&cluster, &wanted).await.to_string();
        let expected = "\
orders: to change (ConfigMap shop/a)
    partitions: 2 -> 3
    retention.ms: (none of its own) -> 1000
    segment.ms: 5 -> 6

0 as declared, 1 to change
";
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn limits_and_defaults_count_in_a_plan_as_they_do_in_the_cluster() {
        let cluster = cluster_with("orders", 2).await;
        let orders = object("a", "orders", "", "partitions: '3'");
        let defaults = "defaults: { properties: { segment.ms: 5, max.message.bytes: 7 } }";
        let told = report_under(&cluster, &orders, defaults).await.to_string();
        let right =
            told.contains("max.message.bytes: (none of its own) -> 7") && !told.contains("segment.ms");
        assert!(right, "a default is compared with what is there: {told}");
        let adjusted = "limits: { partitions: { max: 2, action: adjust } }";
        let report = report_under(&cluster, &orders, adjusted).await;
        assert_eq!(report.verdict(), Verdict::InSync, "{report}");
        assert!(report.to_string().contains("note: ") && report.to_string().contains('3'), "{report}");
        let two = orders + &object("b", "bills", "", "");
        let report = report_under(&cluster, &two, "limits: { topics: { max: 1 } }").await;
        assert_eq!(report.verdict(), Verdict::Refused, "{report}");
        let told = report.to_string();
        assert!(told.contains("orders: to change") && told.contains("ConfigMap shop/b"), "{told}");
    }

    #[tokio::test]
    async fn what_kubectl_prints_shows_what_a_new_policy_would_change_of_topics_that_exist() {
        let cluster = cluster_with("orders", 2).await;
        let printed = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  data: { partitions: '2', retention: unlimited }
  kind: ConfigMap
  metadata:
    annotations:
      topic.kafka.nb/status: '{\"state\":\"Ready\",\"reason\":\"InSync\",\"message\":\"\",\"hash\":\"1\",\"time\":\"2026-11-21T12:00:00Z\"}'
    creationTimestamp: '2026-11-21T12:00:00Z'
    finalizers: [topic.kafka.nb/topic]
    labels: { config: kafka-topic }
    name: orders
    namespace: shop
    resourceVersion: '7'
    uid: 4a3b
- apiVersion: v1
  data: { any: thing }
  kind: ConfigMap
  metadata: { name: other, namespace: shop }
";
        let policy = "{ defaults: { properties: { retention.bytes: 9 } }, limits: { retention: { max: 90d, action: adjust } } }";
        let report = report_under(&cluster, printed, policy).await;
        assert_eq!(report.verdict(), Verdict::Pending, "{report}");
        let told = report.to_string();
        for says in [
            "orders: to change (ConfigMap shop/orders)",
            "retention.bytes: (none of its own) -> ",
            "retention.ms: (none of its own) -> 7776000000",
        ] {
            assert!(told.contains(says), "\"{says}\" is missing: {told}");
        }
    }

    #[tokio::test]
    async fn a_new_topic_that_cannot_be_had_as_declared_is_refused() {
        let cluster = cluster_with("bills", 1).await;
        for (key, value) in
            [("num.partitions", "1"), ("default.replication.factor", "1"), ("min.insync.replicas", "1")]
        {
            cluster.set_broker_default(key, value);
        }
        let report = report(&cluster, &object("a", "orders", "", "replication-factor: '2'")).await;
        assert_eq!(report.verdict(), Verdict::Refused, "{report}");
        assert!(report.to_string().contains("TooFewBrokers"), "{report}");
    }

    #[tokio::test]
    async fn a_factor_that_is_being_had_is_nothing_to_do_and_one_that_cannot_be_had_is_refused() {
        let cluster = cluster_with("orders", 1).await;
        cluster.add_broker(2, None);
        for key in ["num.partitions", "default.replication.factor", "min.insync.replicas"] {
            cluster.set_broker_default(key, "1");
        }
        let first = TopicPartition { topic: "orders".parse().unwrap(), partition: 0 };
        cluster.set_size(first.clone(), 3 << 20);
        let declared = |factor: i16| object("a", "orders", "", &format!("replication-factor: '{factor}'"));
        let before = report(&cluster, &declared(2)).await;
        assert_eq!(before.verdict(), Verdict::Pending);
        let told = "replication-factor: 1 -> 2\n    to move: 1 partitions; 3.0 MiB to copy to brokers 2\n";
        assert!(before.to_string().contains(told), "{before}");
        let json = serde_json::to_value(&before).unwrap();
        let moves =
            serde_json::json!([{ "partition": 0, "from": [1], "to": [1, 2], "bytesToCopy": 3 << 20 }]);
        assert_eq!(json["topics"][0]["moves"], moves);
        cluster.hold_moves();
        cluster.alter_reassignments(&[(first, Some(vec![2, 1]))]).await.unwrap().remove(0).unwrap();
        let meanwhile = report(&cluster, &declared(2)).await;
        assert_eq!(meanwhile.verdict(), Verdict::InSync, "{meanwhile}");
        let back = report(&cluster, &declared(1)).await;
        assert_eq!(back.verdict(), Verdict::Pending, "{back}");
        let too_many = report(&cluster, &declared(3)).await;
        assert_eq!(too_many.verdict(), Verdict::Refused, "{too_many}");
        assert!(too_many.to_string().contains("TooFewBrokers"), "{too_many}");
    }
}

//! What is on the brokers becomes manifests, and those change nothing: neither planned nor applied.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use topicops::{
    KafkaTopic,
    kafka::{
        Acl, AclOperation, AclResource, Cluster, ConfigChange, ConfigKeys, NewTopic, PatternType,
        ResourceType, ScramKeys, ScramMechanism, TopicDescription,
    },
};
use topicops_contract::{KafkaTopicStatus, Password, State, Status, TopicName, TopicObjectKind};

use crate::support::{PATIENCE, World, in_the_world, wait};

/// The command line on the machine of somebody who may look at the brokers and no more.
struct Reader {
    folder: TempDir,
}

impl Reader {
    async fn new(world: &World) -> Result<Self> {
        let username = world.topic("reader");
        let rule = |resource_type, name: &str, operation| Acl {
            username: username.clone(),
            resource: AclResource { resource_type, name: name.to_owned(), pattern: PatternType::Literal },
            operation,
        };
        // As the README says.
        let rules = [
            rule(ResourceType::Topic, "*", AclOperation::Describe),
            rule(ResourceType::Topic, "*", AclOperation::DescribeConfigs),
            rule(ResourceType::Cluster, "kafka-cluster", AclOperation::Describe),
            rule(ResourceType::Cluster, "kafka-cluster", AclOperation::DescribeConfigs),
        ];
        let cluster = world.cluster()?;
        let keys = ScramKeys::derive(ScramMechanism::Sha512, 4096, &Password::new("hunter2"))?;
        let outcomes = cluster.upsert_scram_users(&[(username.clone(), keys)]).await?;
        for outcome in outcomes.into_iter().chain(cluster.create_acls(&rules).await?) {
            outcome?;
        }
        let reader = Self { folder: tempfile::tempdir()? };
        std::fs::write(reader.config(), world.bed.kafka()?.client_properties(&username, "hunter2"))?;
        wait::until("the reader's rights", PATIENCE, || async {
            let output = reader.run("import", &["--topics", "no-such-topic"]).await?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        Ok(reader)
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("client.properties")
    }

    async fn run(&self, command: &str, arguments: &[&str]) -> Result<Output> {
        let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_topicops"));
        process.arg(command).arg("--kafka-config").arg(self.config()).args(arguments);
        process.stdin(Stdio::null()).kill_on_drop(true);
        tokio::time::timeout(PATIENCE, process.output()).await?.context("running topicops")
    }

    /// What `plan` says about this folder, and its exit code.
    async fn plan(&self, folder: &Path, more: &[&str]) -> Result<(Option<i32>, String)> {
        let folder = folder.to_str().context("a folder's name")?;
        let arguments: Vec<&str> = more.iter().copied().chain([folder]).collect();
        let output = self.run("plan", &arguments).await?;
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok((output.status.code(), told.concat()))
    }
}

type Settings = &'static [(&'static str, &'static str)];

/// Topics of several shapes, made by hand: names that no object could bear, settings of every type.
async fn make_topics(world: &World, prefix: &str) -> Result<Vec<TopicName>> {
    let shapes: [(&str, i32, Settings); 5] = [
        (".plain", 3, &[]),
        (".Upper", 1, &[("retention.ms", "-1"), ("cleanup.policy", "compact,delete")]),
        (
            ".with_underscores__",
            2,
            &[
                ("min.cleanable.dirty.ratio", "0.25"),
                ("compression.type", "zstd"),
                ("preallocate", "true"),
                ("retention.bytes", "1099511627776"),
                ("message.timestamp.type", "LogAppendTime"),
            ],
        ),
        ("..dots.", 1, &[("max.message.bytes", "123456")]),
        (
            ".throttled",
            1,
            &[
                ("leader.replication.throttled.replicas", "0:1"),
                ("follower.replication.throttled.replicas", "*"),
                ("segment.ms", "3600000"),
            ],
        ),
    ];
    let topics: Vec<NewTopic> = shapes
        .into_iter()
        .map(|(rest, partitions, configs)| {
            Ok(NewTopic {
                name: format!("{prefix}{rest}").parse()?,
                partitions: Some(partitions.try_into()?),
                replication_factor: Some(1.try_into()?),
                placement: None,
                configs: configs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            })
        })
        .collect::<Result<_>>()?;
    for outcome in world.cluster()?.create_topics(&topics).await? {
        outcome?;
    }
    let names: Vec<TopicName> = topics.into_iter().map(|topic| topic.name).collect();
    wait::until("the topics made by hand", PATIENCE, || observe(world, &names)).await?;
    Ok(names)
}

async fn observe(world: &World, names: &[TopicName]) -> Result<Vec<TopicDescription>> {
    let seen = world.cluster()?.describe_topics(names, &ConfigKeys::All).await?;
    let seen: Option<Vec<_>> = seen.into_iter().collect::<Result<_, _>>()?;
    seen.context("a topic is not there yet")
}

async fn set(world: &World, topic: &TopicName, key: &str, value: Option<&str>) -> Result<()> {
    let change = match value {
        Some(value) => {
            ConfigChange { set: BTreeMap::from([(key.to_owned(), value.to_owned())]), unset: Vec::new() }
        }
        None => ConfigChange { set: BTreeMap::new(), unset: vec![key.to_owned()] },
    };
    for outcome in world.cluster()?.alter_configs(&[(topic.clone(), change)]).await? {
        outcome?;
    }
    wait::until("the setting", PATIENCE, || async {
        let seen = observe(world, std::slice::from_ref(topic)).await?.remove(0).configs;
        ensure!(seen.get(key).map(String::as_str) == value, "{seen:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[test]
fn what_is_imported_plans_to_nothing_and_is_adopted_without_a_change() {
    in_the_world(async |world| round_trip(world, TopicObjectKind::ConfigMap).await);
}

#[test]
fn what_is_imported_as_custom_resources_plans_to_nothing_and_is_adopted_without_a_change() {
    in_the_world(async |world| round_trip(world, TopicObjectKind::KafkaTopic).await);
}

async fn round_trip(world: &World, kind: TopicObjectKind) -> Result<()> {
    let named = kind.as_str().to_lowercase();
    let named = named.as_str();
    // The world's --topic-owners lets namespaces of this name have what exists.
    let (namespace, prefix) = (world.namespace("adopter").await?, world.topic("imported"));
    let reader = Reader::new(world).await?;
    let names = make_topics(world, &prefix).await?;
    let before = observe(world, &names).await?;

    let folder = tempfile::tempdir()?;
    let wanted = format!("{prefix}.*");
    let imported = reader.run("import", &["--topics", &wanted, "-n", &namespace, "--as", named]).await?;
    ensure!(imported.status.success(), "{imported:?}");
    let text = String::from_utf8(imported.stdout)?;
    ensure!(text.matches(&format!("kind: {kind}")).count() == names.len(), "{text}");
    ensure!(!text.contains("throttled.replicas"), "{text}");
    let path = folder.path().join("topics");
    let shown = path.to_str().context("a folder's name")?;
    let again =
        reader.run("import", &["--topics", &wanted, "-n", &namespace, "--as", named, "-o", shown]).await?;
    ensure!(again.status.success(), "{again:?}");
    let mut files: Vec<_> =
        std::fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files.len() == names.len(), "{files:?}");
    for file in &files {
        let one = std::fs::read_to_string(file)?;
        ensure!(text.contains(&one), "not the same a second time: {one}");
    }

    let (code, told) = reader.plan(&path, &[]).await?;
    ensure!(code == Some(0) && told == "nothing to do: 5 as declared\n", "{code:?}: {told}");

    set(world, &names[3], "max.message.bytes", Some("999")).await?;
    let (code, told) = reader.plan(&path, &[]).await?;
    let line = "    max.message.bytes: 999 -> 123456\n";
    ensure!(code == Some(3) && told.contains(line) && told.contains("1 to change"), "{code:?}: {told}");
    let (code, told) = reader.plan(&path, &["-o", "json"]).await?;
    let json: serde_json::Value = serde_json::from_str(&told).context(told)?;
    let change = &json["topics"].as_array().context("topics")?[0];
    let right = change["action"] == "change"
        && change["topic"] == names[3].as_str()
        && change["changes"][0]["before"] == "999"
        && change["changes"][0]["after"] == "123456";
    ensure!(code == Some(3) && right && json["summary"]["inSync"] == 4, "{code:?}: {json:#}");
    set(world, &names[3], "max.message.bytes", Some("123456")).await?;

    let objects = world.bed.apply(&text).await?;
    ensure!(objects.len() == names.len(), "{objects:?}");
    for one in &objects {
        let name = one.metadata.name.clone().context("a name")?;
        let status = match kind {
            TopicObjectKind::ConfigMap => world.until_ready(&namespace, &name).await?,
            TopicObjectKind::KafkaTopic => until_ready(world, &namespace, &name).await?,
        };
        ensure!(status.state == State::Ready && status.reason == "InSync", "{name}: {status:?}");
    }
    let after = observe(world, &names).await?;
    ensure!(after == before, "{before:?}\nbecame\n{after:?}");
    Ok(())
}

async fn until_ready(world: &World, namespace: &str, name: &str) -> Result<Status> {
    let api = world.api::<KafkaTopic>(namespace);
    wait::until(format!("KafkaTopic {namespace}/{name} to be ready"), PATIENCE, || async {
        let status = KafkaTopicStatus::deserialize(&api.get(name).await?.status)?;
        let status = status.status().context("no status yet")?;
        ensure!(status.state == State::Ready, "{status:?}");
        Ok::<_, anyhow::Error>(status)
    })
    .await
}

#[test]
fn a_plan_tells_what_is_new_and_what_cannot_be() {
    in_the_world(async |world| {
        let prefix = world.topic("planned");
        let reader = Reader::new(world).await?;
        let topic: TopicName = prefix.parse()?;
        let there = NewTopic {
            name: topic.clone(),
            partitions: Some(4.try_into()?),
            replication_factor: Some(1.try_into()?),
            placement: None,
            configs: BTreeMap::new(),
        };
        for outcome in world.cluster()?.create_topics(&[there]).await? {
            outcome?;
        }
        wait::until("the topic", PATIENCE, || observe(world, std::slice::from_ref(&topic))).await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("topics.yaml");
        let object = |name: &str, data: &str| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, labels: {{ config: kafka-topic }} }}\n\
                 data: {{ {data} }}\n---\n"
            )
        };
        let new = object(&format!("{prefix}-new"), "partitions: '2', retention: 7d");
        for (text, code, parts) in [
            (new.clone(), 3, vec!["-new: to create", "partitions: 2", "retention.ms: 604800000"]),
            (object(&prefix, "partitions: '6'"), 3, vec!["partitions: 4 -> 6", "ConfigMap team/planned"]),
            (
                new.clone() + &object(&prefix, "partitions: '3'"),
                1,
                vec!["-new: to create", "refused (FewerPartitions, ConfigMap team/planned", "1 refused"],
            ),
            (object(&prefix, "partitions: many"), 1, vec!["Invalid", "partitions: \"many\""]),
            (
                object("Nameless_one", "partitions: '1', name: 'a b'"),
                1,
                vec!["cannot be read", "Nameless_one"],
            ),
            ("kind: Deployment\napiVersion: apps/v1\n".to_owned(), 1, vec!["no topic is declared"]),
        ] {
            std::fs::write(&file, text)?;
            let (got, told) = reader.plan(folder.path(), &["-n", "team"]).await?;
            ensure!(got == Some(code), "{got:?} instead of {code}: {told}");
            ensure!(parts.iter().all(|part| told.contains(part)), "{parts:?} are not all told: {told}");
        }
        // As a namespace that may have nothing that exists.
        std::fs::write(&file, object(&prefix, "partitions: '4'"))?;
        let (code, told) = reader.plan(folder.path(), &["--topic-owners", "other=*"]).await?;
        ensure!(code == Some(1) && told.contains("AdoptionNotAllowed"), "{code:?}: {told}");
        let usage = reader.run("plan", &[]).await?;
        ensure!(usage.status.code() == Some(2), "{usage:?}");
        Ok(())
    });
}

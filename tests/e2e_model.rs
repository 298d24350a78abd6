//! Random sequences of what people do to workloads and topics, of crashes and of changes by hand; after each, what the brokers
//! and the cluster have is what a small model says, which knows nothing of topicops' own code.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Secret},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use support::{Options, PATIENCE, SETTINGS, World, in_the_world_of, wait};
use topicops::kafka::{Acl, AclOperation, AclResource, Cluster, PatternType, ResourceType};

const SEEDS: [u64; 3] = [1, 2, 3];
const ROUNDS: usize = 12;
/// What people do at once, before anybody looks.
const AT_ONCE: usize = 4;
/// For a minute after a write of its own, topicops trusts the brokers' acknowledgement more than what they show: what somebody
/// changes by hand in that minute is found after it.
const DRIFT_PATIENCE: Duration = Duration::from_secs(150);
const NAMESPACES: usize = 2;
const TOPICS: usize = 4;
const NAMES: [(&str, &str); 3] = [("Deployment", "one"), ("Deployment", "two"), ("StatefulSet", "three")];

/// Numbers that a seed gives again (splitmix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let sides = u64::try_from(sides).unwrap_or(1);
        usize::try_from((mixed ^ (mixed >> 31)) % sides).unwrap_or(0)
    }

    fn coin(&mut self) -> bool {
        self.throw(2) == 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    namespace: usize,
    kind: &'static str,
    name: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Asks {
    labelled: bool,
    consumes: BTreeSet<usize>,
    produces: BTreeSet<usize>,
    group: bool,
    rotations: usize,
}

/// What is declared. A topic is always declared in the namespace of its number.
#[derive(Debug, Default)]
struct Model {
    /// Who else may read and write, as lines.
    topics: BTreeMap<usize, [BTreeSet<String>; 2]>,
    workloads: BTreeMap<Who, Asks>,
}

/// Sends it again while a replica that was killed keeps it from being admitted, as people do.
async fn until_taken<F>(name: &str, send: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = kube::Result<()>>,
{
    wait::until(format!("{name} to be admitted"), PATIENCE, send).await
}

struct Stage<'a> {
    world: &'a World,
    namespaces: Vec<String>,
    topics: Vec<String>,
}

impl Stage<'_> {
    fn home(&self, topic: usize) -> &str {
        &self.namespaces[topic % NAMESPACES]
    }

    fn first_username(&self, who: &Who) -> String {
        let base = format!("topicops.{}.{}", self.namespaces[who.namespace], who.name);
        if who.kind == "Deployment" { base } else { format!("{base}_{}", who.kind.to_lowercase()) }
    }

    fn secret(who: &Who) -> String {
        format!("{}-{}", who.kind.to_lowercase(), who.name)
    }

    /// The rules of each workload that is to have a user, as it would be written by hand.
    fn rules(&self, model: &Model) -> BTreeMap<Who, BTreeSet<String>> {
        let mut all = BTreeMap::new();
        for (who, asks) in &model.workloads {
            if !asks.labelled || asks.consumes.is_empty() && asks.produces.is_empty() {
                continue;
            }
            let namespace = &self.namespaces[who.namespace];
            let lets = |topic: &usize, side: usize| {
                let Some(lines) = model.topics.get(topic) else { return false };
                let lets = |line: &String| {
                    *line == format!("{namespace}/*") || *line == format!("{namespace}/{}", who.name)
                };
                self.home(*topic) == namespace || lines[side].iter().any(lets)
            };
            let mut rules = BTreeSet::new();
            let reads: Vec<&usize> = asks.consumes.iter().filter(|topic| lets(topic, 0)).collect();
            for topic in &reads {
                rules.insert(format!("Read Topic {}", self.topics[**topic]));
                rules.insert(format!("Describe Topic {}", self.topics[**topic]));
            }
            for topic in asks.produces.iter().filter(|topic| lets(topic, 1)) {
                rules.insert(format!("Write Topic {}", self.topics[*topic]));
                rules.insert(format!("Describe Topic {}", self.topics[*topic]));
            }
            let mut groups = Vec::new();
            if !reads.is_empty() || asks.group {
                groups.extend([format!("{namespace}.{}", who.name), format!("{namespace}.{}_*", who.name)]);
            }
            if asks.group {
                groups.push(self.group(who));
            }
            for group in groups {
                rules.insert(format!("Read Group {group}"));
                rules.insert(format!("Describe Group {group}"));
            }
            all.insert(who.clone(), rules);
        }
        all
    }

    fn group(&self, who: &Who) -> String {
        format!("extra-{}-{}", self.namespaces[who.namespace], Self::secret(who))
    }

    async fn declare(&self, model: &Model, topic: usize) -> Result<()> {
        let lines = &model.topics[&topic];
        let text = |side: usize| lines[side].iter().cloned().collect::<Vec<_>>().join("\n");
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": self.topics[topic], "labels": { "config": "kafka-topic" } },
            "data": { "partitions": "1", "consumers": text(0), "producers": text(1) },
        });
        let (api, params) =
            (self.world.api::<ConfigMap>(self.home(topic)), PatchParams::apply("team").force());
        let (name, patch) = (&self.topics[topic], Patch::Apply(object));
        until_taken(name, || async { api.patch(name, &params, &patch).await.map(drop) }).await
    }

    async fn apply(&self, who: &Who, asks: &Asks) -> Result<()> {
        let names = |topics: &BTreeSet<usize>| {
            topics.iter().map(|topic| self.topics[*topic].clone()).collect::<Vec<_>>().join(",")
        };
        let mut annotations = serde_json::Map::new();
        let mut put = |key: &str, value: String| {
            if !value.is_empty() {
                annotations.insert(format!("topic.kafka.nb/{key}"), json!(value));
            }
        };
        put("consumes", names(&asks.consumes));
        put("produces", names(&asks.produces));
        put("groups", if asks.group { self.group(who) } else { String::new() });
        put("topic-secret", Self::secret(who));
        put("rotate", if asks.rotations > 0 { asks.rotations.to_string() } else { String::new() });
        let labels =
            if asks.labelled { json!({ "kafka-operator": "inject-credentials" }) } else { json!({}) };
        let app = Self::secret(who);
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": who.kind,
            "metadata": { "name": who.name, "labels": labels, "annotations": annotations },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": { "app": app } },
                "template": {
                    "metadata": { "labels": { "app": app } },
                    "spec": { "containers": [{ "name": "main", "image": "none" }] },
                },
            },
        });
        if who.kind == "StatefulSet" {
            object["spec"]["serviceName"] = json!("none");
        }
        let (params, patch) = (PatchParams::apply("team").force(), Patch::Apply(object));
        let namespace = &self.namespaces[who.namespace];
        match who.kind {
            "Deployment" => {
                let api = self.world.api::<Deployment>(namespace);
                until_taken(who.name, || async { api.patch(who.name, &params, &patch).await.map(drop) }).await
            }
            _ => {
                let api = self.world.api::<StatefulSet>(namespace);
                until_taken(who.name, || async { api.patch(who.name, &params, &patch).await.map(drop) }).await
            }
        }
    }

    async fn delete(&self, who: &Who) -> Result<()> {
        let (namespace, params) = (&self.namespaces[who.namespace], DeleteParams::background());
        match who.kind {
            "Deployment" => {
                self.world.api::<Deployment>(namespace).delete(who.name, &params).await.map(drop)?;
            }
            _ => self.world.api::<StatefulSet>(namespace).delete(who.name, &params).await.map(drop)?,
        }
        Ok(())
    }

    /// Somebody does something, and the model hears what was meant; the words are for whoever reads of a failure.
    async fn act(&self, model: &mut Model, dice: &mut Dice) -> Result<String> {
        let topic = dice.throw(TOPICS);
        let (kind, name) = NAMES[dice.throw(NAMES.len())];
        let who = Who { namespace: dice.throw(NAMESPACES), kind, name };
        Ok(match dice.throw(12) {
            0 | 1 => {
                let mut lines = [BTreeSet::new(), BTreeSet::new()];
                for side in &mut lines {
                    for namespace in &self.namespaces {
                        match dice.throw(4) {
                            0 => drop(side.insert(format!("{namespace}/*"))),
                            1 => drop(side.insert(format!("{namespace}/one"))),
                            _ => {}
                        }
                    }
                }
                model.topics.insert(topic, lines.clone());
                self.declare(model, topic).await?;
                format!("declare {} {lines:?}", self.topics[topic])
            }
            2 if model.topics.remove(&topic).is_some() => {
                let api = self.world.api::<ConfigMap>(self.home(topic));
                api.delete(&self.topics[topic], &DeleteParams::default()).await?;
                format!("take back {}", self.topics[topic])
            }
            3..=6 => {
                let mut some = || (0..TOPICS).filter(|_| dice.coin()).collect::<BTreeSet<_>>();
                let (consumes, produces) = (some(), some());
                let rotations = model.workloads.get(&who).map_or(0, |asks| asks.rotations);
                let group = dice.coin();
                let labelled = dice.throw(5) > 0;
                let asks = Asks { labelled, consumes, produces, group, rotations };
                self.apply(&who, &asks).await?;
                let words = format!("{who:?} {asks:?}");
                model.workloads.insert(who, asks);
                words
            }
            7 if model.workloads.remove(&who).is_some() => {
                self.delete(&who).await?;
                format!("delete {who:?}")
            }
            8 if model.workloads.contains_key(&who) => {
                let asks = model.workloads.entry(who.clone()).or_default();
                asks.rotations += 1;
                self.apply(&who, asks).await?;
                format!("rotate {who:?}")
            }
            9 => self.by_hand(&who, dice).await?,
            10 => {
                self.world.kill_the_leader().await?;
                "kill the leader".to_owned()
            }
            _ => "nothing".to_owned(),
        })
    }

    /// Somebody with rights on the brokers, or in the namespace, changes what is topicops'.
    async fn by_hand(&self, who: &Who, dice: &mut Dice) -> Result<String> {
        let cluster = self.world.cluster()?;
        let username = self.first_username(who);
        let secrets = self.world.api::<Secret>(&self.namespaces[who.namespace]);
        let name = Self::secret(who);
        Ok(match dice.throw(5) {
            0 => {
                let acls: Vec<Acl> = cluster.describe_acls(&username).await?.into_iter().take(2).collect();
                cluster.delete_acls(&acls).await?;
                format!("take rules of {username}")
            }
            1 => {
                let resource = AclResource {
                    resource_type: ResourceType::Topic,
                    name: "everything".to_owned(),
                    pattern: PatternType::Prefixed,
                };
                cluster
                    .create_acls(&[Acl {
                        username: username.clone(),
                        resource,
                        operation: AclOperation::Read,
                    }])
                    .await?;
                format!("give {username} another rule")
            }
            2 => {
                let _ = cluster.delete_scram_users(std::slice::from_ref(&username)).await?;
                format!("delete user {username}")
            }
            3 => {
                let patch = json!({ "stringData": { "password": "guessed", "group.id": "another" } });
                // There may be none.
                let _ = secrets.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
                format!("alter Secret {name}")
            }
            _ => {
                let _ = secrets.delete(&name, &DeleteParams::default()).await;
                format!("delete Secret {name}")
            }
        })
    }

    /// What is there is what the model says.
    async fn is_as_declared(&self, model: &Model) -> Result<()> {
        let rules = self.rules(model);
        let mut users = BTreeSet::new();
        for namespace in 0..NAMESPACES {
            let ours = ListParams::default().labels("config=kafka-topic-credentials");
            let listed = self.world.api::<Secret>(&self.namespaces[namespace]).list(&ours).await?;
            let listed: BTreeMap<String, Secret> =
                listed.items.into_iter().map(|secret| (secret.name_any(), secret)).collect();
            let expected: BTreeSet<String> =
                rules.keys().filter(|who| who.namespace == namespace).map(Self::secret).collect();
            let there: BTreeSet<String> = listed.keys().cloned().collect();
            ensure!(
                there == expected,
                "Secrets of {}: {there:?}, not {expected:?}",
                self.namespaces[namespace]
            );
            for (who, rules) in rules.iter().filter(|(who, _)| who.namespace == namespace) {
                let secret = &listed[&Self::secret(who)];
                let says = |key: &str| secret.annotations().get(&format!("topic.kafka.nb/{key}"));
                let username = says("username").context("a Secret of nobody")?.clone();
                ensure!(says("previous-username").is_none(), "{username} is being rotated");
                let first = self.first_username(who);
                let number = username.strip_prefix(&first).map(|rest| rest.trim_start_matches('_'));
                ensure!(
                    number.is_some_and(|number| number.is_empty() || number.parse::<u32>().is_ok()),
                    "{username} in the Secret of {first}"
                );
                let acls: BTreeSet<String> = self.world.acls_of(&username).await?.into_iter().collect();
                ensure!(acls == *rules, "{username} has {acls:?}, not {rules:?}");
                users.insert(username);
            }
        }
        for namespace in &self.namespaces {
            let prefix = format!("topicops.{namespace}.");
            let there: BTreeSet<String> = self.world.scram_users(&prefix).await?.into_iter().collect();
            let expected: BTreeSet<String> =
                users.iter().filter(|user| user.starts_with(&prefix)).cloned().collect();
            ensure!(there == expected, "users {there:?}, not {expected:?}");
            let acls = self.world.cluster()?.describe_acls(&prefix).await?;
            let with_rules: BTreeSet<String> = acls.into_iter().map(|acl| acl.username).collect();
            ensure!(with_rules.is_subset(&expected), "rules of {with_rules:?}, and users {expected:?}");
        }
        Ok(())
    }

    /// Everybody gets in with what the Secret says.
    async fn all_get_in(&self, model: &Model) -> Result<()> {
        for who in self.rules(model).keys() {
            let data = self.world.until_secret(&self.namespaces[who.namespace], &Self::secret(who)).await?;
            // An administrator's connection has no group.
            let properties = &data["client.properties"];
            let lines = properties.lines().filter(|line| !line.starts_with("group.id"));
            let text = lines.collect::<Vec<_>>().join("\n");
            let properties = topicops::kafka::ClientProperties::parse("client.properties", &text)
                .map_err(|problems| anyhow::anyhow!("{who:?}: {problems}"))?;
            let cluster = topicops::kafka::WireCluster::new(properties)?;
            cluster.describe_cluster().await.with_context(|| format!("{who:?}"))?;
        }
        Ok(())
    }
}

async fn play(world: &World, seed: u64) -> Result<()> {
    let mut dice = Dice(seed);
    let stage = Stage {
        world,
        namespaces: vec![world.namespace("left").await?, world.namespace("right").await?],
        topics: (0..TOPICS).map(|number| world.topic(&format!("t{number}"))).collect(),
    };
    let mut model = Model::default();
    let mut done: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        for _ in 0..AT_ONCE {
            let words = stage.act(&mut model, &mut dice).await;
            done.push(words.with_context(|| format!("seed {seed}, round {round}, after {done:#?}"))?);
        }
        let held = async {
            wait::until("what is declared", DRIFT_PATIENCE, || stage.is_as_declared(&model)).await?;
            wait::until("everybody to get in", PATIENCE, || stage.all_get_in(&model)).await
        };
        held.await.with_context(|| format!("seed {seed}, round {round}, after {done:#?}"))?;
    }
    Ok(())
}

#[test]
fn whatever_is_done_the_brokers_and_the_secrets_are_as_declared_afterwards() {
    // What is changed on the brokers by hand is found at the next look.
    SETTINGS.get_or_init(|| vec![("TOPICOPS_RESYNC", "2s")]);
    in_the_world_of(Options::default(), async |world| {
        for seed in SEEDS {
            play(world, seed).await?;
        }
        Ok(())
    });
}

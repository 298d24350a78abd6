//! Random sequences of what people do to workloads and topics, of crashes and of changes by hand; after each, what the brokers
//! and the cluster have is what a small model says, which knows nothing of topicops' own code.

mod support;

#[path = "e2e_model/model.rs"]
mod model;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use model::{Asks, Model, NAMESPACES, Names, TOPICS, WORKLOADS, Who};
use serde_json::{Value, json};
use support::{Options, PATIENCE, SETTINGS, World, in_the_world_of, wait};
use topicops::kafka::{Acl, AclOperation, AclResource, Cluster, PatternType, ResourceType};
use topicops_contract::PropertiesText;

const SEEDS: [u64; 3] = [1, 2, 3];
/// Names one more, for a look at what the others never come to: `TOPICOPS_MODEL_SEED=17 cargo test --test e2e_model`.
const ANOTHER_SEED: &str = "TOPICOPS_MODEL_SEED";
const ROUNDS: usize = 12;
/// What people do at once, before anybody looks.
const AT_ONCE: usize = 4;
/// For a minute after a write of its own, topicops trusts the brokers' acknowledgement more than what they show: what somebody
/// changes by hand in that minute is found after it.
const DRIFT_PATIENCE: Duration = Duration::from_secs(150);

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

/// Sends it again while a replica that was killed keeps it from being admitted, as people do.
async fn until_taken<F, T>(name: &str, send: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = kube::Result<T>>,
{
    wait::until(format!("{name} to be admitted"), PATIENCE, send).await
}

struct Stage<'a> {
    world: &'a World,
    names: Names,
}

impl Stage<'_> {
    async fn declare(&self, model: &Model, topic: usize) -> Result<()> {
        let lines = &model.topics[&topic];
        let text = |side: usize| lines[side].iter().cloned().collect::<Vec<_>>().join("\n");
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": self.names.topics[topic], "labels": { "config": "kafka-topic" } },
            "data": { "partitions": "1", "consumers": text(0), "producers": text(1) },
        });
        let api = self.world.api::<ConfigMap>(self.names.home(topic));
        let params = PatchParams::apply("team").force();
        let (name, patch) = (&self.names.topics[topic], Patch::Apply(object));
        until_taken(name, || async { api.patch(name, &params, &patch).await.map(drop) }).await
    }

    fn workloads(&self, who: &Who) -> Api<DynamicObject> {
        let group = if who.kind == "CronJob" { "batch" } else { "apps" };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", who.kind));
        let namespace = &self.names.namespaces[who.namespace];
        Api::namespaced_with(self.world.client.clone(), namespace, &resource)
    }

    /// Since when it is there.
    async fn apply(&self, who: &Who, asks: &Asks) -> Result<Option<Timestamp>> {
        let names = &self.names;
        let mut consumes: Vec<String> =
            asks.consumes.iter().map(|topic| names.topics[*topic].clone()).collect();
        consumes.extend(asks.pattern.then(|| names.pattern()));
        let produces = asks.produces.iter().map(|topic| names.topics[*topic].clone());
        let groups = [(asks.group, names.group(who)), (asks.contested, names.contested_group())];
        let groups: Vec<String> =
            groups.into_iter().filter_map(|(asked, group)| asked.then_some(group)).collect();
        let annotations = [
            ("consumes", consumes.join(",")),
            ("produces", produces.collect::<Vec<_>>().join(",")),
            ("groups", groups.join(",")),
            ("topic-secret", Names::secret(who)),
            ("producer-byte-rate", asks.quota.map(|rate| rate.to_string()).unwrap_or_default()),
            ("rotate", if asks.rotations > 0 { asks.rotations.to_string() } else { String::new() }),
        ];
        let annotations: serde_json::Map<String, Value> = annotations
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (format!("topic.kafka.nb/{key}"), json!(value)))
            .collect();
        let labels =
            if asks.labelled { json!({ "kafka-operator": "inject-credentials" }) } else { json!({}) };
        let api = self.workloads(who);
        let object = json!({
            "apiVersion": if who.kind == "CronJob" { "batch/v1" } else { "apps/v1" },
            "kind": who.kind,
            "metadata": { "name": who.name, "labels": labels, "annotations": annotations },
            "spec": spec(who),
        });
        let (params, patch) = (PatchParams::apply("team").force(), Patch::Apply(object));
        let taken = until_taken(who.name, || api.patch(who.name, &params, &patch)).await?;
        Ok(taken.creation_timestamp().map(|time| time.0))
    }

    /// Somebody does something, and the model hears what was meant; the words are for whoever reads of a failure.
    async fn act(&self, model: &mut Model, dice: &mut Dice) -> Result<String> {
        let topic = dice.throw(TOPICS);
        let (kind, name) = WORKLOADS[dice.throw(WORKLOADS.len())];
        let who = Who { namespace: dice.throw(NAMESPACES), kind, name };
        Ok(match dice.throw(12) {
            0 | 1 => {
                let mut lines = [BTreeSet::new(), BTreeSet::new()];
                for side in &mut lines {
                    for namespace in &self.names.namespaces {
                        match dice.throw(4) {
                            0 => drop(side.insert(format!("{namespace}/*"))),
                            1 => drop(side.insert(format!("{namespace}/one"))),
                            _ => {}
                        }
                    }
                }
                model.topics.insert(topic, lines.clone());
                self.declare(model, topic).await?;
                format!("declare {} {lines:?}", self.names.topics[topic])
            }
            2 if model.topics.remove(&topic).is_some() => {
                let api = self.world.api::<ConfigMap>(self.names.home(topic));
                api.delete(&self.names.topics[topic], &DeleteParams::default()).await?;
                format!("take back {}", self.names.topics[topic])
            }
            3..=6 => {
                let mut some = || (0..TOPICS).filter(|_| dice.coin()).collect::<BTreeSet<_>>();
                let (consumes, produces) = (some(), some());
                let mut asks = Asks {
                    labelled: dice.throw(5) > 0,
                    consumes,
                    pattern: dice.throw(3) == 0,
                    produces,
                    group: dice.coin(),
                    contested: dice.coin(),
                    quota: [None, Some(1_000_000), Some(2_000_000)][dice.throw(3)],
                    rotations: model.workloads.get(&who).map_or(0, |asks| asks.rotations),
                    created: None,
                };
                asks.created = self.apply(&who, &asks).await?;
                let words = format!("{who:?} {asks:?}");
                model.workloads.insert(who, asks);
                words
            }
            7 if model.workloads.remove(&who).is_some() => {
                self.workloads(&who).delete(who.name, &DeleteParams::background()).await?;
                format!("delete {who:?}")
            }
            8 if model.workloads.contains_key(&who) => {
                let asks = model.workloads.entry(who.clone()).or_default();
                asks.rotations += 1;
                asks.created = self.apply(&who, asks).await?;
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
        let username = self.names.first_username(who);
        let secrets = self.world.api::<Secret>(&self.names.namespaces[who.namespace]);
        let name = Names::secret(who);
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
                let keys = ["password", "username", "group.id", "client.properties"];
                let key = keys[dice.throw(keys.len())];
                let patch = json!({ "stringData": { key: "guessed" } });
                // There may be none.
                let _ = secrets.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
                format!("alter {key} in Secret {name}")
            }
            _ => {
                let _ = secrets.delete(&name, &DeleteParams::default()).await;
                format!("delete Secret {name}")
            }
        })
    }

    /// What is there is what the model says.
    async fn is_as_declared(&self, model: &Model) -> Result<()> {
        let rules = model.rules(&self.names);
        let (mut users, mut quotas) = (BTreeSet::new(), BTreeSet::new());
        for (number, namespace) in self.names.namespaces.iter().enumerate() {
            let ours = ListParams::default().labels("config=kafka-topic-credentials");
            let listed = self.world.api::<Secret>(namespace).list(&ours).await?;
            let listed: BTreeMap<String, Secret> =
                listed.items.into_iter().map(|secret| (secret.name_any(), secret)).collect();
            let expected: BTreeSet<String> =
                rules.keys().filter(|who| who.namespace == number).map(Names::secret).collect();
            let there: BTreeSet<String> = listed.keys().cloned().collect();
            ensure!(there == expected, "Secrets of {namespace}: {there:?}, not {expected:?}");
            for (who, rules) in rules.iter().filter(|(who, _)| who.namespace == number) {
                let secret = &listed[&Names::secret(who)];
                let says = |key: &str| secret.annotations().get(&format!("topic.kafka.nb/{key}"));
                let username = says("username").context("a Secret of nobody")?.clone();
                ensure!(says("previous-username").is_none(), "{username} is being rotated");
                let first = self.names.first_username(who);
                let number = username.strip_prefix(&first).map(|rest| rest.trim_start_matches('_'));
                ensure!(
                    number.is_some_and(|number| number.is_empty() || number.parse::<u32>().is_ok()),
                    "{username} in the Secret of {first}"
                );
                is_whole(secret, &username, &self.names.own_group(who))
                    .with_context(|| format!("Secret of {username}"))?;
                let acls: BTreeSet<String> = self.world.acls_of(&username).await?.into_iter().collect();
                ensure!(acls == *rules, "{username} has {acls:?}, not {rules:?}");
                let quota = model.workloads.get(who).and_then(|asks| asks.quota);
                quotas.extend(quota.map(|rate| format!("{username}: producer_byte_rate={rate}")));
                users.insert(username);
            }
        }
        for namespace in &self.names.namespaces {
            let prefix = format!("topicops.{namespace}.");
            let of_namespace = |all: &BTreeSet<String>| -> BTreeSet<String> {
                all.iter().filter(|one| one.starts_with(&prefix)).cloned().collect()
            };
            let (expected, limited) = (of_namespace(&users), of_namespace(&quotas));
            let there: BTreeSet<String> = self.world.scram_users(&prefix).await?.into_iter().collect();
            ensure!(there == expected, "users {there:?}, not {expected:?}");
            let cluster = self.world.cluster()?;
            let acls = cluster.describe_acls(&prefix).await?;
            let with_rules: BTreeSet<String> = acls.into_iter().map(|acl| acl.username).collect();
            ensure!(with_rules.is_subset(&expected), "rules of {with_rules:?}, and users {expected:?}");
            let there = cluster.describe_quotas(&prefix).await?.into_iter();
            let there: BTreeSet<String> = there
                .map(|quota| format!("{}: {}={}", quota.target.username, quota.target.key, quota.value))
                .collect();
            ensure!(there == limited, "quotas {there:?}, not {limited:?}");
        }
        Ok(())
    }

    /// Everybody gets in with what the Secret says.
    async fn all_get_in(&self, model: &Model) -> Result<()> {
        for (who, _) in model.clients() {
            let namespace = &self.names.namespaces[who.namespace];
            let data = self.world.until_secret(namespace, &Names::secret(who)).await?;
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

/// A workload without Pods.
fn spec(who: &Who) -> Value {
    let app = json!({ "app": Names::secret(who) });
    let mut template = json!({
        "metadata": { "labels": app },
        "spec": { "containers": [{ "name": "main", "image": "none" }] },
    });
    match who.kind {
        "CronJob" => {
            template["spec"]["restartPolicy"] = json!("Never");
            json!({ "schedule": "0 0 30 2 *", "jobTemplate": { "spec": { "template": template } } })
        }
        kind => {
            let selector = json!({ "matchLabels": app });
            let mut spec = json!({ "replicas": 0, "selector": selector, "template": template });
            if kind == "StatefulSet" {
                spec["serviceName"] = json!("none");
            }
            spec
        }
    }
}

/// Every key says the same as `client.properties`, and that speaks of this user.
fn is_whole(secret: &Secret, username: &str, group: &str) -> Result<()> {
    let data = secret.data.as_ref().context("it is empty")?;
    let text = |key: &str| {
        let bytes = data.get(key).with_context(|| format!("no key {key}"))?;
        std::str::from_utf8(&bytes.0).with_context(|| format!("{key} is no text"))
    };
    let properties = PropertiesText::parse("client.properties", text("client.properties")?)?;
    let property = |key: &str| properties.get(key).with_context(|| format!("no {key} in client.properties"));
    let login = property("sasl.jaas.config")?;
    ensure!(property("group.id")? == group, "group.id of client.properties is no {group}");
    let expected = [
        ("username", username),
        ("user", username),
        ("group.id", group),
        ("bootstrap.servers", property("bootstrap.servers")?),
        ("security.protocol", property("security.protocol")?),
        ("sasl.mechanism", property("sasl.mechanism")?),
        ("sasl.jaas.config", login),
        ("ssl.truststore.crt", property("ssl.truststore.certificates")?),
    ];
    for (key, value) in expected {
        ensure!(text(key)? == value, "{key} is another than client.properties has");
    }
    let credentials = format!("username=\"{username}\" password=\"{}\";", text("password")?);
    ensure!(login.ends_with(&credentials), "username and password are others than client.properties has");
    Ok(())
}

async fn play(world: &World, seed: u64) -> Result<()> {
    let mut dice = Dice(seed);
    let namespaces = vec![world.namespace("left").await?, world.namespace("right").await?];
    let stage = Stage { world, names: Names::new(namespaces, &world.topic("stock")) };
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
        let another =
            std::env::var(ANOTHER_SEED).ok().map(|text| text.parse::<u64>().context(text)).transpose()?;
        for seed in SEEDS.into_iter().chain(another) {
            println!("seed {seed}");
            play(world, seed).await?;
        }
        Ok(())
    });
}

//! Objects that cannot wait for their topics: killed while the deletions they ask for are remembered, and they are let go.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    core::v1::{ConfigMap, Namespace},
    rbac::v1::ClusterRole,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use super::{
    described, ledger,
    support::{PATIENCE, World, alone_in_the_world, metric, wait},
};

#[test]
fn killed_while_objects_go_that_cannot_wait_it_deletes_their_topics_once_nobody_uses_them_and_not_before() {
    alone_in_the_world(async |world| {
        let users = world.namespace("users").await?;
        let mut departures = Vec::new();
        for place in ["topics/deletion-remembered", "topics/released"] {
            departures.push(Departure::prepare(world, &users, place).await?);
        }
        for departure in &departures {
            departure.play(world).await.with_context(|| format!("killed at {}", departure.place))?;
        }
        let unseen = Departure::of_an_object_without_finalizer(world, &users).await?;
        departures.push(unseen);

        until_remembered(world, 3).await?;
        for departure in &departures {
            departure.ensure_there(world).await?;
        }
        let free = async || {
            for departure in &departures {
                world.delete_client(&users, &departure.used).await?;
            }
            Ok(())
        };
        world.killed_at("topics/deleted", free).await?;
        for departure in &departures {
            world.until_no_topic(&departure.used).await?;
        }
        until_remembered(world, 0).await?;
        // What goes by the names now is somebody else's, and stays.
        for Departure { used, .. } in &departures {
            world.declare(&users, used, json!({}), json!({})).await?;
        }
        for Departure { used, used_id, kept, .. } in &departures {
            let new = world.until_ready(&users, used).await?.topic_id;
            ensure!(new.is_some() && new.as_ref() != Some(used_id), "{used}: {new:?}, was {used_id}");
            if let Some((topic, id)) = kept {
                let now =
                    described(world, topic).await?.context("a topic that was to be retained is gone")?;
                ensure!(now.id == *id, "{topic} was made anew: {now:?}, was {id}");
            }
        }
        Ok(())
    });
}

/// A namespace that goes with a topic that is used elsewhere, and with one that is to stay.
struct Departure {
    place: &'static str,
    namespace: String,
    used: String,
    used_id: String,
    kept: Option<(String, String)>,
}

impl Departure {
    async fn prepare(world: &World, users: &str, place: &'static str) -> Result<Self> {
        let namespace = world.namespace("ending").await?;
        let (used, kept) = (world.topic("used"), world.topic("kept"));
        world.declare(&namespace, &kept, json!({}), json!({})).await?;
        declare_used(world, &namespace, &used, users).await?;
        let used_id = world.until_ready(&namespace, &used).await?.topic_id.context("no topic id")?;
        let kept_id = world.until_ready(&namespace, &kept).await?.topic_id.context("no topic id")?;
        world.until_finalizer(&namespace, &used).await?;
        world.until_secret(users, &format!("{used}-kafka-credentials")).await?;
        Ok(Self { place, namespace, used, used_id, kept: Some((kept, kept_id)) })
    }

    /// The namespace goes, and whoever lets its objects go is killed.
    async fn play(&self, world: &World) -> Result<()> {
        let api = world.api::<ConfigMap>(&self.namespace);
        let namespaces: Api<Namespace> = Api::all(world.client.clone());
        let end =
            async || Ok(namespaces.delete(&self.namespace, &DeleteParams::default()).await.map(drop)?);
        let look = async || {
            let object = api.get_opt(&self.used).await?;
            let waits = object.is_some_and(|object| !object.finalizers().is_empty());
            ensure!(waits == (self.place == "topics/deletion-remembered"), "waits: {waits}");
            self.ensure_remembered(world).await
        };
        world.killed_at_and_kept_away(self.place, end, look).await?;
        wait::until(format!("namespace {} to be gone", self.namespace), PATIENCE, || async {
            let there = namespaces.get_opt(&self.namespace).await?;
            ensure!(there.is_none(), "{:?}", there.and_then(|there| there.status));
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        self.ensure_there(world).await
    }

    /// One that is deleted while its finalizer cannot be written: it is gone at once.
    async fn of_an_object_without_finalizer(world: &World, users: &str) -> Result<Self> {
        let namespace = world.namespace("brief").await?;
        let used = world.topic("brief");
        let api = world.api::<ConfigMap>(&namespace);
        let gone = async || {
            declare_used(world, &namespace, &used, users).await?;
            world.until_topic(&used).await?;
            world.until_secret(users, &format!("{used}-kafka-credentials")).await?;
            let id = described(world, &used).await?.context("the topic is gone")?.id;
            let departure = Self {
                place: "topics/deletion-remembered",
                namespace: namespace.clone(),
                used: used.clone(),
                used_id: id,
                kept: None,
            };
            let delete = async || Ok(api.delete(&used, &DeleteParams::default()).await.map(drop)?);
            let look = async || {
                ensure!(api.get_opt(&used).await?.is_none(), "it waited");
                departure.ensure_remembered(world).await
            };
            world.killed_at_and_kept_away(departure.place, delete, look).await?;
            Ok(departure)
        };
        without_patching_config_maps(world, gone).await
    }

    async fn ensure_remembered(&self, world: &World) -> Result<()> {
        let pages = ledger(world).await?.concat();
        let line = pages.lines().find(|line| line.starts_with(&format!("{} ", self.used)));
        ensure!(line.is_some_and(|line| line.contains("deletion=")), "{line:?}");
        Ok(())
    }

    async fn ensure_there(&self, world: &World) -> Result<()> {
        let now = described(world, &self.used).await?;
        let there = now.as_ref().is_some_and(|now| now.id == self.used_id);
        ensure!(there, "{} is used, and is {now:?}", self.used);
        Ok(())
    }
}

/// A topic that is to go with its ConfigMap, and a client of it in another namespace.
async fn declare_used(world: &World, namespace: &str, topic: &str, users: &str) -> Result<()> {
    let data = json!({ "consumers": format!("{users}/*") });
    world.declare(namespace, topic, data, json!({ "deletion-policy": "delete" })).await?;
    world.create_client(users, topic, json!({ "consumes": topic })).await.map(drop)
}

/// Waits until so many deletions are remembered, by whoever leads.
async fn until_remembered(world: &World, count: u8) -> Result<()> {
    wait::until(format!("{count} deletions to be remembered"), PATIENCE, || async {
        let (_, metrics) = world.probe(&world.until_leader().await?, "/metrics").await?;
        let told = metric(&metrics, "topicops_topic_deletions_remembered");
        ensure!(told == Some(f64::from(count)), "{told:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// Takes topicops' right to write statuses and finalizers of ConfigMaps away while `work` is done.
async fn without_patching_config_maps<T>(world: &World, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    let mut role = roles.get("topicops").await?;
    let before = role.rules.clone();
    for rule in role.rules.iter_mut().flatten() {
        if rule.resources.as_ref().is_some_and(|resources| resources.contains(&"configmaps".to_owned())) {
            rule.verbs.retain(|verb| verb != "patch");
        }
    }
    let params = PostParams::default();
    let mut role = roles.replace("topicops", &params, &role).await?;
    until_config_maps_may_be_patched(world, false).await?;
    let result = work().await;
    role.rules = before;
    roles.replace("topicops", &params, &role).await?;
    until_config_maps_may_be_patched(world, true).await?;
    result
}

async fn until_config_maps_may_be_patched(world: &World, wanted: bool) -> Result<()> {
    let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
    let review: SubjectAccessReview = serde_json::from_value(json!({ "metadata": {}, "spec": {
        "user": "system:serviceaccount:topicops:topicops",
        "resourceAttributes": { "verb": "patch", "resource": "configmaps", "namespace": "default" },
    } }))?;
    wait::until(format!("topicops' right to patch ConfigMaps: {wanted}"), PATIENCE, || async {
        let answer = reviews.create(&PostParams::default(), &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        ensure!(allowed == wanted, "{allowed}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

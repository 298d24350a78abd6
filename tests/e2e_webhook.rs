//! The webhook, end to end: called by the API server through its Service, under the installed RBAC and configurations.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Secret},
    },
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{PATIENCE, alone_in_the_world, in_the_world, wait};

#[derive(Deserialize)]
struct BadInput {
    case: String,
    topic: Option<BadTopic>,
    client: Option<BTreeMap<String, String>>,
    says: Vec<String>,
}

#[derive(Deserialize)]
struct BadTopic {
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[test]
fn every_bad_input_is_refused_as_a_whole_with_what_would_be_right() {
    in_the_world(async |world| {
        let text = std::fs::read_to_string(support::repository().join("tests/bad_inputs.yaml"))?;
        let cases: Vec<BadInput> = serde_norway::from_str(&text)?;
        ensure!(cases.len() >= 40, "only {} cases", cases.len());
        let namespace = world.namespace("bad").await?;
        let mut wrong = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            let name = format!("bad-{index}");
            let result = match (&case.topic, &case.client) {
                (Some(topic), _) => world
                    .declare(&namespace, &name, json!(topic.data), json!(topic.annotations))
                    .await
                    .map(drop),
                (None, Some(client)) => world.create_client(&namespace, &name, json!(client)).await.map(drop),
                (None, None) => anyhow::bail!("case {} is about nothing", case.case),
            };
            match support::refusal(result) {
                Ok(told) => {
                    let missing = case.says.iter().filter(|text| !told.contains(text.as_str()));
                    wrong.extend(
                        missing.map(|text| format!("{}: \"{text}\" is missing in: {told}", case.case)),
                    );
                }
                Err(error) => wrong.push(format!("{}: {error:#}", case.case)),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        // Nothing of it was stored, and nothing of it reached the broker.
        ensure!(world.api::<Deployment>(&namespace).list(&Default::default()).await?.items.is_empty());
        let users = world.scram_users(&format!("topicops.{namespace}.")).await?;
        ensure!(users.is_empty(), "{users:?}");
        let labelled = ListParams::default().labels("config=kafka-topic");
        let stored = world.api::<ConfigMap>(&namespace).list(&labelled).await?.items;
        ensure!(stored.is_empty(), "{:?}", stored.iter().map(ConfigMap::name_any).collect::<Vec<_>>());
        no_bad_topic(world).await
    });
}

#[test]
fn what_admission_let_through_is_refused_by_the_controller_with_the_same_words() {
    alone_in_the_world(async |world| {
        let text = std::fs::read_to_string(support::repository().join("tests/bad_inputs.yaml"))?;
        let cases: Vec<BadInput> = serde_norway::from_str(&text)?;
        let namespace = world.namespace("unchecked").await?;
        let mut stored = Vec::new();
        for (index, case) in cases.iter().enumerate().filter(|(_, case)| case.topic.is_some()) {
            let topic = case.topic.as_ref().context("filtered")?;
            let name = format!("bad-{index}");
            // Without the label nobody looks; the label comes by itself then, and admission only warns about old mistakes.
            let mut config_map =
                support::topic_config_map(&name, json!(topic.data), json!(topic.annotations))?;
            config_map.metadata.labels = None;
            let api = world.api::<ConfigMap>(&namespace);
            api.create(&PostParams::default(), &config_map).await?;
            stored.push((name, case));
        }
        without_validation(world, async || {
            for (name, _) in &stored {
                let label = json!({ "metadata": { "labels": { "config": "kafka-topic" } } });
                world.patch_topic(&namespace, name, label).await?;
            }
            Ok(())
        })
        .await?;
        for (name, case) in &stored {
            let status = world.until_refused(&namespace, name, "Invalid").await?;
            for text in &case.says {
                ensure!(
                    status.message.contains(text.as_str()),
                    "{}: \"{text}\": {}",
                    case.case,
                    status.message
                );
            }
        }
        for (name, case) in stored.iter().take(1).chain(stored.last()) {
            let note = world.until_event(&namespace, name, "Invalid").await?;
            ensure!(case.says.iter().all(|text| note.contains(text.as_str())), "{}: {note}", case.case);
        }
        no_bad_topic(world).await
    });
}

#[test]
fn a_labelled_workload_is_injected_and_a_plain_one_is_not() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("inject").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        let created = world
            .create_client(&namespace, "app", json!({ "consumes": topic, "inject": "files,env" }))
            .await?;
        let spec = created.spec.and_then(|spec| spec.template.spec).context("no template")?;
        let volumes = spec.volumes.unwrap_or_default();
        let secret = volumes[0].secret.clone().context("no Secret volume")?;
        ensure!(secret.secret_name.as_deref() == Some("app-kafka-credentials"), "{secret:?}");
        ensure!(secret.optional != Some(true), "a Pod must wait for its Secret");
        let container = &spec.containers[0];
        let mount = &container.volume_mounts.clone().unwrap_or_default()[0];
        ensure!(mount.mount_path == "/var/run/secrets/kafka.nb/credentials", "{mount:?}");
        ensure!(mount.read_only == Some(true) && mount.sub_path.is_none(), "{mount:?}");
        let names: Vec<_> = container.env.iter().flatten().map(|variable| variable.name.as_str()).collect();
        for name in ["SERVICE_BINDING_ROOT", "KAFKA_OPTS", "KAFKA_PASSWORD", "KAFKA_BOOTSTRAP_SERVERS"] {
            ensure!(names.contains(&name), "{name} is missing: {names:?}");
        }
        let mut plain = support::client_deployment("plain", json!({ "consumes": topic }), 0, "true")?;
        plain.metadata.labels = None;
        let created = world.api::<Deployment>(&namespace).create(&PostParams::default(), &plain).await?;
        let spec = created.spec.and_then(|spec| spec.template.spec).context("no template")?;
        ensure!(spec.volumes.is_none(), "{:?}", spec.volumes);
        Ok(())
    });
}

#[test]
fn a_second_apply_of_the_same_manifest_changes_nothing() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("twice").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        let manifest = support::client_deployment("app", json!({ "produces": topic }), 0, "true")?;
        let api = world.api::<Deployment>(&namespace);
        let params = PatchParams::apply("gitops").force();
        let first = api.patch("app", &params, &Patch::Apply(&manifest)).await?;
        let second = api.patch("app", &params, &Patch::Apply(&manifest)).await?;
        ensure!(first.metadata.generation == second.metadata.generation, "{:?}", second.spec);
        Ok(())
    });
}

#[test]
fn the_ca_is_in_one_secret_and_the_live_bundles_and_nobody_elses_fields_are_touched() {
    in_the_world(async |world| {
        let secret = world.api::<Secret>("topicops").get("topicops-ca").await?;
        let data = secret.data.context("no data")?;
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(world.client.clone());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(world.client.clone());
        let (mutating, validating) = (mutating.get("topicops").await?, validating.get("topicops").await?);
        let bundles: Vec<ByteString> = mutating
            .webhooks
            .iter()
            .flatten()
            .map(|webhook| webhook.client_config.ca_bundle.clone())
            .chain(
                validating.webhooks.iter().flatten().map(|webhook| webhook.client_config.ca_bundle.clone()),
            )
            .map(Option::unwrap_or_default)
            .collect();
        let ca = String::from_utf8(data["ca.crt"].0.clone())?;
        for bundle in bundles {
            let bundle = String::from_utf8(bundle.0)?;
            ensure!(bundle.trim() == ca.trim(), "{bundle}");
        }
        let managed = mutating.metadata.managed_fields.unwrap_or_default();
        let ours = managed.iter().find(|fields| fields.manager.as_deref() == Some("topicops-certificates"));
        let fields = serde_json::to_string(&ours.context("no field manager of ours")?.fields_v1)?;
        ensure!(fields.contains("caBundle") && !fields.contains("rules"), "{fields}");
        Ok(())
    });
}

#[test]
fn a_lost_ca_bundle_is_published_again() {
    alone_in_the_world(async |world| {
        let api: Api<MutatingWebhookConfiguration> = Api::all(world.client.clone());
        let remove = json!([{ "op": "remove", "path": "/webhooks/0/clientConfig/caBundle" }]);
        let patch = Patch::Json::<()>(serde_json::from_value(remove)?);
        api.patch("topicops", &PatchParams::default(), &patch).await?;
        wait::until("the bundle to be back", PATIENCE, || async {
            let webhooks = api.get("topicops").await?.webhooks.unwrap_or_default();
            ensure!(webhooks[0].client_config.ca_bundle.is_some(), "it is not there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let namespace = world.namespace("rebundled").await?;
        wait::until("admission to work again", PATIENCE, || async {
            world.create_client(&namespace, "app", json!({ "consumes": "nothing" })).await.map(drop)
        })
        .await
    });
}

#[test]
fn no_admission_is_lost_while_replicas_are_replaced() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("rolling").await?;
        let api = world.api::<Deployment>("topicops");
        let before: Vec<String> = world
            .pods("topicops", "app.kubernetes.io/name=topicops")
            .await?
            .iter()
            .map(Pod::name_any)
            .collect();
        let restart =
            json!({ "spec": { "template": { "metadata": { "annotations": { "restarted": "now" } } } } });
        api.patch("topicops", &PatchParams::default(), &Patch::Merge(restart)).await?;
        let rollout = world.until_rolled_out("topicops", "topicops", PATIENCE);
        tokio::pin!(rollout);
        let clients = world.api::<Deployment>(&namespace);
        let tried_once = async |name: &str| {
            let client = support::client_deployment(name, json!({ "consumes": "nothing" }), 0, "sleep 3600")?;
            Ok::<_, anyhow::Error>(clients.create(&PostParams::default(), &client).await?)
        };
        let (mut admitted, mut lost) = (0, Vec::new());
        loop {
            let name = format!("app-{}", admitted + lost.len());
            tokio::select! {
                result = &mut rollout => { result?; break; }
                result = tried_once(&name) => match result {
                    Ok(_) => admitted += 1,
                    Err(error) => lost.push(format!("{error:#}")),
                },
            }
        }
        ensure!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), admitted + lost.len(), lost.first());
        ensure!(admitted > 10, "only {admitted} tried");
        let after = world.pods("topicops", "app.kubernetes.io/name=topicops").await?;
        let old = after.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        ensure!(old.map(Pod::name_any).all(|name| !before.contains(&name)), "an old replica is still there");
        world.until_leader().await?;
        Ok(())
    });
}

#[test]
fn probes_tell_how_each_check_stands() {
    in_the_world(async |world| {
        for pod in world.pods("topicops", "app.kubernetes.io/name=topicops").await? {
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let (code, body) = world.probe(&pod, "/readyz").await?;
            ensure!(code == 200, "{body}");
            for check in ["caches", "certificates", "serving"] {
                ensure!(body.contains(&format!("[+]{check} ok")), "{body}");
            }
            ensure!(world.probe(&pod, "/livez").await?.0 == 200);
            ensure!(world.probe(&pod, "/readyz/nonsense").await?.0 == 404);
        }
        Ok(())
    });
}

/// No topic has the name of a case's ConfigMap.
async fn no_bad_topic(world: &support::World) -> Result<()> {
    let list = world.kafka_tool("kafka-topics.sh", &["--list"]).await?;
    ensure!(!list.lines().any(|line| line.starts_with("bad-")), "{list}");
    Ok(())
}

/// Takes the validating webhook away for as long as `work` takes.
async fn without_validation(world: &support::World, work: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(world.client.clone());
    api.delete("topicops", &DeleteParams::default()).await?;
    // API servers forget a configuration a moment after it is gone.
    let namespace = world.namespace("probe").await?;
    wait::until("validation to be off", PATIENCE, || async {
        world.declare(&namespace, "probe", json!({ "partitions": "none" }), json!({})).await.map(drop)
    })
    .await?;
    let result = work().await;
    let manifests = std::fs::read_to_string(support::repository().join("deploy/install/40-webhooks.yaml"))?;
    world.bed.apply(&manifests).await?;
    let _: Value = wait::until("validation to be on again", PATIENCE, || async {
        let tried = world.declare(&namespace, "again", json!({ "partitions": "none" }), json!({})).await;
        if tried.is_ok() {
            world.api::<ConfigMap>(&namespace).delete("again", &DeleteParams::default()).await?;
        }
        let told = support::refusal(tried)?;
        ensure!(told.contains("partitions"), "{told}");
        Ok::<_, anyhow::Error>(Value::String(told))
    })
    .await?;
    result
}

//! Uninstalling topicops: nothing is left that nobody could delete.

mod support;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;
use support::{PATIENCE, World, alone_in_the_world, repository, wait};
use topicops::KafkaTopic;

#[test]
fn uninstalled_it_leaves_nothing_that_cannot_be_deleted() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("uninstall").await?;
        let api = world.api::<ConfigMap>(&namespace);
        let delete = json!({ "deletion-policy": "delete" });
        let (stuck, stays) = (world.topic("stuck"), world.topic("stays"));
        for name in [&stuck, &stays] {
            world.declare(&namespace, name, json!({}), delete.clone()).await?;
            world.until_ready(&namespace, name).await?;
        }
        let custom = world.api::<KafkaTopic>(&namespace);
        let kafka_topic = |name: &str, finalizers: &[&str]| {
            let finalizers = finalizers.iter().map(|name| (*name).to_owned()).collect();
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                finalizers: Some(finalizers),
                ..ObjectMeta::default()
            };
            KafkaTopic::new(metadata, json!({ "deletionPolicy": "delete" }))
        };
        let held = world.topic("held");
        custom.create(&PostParams::default(), &kafka_topic(&held, &[])).await?;
        wait::until("the finalizer of a KafkaTopic", PATIENCE, || async {
            let finalizers = custom.get(&held).await?.finalizers().to_vec();
            ensure!(finalizers == ["topic.kafka.nb/topic"], "{finalizers:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let (code, _, told) = release(world, &["--namespace", &namespace]).await?;
        ensure!(code == 1 && told.contains("leads") && told.contains("--force"), "{code}: {told}");
        ensure!(api.get(&stuck).await?.finalizers().len() == 1, "released while a replica leads");

        uninstall(world).await?;
        // Its label is taken off while nobody sees it: the finalizer would stay for ever.
        world
            .patch_topic(&namespace, &stays, json!({ "metadata": { "labels": { "config": null } } }))
            .await?;
        api.delete(&stuck, &DeleteParams::default()).await?;
        ensure!(api.get(&stuck).await?.metadata.deletion_timestamp.is_some(), "no finalizer holds it");

        let (code, said, told) = release(world, &["--dry-run"]).await?;
        ensure!(
            code == 0 && said.contains(&format!("would release ConfigMap {namespace}/{stuck}")),
            "{said}{told}"
        );
        ensure!(api.get_opt(&stuck).await?.is_some(), "a dry run released it");
        let (code, said, told) = release(world, &[]).await?;
        ensure!(code == 0, "{told}");
        for name in [&stuck, &stays] {
            ensure!(said.contains(&format!("released ConfigMap {namespace}/{name}\n")), "{said}");
        }
        ensure!(said.contains(&format!("released KafkaTopic {namespace}/{held}\n")), "{said}");
        ensure!(custom.get(&held).await?.finalizers().is_empty());
        ensure!(api.get_opt(&stuck).await?.is_none(), "{stuck} is still there");
        let left = api.get(&stays).await?;
        ensure!(
            left.finalizers().is_empty() && !left.annotations().contains_key("topic.kafka.nb/status"),
            "{left:?}"
        );
        let (code, said, _) = release(world, &[]).await?;
        ensure!(code == 0 && said.starts_with("0 of "), "the second time it did something: {said}");
        for name in [&stuck, &stays] {
            ensure!(world.described(name).await?.is_some(), "topic {name} is gone");
        }

        // The README's other way, on one that is left from somewhere else.
        let by_hand = world.topic("by-hand");
        let mut left = support::topic_config_map(&by_hand, json!({}), json!({}))?;
        let others = ["example.com/first", "topic.kafka.nb/topic", "example.com/last"].map(str::to_owned);
        left.metadata.finalizers = Some(others.to_vec());
        api.create(&PostParams::default(), &left).await?;
        api.delete(&by_hand, &DeleteParams::default()).await?;
        custom.create(&PostParams::default(), &kafka_topic(&by_hand, &["topic.kafka.nb/topic"])).await?;
        custom.delete(&by_hand, &DeleteParams::default()).await?;
        ensure!(api.get_opt(&by_hand).await?.is_some(), "no finalizer holds it");
        run_of_readme(world, "/metadata/finalizers/", &repository()).await?;
        let kept = api.get(&by_hand).await?.finalizers().to_vec();
        ensure!(kept == ["example.com/first", "example.com/last"], "{kept:?}");
        let released = json!({ "metadata": { "finalizers": null } });
        world.patch_topic(&namespace, &by_hand, released).await?;
        world.until_gone::<ConfigMap>(&namespace, &by_hand).await?;
        ensure!(custom.get_opt(&by_hand).await?.is_none(), "nor the KafkaTopic of that name");

        // Installed again, it takes up where it was.
        world.bed.apply_path(repository().join("deploy/install")).await?;
        world.until_rolled_out("topicops", "topicops", PATIENCE).await?;
        world.declare(&namespace, &stuck, json!({}), delete).await?;
        world.until_ready(&namespace, &stuck).await?;
        Ok(())
    });
}

#[test]
fn a_finalizer_left_on_what_lost_its_label_unseen_is_taken_off_by_whoever_comes_next() {
    alone_in_the_world(async |world| {
        let namespace = world.namespace("unlabelled").await?;
        let (lost, later, kept) = (world.topic("lost"), world.topic("later"), world.topic("kept"));
        for name in [&lost, &later, &kept] {
            world.declare(&namespace, name, json!({}), json!({ "deletion-policy": "delete" })).await?;
            world.until_ready(&namespace, name).await?;
            world.until_finalizer(&namespace, name).await?;
        }
        let api = world.api::<ConfigMap>(&namespace);
        let unlabelled = json!({ "metadata": { "labels": { "config": null } } });
        uninstall(world).await?;
        world.patch_topic(&namespace, &lost, unlabelled.clone()).await?;
        let (code, said, told) = release(world, &["-n", &namespace, "--unlabelled"]).await?;
        ensure!(
            code == 0 && said.contains(&format!("released ConfigMap {namespace}/{lost}\n1 of ")),
            "{said}{told}"
        );
        ensure!(api.get(&lost).await?.finalizers().is_empty());

        // One that somebody even deleted meanwhile: a new leader lets it go, and its topic stays.
        world.patch_topic(&namespace, &later, unlabelled).await?;
        api.delete(&later, &DeleteParams::default()).await?;
        ensure!(api.get_opt(&later).await?.is_some(), "no finalizer holds it");
        world.bed.apply_path(repository().join("deploy/install")).await?;
        world.until_rolled_out("topicops", "topicops", PATIENCE).await?;
        world.until_gone::<ConfigMap>(&namespace, &later).await?;
        ensure!(world.described(&later).await?.is_some(), "topic {later} is gone");
        ensure!(api.get(&kept).await?.finalizers().len() == 1, "one that is a topic still was released");
        Ok(())
    });
}

#[test]
fn a_ledger_that_was_lost_and_restored_from_its_backup_says_whose_topics_are() {
    alone_in_the_world(async |world| {
        let (namespace, rival) = (world.namespace("restored").await?, world.namespace("rival").await?);
        let (topic, doomed) = (world.topic("orders"), world.topic("doomed"));
        let data = json!({ "retention": "1h" });
        world.declare(&namespace, &topic, data, json!({})).await?;
        world.declare(&namespace, &doomed, json!({}), json!({ "deletion-policy": "delete" })).await?;
        for name in [&topic, &doomed] {
            world.until_ready(&namespace, name).await?;
        }
        let folder = tempfile::tempdir()?;
        world.until_described(&topic, &["retention.ms=3600000"]).await?;
        // In this order nobody writes a page meanwhile, and what is restored can be compared.
        uninstall(world).await?;
        run_of_readme(world, "> ledger.yaml", folder.path()).await?;
        let pages = world.api::<ConfigMap>("topicops");
        let ledger = ListParams::default().labels("topic.kafka.nb/ledger");
        let before = contents(&pages, &ledger).await?;
        pages.delete_collection(&DeleteParams::default(), &ledger).await?;
        ensure!(contents(&pages, &ledger).await?.is_empty(), "the ledger is there still");
        run_of_readme(world, "create -f ledger.yaml", folder.path()).await?;
        let restored = contents(&pages, &ledger).await?;
        ensure!(restored == before && !before.is_empty(), "{restored:?}, and was {before:?}");

        world.bed.apply_path(repository().join("deploy/install")).await?;
        world.until_rolled_out("topicops", "topicops", PATIENCE).await?;
        // It is theirs still, what was declared is taken out again when it is given up, and what is to go may go.
        world.declare(&rival, &topic, json!({}), json!({})).await?;
        world.until_refused(&rival, &topic, "OwnedByNamespace").await?;
        world.patch_topic(&namespace, &topic, json!({ "data": { "retention": null } })).await?;
        world.api::<ConfigMap>(&namespace).delete(&doomed, &DeleteParams::default()).await?;
        wait::until("what was given up to go", PATIENCE, || async {
            let left = world.described(&topic).await?.context("the topic is gone")?;
            let doomed = world.described(&doomed).await?;
            ensure!(!left.contains("retention.ms") && doomed.is_none(), "{left:?}, {doomed:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

/// What is in these ConfigMaps, by name.
async fn contents(
    api: &Api<ConfigMap>,
    selected: &ListParams,
) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let items = api.list(selected).await?.items;
    Ok(items.into_iter().map(|one| (one.name_any(), one.data.unwrap_or_default())).collect())
}

/// As the README says: the Deployment goes, and with it its replicas.
async fn uninstall(world: &World) -> Result<()> {
    world.api::<Deployment>("topicops").delete("topicops", &DeleteParams::background()).await?;
    let pods = world.api::<Pod>("topicops");
    wait::until("all replicas to be gone", PATIENCE, || async {
        let left = pods.list(&ListParams::default()).await?.items.len();
        ensure!(left == 0, "{left} are there");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// `topicops release`, as an administrator runs it: exit code, and what it says on stdout and stderr.
async fn release(world: &World, arguments: &[&str]) -> Result<(i32, String, String)> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_topicops"))
        .arg("release")
        .args(arguments)
        .env("KUBECONFIG", world.bed.kubeconfig_path())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.context("topicops release did not end")??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
}

/// The README's block of commands with this in it, word by word, in a folder.
async fn run_of_readme(world: &World, part: &str, folder: &Path) -> Result<()> {
    let readme = std::fs::read_to_string(repository().join("README.md"))?;
    let mut blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let commands = blocks
        .find(|block| block.contains(part))
        .with_context(|| format!("the README has no commands with {part:?}"))?;
    let programs = world.bed.kubectl_path().parent().context("kubectl is in no folder")?;
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let run = tokio::process::Command::new("sh")
        .args(["-ec", commands])
        .current_dir(folder)
        .env("KUBECONFIG", world.bed.kubeconfig_path())
        .env("PATH", path)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.context("the commands did not end")??;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

//! Workloads of every kind, and those that were admitted while the webhook was away.

#[path = "e2e_workload_kinds/guard.rs"]
mod guard;
mod support;
#[path = "e2e_workload_kinds/workloads.rs"]
mod workloads;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::Deployment,
    batch::v1::{CronJob, Job},
    core::v1::{Pod, Secret},
    events::v1::Event,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use support::{PATIENCE, World, alone_in_the_world, in_the_world, wait};
use topicops_contract::WorkloadKind;
use workloads::{
    SAYS_WHO, create, lower, run_cron_job, until_a_pod_says, until_acls, until_revoked, username,
};

#[test]
fn workloads_of_every_kind_and_one_name_run_as_users_of_their_own() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("kinds").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        for kind in WorkloadKind::ALL {
            let secret = format!("{}-secret", lower(kind));
            let annotations = json!({ "produces": topic, "topic-secret": secret });
            create(world, &namespace, kind, "app", annotations, SAYS_WHO).await?;
        }
        run_cron_job(world, &namespace, "app", "app-1").await?;
        let mut users = BTreeSet::new();
        for kind in WorkloadKind::ALL {
            let username = username(&namespace, kind, "app");
            until_a_pod_says(world, &namespace, kind, "app", &username).await?;
            until_acls(
                world,
                &username,
                &[format!("Describe Topic {topic}"), format!("Write Topic {topic}")],
            )
            .await?;
            users.insert(username);
        }
        ensure!(users.len() == WorkloadKind::ALL.len(), "{users:?}");
        let all = world.scram_users(&format!("topicops.{namespace}.")).await?;
        ensure!(all.into_iter().collect::<BTreeSet<_>>() == users, "{users:?}");
        Ok(())
    });
}

#[test]
fn a_bare_pod_has_what_its_annotations_say_until_it_is_gone() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("bare").await?, world.topic("orders"));
        let other = world.topic("other");
        for topic in [&topic, &other] {
            world.declare(&namespace, topic, json!({}), json!({})).await?;
        }
        create(world, &namespace, WorkloadKind::Pod, "shell", json!({ "produces": topic }), SAYS_WHO).await?;
        let username = username(&namespace, WorkloadKind::Pod, "shell");
        ensure!(username == format!("topicops.{namespace}.shell_pod"), "{username}");
        until_a_pod_says(world, &namespace, WorkloadKind::Pod, "shell", &username).await?;
        let secret = world.api::<Secret>(&namespace).get("shell-kafka-credentials").await?;
        let owner = secret.owner_references().first().cloned().context("it has no owner")?;
        ensure!((owner.kind.as_str(), owner.api_version.as_str()) == ("Pod", "v1"), "{owner:?}");

        let pods = world.api::<Pod>(&namespace);
        let before = pods.get("shell").await?;
        let annotate = json!({ "metadata": { "annotations": { "topic.kafka.nb/produces": other } } });
        let after = pods.patch("shell", &PatchParams::default(), &Patch::Merge(annotate)).await?;
        ensure!(before.spec == after.spec, "{:?}", after.spec);
        until_acls(world, &username, &[format!("Describe Topic {other}"), format!("Write Topic {other}")])
            .await?;
        pods.delete("shell", &DeleteParams::default().grace_period(0)).await?;
        world.until_gone::<Secret>(&namespace, "shell-kafka-credentials").await?;
        until_revoked(world, &username).await
    });
}

#[test]
fn what_has_finished_has_no_access_any_more() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("finished").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        for (kind, name, end) in [
            (WorkloadKind::Job, "done", "exit 0"),
            (WorkloadKind::Job, "failed", "exit 1"),
            (WorkloadKind::Pod, "done", "exit 0"),
            (WorkloadKind::Pod, "failed", "exit 1"),
        ] {
            let secret = format!("{name}-{}", lower(kind));
            let script = format!("cat $SERVICE_BINDING_ROOT/credentials/username; {end}");
            let annotations = json!({ "produces": topic, "topic-secret": secret });
            create(world, &namespace, kind, name, annotations, &script).await?;
            let username = username(&namespace, kind, name);
            until_a_pod_says(world, &namespace, kind, name, &username).await?;
            until_revoked(world, &username).await?;
            world.until_gone::<Secret>(&namespace, &secret).await?;
        }
        ensure!(world.api::<Job>(&namespace).get_opt("done").await?.is_some(), "the Job itself stays");
        Ok(())
    });
}

#[test]
fn the_label_on_a_template_alone_does_nothing_and_is_told() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("template").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        // Everything in the template, and the workload itself bare; and another one labelled in both places.
        for (name, labelled) in [("lost", false), ("both", true)] {
            let mut deployment =
                support::client_deployment(name, json!({ "produces": topic }), 1, "sleep 3600")?;
            let metadata = deployment.metadata.clone();
            let template = deployment
                .spec
                .as_mut()
                .and_then(|spec| spec.template.metadata.as_mut())
                .context("no template")?;
            template.labels.get_or_insert_default().extend(metadata.labels.clone().unwrap_or_default());
            template.annotations = metadata.annotations.clone();
            if !labelled {
                deployment.metadata.labels = None;
                deployment.metadata.annotations = None;
            }
            world.api::<Deployment>(&namespace).create(&PostParams::default(), &deployment).await?;
        }
        world.until_secret(&namespace, "both-kafka-credentials").await?;
        let pod = wait::until("a Pod of the one that is not labelled itself", PATIENCE, || async {
            let pods = world.pods(&namespace, "app=lost").await?;
            Ok::<_, anyhow::Error>(pods.first().context("no Pod")?.name_any())
        })
        .await?;
        let note = world.until_event(&namespace, &pod, "LabelOnTemplate").await?;
        let maker = format!("Deployment {namespace}/lost made it");
        ensure!(note.contains(&maker) && note.contains("spec.template.metadata"), "{note}");
        let users = world.scram_users(&format!("topicops.{namespace}.")).await?;
        ensure!(users == [format!("topicops.{namespace}.both")], "{users:?}");
        wait::until("its Pod with one volume of credentials", PATIENCE, || async {
            let pods = world.pods(&namespace, "app=both").await?;
            let volumes = pods.iter().filter_map(|pod| pod.spec.as_ref()?.volumes.as_ref()).flatten();
            ensure!(volumes.filter(|volume| volume.name == "kafka-credentials").count() == 1, "{pods:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    });
}

#[test]
fn a_job_that_is_made_from_a_cron_job_by_hand_runs_with_its_credentials_and_is_told_nothing() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("by-hand").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        create(world, &namespace, WorkloadKind::CronJob, "app", json!({ "produces": topic }), SAYS_WHO)
            .await?;
        let label = json!({ "metadata": { "labels": { "kafka-operator": "inject-credentials" } } });
        let on_every_template = json!({ "spec": { "jobTemplate": { "spec": { "template": label } } } });
        let cron_jobs = world.api::<CronJob>(&namespace);
        cron_jobs.patch("app", &PatchParams::default(), &Patch::Merge(on_every_template)).await?;
        run_cron_job(world, &namespace, "app", "by-hand").await?;
        // Not every tool says who controls it.
        let mut job = world.api::<Job>(&namespace).get("by-hand").await?;
        job.metadata.name = Some("otherwise".to_owned());
        job.metadata
            .owner_references
            .get_or_insert_default()
            .iter_mut()
            .for_each(|owner| owner.controller = None);
        (job.metadata.uid, job.metadata.resource_version, job.status) = (None, None, None);
        let spec = job.spec.as_mut().context("no spec")?;
        spec.selector = None;
        let labels = spec.template.metadata.as_mut().and_then(|meta| meta.labels.as_mut());
        labels
            .context("no labels")?
            .retain(|key, _| !key.ends_with("controller-uid") && !key.ends_with("job-name"));
        world.api::<Job>(&namespace).create(&PostParams::default(), &job).await?;

        let username = username(&namespace, WorkloadKind::CronJob, "app");
        wait::until("both to run as the CronJob's user", PATIENCE, || async {
            for job in ["by-hand", "otherwise"] {
                let pods = world.pods(&namespace, &format!("batch.kubernetes.io/job-name={job}")).await?;
                let log = world.bed.logs(&namespace, &pods.first().context("no Pod")?.name_any(), "main")?;
                ensure!(log.trim() == username, "{job}: {log}");
            }
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let users = world.scram_users(&format!("topicops.{namespace}.")).await?;
        ensure!(users == [username], "{users:?}");
        // Where the CronJob itself has no label, its Jobs tell of it.
        let bare = json!({ "metadata": { "labels": { "kafka-operator": null } } });
        cron_jobs.patch("app", &PatchParams::default(), &Patch::Merge(bare)).await?;
        let told = wait::until("somebody to be told", PATIENCE, || async {
            let events = world.api::<Event>(&namespace).list(&ListParams::default()).await?.items;
            let told = events.into_iter().filter(|event| event.reason.as_deref() == Some("LabelOnTemplate"));
            let notes: Vec<String> = told.filter_map(|event| event.note).collect();
            ensure!(!notes.is_empty(), "nothing is said");
            Ok::<_, anyhow::Error>(notes)
        })
        .await?;
        let maker = format!("CronJob {namespace}/app made it");
        ensure!(told.len() == 1 && told[0].contains(&maker), "{told:?}");
        Ok(())
    });
}

#[test]
fn pods_of_controllers_come_and_go_while_topicops_is_away_and_others_wait_for_it() {
    alone_in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("away").await?, world.topic("orders"));
        let scale = async |replicas: i32| {
            let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
            world
                .api::<Deployment>("topicops")
                .patch("topicops", &PatchParams::default(), &patch)
                .await
                .map(drop)
        };
        scale(0).await?;
        wait::until("all replicas to be gone", PATIENCE, || async {
            let left = world.pods("topicops", "app.kubernetes.io/name=topicops").await?.len();
            ensure!(left == 0, "{left} are there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let tried = async {
            let made =
                create(world, &namespace, WorkloadKind::Pod, "shell", json!({ "produces": topic }), "true")
                    .await;
            ensure!(made.is_err(), "a labelled Pod was admitted without credentials");
            // Labelled throughout, and admitted before: its Pods have what the template has.
            let mut deployment = support::client_deployment("app", json!({}), 1, "echo here; sleep 3600")?;
            let labels = deployment.metadata.labels.take().unwrap_or_default();
            let template = deployment
                .spec
                .as_mut()
                .and_then(|spec| spec.template.metadata.as_mut())
                .context("no template")?;
            template.labels.get_or_insert_default().extend(labels);
            world.api::<Deployment>(&namespace).create(&PostParams::default(), &deployment).await?;
            wait::until("its Pod to run", PATIENCE, || async {
                let pods = world.pods(&namespace, "app=app").await?;
                let log = world.bed.logs(&namespace, &pods.first().context("no Pod")?.name_any(), "main")?;
                ensure!(log.trim() == "here", "{log}");
                Ok::<_, anyhow::Error>(())
            })
            .await
        };
        let tried = tried.await;
        scale(2).await?;
        world.until_rolled_out("topicops", "topicops", PATIENCE).await?;
        tried
    });
}

#[test]
fn what_was_admitted_while_the_webhook_was_away_is_healed_and_told() {
    alone_in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("healed").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        without_mutation(world, async || {
            for kind in WorkloadKind::ALL {
                let name = format!("early-{}", lower(kind));
                create(world, &namespace, kind, &name, json!({ "produces": topic }), SAYS_WHO).await?;
            }
            for kind in WorkloadKind::ALL {
                let name = format!("early-{}", lower(kind));
                let reason = if kind.is_mutable() { "Injected" } else { "NotInjected" };
                let note = world.until_event(&namespace, &name, reason).await?;
                ensure!(kind.is_mutable() || note.contains("delete it and create it again"), "{note}");
            }
            run_cron_job(world, &namespace, "early-cronjob", "early-cronjob-1").await?;
            for kind in WorkloadKind::ALL.into_iter().filter(|kind| kind.is_mutable()) {
                let name = format!("early-{}", lower(kind));
                until_a_pod_says(world, &namespace, kind, &name, &username(&namespace, kind, &name)).await?;
            }
            Ok(())
        })
        .await?;
        // With the webhook back there is nothing left to change.
        let deployment = world.api::<Deployment>(&namespace).get("early-deployment").await?;
        let touch = json!({ "metadata": { "annotations": { "touched": "1" } } });
        let api = world.api::<Deployment>(&namespace);
        let touched = api.patch("early-deployment", &PatchParams::default(), &Patch::Merge(touch)).await?;
        ensure!(touched.spec == deployment.spec, "{:?}", touched.spec);
        Ok(())
    });
}

/// Takes the mutating webhook away for as long as `work` takes.
async fn without_mutation(world: &World, work: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(world.client.clone());
    api.delete("topicops", &DeleteParams::default()).await?;
    // API servers forget a configuration a moment after it is gone.
    let namespace = world.namespace("probe").await?;
    let is_injected = async || {
        let made = support::client_deployment("probe", json!({ "produces": "x" }), 0, "true")?;
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let made = world.api::<Deployment>(&namespace).create(&dry_run, &made).await?;
        let spec = made.spec.and_then(|spec| spec.template.spec).context("no template")?;
        Ok::<_, anyhow::Error>(spec.volumes.is_some())
    };
    wait::until("mutation to be off", PATIENCE, || async {
        ensure!(!is_injected().await?, "it is on");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let result = work().await;
    let manifests = std::fs::read_to_string(support::repository().join("deploy/install/40-webhooks.yaml"))?;
    world.bed.apply(&manifests).await?;
    wait::until("mutation to be on again", PATIENCE, || async {
        ensure!(is_injected().await?, "it is off");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    result
}

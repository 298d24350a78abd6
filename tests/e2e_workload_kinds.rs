//! Workloads of every kind, and those that were admitted while the webhook was away.

mod support;

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
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use support::{PATIENCE, World, alone_in_the_world, in_the_world, wait};
use topicops_contract::{Workload, WorkloadKind};

/// Says who it is, by what it was given, and goes on.
const SAYS_WHO: &str = "cat $SERVICE_BINDING_ROOT/credentials/username; sleep 3600";

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
        let pods = world.pods(&namespace, "app=both").await?;
        let volumes = pods.iter().filter_map(|pod| pod.spec.as_ref()?.volumes.as_ref()).flatten();
        ensure!(volumes.filter(|volume| volume.name == "kafka-credentials").count() == 1, "{pods:?}");
        Ok(())
    });
}

#[test]
fn a_job_that_is_made_from_a_cron_job_by_hand_runs_with_its_credentials_and_is_told_nothing() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("by-hand").await?, world.topic("orders"));
        world.declare(&namespace, &topic, json!({}), json!({})).await?;
        create(world, &namespace, WorkloadKind::CronJob, "app", json!({ "produces": topic }), SAYS_WHO).await?;
        let label = json!({ "metadata": { "labels": { "kafka-operator": "inject-credentials" } } });
        let on_every_template = json!({ "spec": { "jobTemplate": { "spec": { "template": label } } } });
        let cron_jobs = world.api::<CronJob>(&namespace);
        cron_jobs.patch("app", &PatchParams::default(), &Patch::Merge(on_every_template)).await?;
        run_cron_job(world, &namespace, "app", "by-hand").await?;
        // Not every tool says who controls it.
        let mut job = world.api::<Job>(&namespace).get("by-hand").await?;
        job.metadata.name = Some("otherwise".to_owned());
        job.metadata.owner_references.get_or_insert_default().iter_mut().for_each(|owner| owner.controller = None);
        (job.metadata.uid, job.metadata.resource_version, job.status) = (None, None, None);
        let spec = job.spec.as_mut().context("no spec")?;
        spec.selector = None;
        let labels = spec.template.metadata.as_mut().and_then(|meta| meta.labels.as_mut());
        labels.context("no labels")?.retain(|key, _| !key.ends_with("controller-uid") && !key.ends_with("job-name"));
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

#[test]
fn whoever_runs_as_topicops_cannot_run_code_as_a_workload() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("guarded").await?, world.topic("orders"));
        world.create_client(&namespace, "app", json!({ "produces": topic, "inject": "none" })).await?;
        world.create_client(&namespace, "mounts", json!({ "produces": topic })).await?;
        let mut plain = support::client_deployment("plain", json!({}), 0, "true")?;
        plain.metadata.labels = None;
        world.api::<Deployment>(&namespace).create(&PostParams::default(), &plain).await?;
        let client = world.bed.service_account_client("topicops", "topicops").await?;
        let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
        let patch = async |name: &str, operations: Value| -> Result<String> {
            let patch = Patch::Json::<()>(serde_json::from_value(operations)?);
            let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
            match api.patch(name, &dry_run, &patch).await {
                Ok(_) => Ok("done".to_owned()),
                Err(kube::Error::Api(status)) => Ok(status.message.clone()),
                Err(error) => Err(error.into()),
            }
        };
        let pod = "/spec/template/spec";
        let container = format!("{pod}/containers/0");
        let add = |path: String, value: Value| json!([{ "op": "add", "path": path, "value": value }]);
        let volume = |name: &str| json!([{ "name": name, "secret": { "secretName": "x" } }]);
        for (what, operations, refusal) in [
            ("the image", add(format!("{container}/image"), json!("evil")), "env and volumeMounts"),
            ("the command", add(format!("{container}/command"), json!(["evil"])), "env and volumeMounts"),
            ("arguments", add(format!("{container}/args"), json!(["evil"])), "env and volumeMounts"),
            (
                "root",
                add(format!("{container}/securityContext"), json!({ "runAsUser": 0 })),
                "env and volumeMounts",
            ),
            (
                "a hook",
                add(format!("{container}/lifecycle"), json!({ "preStop": { "exec": { "command": ["x"] } } })),
                "env and volumeMounts",
            ),
            (
                "a container",
                add(format!("{pod}/containers/-"), json!({ "name": "x", "image": "evil" })),
                "env and volumeMounts",
            ),
            (
                "an account",
                add(format!("{pod}/serviceAccountName"), json!("admin")),
                "but volumes and containers",
            ),
            (
                "the host's network",
                add(format!("{pod}/hostNetwork"), json!(true)),
                "but volumes and containers",
            ),
            ("replicas", add("/spec/replicas".to_owned(), json!(9)), "but its pod template"),
            ("labels", add("/metadata/labels/x".to_owned(), json!("x")), "no metadata"),
            ("annotations", add("/metadata/annotations/x".to_owned(), json!("x")), "no metadata"),
            (
                "template labels",
                add("/spec/template/metadata/labels/x".to_owned(), json!("x")),
                "no metadata of a pod template",
            ),
            (
                "template annotations",
                add("/spec/template/metadata/annotations".to_owned(), json!({ "x": "x" })),
                "no metadata of a pod template",
            ),
            ("a volume", add(format!("{pod}/volumes"), volume("other")), "no volume but"),
            (
                "a host path",
                add(
                    format!("{pod}/volumes"),
                    json!([{ "name": "kafka-credentials", "hostPath": { "path": "/" } }]),
                ),
                "no volume but",
            ),
            (
                "java options",
                add(
                    format!("{container}/env"),
                    json!([{ "name": "JAVA_TOOL_OPTIONS", "value": "-javaagent:x" }]),
                ),
                "no variables but",
            ),
            (
                "more kafka options",
                add(
                    format!("{container}/env"),
                    json!([{ "name": "KAFKA_OPTS",
                "value": "-Djava.security.auth.login.config=/a -javaagent:x/kafka-client-jaas.conf" }]),
                ),
                "no variables but",
            ),
            (
                "what is expanded to more kafka options",
                add(
                    format!("{container}/env"),
                    json!([{ "name": "KAFKA_OPTS",
                "value": "-Djava.security.auth.login.config=$(KAFKA_USERNAME)/kafka-client-jaas.conf" }]),
                ),
                "no variables but",
            ),
            (
                "logins of elsewhere",
                add(
                    format!("{container}/env"),
                    json!([{ "name": "KAFKA_OPTS",
                "value": "-Djava.security.auth.login.config=http://evil/kafka-client-jaas.conf" }]),
                ),
                "no variables but",
            ),
            (
                "another key of the Secret",
                add(
                    format!("{container}/env"),
                    json!([{ "name": "KAFKA_USERNAME",
                "valueFrom": { "secretKeyRef": { "name": "x", "key": "o" } } }]),
                ),
                "no variables but",
            ),
            (
                "a finalizer",
                add("/spec/template/metadata/finalizers".to_owned(), json!(["example.com/never"])),
                "no metadata of a pod template",
            ),
            (
                "a password",
                add(format!("{container}/env"), json!([{ "name": "KAFKA_PASSWORD", "value": "mine" }])),
                "no variables but",
            ),
        ] {
            let answer = patch("app", operations).await?;
            ensure!(answer.contains(refusal), "{what}: {answer}");
        }
        let mount = json!({ "name": "kafka-credentials", "mountPath": "/usr/bin", "readOnly": true });
        let answer = patch("mounts", add(format!("{container}/volumeMounts/-"), mount)).await?;
        ensure!(answer.contains("mounts nothing but"), "{answer}");
        let annotation = json!({ "topic.kafka.nb/credentials": "2" });
        let answer =
            patch("app", add("/spec/template/metadata/annotations".to_owned(), annotation.clone())).await?;
        ensure!(answer == "done", "{answer}");
        let answer =
            patch("plain", add("/spec/template/metadata/annotations".to_owned(), annotation)).await?;
        ensure!(answer.contains("have the label"), "{answer}");
        let pods: Api<Pod> = Api::namespaced(client, &namespace);
        let touch = Patch::Merge(json!({ "metadata": { "labels": { "x": "x" } } }));
        let refused = pods.patch("any", &PatchParams::default(), &touch).await;
        ensure!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");
        Ok(())
    });
}

fn lower(kind: WorkloadKind) -> String {
    kind.as_str().to_ascii_lowercase()
}

fn username(namespace: &str, kind: WorkloadKind, name: &str) -> String {
    Workload::new(namespace, kind, name).username(&topicops_contract::OperatorId::default())
}

/// How its Pods are labelled: with the kind, because names are the same.
fn pod_label(kind: WorkloadKind, name: &str) -> String {
    format!("{name}-{}", lower(kind))
}

/// A labelled workload of one container `main`; annotation names are given without their prefix.
async fn create(
    world: &World,
    namespace: &str,
    kind: WorkloadKind,
    name: &str,
    annotations: Value,
    script: &str,
) -> Result<()> {
    let annotations: serde_json::Map<String, Value> = annotations
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (format!("topic.kafka.nb/{key}"), value.clone()))
        .collect();
    let labels = json!({ "app": pod_label(kind, name) });
    let mut pod = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{ "name": "main", "image": support::KAFKA_IMAGE, "command": ["/bin/sh", "-c", script] }],
    });
    if matches!(kind, WorkloadKind::Job | WorkloadKind::CronJob | WorkloadKind::Pod) {
        pod["restartPolicy"] = json!("Never");
    }
    let template = json!({ "metadata": { "labels": labels }, "spec": pod });
    let selector = json!({ "matchLabels": labels });
    let spec = match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet => {
            json!({ "replicas": 1, "selector": selector, "template": template })
        }
        WorkloadKind::DaemonSet => json!({ "selector": selector, "template": template }),
        WorkloadKind::Job => json!({ "backoffLimit": 0, "template": template }),
        // It never runs by itself: tests do not wait for the minute.
        WorkloadKind::CronJob => json!({
            "schedule": "0 0 30 2 *",
            "jobTemplate": { "metadata": { "labels": { "kafka-operator": "inject-credentials" } }, "spec": { "template": template } },
        }),
        WorkloadKind::Pod => pod,
    };
    let mut object_labels = json!({ "kafka-operator": "inject-credentials" });
    object_labels["app"] = json!(pod_label(kind, name));
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": kind.api_version(), "kind": kind.as_str(),
        "metadata": { "name": name, "labels": object_labels, "annotations": annotations },
        "spec": spec,
    }))?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(kind.group(), "v1", kind.as_str()));
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), namespace, &resource);
    api.create(&PostParams::default(), &object).await.with_context(|| format!("creating {kind} {name}"))?;
    Ok(())
}

/// As somebody does who does not wait for the minute.
async fn run_cron_job(world: &World, namespace: &str, name: &str, job: &str) -> Result<()> {
    // What kubectl remembers of another API server at the same address is no help.
    let cache = tempfile::tempdir()?;
    let output = tokio::process::Command::new(world.bed.kubectl_path())
        .arg("--cache-dir")
        .arg(cache.path())
        .args(["--namespace", namespace, "create", "job", job, &format!("--from=cronjob/{name}")])
        .env("KUBECONFIG", world.bed.kubeconfig_path())
        .output()
        .await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

async fn until_a_pod_says(
    world: &World,
    namespace: &str,
    kind: WorkloadKind,
    name: &str,
    text: &str,
) -> Result<()> {
    wait::until(format!("a Pod of {kind} {namespace}/{name} to say {text}"), PATIENCE, || async {
        let mut logs = Vec::new();
        for pod in world.pods(namespace, &format!("app={}", pod_label(kind, name))).await? {
            logs.push(world.bed.logs(namespace, &pod.name_any(), "main").unwrap_or_default());
        }
        ensure!(logs.iter().any(|log| log.trim() == text), "{logs:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn until_acls(world: &World, username: &str, expected: &[String]) -> Result<()> {
    wait::until(format!("the rules of {username}"), PATIENCE, || async {
        let acls = world.acls_of(username).await?;
        ensure!(acls == expected, "{acls:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn until_revoked(world: &World, username: &str) -> Result<()> {
    wait::until(format!("{username} to be revoked"), PATIENCE, || async {
        let acls = world.acls_of(username).await?;
        let users = world.scram_users(username).await?;
        ensure!(acls.is_empty() && !users.iter().any(|user| user == username), "{acls:?} {users:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
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

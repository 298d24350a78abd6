//! What topicops' own account may do to workloads, by the admission policies.

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{client_deployment, in_the_world};

#[test]
fn whoever_runs_as_topicops_cannot_run_code_as_a_workload() {
    in_the_world(async |world| {
        let (namespace, topic) = (world.namespace("guarded").await?, world.topic("orders"));
        world.create_client(&namespace, "app", json!({ "produces": topic, "inject": "none" })).await?;
        world.create_client(&namespace, "mounts", json!({ "produces": topic })).await?;
        let mut plain = client_deployment("plain", json!({}), 0, "true")?;
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

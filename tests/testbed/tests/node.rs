//! What a Pod may expect of the testbed's node, and a test of the whole bed. The tests share one bed.
use std::env;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::OnceCell;
use topicops_testbed::{Options, Program, Testbed, wait};

const A_WHILE: Duration = Duration::from_secs(120);

static BED: OnceCell<Testbed> = OnceCell::const_new();

/// Runs a test in a namespace of its own, and shows the bed's state when it fails.
async fn in_namespace<F: Future<Output = Result<()>>>(
    namespace: &'static str,
    test: impl FnOnce(&'static Testbed, &'static str) -> F,
) -> Result<()> {
    let bed = BED
        .get_or_try_init(|| async {
            let bed = Testbed::start(Options::default()).await?;
            bed.map_image("testbed/app:1", Program::binary(sample_app()?, "/usr/local/bin/app")).await?;
            bed.map_image("testbed/shell", Program::host_tools()).await?;
            anyhow::Ok(bed)
        })
        .await?;
    bed.create_namespace(namespace).await?;
    match test(bed, namespace).await {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(bed.dump().await)),
    }
}

fn sample_app() -> Result<PathBuf> {
    let this = env::current_exe()?;
    let folder = this.parent().and_then(Path::parent).context("this test is nowhere")?;
    Ok(folder.join("examples/sample-app"))
}

fn get(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(30))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "answered {answer:?}");
    Ok(answer.split_once("\r\n\r\n").context("no body")?.1.to_owned())
}

async fn service_address(bed: &Testbed, namespace: &str) -> Result<SocketAddr> {
    let service = Api::<Service>::namespaced(bed.client().await?, namespace).get("app").await?;
    let spec = service.spec.context("no spec")?;
    Ok(format!("{}:80", spec.cluster_ip.context("no cluster IP")?).parse()?)
}

async fn the_pod(bed: &Testbed, namespace: &str) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(bed.client().await?, namespace);
    pods.list(&ListParams::default()).await?.items.into_iter().next().context("no Pod yet")
}

async fn await_ready(bed: &Testbed, namespace: &str, replicas: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(bed.client().await?, namespace);
    wait::until(format!("{replicas} ready replicas"), A_WHILE, || async {
        let status = deployments.get("app").await?.status.unwrap_or_default();
        let counts = (status.ready_replicas, status.updated_replicas, status.replicas);
        ensure!(counts == (Some(replicas), Some(replicas), Some(replicas)), "{counts:?}");
        Ok(())
    })
    .await
}

/// The sample application with a Service before it; `pod` is added to the Pod's spec.
fn app(namespace: &str, replicas: i32, container: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: app, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: app}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: app}}}}
    spec:
      containers:
      - name: app
        image: testbed/app:1
        ports: [{{name: http, containerPort: 8080}}]
        env:
        - {{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
        - {{name: SHOW, value: /etc/shown/text}}
        - {{name: READY_FILE, value: /etc/shown/text}}
        - {{name: VERSION, value: one}}
        readinessProbe: {{httpGet: {{path: /ready, port: http}}, periodSeconds: 1}}
        lifecycle: {{preStop: {{sleep: {{seconds: 1}}}}}}
        {container}
      {pod}
---
apiVersion: v1
kind: Service
metadata: {{name: app, namespace: {namespace}}}
spec: {{selector: {{app: app}}, ports: [{{port: 80, targetPort: http}}]}}
"
    )
}

fn secret(namespace: &str, text: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: shown, namespace: {namespace}}}\nstringData: {{text: {text}}}"
    )
}

const MOUNT: &str = "volumeMounts: [{name: shown, mountPath: /etc/shown, readOnly: true}]";

#[tokio::test]
async fn a_pod_waits_for_its_secret_and_follows_its_changes() -> Result<()> {
    in_namespace("secrets", |bed, namespace| async move {
        let volumes = "volumes: [{name: shown, secret: {secretName: shown}}]";
        bed.apply(&app(namespace, 1, MOUNT, volumes)).await?;
        let waiting = wait::until("the Pod to wait", A_WHILE, || async {
            let status = the_pod(bed, namespace).await?.status.context("no status")?;
            let container =
                status.container_statuses.unwrap_or_default().into_iter().next().context("no container")?;
            container.state.and_then(|state| state.waiting).context("not waiting")
        });
        ensure!(waiting.await?.reason.as_deref() == Some("ContainerCreating"));
        wait::holds("no container starts", Duration::from_millis(500), || async {
            let pod = the_pod(bed, namespace).await?;
            ensure!(pod.status.and_then(|status| status.phase).as_deref() == Some("Pending"));
            anyhow::Ok(())
        })
        .await?;

        bed.apply(&secret(namespace, "first")).await?;
        await_ready(bed, namespace, 1).await?;
        let address = service_address(bed, namespace).await?;
        let shows = |expected: &'static str| {
            wait::until(format!("the Service to answer {expected}"), A_WHILE, move || async move {
                let answer = get(address)?;
                ensure!(answer == expected, "{answer}");
                Ok(())
            })
        };
        shows("one first").await?;
        bed.apply(&secret(namespace, "second")).await?;
        shows("one second").await?;
        let pod = the_pod(bed, namespace).await?;
        let restarts = pod.status.and_then(|status| Some(status.container_statuses?.first()?.restart_count));
        ensure!(restarts == Some(0), "restarted: {restarts:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_readiness_probe_keeps_connections_away() -> Result<()> {
    in_namespace("readiness", |bed, namespace| async move {
        let volumes = "volumes: [{name: shown, secret: {secretName: shown, optional: true}}]";
        bed.apply(&app(namespace, 1, MOUNT, volumes)).await?;
        wait::until("the container to run", A_WHILE, || async {
            let pod = the_pod(bed, namespace).await?;
            let phase = pod.status.and_then(|status| status.phase);
            ensure!(phase.as_deref() == Some("Running"), "{phase:?}");
            Ok(())
        })
        .await?;
        let address = service_address(bed, namespace).await?;
        wait::holds("nobody answers", Duration::from_secs(1), || async {
            ensure!(get(address).is_err(), "an unready Pod answered");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        bed.apply(&secret(namespace, "ready")).await?;
        await_ready(bed, namespace, 1).await?;
        wait::until("an answer", A_WHILE, || async { get(address) }).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_rolling_update_loses_no_request() -> Result<()> {
    in_namespace("rolling", |bed, namespace| async move {
        bed.apply(&secret(namespace, "text")).await?;
        let volumes = "volumes: [{name: shown, secret: {secretName: shown}}]";
        bed.apply(&app(namespace, 2, MOUNT, volumes)).await?;
        await_ready(bed, namespace, 2).await?;
        let address = service_address(bed, namespace).await?;
        wait::until("an answer", A_WHILE, || async { get(address) }).await?;

        let deployments: Api<Deployment> = Api::namespaced(bed.client().await?, namespace);
        let patch = json!({ "spec": { "template": { "spec": { "containers": [
            { "name": "app", "env": [{ "name": "VERSION", "value": "two" }] },
        ] } } } });
        deployments.patch("app", &PatchParams::default(), &Patch::Strategic(patch)).await?;
        let (mut old, mut new) = (0, 0);
        wait::until("the new version to answer 50 times", A_WHILE, || {
            // A lost request ends the test at once, not after the wait.
            let answer = get(address);
            match answer.as_deref() {
                Ok("one text") => old += 1,
                Ok("two text") => new += 1,
                _ => {}
            }
            let outcome = match answer {
                Ok(_) if new >= 50 => Ok(Ok(())),
                Ok(_) => Err(format!("{old} old and {new} new answers")),
                Err(error) => Ok(Err(error.context(format!("lost after {old} old and {new} new answers")))),
            };
            async move { outcome }
        })
        .await??;
        await_ready(bed, namespace, 2).await
    })
    .await
}

#[tokio::test]
async fn a_failed_container_is_started_again_and_keeps_its_logs() -> Result<()> {
    in_namespace("restarts", |bed, namespace| async move {
        let manifest = format!(
            "apiVersion: batch/v1
kind: Job
metadata: {{name: twice, namespace: {namespace}}}
spec:
  template:
    spec:
      restartPolicy: OnFailure
      initContainers:
      - name: before
        image: testbed/shell
        command: [sh, -c, 'echo prepared > /shared/state']
        volumeMounts: [{{name: work, mountPath: /shared}}]
      containers:
      - name: main
        image: testbed/shell
        command: [sh, -c, 'echo $(GREETING) >> /shared/state; wc -l < /shared/state; test $(wc -l < /shared/state) = 3']
        env: [{{name: NAME, value: world}}, {{name: GREETING, value: hello $(NAME)}}]
        volumeMounts: [{{name: work, mountPath: /shared}}]
      volumes: [{{name: work, emptyDir: {{}}}}]
"
        );
        bed.apply(&manifest).await?;
        let jobs: Api<Job> = Api::namespaced(bed.client().await?, namespace);
        wait::until("the Job to succeed", A_WHILE, || async {
            let status = jobs.get("twice").await?.status.unwrap_or_default();
            ensure!(status.succeeded == Some(1), "{status:?}");
            Ok(())
        })
        .await?;
        let pod = the_pod(bed, namespace).await?.metadata.name.context("no name")?;
        let logs = bed.log_instances(namespace, &pod, "main")?;
        ensure!(logs == ["2\n", "3\n"], "{logs:?}");
        let kubectl = Command::new(bed.kubectl_path())
            .arg("--kubeconfig")
            .arg(bed.kubeconfig_path())
            .args(["logs", "--namespace", namespace, &pod, "--container", "main"])
            .output()
            .await?;
        ensure!(kubectl.stdout == b"3\n", "{kubectl:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_liveness_probe_restarts_and_an_unknown_image_is_named() -> Result<()> {
    in_namespace("liveness", |bed, namespace| async move {
        // Like no other command of the machine's, and it outlives its Pod when it is not ended with it.
        let straggler = format!("sleep 1717.{}", std::process::id());
        let manifest = format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: sick, namespace: {namespace}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: sick
    image: testbed/shell
    command: [sh, -c, 'echo $HOME $CARGO; setsid {straggler} & exec sleep 1000']
    livenessProbe: {{exec: {{command: ['false']}}, initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 1}}
  - name: lost
    image: example.com/nobody/knows:7
"
        );
        bed.apply(&manifest).await?;
        let running = || -> Result<String> {
            let found = std::process::Command::new("pgrep").args(["-fx", &straggler]).output()?;
            Ok(String::from_utf8(found.stdout)?)
        };
        wait::until("the straggler to run", A_WHILE, || async {
            ensure!(!running()?.is_empty(), "it does not run");
            Ok(())
        })
        .await?;
        wait::until("a restart, and a named image", A_WHILE, || async {
            let status = the_pod(bed, namespace).await?.status.context("no status")?;
            let containers = status.container_statuses.unwrap_or_default();
            let [sick, lost] = &containers[..] else { bail!("{} containers", containers.len()) };
            ensure!(sick.restart_count > 0, "no restart yet: {:?}", sick.state);
            let waiting =
                lost.state.as_ref().and_then(|state| state.waiting.as_ref()).context("not waiting")?;
            let message = waiting.message.as_deref().unwrap_or_default();
            ensure!(message.contains("example.com/nobody/knows:7"), "{waiting:?}");
            Ok(())
        })
        .await?;
        ensure!(bed.log_instances(namespace, "sick", "sick")?.first().map(String::as_str) == Some("/root\n"));
        let pods: Api<Pod> = Api::namespaced(bed.client().await?, namespace);
        pods.delete("sick", &DeleteParams::default()).await?;
        wait::until("the Pod to be gone", A_WHILE, || async {
            match pods.get_opt("sick").await? {
                None => Ok(()),
                Some(pod) => bail!("{:?}", pod.metadata.deletion_timestamp),
            }
        })
        .await?;
        ensure!(running()?.is_empty(), "left: {}", running()?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pod_reaches_the_api_server_and_kafka_by_their_names() -> Result<()> {
    in_namespace("names", |bed, namespace| async move {
        let kafka = bed.kafka()?;
        kafka.tool("kafka-topics.sh", ["--create", "--topic", "names", "--partitions", "2"]).await?;
        let properties = format!("{}\n", kafka.client_properties(kafka.admin_user(), kafka.admin_password()));
        let properties = properties
            .replace(kafka.bootstrap_servers(), "kafka.kafka.svc:9093")
            .replace(&kafka.ca_file().display().to_string(), "/etc/kafka-client/ca.pem");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "client", "namespace": namespace },
            "stringData": { "client.properties": properties, "ca.pem": kafka.ca_pem() },
        });
        bed.apply(&secret.to_string()).await?;
        bed.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: {namespace}}}
spec:
  restartPolicy: Never
  containers:
  - name: tool
    image: apache/kafka:4.3.1
    command: [/opt/kafka/bin/kafka-topics.sh, --bootstrap-server, kafka.kafka.svc:9093]
    args: [--command-config, /etc/kafka-client/client.properties, --list]
    volumeMounts: [{{name: client, mountPath: /etc/kafka-client, readOnly: true}}]
  - name: api
    image: testbed/shell
    command: [curl, -sS, --fail, --max-time, '30', --cacert, /var/run/secrets/kubernetes.io/serviceaccount/ca.crt]
    args: ['https://kubernetes.default.svc/version']
  volumes: [{{name: client, secret: {{secretName: client}}}}]
"
        ))
        .await?;
        wait::until("both to end", A_WHILE, || async {
            let status = the_pod(bed, namespace).await?.status.context("no status")?;
            ensure!(matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")), "{:?}", status.phase);
            Ok(())
        })
        .await?;
        let listed = bed.logs(namespace, "client", "tool")?;
        ensure!(listed.lines().any(|line| line == "names"), "{listed}");
        let version = bed.logs(namespace, "client", "api")?;
        ensure!(version.contains("v1.36.3"), "{version}");
        Ok(())
    })
    .await
}

//! topicops from `deploy/install/`, unchanged, with a Kafka user that has the rights the README lists and no others.

use std::{fs, io::Read as _};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use topicops_contract::PropertiesText;

use crate::{
    report::Report,
    stage::{Stage, repository},
};

pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<()> {
    report.heading("topicops, installed from deploy/install/");
    let password = password()?;
    report
        .step("making a Kafka user for it, with the rights of README.md", kafka_user(stage, &password))
        .await?;

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("client.properties");
    fs::write(&file, client_properties(stage, &password)?)?;
    stage.kubectl(["apply", "-f", "deploy/install/00-namespace.yaml"]).await?;
    let from_file = format!("--from-file={}", file.display());
    let secret = ["-n", "topicops", "create", "secret", "generic", "topicops-kafka", &from_file];
    report.show(&stage.kubectl(secret).await?.out);
    report.show(&stage.kubectl(["apply", "-f", "deploy/install/"]).await?.out);
    let wait = ["-n", "topicops", "rollout", "status", "deployment/topicops", "--timeout=180s"];
    let rollout = report.step("waiting for its rollout", stage.kubectl(wait)).await?;
    report.show(rollout.out.lines().last().unwrap_or_default());
    report.show(&stage.kubectl(["-n", "topicops", "get", "pods", "-o", "wide"]).await?.out);

    let ready = ["-n", "topicops", "get", "deployment", "topicops", "-o", "jsonpath={.status.readyReplicas}"];
    let ready = stage.kubectl(ready).await?.out;
    report.claim("two replicas are ready", ready == "2", format!("{ready:?} are"));
    let diff = stage.refused_kubectl(["diff", "-f", "deploy/install/"]).await?;
    let claim =
        "the cluster is as the manifests say: topicops' own caBundle is no difference to kubectl diff";
    report.claim(claim, diff.succeeded, diff.out + &diff.err);
    Ok(())
}

/// The commands of "Installing it" in the README.
async fn kafka_user(stage: &Stage, password: &str) -> Result<()> {
    let kafka = stage.kafka()?;
    let scram = format!("SCRAM-SHA-512=[password={password}]");
    let user = ["--alter", "--entity-type", "users", "--entity-name", "topicops", "--add-config", &scram];
    kafka.tool("kafka-configs.sh", user).await?;
    let mut command = Command::new(repository().join("deploy/kafka-acls.sh"));
    command.args(["User:topicops", "--bootstrap-server", kafka.bootstrap_servers(), "--command-config"]);
    command.arg(kafka.admin_properties()).env("KAFKA_ACLS", kafka.tools().join("kafka-acls.sh"));
    let output = command.kill_on_drop(true).output().await.context("running deploy/kafka-acls.sh")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn client_properties(stage: &Stage, password: &str) -> Result<String> {
    let kafka = stage.kafka()?;
    let login = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"topicops\" password=\"{password}\";"
    );
    Ok(PropertiesText::render([
        ("bootstrap.servers", kafka.bootstrap_servers()),
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.jaas.config", &login),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.certificates", kafka.ca_pem()),
    ]))
}

fn password() -> Result<String> {
    let mut bytes = [0; 24];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

//! topicops' own Kafka user: no super user, but one with the ACLs of `deploy/kafka-acls.sh` and no others.

use anyhow::{Context, Result, anyhow, ensure};
use topicops::kafka::{ClientProperties, Cluster, ScramKeys, ScramMechanism, WireCluster};
use topicops_contract::{Password, PropertiesText};
use topicops_testbed::Kafka;

use super::{PATIENCE, repository};

/// Nobody else reaches these brokers.
const PASSWORD: &str = "of-topicops-itself";

/// Makes it as the README has it.
pub async fn make_kafka_user(kafka: &Kafka, user: &str) -> Result<()> {
    let keys = ScramKeys::derive(ScramMechanism::Sha512, 4096, &Password::new(PASSWORD))?;
    let made = administrator(kafka)?.upsert_scram_users(&[(user.to_owned(), keys)]).await?;
    made.into_iter().collect::<Result<Vec<()>, _>>()?;
    give_acls(kafka, user).await
}

/// Gives whoever logs in under that name the ACLs of topicops' own user.
pub async fn give_acls(kafka: &Kafka, user: &str) -> Result<()> {
    let mut command = tokio::process::Command::new(repository().join("deploy/kafka-acls.sh"));
    command
        .arg(format!("User:{user}"))
        .args(["--bootstrap-server", kafka.bootstrap_servers(), "--command-config"])
        .arg(kafka.admin_properties())
        .env("KAFKA_ACLS", kafka.tools().join("kafka-acls.sh"))
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.context("deploy/kafka-acls.sh did not end")??;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// The `client.properties` with which topicops logs in as that user.
pub fn own_properties(kafka: &Kafka, user: &str) -> String {
    let login = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{user}\" password=\"{PASSWORD}\";"
    );
    PropertiesText::render([
        ("bootstrap.servers", kafka.bootstrap_servers()),
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.jaas.config", &login),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.certificates", kafka.ca_pem()),
    ])
}

/// The brokers, as the administrator sees them.
pub fn administrator(kafka: &Kafka) -> Result<WireCluster> {
    let text = std::fs::read_to_string(kafka.admin_properties())?;
    let properties = ClientProperties::parse("admin", &text).map_err(|error| anyhow!("{error}"))?;
    Ok(WireCluster::new(properties)?)
}

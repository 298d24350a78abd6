//! The bed's brokers: three in racks, and what happens when they come and go.
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use topicops_testbed::{Options, Testbed, wait};

const A_WHILE: Duration = Duration::from_secs(120);
const A_MOMENT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn brokers_can_be_stopped_paused_and_started_again() -> Result<()> {
    let bed = Testbed::start(Options::default().brokers(3).without_node()).await?;
    let kafka = bed.kafka()?;
    ensure!(kafka.bootstrap_servers().split(',').count() == 3);
    let create = ["--create", "--topic", "copies", "--partitions", "3", "--replication-factor", "3"];
    kafka.tool("kafka-topics.sh", create).await?;

    let describe = || kafka.tool("kafka-topics.sh", ["--describe", "--topic", "copies"]);
    bed.stop_broker(3).await?;
    wait::until("broker 3 to be missed", A_WHILE, || async {
        let described = describe().await?;
        ensure!(!described.contains("Leader: 3"), "{described}");
        Ok(())
    })
    .await?;
    bed.start_broker(3).await?;

    let address = kafka.bootstrap_servers().split(',').nth(1).context("no second broker")?;
    let ask_the_second = async |patience: Duration| -> Result<bool> {
        let mut command = kafka.command("kafka-broker-api-versions.sh")?;
        command.args(["--bootstrap-server", address, "--command-config"]).arg(kafka.admin_properties());
        match tokio::time::timeout(patience, command.kill_on_drop(true).output()).await {
            Ok(output) => Ok(output?.status.success()),
            Err(_) => Ok(false),
        }
    };
    ensure!(ask_the_second(A_WHILE).await?, "a healthy broker did not answer");
    bed.pause_broker(2).await?;
    ensure!(!ask_the_second(A_MOMENT).await?, "a frozen broker answered");
    bed.resume_broker(2).await?;
    wait::until("all copies to be in sync", A_WHILE, || async {
        let described = describe().await?;
        let in_sync = described.matches("Isr: ").count() == 3
            && described.lines().filter(|line| line.contains("Isr: ")).all(|line| {
                line.split("Isr: ").nth(1).is_some_and(|rest| {
                    rest.split_whitespace().next().is_some_and(|list| list.split(',').count() == 3)
                })
            });
        ensure!(in_sync, "{described}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_those_with_an_acl_get_in() -> Result<()> {
    let bed = Testbed::start(Options::default().without_node()).await?;
    let kafka = bed.kafka()?;
    let user = ["--alter", "--entity-type", "users", "--entity-name", "shop"];
    let password = ["--add-config", "SCRAM-SHA-512=[password=secret]"];
    kafka.tool("kafka-configs.sh", user.into_iter().chain(password)).await?;
    kafka.tool("kafka-topics.sh", ["--create", "--topic", "orders"]).await?;
    let scratch = tempfile::tempdir()?;
    let properties = scratch.path().join("client.properties");
    std::fs::write(&properties, kafka.client_properties("shop", "secret"))?;

    let listed = async || -> Result<String> {
        let output = kafka
            .command("kafka-topics.sh")?
            .args(["--list", "--bootstrap-server", kafka.bootstrap_servers(), "--command-config"])
            .arg(&properties)
            .output()
            .await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    wait::until("the user to see no topic", A_WHILE, || async {
        let seen = listed().await?;
        ensure!(seen.trim().is_empty(), "{seen}");
        Ok(())
    })
    .await?;
    let grant = ["--add", "--allow-principal", "User:shop", "--operation", "read", "--topic", "orders"];
    kafka.tool("kafka-acls.sh", grant).await?;
    wait::until("the user to see what is granted", A_WHILE, || async {
        let seen = listed().await?;
        ensure!(seen.trim() == "orders", "{seen}");
        Ok(())
    })
    .await
}

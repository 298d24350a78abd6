//! Whether topicops finds all that it needs, and what it says when one thing is missing.

mod support;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, api::PostParams};
use serde_json::Value;
use support::{Options, PATIENCE, Testbed, World, alone_in_the_world, wait};
use topicops::kafka::{Acl, AclOperation, Cluster, OwnRight, ResourceType, WireCluster};

/// As the Pods of topicops run.
const ACCOUNT: &str = "system:serviceaccount:topicops:topicops";

#[test]
fn with_the_acls_of_the_script_and_the_rights_of_the_manifests_nothing_is_missing() {
    alone_in_the_world(async |world| {
        // With the file of its own Secret, as an administrator who has no other.
        let ran = world.topicops_in(&["preflight", "--as", ACCOUNT], &[]).await?;
        ensure!(ran.code == Some(0) && ran.out.ends_with("nothing is missing\n"), "{ran:?}");
        for says in [
            ", as User:topicops\n",
            "    ok      Delete on topics of any name\n",
            "    ok      clients may log in with SCRAM-SHA-512\n",
            "    ok      secrets: create, delete, get, list, update, watch\n",
            "    ok      MutatingWebhookConfiguration topicops is there, with a CA\n",
        ] {
            ensure!(ran.out.contains(says), "\"{says}\" is missing: {}", ran.out);
        }

        let kafka = world.bed.kafka()?;
        let admin = kafka.admin_properties().display().to_string();
        let ran = world.topicops(&["preflight", "--only", "kafka", "--kafka-config", &admin]).await?;
        ensure!(ran.code == Some(0) && ran.out.contains("    warning User:admin may do more: "), "{ran:?}");
        let ran =
            world.topicops(&["preflight", "--only", "kafka", "--client-bootstrap-servers", "127.0.0.1:1"]);
        let ran = ran.await?;
        ensure!(ran.code == Some(1), "{ran:?}");
        ensure!(ran.out.contains("    MISSING SCRAM-SHA-512 for clients: 127.0.0.1:1: "), "{ran:?}");
        Ok(())
    });
}

#[test]
fn each_acl_that_is_taken_away_is_named_and_no_other() {
    alone_in_the_world(async |world| {
        let cluster = world.cluster()?;
        for right in OwnRight::ALL {
            let acl = right.acl(world.operator_id);
            delete(&cluster, &acl).await?;
            let expected = if is_implied(&right) { Vec::new() } else { vec![what(&right)] };
            let seen = wait::until(format!("{expected:?} to be missing"), PATIENCE, || async {
                let missing = missing(world, &["--only", "kafka"]).await?;
                ensure!(missing == expected, "{missing:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await;
            for outcome in cluster.create_acls(&[acl]).await? {
                outcome?;
            }
            seen?;
        }
        until_nothing_is_missing(world).await
    });
}

#[test]
fn a_right_in_kubernetes_that_is_taken_away_is_named_and_no_other() {
    alone_in_the_world(async |world| {
        let roles: Api<ClusterRole> = Api::all(world.client.clone());
        let whole = roles.get("topicops").await?;
        let mut lacking = whole.clone();
        let rules = lacking.rules.as_mut().context("a role without rules")?;
        let secrets =
            rules.iter_mut().find(|rule| rule.resources.as_deref() == Some(&["secrets".to_owned()]));
        secrets.context("no rule for Secrets")?.verbs.retain(|verb| verb != "delete");
        roles.replace("topicops", &PostParams::default(), &lacking).await?;
        let seen = wait::until("the right to be missing", PATIENCE, || async {
            let missing = missing(world, &["--only", "kubernetes"]).await?;
            ensure!(missing == ["secrets: delete"], "{missing:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await;
        let mut back = roles.get("topicops").await?;
        back.rules = whole.rules;
        roles.replace("topicops", &PostParams::default(), &back).await?;
        seen?;
        until_nothing_is_missing(world).await
    });
}

#[test]
fn where_topicops_is_not_installed_preflight_says_what_to_apply() {
    alone_in_the_world(async |world| {
        let elsewhere = ["--namespace", "nowhere", "--webhook-configuration", "none"];
        let ran = world.topicops(&[&["preflight", "--only", "kubernetes"], &elsewhere[..]].concat()).await?;
        ensure!(ran.code == Some(1), "{ran:?}");
        for says in [
            "    MISSING MutatingWebhookConfiguration none: ",
            "            kubectl apply -f deploy/install/40-webhooks.yaml\n",
            "    MISSING namespace nowhere: ",
            "    MISSING Secret nowhere/topicops-kafka: ",
            "4 missing\n",
        ] {
            ensure!(ran.out.contains(says), "\"{says}\" is missing: {}", ran.out);
        }
        let nobody = ["preflight", "--only", "kubernetes", "--as", "system:serviceaccount:default:nobody"];
        let ran = world.topicops(&nobody).await?;
        ensure!(ran.code == Some(1), "{ran:?}");
        let secrets = "    MISSING secrets: create, delete, get, list, update, watch: ";
        let apply = "\n            kubectl apply -f deploy/install/20-rbac.yaml\n";
        ensure!(ran.out.contains(secrets) && ran.out.contains(apply), "{ran:?}");
        Ok(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_without_an_authorizer_and_with_settings_that_surprise_are_told() -> Result<()> {
    let settings = [
        ("authorizer.class.name", ""),
        ("delete.topic.enable", "false"),
        ("auto.create.topics.enable", "true"),
    ];
    let options = Options::default().without_node();
    let options = settings.iter().fold(options, |options, (key, value)| options.broker_setting(*key, *value));
    let bed = Testbed::start(options).await?;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_topicops"));
    command.args(["preflight", "--only", "kafka", "--kafka-config"]).arg(bed.kafka()?.admin_properties());
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await??;
    let told = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1), "{told}");
    for says in [
        "    MISSING an authorizer on the brokers: ",
        "    warning delete.topic.enable=false: ",
        "    warning auto.create.topics.enable=true: ",
        "\n1 missing, ",
    ] {
        ensure!(told.contains(says), "\"{says}\" is missing: {told}");
    }
    Ok(())
}

async fn delete(cluster: &WireCluster, acl: &Acl) -> Result<()> {
    let rules = cluster.all_acls().await?;
    ensure!(rules.iter().any(|rule| rule.acl().as_ref() == Some(acl)), "the script did not give {acl}");
    for outcome in cluster.delete_acls(std::slice::from_ref(acl)).await? {
        outcome?;
    }
    Ok(())
}

/// With Kafka's own authorizer, what changes something lets it be seen; others may not do so.
fn is_implied(right: &OwnRight) -> bool {
    match right.operation {
        AclOperation::Describe => right.resource != ResourceType::Group,
        AclOperation::DescribeConfigs => true,
        _ => false,
    }
}

fn what(right: &OwnRight) -> String {
    match right.resource {
        ResourceType::Cluster => format!("{:?} on the cluster", right.operation),
        resource => {
            format!("{:?} on {}s of any name", right.operation, format!("{resource:?}").to_lowercase())
        }
    }
}

/// What is not as it should be, warnings left out.
async fn missing(world: &World, arguments: &[&str]) -> Result<Vec<String>> {
    let arguments = [&["preflight", "--output", "json", "--as", ACCOUNT], arguments].concat();
    let ran = world.topicops(&arguments).await?;
    let told: Value = serde_json::from_str(&ran.out).with_context(|| format!("{ran:?}"))?;
    let checks = told["checks"].as_array().context("no checks")?;
    let wrong = checks.iter().filter(|check| check["state"] == "missing" || check["state"] == "unknown");
    let wrong: Vec<String> =
        wrong.map(|check| check["what"].as_str().unwrap_or_default().to_owned()).collect();
    ensure!(ran.code == Some(i32::from(!wrong.is_empty())), "{ran:?}");
    Ok(wrong)
}

async fn until_nothing_is_missing(world: &World) -> Result<()> {
    wait::until("nothing to be missing", PATIENCE, || async {
        let missing = missing(world, &[]).await?;
        ensure!(missing.is_empty(), "{missing:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

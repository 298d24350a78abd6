//! topicops installed for some namespaces only, with Roles in these and nothing elsewhere.

mod support;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{ConfigMap, Namespace, Secret},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use support::{
    NAMESPACES, PATIENCE, World, alone_in_the_world, in_the_world, own_properties, repository, wait,
};

/// What is looked after, and a namespace that is not.
const HERE: [&str; 2] = ["shop", "shipping"];

fn set_up() {
    NAMESPACES.get_or_init(|| HERE.to_vec());
}

#[test]
fn what_is_in_a_listed_namespace_works_and_what_is_elsewhere_is_left_alone() {
    set_up();
    in_the_world(async |world| {
        let elsewhere = world.namespace("elsewhere").await?;
        let (outside, inside) = (world.topic("outside"), world.topic("inside"));
        world.declare(&elsewhere, &outside, json!({}), json!({})).await?;
        let left = world.create_client(&elsewhere, "app", json!({ "produces": outside })).await?;
        ensure!(left.spec.and_then(|spec| spec.template.spec?.volumes).is_none(), "it was injected");

        world.declare("shop", &inside, json!({ "consumers": "shipping/*" }), json!({})).await?;
        world.until_ready("shop", &inside).await?;
        let script = "cat $SERVICE_BINDING_ROOT/credentials/username; sleep 3600";
        let client = support::client_deployment("packer", json!({ "consumes": inside }), 1, script)?;
        world.api::<Deployment>("shipping").create(&PostParams::default(), &client).await?;
        wait::until("the Pod to run with its credentials", PATIENCE, || async {
            let pods = world.pods("shipping", "app=packer").await?;
            let log = world.bed.logs("shipping", &pods.first().context("no Pod")?.name_any(), "main")?;
            ensure!(log.trim() == "topicops.shipping.packer", "{log}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        // What is asked for across namespaces counts among those that are looked after, and nowhere else.
        world.create_client("shop", "nosy", json!({ "consumes": outside })).await?;
        let note = world.until_event("shop", "nosy", "TopicNotDeclared").await?;
        ensure!(note.contains(&outside), "{note}");

        let topic = world.api::<ConfigMap>(&elsewhere).get(&outside).await?;
        ensure!(!topic.annotations().contains_key("topic.kafka.nb/status"), "{:?}", topic.annotations());
        ensure!(world.described(&outside).await?.is_none(), "the topic was made");
        let secrets = world.api::<Secret>(&elsewhere).list(&ListParams::default()).await?.items;
        ensure!(secrets.is_empty(), "{:?}", secrets.iter().map(Secret::name_any).collect::<Vec<_>>());
        let users = world.scram_users(&format!("topicops.{elsewhere}.")).await?;
        ensure!(users.is_empty(), "{users:?}");
        world.delete_client("shipping", "packer").await?;
        world.until_gone::<Secret>("shipping", "packer-kafka-credentials").await?;
        Ok(())
    });
}

#[test]
fn its_account_has_no_right_on_anything_elsewhere() {
    set_up();
    in_the_world(async |world| {
        let elsewhere = world.namespace("elsewhere").await?;
        let secret: Secret = serde_json::from_value(
            json!({ "metadata": { "name": "precious" }, "stringData": { "k": "v" } }),
        )?;
        world.api::<Secret>(&elsewhere).create(&PostParams::default(), &secret).await?;
        let client = world.bed.service_account_client("topicops", "topicops").await?;
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            for (group, resource) in [
                ("", "secrets"),
                ("", "configmaps"),
                ("", "pods"),
                ("apps", "deployments"),
                ("apps", "statefulsets"),
                ("apps", "daemonsets"),
                ("batch", "jobs"),
                ("batch", "cronjobs"),
                ("topic.kafka.nb", "kafkatopics"),
                ("coordination.k8s.io", "leases"),
                ("events.k8s.io", "events"),
            ] {
                for namespace in [elsewhere.as_str(), ""] {
                    let may = may(&client, verb, group, resource, namespace).await?;
                    ensure!(!may, "it may {verb} {resource} in \"{namespace}\"");
                }
            }
        }
        let read = Api::<Secret>::namespaced(client.clone(), &elsewhere).get("precious").await;
        ensure!(matches!(&read, Err(kube::Error::Api(status)) if status.code == 403), "{read:?}");
        for namespace in HERE {
            for (verb, group, resource) in
                [("get", "", "secrets"), ("create", "", "secrets"), ("patch", "apps", "deployments")]
            {
                ensure!(
                    may(&client, verb, group, resource, namespace).await?,
                    "{verb} {resource} in {namespace}"
                );
            }
        }
        Ok(())
    });
}

#[test]
fn access_and_verify_take_no_right_elsewhere() {
    set_up();
    in_the_world(async |world| {
        let topic = world.topic("asked");
        world.declare("shop", &topic, json!({ "consumers": "shipping/*" }), json!({})).await?;
        world.until_ready("shop", &topic).await?;
        world.create_client("shipping", "asker", json!({ "consumes": topic })).await?;
        world.until_secret("shipping", "asker-kafka-credentials").await?;
        // An account with rights in the listed namespaces and nowhere else: topicops' own.
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (kubeconfig, properties) = (file("kubeconfig"), file("client.properties"));
        std::fs::write(&kubeconfig, world.bed.service_account_kubeconfig("topicops", "topicops").await?)?;
        std::fs::write(&properties, own_properties(world.bed.kafka()?, world.operator_id))?;
        let variables = [("KUBECONFIG", kubeconfig.as_str()), ("TOPICOPS_KAFKA_CONFIG", properties.as_str())];
        let some = ["--namespaces", "shop,shipping"];
        let reader = "User:topicops.shipping.asker (Deployment shipping/asker)".to_owned();
        for (command, says) in [
            (["access", "shipping/asker"], format!("    may read {topic}: ConfigMap shop/{topic}")),
            (["access", topic.as_str()], reader),
            (["verify", "shipping/asker"], format!("    topic {topic}: ok\n")),
        ] {
            wait::until(format!("{command:?} to tell"), PATIENCE, || async {
                let ran = world.topicops_in(&[&command[..], &some].concat(), &variables).await?;
                ensure!(ran.code == Some(0) && ran.out.contains(&says), "\"{says}\" is missing: {ran:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
            let all = world.topicops_in(&command, &variables).await?;
            ensure!(all.code == Some(1) && all.err.contains("--namespaces"), "{all:?}");
        }
        world.delete_client("shipping", "asker").await
    });
}

#[test]
fn a_namespace_whose_role_went_before_its_topics_is_freed_as_the_readme_says() {
    set_up();
    alone_in_the_world(async |world| {
        let topic = world.topic("held");
        world.declare("shipping", &topic, json!({}), json!({ "deletion-policy": "delete" })).await?;
        let topics = world.api::<ConfigMap>("shipping");
        wait::until("the finalizer", PATIENCE, || async {
            let finalizers = topics.get(&topic).await?.finalizers().to_vec();
            ensure!(!finalizers.is_empty(), "there is none");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        // Which of them goes first is up to Kubernetes.
        world.api::<RoleBinding>("shipping").delete("topicops-namespace", &DeleteParams::default()).await?;
        let namespaces: Api<Namespace> = Api::all(world.client.clone());
        namespaces.delete("shipping", &DeleteParams::default()).await?;
        wait::until("what is left to hold the namespace", PATIENCE, || async {
            let conditions = namespaces.get("shipping").await?.status.unwrap_or_default().conditions;
            let held = conditions.iter().flatten().any(|one| one.type_ == "NamespaceFinalizersRemaining");
            ensure!(held, "{conditions:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_topicops"))
            .args(["release", "--namespace", "shipping", "--force"])
            .env("KUBECONFIG", world.bed.kubeconfig_path())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await.context("it did not end")??;
        ensure!(output.status.success(), "{output:?}");
        wait::until("the namespace to be gone", PATIENCE, || async {
            ensure!(namespaces.get_opt("shipping").await?.is_none(), "it is there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        come_again(world).await
    });
}

#[test]
fn a_listed_namespace_that_goes_takes_its_users_with_it_and_holds_up_no_replica_and_may_come_again() {
    set_up();
    alone_in_the_world(async |world| {
        let topic = world.topic("orders");
        world.declare("shop", &topic, json!({ "producers": "shipping/*" }), json!({})).await?;
        world.create_client("shipping", "app", json!({ "produces": topic })).await?;
        world.until_secret("shipping", "app-kafka-credentials").await?;
        world.end_namespace("shipping").await?;
        until_users(world, &[]).await?;

        restart(world).await?;
        world.create_client("shop", "app", json!({ "produces": topic })).await?;
        world.until_secret("shop", "app-kafka-credentials").await?;

        come_again(world).await?;
        world.create_client("shipping", "app", json!({ "produces": topic })).await?;
        world.until_secret("shipping", "app-kafka-credentials").await?;
        until_users(world, &["topicops.shipping.app"]).await
    });
}

async fn may(client: &Client, verb: &str, group: &str, resource: &str, namespace: &str) -> Result<bool> {
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("no answer")?.allowed)
}

/// The namespace, with the Role in it.
async fn come_again(world: &World) -> Result<()> {
    world.bed.create_namespace("shipping").await?;
    let role = std::fs::read_to_string(repository().join("deploy/namespaced/namespace.yaml"))?;
    let named = "metadata:\n  name: topicops-namespace\n";
    world.bed.apply(&role.replace(named, &format!("{named}  namespace: shipping\n"))).await.map(drop)
}

/// New replicas, that know nothing of before.
async fn restart(world: &World) -> Result<()> {
    let restart =
        json!({ "spec": { "template": { "metadata": { "annotations": { "restarted": "now" } } } } });
    let api = world.api::<Deployment>("topicops");
    api.patch("topicops", &PatchParams::default(), &Patch::Merge(restart)).await?;
    world.until_rolled_out("topicops", "topicops", PATIENCE).await?;
    world.until_leader().await.map(drop)
}

async fn until_users(world: &World, expected: &[&str]) -> Result<()> {
    wait::until("the users of the namespace shipping", PATIENCE, || async {
        let users = world.scram_users("topicops.shipping.").await?;
        ensure!(users == expected, "{users:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

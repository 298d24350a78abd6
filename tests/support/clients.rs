//! Workloads that ask for credentials, and what they can do with them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{PATIENCE, World, client_deployment, manifests::object, past_stalls, wait};

impl World {
    /// All ACLs of a user, one `OPERATION TYPE name` (`name*` when prefixed) each, sorted.
    pub async fn acls_of(&self, username: &str) -> Result<Vec<String>> {
        let cluster = self.cluster()?;
        let acls = topicops::kafka::Cluster::describe_acls(&cluster, username).await?;
        let lines = acls.iter().filter(|acl| acl.username == username).map(|acl| {
            let star = match acl.resource.pattern {
                topicops::kafka::PatternType::Prefixed => "*",
                topicops::kafka::PatternType::Literal => "",
            };
            format!("{:?} {:?} {}{star}", acl.operation, acl.resource.resource_type, acl.resource.name)
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        Ok(lines)
    }

    pub async fn scram_users(&self, prefix: &str) -> Result<Vec<String>> {
        let users = topicops::kafka::Cluster::describe_scram_users(&self.cluster()?, prefix).await?;
        Ok(users.into_iter().map(|user| user.username).collect())
    }

    pub async fn create_client(&self, namespace: &str, name: &str, annotations: Value) -> Result<Deployment> {
        let deployment = client_deployment(name, annotations, 0, "sleep 3600")?;
        let api = self.api::<Deployment>(namespace);
        past_stalls(async || api.create(&PostParams::default(), &deployment).await).await
    }

    pub async fn annotate(&self, namespace: &str, name: &str, annotations: Value) -> Result<()> {
        let annotations: BTreeMap<String, Value> = object(&annotations)
            .into_iter()
            .map(|(key, value)| (format!("topic.kafka.nb/{key}"), value))
            .collect();
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let (api, params) = (self.api::<Deployment>(namespace), PatchParams::default());
        past_stalls(async || api.patch(name, &params, &patch).await).await.map(drop)
    }

    pub async fn until_secret(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
        let api = self.api::<Secret>(namespace);
        wait::until(format!("Secret {namespace}/{name}"), PATIENCE, || async {
            let secret = api.get(name).await?;
            let data = secret.data.unwrap_or_default();
            let text =
                |(key, value): (String, k8s_openapi::ByteString)| Ok((key, String::from_utf8(value.0)?));
            data.into_iter().map(text).collect::<Result<BTreeMap<_, _>>>()
        })
        .await
    }

    pub async fn delete_client(&self, namespace: &str, name: &str) -> Result<()> {
        self.api::<Deployment>(namespace).delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// Runs a console tool outside of Pods with a client's own properties; the output whatever the exit code.
    pub async fn tool_as(
        &self,
        data: &BTreeMap<String, String>,
        name: &str,
        arguments: &[&str],
    ) -> Result<String> {
        let output = self.output_as(data, name, arguments).await?;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    /// The topics that a client sees, with its own properties.
    pub async fn topics_seen_by(&self, data: &BTreeMap<String, String>) -> Result<Vec<String>> {
        let output = self.output_as(data, "kafka-topics.sh", &["--list"]).await?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// The same by our own client: no JVM has to start for it.
    pub async fn topics_shown_to(&self, data: &BTreeMap<String, String>) -> Result<Vec<String>> {
        // An administrator's connection has no group.
        let properties = data.get("client.properties").context("no client.properties")?;
        let lines: Vec<&str> = properties.lines().filter(|line| !line.starts_with("group.id")).collect();
        let properties = topicops::kafka::ClientProperties::parse("client.properties", &lines.join("\n"))
            .map_err(|problems| anyhow!("{problems}"))?;
        let cluster = topicops::kafka::WireCluster::new(properties)?;
        Ok(topicops::kafka::Cluster::list_topics(&cluster).await?)
    }

    /// The first record of a topic as a Java consumer reads it with a client's own properties, or what it complains of.
    pub async fn consume_as(&self, data: &BTreeMap<String, String>, topic: &str) -> Result<String> {
        let arguments =
            ["--topic", topic, "--from-beginning", "--max-messages", "1", "--timeout-ms", "60000"];
        self.tool_as(data, "kafka-console-consumer.sh", &arguments).await
    }

    /// What a Java producer says that writes a line with a client's own properties.
    pub async fn produce_as(
        &self,
        data: &BTreeMap<String, String>,
        topic: &str,
        text: &str,
    ) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let (config, input) = (folder.path().join("client.properties"), folder.path().join("input"));
        std::fs::write(&config, &data["client.properties"])?;
        std::fs::write(&input, format!("{text}\n"))?;
        let mut command = self.bed.kafka()?.command("kafka-console-producer.sh")?;
        command
            .args(["--bootstrap-server", &data["bootstrap.servers"], "--topic", topic, "--command-config"])
            .arg(&config)
            .args([
                "--command-property",
                "max.block.ms=60000",
                "--command-property",
                "delivery.timeout.ms=60000",
            ])
            .args(["--command-property", "request.timeout.ms=30000", "--command-property", "linger.ms=0"])
            .stdin(std::fs::File::open(&input)?)
            .kill_on_drop(true);
        let output =
            tokio::time::timeout(PATIENCE, command.output()).await.context("the producer did not end")??;
        Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    pub(super) async fn output_as(
        &self,
        data: &BTreeMap<String, String>,
        name: &str,
        arguments: &[&str],
    ) -> Result<std::process::Output> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("client.properties");
        std::fs::write(&file, data.get("client.properties").context("no client.properties")?)?;
        let run = tokio::time::timeout(
            PATIENCE,
            self.bed
                .kafka()?
                .command(name)?
                .args(["--bootstrap-server", &data["bootstrap.servers"], "--command-config"])
                .arg(&file)
                .args(arguments)
                .stdin(std::process::Stdio::null())
                .kill_on_drop(true)
                .output(),
        );
        Ok(run.await.with_context(|| format!("{name} did not end"))??)
    }
}

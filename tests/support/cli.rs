//! topicops' other commands, and kubectl, as an administrator runs them.

use anyhow::{Context, Result};

use super::{PATIENCE, World, own_properties};

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl World {
    /// Runs a command of topicops with the administrator's kubeconfig, and topicops' own Kafka user.
    pub async fn topicops(&self, arguments: &[&str]) -> Result<Ran> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("client.properties");
        std::fs::write(&file, own_properties(self.bed.kafka()?, self.operator_id))?;
        let file = file.display().to_string();
        self.topicops_in(arguments, &[("TOPICOPS_KAFKA_CONFIG", &file)]).await
    }

    /// The same with these variables instead of a Kafka user.
    pub async fn topicops_in(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_topicops"));
        command.args(arguments).env("KUBECONFIG", self.bed.kubeconfig_path()).kill_on_drop(true);
        command.envs(variables.iter().copied());
        ended(&format!("topicops {arguments:?}"), command).await
    }

    /// Runs kubectl with the administrator's kubeconfig; `input` is what it reads where it is told to read `-`.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("input");
        std::fs::write(&file, input)?;
        let mut command = tokio::process::Command::new(self.bed.kubectl_path());
        // What kubectl remembers of another API server at the same address is no help.
        command.arg("--cache-dir").arg(folder.path().join("cache")).args(arguments);
        command.env("KUBECONFIG", self.bed.kubeconfig_path()).kill_on_drop(true);
        command.stdin(std::fs::File::open(&file)?);
        ended(&format!("kubectl {arguments:?}"), command).await
    }
}

async fn ended(what: &str, mut command: tokio::process::Command) -> Result<Ran> {
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.with_context(|| format!("{what} did not end"))??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
}

//! topicops' other commands, as an administrator runs them.

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
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.with_context(|| format!("topicops {arguments:?} did not end"))??;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
    }
}

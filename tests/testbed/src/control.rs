//! What a test may ask of a running bed: one JSON line each way over the bed's Unix socket.
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::program::Program;

/// Longer than the longest thing that can be asked for: a broker's start.
const PATIENCE: Duration = Duration::from_secs(240);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Where everything is.
    Info,
    MapImage {
        image: String,
        program: Program,
    },
    Broker {
        id: u8,
        change: Change,
    },
    Disk {
        broker: u8,
        change: DiskChange,
    },
    ApiServer {
        change: Change,
    },
    /// Leave the directory in place when the bed ends.
    Keep,
    /// Stop everything.
    Shutdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Ask it to end (SIGTERM), and insist after a while.
    Stop,
    /// End it at once (SIGKILL).
    Kill,
    /// Start it again, and wait until it serves.
    Start,
    /// Freeze it (SIGSTOP): connections stay open and nobody answers.
    Pause,
    Resume,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskChange {
    Resize {
        mebibytes: u32,
    },
    /// Its path leads nowhere from now on.
    Pull,
    PutBack,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Done(serde_json::Value),
    Failed(String),
}

/// Sends one request to the bed that listens on `socket` and waits for its answer.
///
/// # Errors
/// When nobody listens there, and whatever the bed says went wrong.
pub async fn call(socket: &Path, request: &Request) -> Result<serde_json::Value> {
    let conversation = async {
        let stream = UnixStream::connect(socket)
            .await
            .with_context(|| format!("no bed listens on {}", socket.display()))?;
        let mut stream = BufReader::new(stream);
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        if answer.is_empty() {
            return Err(anyhow!("the bed ended before it answered"));
        }
        match serde_json::from_str(&answer)? {
            Answer::Done(value) => Ok(value),
            Answer::Failed(message) => Err(anyhow!(message)),
        }
    };
    tokio::time::timeout(PATIENCE, conversation)
        .await
        .map_err(|_| anyhow!("no answer within {PATIENCE:.0?}"))
        .and_then(|outcome| outcome)
        .with_context(|| format!("asking the bed: {request:?}"))
}

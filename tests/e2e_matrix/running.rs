//! A program that runs beside the test, and what it says.

use std::{fs::File, path::PathBuf, process::Stdio, sync::Mutex, time::Duration};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

use crate::support::wait;

/// Several JVMs start at once on few cores.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ends with this value.
pub(crate) struct Running {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Running {
    /// What it prints, on either stream, goes to the file `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child: Mutex::new(child), log })
    }

    pub(crate) fn said(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Waits until `wanted` finds something in what it has said, and fails when it ends without.
    pub(crate) async fn until<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let outcome = wait::until(format!("{}: {what}", self.name), PATIENCE, || async {
            let ended = self.ended()?;
            let said = self.said()?;
            match (wanted(&said), ended) {
                (Some(found), _) => Ok(Some(found)),
                (None, true) => Ok(None),
                (None, false) => bail!("it runs, and says: {}", tail(&said)),
            }
        });
        match outcome.await? {
            Some(found) => Ok(found),
            None => bail!("{} ended without {what}: {}", self.name, self.said()?),
        }
    }

    /// Waits for its end and gives all that it said; it has to end well.
    pub(crate) async fn finished(self) -> Result<String> {
        wait::until(format!("{} to end", self.name), PATIENCE, || async {
            if self.ended()? { Ok(()) } else { bail!("it says: {}", tail(&self.said()?)) }
        })
        .await?;
        let status = self.lock(|child| child.try_wait())?.context("it has ended")?;
        let said = self.said()?;
        if status.success() { Ok(said) } else { bail!("{}: {status}: {said}", self.name) }
    }

    fn ended(&self) -> Result<bool> {
        Ok(self.lock(|child| child.try_wait())?.is_some())
    }

    fn lock<T>(&self, with: impl FnOnce(&mut Child) -> T) -> T {
        with(&mut self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The scripts end in `exec`, so the child is the JVM itself.
pub(crate) fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null());
    command
}

fn tail(text: &str) -> &str {
    let from = text.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
    &text[from..]
}

use std::{
    fmt::Display,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;

/// What is shown, and which claims held.
#[derive(Debug)]
pub(crate) struct Report {
    started: Instant,
    acts: usize,
    held: usize,
    failed: Vec<String>,
}

/// A long step says that it goes on this often.
const PROGRESS: Duration = Duration::from_secs(10);

impl Default for Report {
    fn default() -> Self {
        Self { started: Instant::now(), acts: 0, held: 0, failed: Vec::new() }
    }
}

impl Report {
    pub(crate) fn heading(&mut self, text: &str) {
        self.acts += 1;
        println!("\n{}. {text}", self.acts);
    }

    /// One line about what is being done.
    pub(crate) fn note(&self, text: &str) {
        println!("   {text}");
    }

    /// What a program printed, or an object holds.
    pub(crate) fn show(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("   | {}", line.trim_end());
        }
    }

    /// Waits for something that may take long, and says how long it takes.
    pub(crate) async fn step<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        println!("   {what} …");
        let started = Instant::now();
        let mut work = std::pin::pin!(work);
        let mut progress = tokio::time::interval(PROGRESS);
        progress.tick().await;
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = progress.tick() => println!("   … {:.0} s", started.elapsed().as_secs_f64()),
            }
        };
        if outcome.is_ok() {
            println!("   … after {:.1} s", started.elapsed().as_secs_f64());
        }
        outcome
    }

    /// Says of a claim whether it held, and if not what was seen instead.
    pub(crate) fn claim(&mut self, claim: &str, held: bool, otherwise: impl Display) {
        if held {
            self.held += 1;
            println!("   [x] {claim}");
        } else {
            println!("   [ ] {claim}\n       but: {otherwise}");
            self.failed.push(claim.to_owned());
        }
    }

    pub(crate) fn failed(&mut self, claim: &str, error: &anyhow::Error) {
        self.claim(claim, false, format!("{error:#}"));
    }

    pub(crate) fn has_failures(&self) -> bool {
        !self.failed.is_empty()
    }

    pub(crate) fn verdict(&self) -> ExitCode {
        let seconds = self.started.elapsed().as_secs();
        if self.failed.is_empty() {
            println!("\nAll {} claims held, in {seconds} s.", self.held);
            return ExitCode::SUCCESS;
        }
        println!("\n{} claims held; {} did not:", self.held, self.failed.len());
        for claim in &self.failed {
            println!("   [ ] {claim}");
        }
        ExitCode::FAILURE
    }
}

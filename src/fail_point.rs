//! Places where a test lets the process be killed, as a power cut would: no destructor runs, nothing is flushed.
//!
//! `fail_point!("moves/throttle-set")` is nothing at all unless the cargo feature `fail-points` is on, and it is on in tests
//! alone: what is released has neither the names nor the variables in it. They are
//! - `TOPICOPS_FAIL_POINT=name` or `name:3`: this process is killed when it comes by for the first, or third, time;
//! - `TOPICOPS_FAIL_POINT_FILE=path`: the same text is looked for in a file, so that a test can arm a process that runs. Whoever
//!   was started after the file was written is spared, so that what was killed can be started again; unless there is a second
//!   line, which is for those.

/// Kills the process here when a test says so; nothing otherwise. Names are listed in [`crate::fail_point::NAMES`].
macro_rules! fail_point {
    ($name:literal) => {
        #[cfg(feature = "fail-points")]
        $crate::fail_point::reach($name);
    };
}
pub(crate) use fail_point;

/// Every place there is, in the order in which the work comes by.
pub const NAMES: &[&str] = &[
    "run/begun",
    "topics/planned",
    "topics/page-written",
    "topics/holdings-written",
    "topics/created",
    "topics/grown",
    "topics/configured",
    "topics/deleted",
    "topics/executed",
    "topics/recorded",
    "topics/deletion-remembered",
    "topics/claim-taken-back",
    "topics/finalizer-written",
    "topics/status-written",
    "topics/released",
    "moves/request-taken",
    "moves/factor-planned",
    "moves/throttles-noted",
    "moves/brokers-throttled",
    "moves/topics-throttled",
    "moves/submission-noted",
    "moves/submitted",
    "moves/cancellation-noted",
    "moves/cancelled",
    "moves/batch-done",
    "moves/brokers-unthrottled",
    "moves/throttles-removed",
    "moves/elections-due",
    "moves/leaders-elected",
    "moves/outcome-noted",
    "moves/end-noted",
    "moves/nothing-left",
    "access/user-made",
    "access/secret-written",
    "access/secret-rotated",
    "access/rolled-out",
    "access/taken-up",
    "access/revoked",
];

#[cfg(feature = "fail-points")]
pub use armed::{begin, reach};

#[cfg(feature = "fail-points")]
mod armed {
    use std::{
        fs,
        process::{Command, abort, id},
        sync::{Mutex, OnceLock, PoisonError},
        time::SystemTime,
    };

    static STARTED: OnceLock<SystemTime> = OnceLock::new();
    /// What was armed when it was last looked, and how often its place was come by since.
    static PASSES: Mutex<(String, u32)> = Mutex::new((String::new(), 0));

    /// Notes when this process began: what was armed before is for an earlier one.
    pub fn begin() {
        STARTED.get_or_init(SystemTime::now);
    }

    pub fn reach(name: &str) {
        let Some(armed) = armed() else { return };
        let (wanted, nth) = match armed.split_once(':') {
            Some((wanted, nth)) => (wanted, nth.parse().unwrap_or(1)),
            None => (armed.as_str(), 1),
        };
        if wanted != name {
            return;
        }
        let mut passes = PASSES.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.0 != armed {
            *passes = (armed.clone(), 0);
        }
        passes.1 += 1;
        if passes.1 == nth {
            die();
        }
    }

    fn armed() -> Option<String> {
        if let Ok(text) = std::env::var("TOPICOPS_FAIL_POINT") {
            return Some(text);
        }
        let file = std::env::var_os("TOPICOPS_FAIL_POINT_FILE")?;
        let written = fs::metadata(&file).ok()?.modified().ok()?;
        let later = STARTED.get().is_some_and(|started| *started > written);
        let text = fs::read_to_string(&file).ok()?;
        Some(text.lines().nth(usize::from(later))?.trim().to_owned())
    }

    fn die() -> ! {
        let killed = Command::new("kill").args(["-KILL", &id().to_string()]).status();
        if killed.is_ok_and(|status| status.success()) {
            // The signal is on its way.
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        abort();
    }
}

//! Which local program each image name stands for.
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::program::Program;

#[derive(Debug)]
pub(crate) struct Images {
    programs: Mutex<BTreeMap<String, Program>>,
    changes: watch::Sender<u64>,
}

impl Default for Images {
    fn default() -> Self {
        Self { programs: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Images {
    pub(crate) fn map(&self, image: &str, program: Program) {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).insert(normal(image), program);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn find(&self, image: &str) -> Option<Program> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).get(&normal(image)).cloned()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// One spelling for `docker.io/library/busybox`, `busybox:latest` and `busybox`; a digest after a tag
/// says nothing that the tag does not.
fn normal(image: &str) -> String {
    let image = match image.split_once('@') {
        Some((tagged, _)) if tagged.rsplit('/').next().is_some_and(|last| last.contains(':')) => tagged,
        _ => image,
    };
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let image = image.strip_prefix("library/").unwrap_or(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_image_are_one_image() {
        for spelling in ["busybox", "busybox:latest", "docker.io/library/busybox", "busybox:latest@sha256:0"]
        {
            assert_eq!(normal(spelling), "busybox:latest", "{spelling}");
        }
        assert_eq!(normal("localhost:5000/app"), "localhost:5000/app:latest");
        assert_eq!(normal("app@sha256:0"), "app@sha256:0");
    }
}

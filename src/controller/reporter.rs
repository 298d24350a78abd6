use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder},
};
use tokio::sync::Notify;
use tracing::warn;

use crate::{Reason, Told};

/// Sends Kubernetes Events in the background, so that no pass waits for them.
///
/// What waits is kept by object and reason: a newer text replaces an older one that was not sent yet, so the queue never
/// holds more than there are objects in trouble. What was said last for an object and reason is not said again until it
/// changes.
#[derive(Clone)]
pub struct Reporter {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: Recorder,
    waiting: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    events: HashMap<(String, String), (ObjectReference, Event)>,
    /// By the object's uid, and then by reason.
    said: HashMap<String, HashMap<String, String>>,
}

/// Kubernetes cuts Event notes at 1,024 bytes and refuses longer ones.
const NOTE_LIMIT: usize = 1024;
/// Objects of which is remembered what was said.
const REMEMBERED: usize = 20_000;
/// Events sent at the same time: few, because they matter less than the work itself.
const IN_FLIGHT: usize = 2;

impl Reporter {
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let reporter = kube::runtime::events::Reporter { controller: "topicops".to_owned(), instance };
        Self {
            inner: Arc::new(Inner {
                recorder: Recorder::new(client, reporter),
                waiting: Mutex::default(),
                wake: Notify::new(),
            }),
        }
    }

    /// Tells the object's author, as loudly as the reason is told.
    pub fn say(&self, object: ObjectReference, reason: Reason, note: &str) {
        match reason.told() {
            Told::Quietly => {}
            Told::Normal => self.push(object, EventType::Normal, reason.as_str(), note),
            Told::Warning => self.push(object, EventType::Warning, reason.as_str(), note),
        }
    }

    /// Forgets what was said about an object: all is well with it, or it is gone. The next trouble is told again.
    pub fn forget(&self, uid: &str) {
        if let Ok(mut queue) = self.inner.waiting.lock() {
            queue.said.remove(uid);
        }
    }

    fn push(&self, object: ObjectReference, type_: EventType, reason: &str, note: &str) {
        let key = (object.uid.clone().unwrap_or_default(), reason.to_owned());
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(shorten(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Ok(mut queue) = self.inner.waiting.lock() {
            // Whom nobody reports gone is forgotten here: to say something twice is better than to remember for ever.
            if queue.said.len() > REMEMBERED {
                queue.said.clear();
            }
            let said = queue.said.entry(key.0.clone()).or_default();
            if said.get(reason).is_some_and(|said| said == note) {
                return;
            }
            said.insert(reason.to_owned(), note.to_owned());
            queue.events.insert(key, (object, event));
        }
        self.inner.wake.notify_one();
    }

    /// Sends what waits, for ever.
    pub async fn run(self) {
        loop {
            self.inner.wake.notified().await;
            loop {
                let batch: Vec<_> = match self.inner.waiting.lock() {
                    Ok(mut queue) => {
                        let keys: Vec<_> = queue.events.keys().take(IN_FLIGHT).cloned().collect();
                        keys.iter().filter_map(|key| queue.events.remove(key)).collect()
                    }
                    Err(_) => return,
                };
                if batch.is_empty() {
                    break;
                }
                let sends = batch.iter().map(|(object, event)| self.inner.recorder.publish(event, object));
                for (result, (object, event)) in
                    futures::future::join_all(sends).await.into_iter().zip(&batch)
                {
                    if let Err(error) = result {
                        // No Event can be made there any more, and its objects go without one.
                        if is_ending(&error) {
                            continue;
                        }
                        let name = object.name.as_deref().unwrap_or_default();
                        warn!(object = name, reason = event.reason, error = %error, "an Event could not be sent");
                        self.forget(object.uid.as_deref().unwrap_or_default());
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reporter")
    }
}

/// Whether the API server refuses because the namespace is being deleted.
fn is_ending(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 && status.message.contains("is being terminated"))
}

fn shorten(note: &str) -> String {
    if note.len() <= NOTE_LIMIT {
        return note.to_owned();
    }
    let end = (0..=NOTE_LIMIT - '…'.len_utf8()).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_at_a_character() {
        let cut = shorten(&"ä".repeat(2_000));
        assert!(cut.len() <= NOTE_LIMIT && cut.ends_with('…'), "{} bytes", cut.len());
    }
}

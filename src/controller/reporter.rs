use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder},
};
use tokio::{sync::Notify, time::Instant};
use tracing::warn;

use crate::{Reason, Told};

/// Sends Kubernetes Events in the background, so that no pass waits for them.
///
/// What waits is kept by object and reason: a newer text replaces an older one that was not sent yet, so the queue never
/// holds more than there are objects in trouble. What was said last for an object and reason is not said again until it
/// changes, or somebody asks for it.
#[derive(Clone)]
pub struct Reporter {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    source: kube::runtime::events::Reporter,
    /// By the object's uid and reason.
    sent: Mutex<HashMap<(String, String), Sent>>,
    waiting: Mutex<Queue>,
    wake: Notify,
}

/// What was sent last, and who counts it when it happens again: a recorder tells everything about one object and reason in the
/// words of the first time, so what is said in other words needs another.
struct Sent {
    note: Option<String>,
    recorder: Recorder,
    at: Instant,
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
/// As long as recorders count what happens again.
const COUNTED: Duration = Duration::from_secs(360);
/// Events sent at the same time: few, because they matter less than the work itself.
const IN_FLIGHT: usize = 2;

impl Reporter {
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let source = kube::runtime::events::Reporter { controller: "topicops".to_owned(), instance };
        Self {
            inner: Arc::new(Inner {
                client,
                source,
                sent: Mutex::default(),
                waiting: Mutex::default(),
                wake: Notify::new(),
            }),
        }
    }

    /// Tells the object's author, as loudly as the reason is told.
    pub fn say(&self, object: ObjectReference, reason: Reason, note: &str) {
        self.push(object, reason, note, false);
    }

    /// Likewise, also what was said last.
    pub fn say_again(&self, object: ObjectReference, reason: Reason, note: &str) {
        self.push(object, reason, note, true);
    }

    /// Forgets what was said about an object: all is well with it, or it is gone. The next trouble is told again.
    pub fn forget(&self, uid: &str) {
        if let Ok(mut queue) = self.inner.waiting.lock() {
            queue.said.remove(uid);
        }
    }

    fn push(&self, object: ObjectReference, reason: Reason, note: &str, again: bool) {
        let type_ = match reason.told() {
            Told::Quietly => return,
            Told::Normal => EventType::Normal,
            Told::Warning => EventType::Warning,
        };
        let reason = reason.as_str();
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
            if !again && said.get(reason).is_some_and(|said| said == note) {
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
                let sends = batch.iter().map(|(object, event)| self.inner.send(object, event));
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

impl Inner {
    async fn send(&self, object: &ObjectReference, event: &Event) -> Result<(), kube::Error> {
        let recorder = self.recorder(object, event);
        recorder.publish(event, object).await
    }

    fn recorder(&self, object: &ObjectReference, event: &Event) -> Recorder {
        let key = (object.uid.clone().unwrap_or_default(), event.reason.clone());
        let now = Instant::now();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.retain(|_, sent| now.duration_since(sent.at) < COUNTED);
        let before = sent.remove(&key).filter(|before| before.note == event.note);
        let recorder = before.map_or_else(
            || Recorder::new(self.client.clone(), self.source.clone()),
            |before| before.recorder,
        );
        sent.insert(key, Sent { note: event.note.clone(), recorder: recorder.clone(), at: now });
        recorder
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
    use axum::{Json, Router, http::Method};
    use serde_json::Value;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn other_words_are_another_event_and_the_same_are_counted_where_they_are_to_be_said_again() {
        let (requests, mut received) = mpsc::unbounded_channel();
        let api_server = Router::new().fallback(move |method: Method, Json(event): Json<Value>| {
            let note = event["note"].as_str().unwrap_or_default().to_owned();
            let count = event["series"]["count"].as_i64();
            requests.send((method.to_string(), note, count)).unwrap();
            std::future::ready(Json(event))
        });
        let reporter = Reporter::new(Client::new(api_server, "default"), None);
        let running = tokio::spawn(reporter.clone().run());
        let object = || ObjectReference {
            uid: Some("u".to_owned()),
            name: Some("orders".to_owned()),
            namespace: Some("shop".to_owned()),
            ..ObjectReference::default()
        };
        let sent = |method: &str, note: &str, count| Some((method.to_owned(), note.to_owned(), count));
        reporter.say(object(), Reason::RotationWaits, "paused");
        assert_eq!(received.recv().await, sent("POST", "paused", None));
        reporter.say(object(), Reason::RotationWaits, "paused");
        reporter.say(object(), Reason::RotationWaits, "forbidden");
        assert_eq!(received.recv().await, sent("POST", "forbidden", None));
        reporter.say_again(object(), Reason::RotationWaits, "forbidden");
        assert_eq!(received.recv().await, sent("PATCH", "forbidden", Some(2)));
        reporter.forget("u");
        reporter.say(object(), Reason::RotationWaits, "forbidden");
        assert_eq!(received.recv().await, sent("PATCH", "forbidden", Some(3)));
        running.abort();
    }

    #[test]
    fn long_notes_are_cut_at_a_character() {
        let cut = shorten(&"ä".repeat(2_000));
        assert!(cut.len() <= NOTE_LIMIT && cut.ends_with('…'), "{} bytes", cut.len());
    }
}

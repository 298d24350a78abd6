use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

/// Hears what librdkafka says while it works. Its calls answer "timed out" to nearly everything; the reasons come here.
#[derive(Clone, Default)]
pub(super) struct Witness(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    errors: VecDeque<(RDKafkaErrorCode, String)>,
    lines: VecDeque<String>,
}

/// More would only repeat itself: librdkafka tries again and again.
const MOST: usize = 8;

impl Witness {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first error of a kind, in librdkafka's words.
    pub(super) fn heard(&self, wanted: impl Fn(RDKafkaErrorCode) -> bool) -> Option<String> {
        self.lock().errors.iter().find(|(code, _)| wanted(*code)).map(|(_, words)| words.clone())
    }

    /// Everything it said, errors first.
    pub(super) fn everything(&self) -> Option<String> {
        let heard = self.lock();
        let mut words: Vec<&str> = Vec::new();
        for line in heard.errors.iter().map(|(_, words)| words).chain(&heard.lines) {
            if !words.contains(&line.as_str()) {
                words.push(line);
            }
        }
        (!words.is_empty()).then(|| words.join("; "))
    }

    fn note(&self, code: RDKafkaErrorCode, words: &str) {
        let mut heard = self.lock();
        if heard.errors.len() < MOST && heard.errors.iter().all(|(known, _)| *known != code) {
            heard.errors.push_back((code, words.to_owned()));
        }
    }
}

impl ClientContext for Witness {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(target: "topicops::verify", facility, line, "librdkafka");
        if (level as i32) <= RDKafkaLogLevel::Info as i32 {
            // Behind "[thrd:…]: " stand the words that mean something to people.
            let words = line.split_once("]: ").map_or(line, |(_, words)| words);
            let mut heard = self.lock();
            if heard.lines.len() == MOST {
                heard.lines.pop_front();
            }
            heard.lines.push_back(words.to_owned());
        }
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "topicops::verify", %error, reason, "librdkafka");
        if let Some(code) = error.rdkafka_error_code() {
            self.note(code, reason);
        }
    }
}

impl ConsumerContext for Witness {}

use topicops_contract::{Problems, State};

use crate::{kafka::ItemError, topic::Refusal};

/// How a ConfigMap stands after a pass: what its status and its Events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub state: State,
    pub reason: String,
    pub message: String,
}

impl Outcome {
    pub fn in_sync() -> Self {
        Self { state: State::Ready, reason: "InSync".to_owned(), message: String::new() }
    }

    pub fn paused() -> Self {
        let message = "nothing is touched while the annotation topic.kafka.nb/paused is \"true\"".to_owned();
        Self { state: State::Paused, reason: "Paused".to_owned(), message }
    }

    pub fn invalid(problems: &Problems) -> Self {
        Self { state: State::Refused, reason: "Invalid".to_owned(), message: problems.to_string() }
    }

    pub fn refused(refusals: &[Refusal]) -> Self {
        let messages: Vec<String> = refusals.iter().map(Refusal::message).collect();
        let first = refusals.first();
        Self {
            state: first.map_or(State::Refused, Refusal::state),
            reason: first.map_or("Refused", Refusal::reason).to_owned(),
            message: messages.join("; "),
        }
    }

    /// The broker's own answer to one of the steps.
    pub fn kafka(doing: &str, error: &ItemError) -> Self {
        let (state, reason) =
            if error.retriable { (State::Pending, "KafkaBusy") } else { (State::Refused, "KafkaRefused") };
        Self { state, reason: reason.to_owned(), message: format!("Kafka refused to {doing}: {error}") }
    }

    pub fn pending(reason: &str, message: impl Into<String>) -> Self {
        Self { state: State::Pending, reason: reason.to_owned(), message: message.into() }
    }
}

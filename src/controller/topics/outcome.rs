use topicops_contract::{Problems, State, TopicObjectKind, keys};

use crate::{
    Reason,
    kafka::{ClusterError, ItemError},
    topic::{Drift, Refusal, RetentionStepping, TopicPlan},
};

/// How a topic object stands after a pass: what its status and its Events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub state: State,
    pub reason: Reason,
    pub message: String,
}

impl Outcome {
    pub fn in_sync() -> Self {
        Self { state: State::Ready, reason: Reason::InSync, message: String::new() }
    }

    pub fn paused(kind: TopicObjectKind) -> Self {
        let message = match kind {
            TopicObjectKind::ConfigMap => {
                format!("nothing is touched while the annotation {} is \"true\"", keys::topic::PAUSED)
            }
            TopicObjectKind::KafkaTopic => {
                format!("nothing is touched while {} is true", kind.field(keys::topic::PAUSED))
            }
        };
        Self { state: State::Paused, reason: Reason::Paused, message }
    }

    pub fn invalid(problems: &Problems) -> Self {
        Self { state: State::Refused, reason: Reason::Invalid, message: problems.to_string() }
    }

    /// The first refusal's state and reason, and what all of them say; `None` when nothing is refused.
    pub fn refused(refusals: &[Refusal], kind: TopicObjectKind) -> Option<Self> {
        let messages: Vec<String> = refusals.iter().map(|refusal| refusal.message(kind)).collect();
        let first = refusals.first()?;
        Some(Self { state: first.state(), reason: first.reason(), message: messages.join("; ") })
    }

    /// What somebody changed on the brokers and is left so; `None` when there is nothing.
    pub fn drifted(drifted: &[Drift]) -> Option<Self> {
        let messages: Vec<String> = drifted.iter().map(ToString::to_string).collect();
        let message = format!("changed on the brokers: {}", messages.join("; "));
        (!drifted.is_empty()).then_some(Self { state: State::Drifted, reason: Reason::Drifted, message })
    }

    /// Large cuts in retention that are under way; `None` when there are none.
    pub fn stepping(stepping: &[RetentionStepping]) -> Option<Self> {
        let messages: Vec<String> = stepping
            .iter()
            .map(|step| {
                let next = jiff::Timestamp::from_second(step.next_at).unwrap_or_default();
                format!(
                    "{} goes down to {} in steps, so that the brokers do not delete everything at once: {} now, {} to go, \
                     the next at {next}",
                    step.key, step.target, step.now, step.left
                )
            })
            .collect();
        (!stepping.is_empty()).then(|| Self::pending(Reason::RetentionStepping, messages.join("; ")))
    }

    /// This one, with what another says behind it.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        self.message = format!("{}; {}", self.message, other.message);
        self
    }

    /// With what an author should know beside it.
    #[must_use]
    pub fn and(mut self, notices: &[String]) -> Self {
        for notice in notices {
            if !self.message.is_empty() {
                self.message.push_str("; ");
            }
            self.message.push_str(notice);
        }
        self
    }

    pub fn of(refusal: &Refusal, kind: TopicObjectKind) -> Self {
        Self { state: refusal.state(), reason: refusal.reason(), message: refusal.message(kind) }
    }

    /// The broker's own answer to one of the steps.
    pub fn kafka(doing: &str, error: &ItemError) -> Self {
        let (state, reason) = if error.retriable {
            (State::Pending, Reason::KafkaBusy)
        } else {
            (State::Refused, Reason::KafkaRefused)
        };
        Self { state, reason, message: format!("Kafka refused to {doing}: {error}") }
    }

    /// The brokers will not delete the topic of an object that goes.
    pub fn not_deleted(plan: &TopicPlan, error: &ItemError) -> Self {
        let reason = if error.is(ItemError::TOPIC_DELETION_DISABLED) {
            Reason::TopicDeletionDisabled
        } else {
            Reason::TopicDeletionRefused
        };
        let namespace = plan.holding.as_ref().map_or("", |holding| holding.namespace.as_str());
        let message = format!(
            "topic {} stays on the brokers, and stays namespace {namespace}'s: they refused to delete it ({error}). To delete it \
             when they would, declare it again and delete that",
            plan.topic
        );
        Self { state: State::Refused, reason, message }
    }

    /// The deletion of an object waits for the brokers.
    pub fn waits_for_brokers(kind: TopicObjectKind, error: &ClusterError) -> Self {
        let message = format!(
            "the topic is deleted as soon as the brokers answer; to let this object go without, set {} to retain, or {} to true \
             ({error})",
            kind.field(keys::topic::DELETION_POLICY),
            kind.field(keys::topic::PAUSED),
        );
        Self::pending(Reason::KafkaUnavailable, message)
    }

    pub fn pending(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: State::Pending, reason, message: message.into() }
    }
}

use serde::{Deserialize, Serialize};

use crate::{State, Status, TopicName};

/// The status of a KafkaTopic, as its subresource holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KafkaTopicStatus {
    /// The `metadata.generation` that this speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i16>,
}

/// One condition as Kubernetes writes them; there is one, `Ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One CamelCase word for machines.
    pub reason: String,
    /// One sentence for people.
    #[serde(default)]
    pub message: String,
    /// When `status` last changed, RFC 3339, UTC.
    pub last_transition_time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

const READY: &str = "Ready";
/// The one reason by which a topic that nobody may touch is told from one of which nothing is known.
const PAUSED: &str = "Paused";
const DRIFTED: &str = "Drifted";

impl KafkaTopicStatus {
    /// What [`Status`] says, in the words of a custom resource. The hash in it is the object's generation.
    pub fn of(status: &Status, topic: Option<&TopicName>) -> Self {
        let observed_generation = status.hash.parse().ok();
        Self {
            observed_generation,
            conditions: vec![Condition {
                r#type: READY.to_owned(),
                status: status.state.ready().to_owned(),
                reason: status.reason.clone(),
                message: status.message.clone(),
                last_transition_time: status.time.clone(),
                observed_generation,
            }],
            topic_name: topic.map(ToString::to_string),
            topic_id: status.topic_id.clone(),
            partitions: status.partitions,
            replication_factor: status.replication_factor,
        }
    }

    /// The reverse of [`KafkaTopicStatus::of`]; `None` without the condition `Ready`.
    pub fn status(&self) -> Option<Status> {
        let ready = self.conditions.iter().find(|condition| condition.r#type == READY)?;
        let state = match ready.status.as_str() {
            "True" => State::Ready,
            "False" if ready.reason == DRIFTED => State::Drifted,
            "False" => State::Refused,
            _ if ready.reason == PAUSED => State::Paused,
            _ => State::Pending,
        };
        Some(Status {
            state,
            reason: ready.reason.clone(),
            message: ready.message.clone(),
            hash: self.observed_generation.map(|generation| generation.to_string()).unwrap_or_default(),
            topic_id: self.topic_id.clone(),
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            time: ready.last_transition_time.clone(),
        })
    }
}

impl State {
    /// The status of the condition `Ready`: `True` is as declared, `False` is not, and asks something of the author, and
    /// `Unknown` is on its way, or left alone as the author asked.
    pub fn ready(self) -> &'static str {
        match self {
            Self::Ready => "True",
            Self::Refused | Self::Drifted => "False",
            Self::Pending | Self::Paused => "Unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_for_every_state() {
        for (state, reason) in [
            (State::Ready, "InSync"),
            (State::Pending, "KafkaBusy"),
            (State::Refused, "Invalid"),
            (State::Drifted, "Drifted"),
            (State::Paused, "Paused"),
        ] {
            let status = Status {
                state,
                reason: reason.to_owned(),
                message: "why".to_owned(),
                hash: "7".to_owned(),
                topic_id: Some("id".to_owned()),
                partitions: Some(3),
                replication_factor: Some(2),
                time: "2026-11-21T12:00:00Z".to_owned(),
            };
            let written = serde_json::to_value(KafkaTopicStatus::of(&status, None)).unwrap();
            assert_eq!(written["conditions"][0]["observedGeneration"], 7);
            let read: KafkaTopicStatus = serde_json::from_value(written).unwrap();
            assert_eq!(read.status(), Some(status));
        }
    }
}

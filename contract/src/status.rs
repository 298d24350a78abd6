use serde::{Deserialize, Serialize};

/// How it stands with a topic or a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// The brokers are as declared.
    Ready,
    /// Something is on its way or cannot be done just now; nothing is asked of the author.
    Pending,
    /// What is declared is not done, wholly or in part, until its author or an administrator changes something.
    Refused,
    /// Somebody changed the topic on the brokers, and it is left as it was found.
    Drifted,
    /// Nothing is touched, as the author asked.
    Paused,
}

/// The content of the annotation `topic.kafka.nb/status`: one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub state: State,
    /// One CamelCase word for machines.
    pub reason: String,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// SHA-256 (first 16 hex digits) of the data and annotations this speaks of: equal to that of the object now, or it is
    /// about an older version.
    pub hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i16>,
    /// When this state was reached, RFC 3339, UTC.
    pub time: String,
}

impl Status {
    /// Whether both say the same, whenever they said it.
    pub fn says_the_same(&self, other: &Self) -> bool {
        Self { time: String::new(), ..self.clone() } == Self { time: String::new(), ..other.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_render_is_identity_for_every_state() {
        for state in [State::Ready, State::Pending, State::Refused, State::Drifted, State::Paused] {
            let status = Status {
                state,
                reason: "InSync".to_owned(),
                message: "with \"quotes\" and\nlines".to_owned(),
                hash: "00".to_owned(),
                topic_id: Some("id".to_owned()),
                partitions: Some(3),
                replication_factor: None,
                time: "2026-11-21T12:00:00Z".to_owned(),
            };
            let text = serde_json::to_string(&status).unwrap();
            assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
        }
    }
}

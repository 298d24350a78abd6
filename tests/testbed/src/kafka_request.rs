//! One line of a broker's request log.
use serde::Deserialize;

use crate::request_log::KAFKA_LOGGER;

/// A request that a broker answered. What another broker forwarded appears where it was carried out, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KafkaRequest {
    /// The client's own name for itself: its `client.id`.
    pub client_id: String,
    /// As Kafka spells it: `METADATA`, `CREATE_TOPICS`, ….
    pub api: String,
    /// `User:admin`; anonymous before the login.
    pub principal: String,
}

/// What opens a connection.
const OPENING: [&str; 3] = ["API_VERSIONS", "SASL_HANDSHAKE", "SASL_AUTHENTICATE"];
/// What can change nothing.
const LOOKING: [&str; 14] = [
    "CONSUMER_GROUP_DESCRIBE",
    "DESCRIBE_ACLS",
    "DESCRIBE_CLIENT_QUOTAS",
    "DESCRIBE_CLUSTER",
    "DESCRIBE_CONFIGS",
    "DESCRIBE_GROUPS",
    "DESCRIBE_LOG_DIRS",
    "DESCRIBE_TOPIC_PARTITIONS",
    "DESCRIBE_TRANSACTIONS",
    "DESCRIBE_USER_SCRAM_CREDENTIALS",
    "FIND_COORDINATOR",
    "LIST_GROUPS",
    "LIST_PARTITION_REASSIGNMENTS",
    "METADATA",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    request_header: Header,
    #[serde(default)]
    is_forwarded: bool,
    #[serde(default)]
    principal: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    request_api_key_name: String,
    #[serde(default)]
    client_id: Option<String>,
}

impl KafkaRequest {
    /// Whether it is but a part of connecting and logging in.
    #[must_use]
    pub fn opens_a_connection(&self) -> bool {
        OPENING.contains(&self.api.as_str())
    }

    /// Whether it can change nothing on the brokers.
    #[must_use]
    pub fn only_looks(&self) -> bool {
        self.opens_a_connection() || LOOKING.contains(&self.api.as_str())
    }

    /// `None` for every other line, and for what a broker passed on for another one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_, json) = line.split_once(KAFKA_LOGGER)?.1.split_once("ompleted request:")?;
        let line: Line = serde_json::from_str(json).ok()?;
        if line.is_forwarded {
            return None;
        }
        Some(Self {
            client_id: line.request_header.client_id.unwrap_or_default(),
            api: line.request_header.request_api_key_name,
            principal: line.principal.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_request_log_is_read() {
        let line = r#"2026-11-21 12:00:00:000 +0000 [data-plane-kafka-request-handler-0] DEBUG kafka.request.logger - Completed request:{"isForwarded":false,"requestHeader":{"requestApiKey":3,"requestApiVersion":12,"correlationId":4,"clientId":"topicops","requestApiKeyName":"METADATA"},"request":{"topics":[]},"response":{},"connection":"x","totalTimeMs":1.2,"securityProtocol":"SASL_SSL","principal":"User:admin","listener":"CLIENTS"}"#;
        let request = KafkaRequest::parse(line).unwrap();
        assert_eq!(
            (request.client_id.as_str(), request.api.as_str(), request.principal.as_str()),
            ("topicops", "METADATA", "User:admin")
        );
        assert!(request.only_looks() && !request.opens_a_connection());
        assert_eq!(KafkaRequest::parse(&line.replace("isForwarded\":false", "isForwarded\":true")), None);
        assert_eq!(KafkaRequest::parse("[main] INFO kafka.server.KafkaServer - started"), None);
    }
}

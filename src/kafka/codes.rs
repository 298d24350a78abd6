use kafka_protocol::error::ResponseError;

use super::ItemError;

impl ItemError {
    pub const UNKNOWN_SERVER_ERROR: i16 = -1;
    pub const BROKER_NOT_AVAILABLE: i16 = 8;
    pub const INVALID_TOPIC_EXCEPTION: i16 = 17;
    pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    pub const GROUP_AUTHORIZATION_FAILED: i16 = 30;
    pub const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
    pub const INVALID_REPLICATION_FACTOR: i16 = 38;
    pub const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
    pub const INVALID_CONFIG: i16 = 40;
    pub const INVALID_REQUEST: i16 = 42;
    pub const POLICY_VIOLATION: i16 = 44;
    pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
    pub const SECURITY_DISABLED: i16 = 54;
    pub const SASL_AUTHENTICATION_FAILED: i16 = 58;
    pub const PREFERRED_LEADER_NOT_AVAILABLE: i16 = 80;
    pub const ELECTION_NOT_NEEDED: i16 = 84;
    pub const NO_REASSIGNMENT_IN_PROGRESS: i16 = 85;
    pub const TOPIC_DELETION_DISABLED: i16 = 73;
    pub const DUPLICATE_RESOURCE: i16 = 92;
    pub const UNACCEPTABLE_CREDENTIAL: i16 = 93;

    /// The error of a code that is not 0, with the broker's text or, where it sent none, the code's general meaning.
    pub fn of(number: i16, text: Option<&str>) -> Self {
        let (code, retriable) = match ResponseError::try_from_code(number) {
            Some(ResponseError::Unknown(_)) | None => (format!("ERROR_{number}"), false),
            Some(known) => (screaming(&known.to_string()), known.is_retriable()),
        };
        let message = match text {
            Some(text) if !text.trim().is_empty() => text.trim().to_owned(),
            _ => meaning(number).to_owned(),
        };
        Self { code, number, message, retriable }
    }

    /// The error of an item that the answer to its batch does not mention.
    pub(super) fn unmentioned() -> Self {
        Self::of(Self::UNKNOWN_SERVER_ERROR, Some("the broker's answer does not mention it"))
    }
}

/// Kafka's own spelling (`TOPIC_ALREADY_EXISTS`) of the codec's (`TopicAlreadyExists`).
fn screaming(name: &str) -> String {
    let mut result = String::with_capacity(name.len() + 8);
    for (index, character) in name.chars().enumerate() {
        if index > 0 && character.is_uppercase() {
            result.push('_');
        }
        result.push(character.to_ascii_uppercase());
    }
    result
}

/// What a code says by itself; brokers send no text with the errors of their oldest requests.
fn meaning(number: i16) -> &'static str {
    match number {
        -1 => "the broker failed unexpectedly; its log has more",
        3 => "no such topic, or not visible to this user",
        5 => "a partition has no leader at the moment",
        7 => "the broker gave up waiting",
        8 => "the broker is away",
        14 => "the coordinator is still loading",
        15 => "the coordinator is not available",
        16 => "this broker is not the coordinator",
        17 => "no legal topic name",
        29 => "not authorized for this topic",
        30 => "not authorized for this group",
        31 => "not authorized for the cluster",
        33 => "the broker does not offer this SASL mechanism",
        35 => "the broker does not support this request in this version",
        36 => "a topic of this name exists",
        37 => "an illegal number of partitions",
        38 => "an illegal replication factor",
        39 => "an illegal assignment of replicas",
        40 => "an illegal configuration",
        41 => "this broker is not the controller",
        42 => "the broker calls the request malformed",
        44 => "a policy of the brokers forbids it",
        53 => "not authorized for this transactional id",
        54 => "the brokers run without an authorizer",
        56 => "the disk or directory cannot be used; the broker's log has more",
        58 => "the broker refused the credentials",
        69 => "no such group",
        80 => "the preferred leader is away or not in sync",
        73 => "the brokers run with delete.topic.enable=false",
        89 => "a quota of the brokers was exceeded",
        91 => "no such resource",
        93 => "the credential does not meet the brokers' criteria",
        100 => "no topic with this id",
        _ => "the broker gave no reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_carry_kafkas_own_names() {
        for (number, name, retriable) in [
            (-1, "UNKNOWN_SERVER_ERROR", false),
            (3, "UNKNOWN_TOPIC_OR_PARTITION", true),
            (17, "INVALID_TOPIC_EXCEPTION", false),
            (29, "TOPIC_AUTHORIZATION_FAILED", false),
            (36, "TOPIC_ALREADY_EXISTS", false),
            (37, "INVALID_PARTITIONS", false),
            (41, "NOT_CONTROLLER", true),
            (53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false),
            (58, "SASL_AUTHENTICATION_FAILED", false),
            (89, "THROTTLING_QUOTA_EXCEEDED", true),
            (91, "RESOURCE_NOT_FOUND", false),
        ] {
            let error = ItemError::of(number, None);
            assert_eq!((error.code.as_str(), error.retriable), (name, retriable));
            assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn a_code_from_the_future_keeps_its_number() {
        let error = ItemError::of(999, Some("quorum of cats"));
        assert_eq!(error.to_string(), "ERROR_999: quorum of cats");
    }
}

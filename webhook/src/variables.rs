//! The environment variables of `inject: env`, in one place.

/// Variable, and the key of the Secret that it is taken from. The Secret has every one of these keys, so none is optional.
pub(crate) const VARIABLES: [(&str, &str); 7] = [
    ("KAFKA_BOOTSTRAP_SERVERS", "bootstrap.servers"),
    ("KAFKA_SECURITY_PROTOCOL", "security.protocol"),
    ("KAFKA_SASL_MECHANISM", "sasl.mechanism"),
    ("KAFKA_USERNAME", "username"),
    ("KAFKA_PASSWORD", "password"),
    ("KAFKA_SASL_JAAS_CONFIG", "sasl.jaas.config"),
    ("KAFKA_GROUP_ID", "group.id"),
];

#[cfg(test)]
mod tests {
    use topicops_contract::SECRET_KEYS;

    use super::*;

    #[test]
    fn every_variable_comes_from_a_key_that_the_secret_has() {
        for (variable, key) in VARIABLES {
            assert!(SECRET_KEYS.contains(&key), "{variable} wants {key}");
            // The one key that a Secret may lack: a required reference to it would keep the pod from starting.
            assert_ne!(key, "ssl.truststore.crt");
        }
    }
}

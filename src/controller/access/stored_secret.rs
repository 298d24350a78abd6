use std::{collections::BTreeMap, fmt};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use sha2::{Digest, Sha256};
use topicops_contract::{ClientEndpoint, ClientSecret, Password};
use zeroize::Zeroizing;

use super::{passwords, secret_meta};
use crate::access::SecretContent;

/// A Secret as it was read, content and all; the content is wiped when it is dropped, and never shown.
pub struct StoredSecret {
    pub meta: ObjectMeta,
    data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl StoredSecret {
    pub fn new(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default().into_iter();
        Self {
            meta: secret.metadata,
            data: data.map(|(key, value)| (key, Zeroizing::new(value.0))).collect(),
        }
    }

    /// The password in it, when it is one that we could have made: a weak one is nobody's.
    pub fn password(&self) -> Option<Password> {
        let text = std::str::from_utf8(self.data.get("password")?).ok()?;
        passwords::is_well_made(text).then(|| Password::new(text))
    }

    /// How its content stands to what would be written for this user now.
    pub fn judge(&self, username: &str, endpoint: &ClientEndpoint, group_id: &str) -> SecretContent {
        let Some(password) = self.password() else { return SecretContent::Altered };
        let expected = ClientSecret {
            username: username.to_owned(),
            password,
            endpoint: endpoint.clone(),
            group_id: group_id.to_owned(),
        };
        let fingerprint = self.fingerprint();
        let recorded = secret_meta::fingerprint(&self.meta);
        let is_of = |username: &str| self.data.get("username").is_some_and(|it| **it == *username.as_bytes());
        if fingerprint == expected.fingerprint() {
            // Only the record may be missing; then nothing but the record is written.
            if recorded == Some(&fingerprint) { SecretContent::Current } else { SecretContent::Outdated }
        } else if recorded == Some(&fingerprint) && is_of(username) {
            SecretContent::Outdated
        } else {
            SecretContent::Altered
        }
    }

    /// Whether it has clients log in in another way than they are to.
    pub(super) fn logs_in_otherwise(&self, endpoint: &ClientEndpoint) -> bool {
        [("sasl.mechanism", &endpoint.sasl_mechanism), ("security.protocol", &endpoint.security_protocol)]
            .into_iter()
            .any(|(key, wanted)| self.data.get(key).is_none_or(|value| **value != *wanted.as_bytes()))
    }

    /// Whether topicops made it for this user.
    pub fn is_of(&self, username: &str) -> bool {
        secret_meta::is_ours(&self.meta, username)
    }

    /// Whether its content is what was written when it was last written.
    pub fn is_as_written(&self) -> bool {
        secret_meta::fingerprint(&self.meta) == Some(&self.fingerprint())
    }

    /// As [`ClientSecret::fingerprint`], of what is there.
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (key, value) in &self.data {
            hash.update((key.len() as u64).to_be_bytes());
            hash.update(key.as_bytes());
            hash.update((value.len() as u64).to_be_bytes());
            hash.update(value.as_slice());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The text of a key, for what is meant to be read.
    pub fn text(&self, key: &str) -> Option<Zeroizing<String>> {
        String::from_utf8(self.data.get(key)?.to_vec()).ok().map(Zeroizing::new)
    }
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredSecret({} keys, redacted)", self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use topicops_contract::keys;

    use super::*;

    fn endpoint(bootstrap: &str) -> ClientEndpoint {
        ClientEndpoint {
            bootstrap_servers: bootstrap.to_owned(),
            security_protocol: "SASL_SSL".to_owned(),
            sasl_mechanism: "SCRAM-SHA-512".to_owned(),
            truststore_pem: None,
        }
    }

    fn written(password: &str) -> (Secret, String) {
        let content = ClientSecret {
            username: "op.shop.w".to_owned(),
            password: Password::new(password),
            endpoint: endpoint("kafka:9093"),
            group_id: "shop.w".to_owned(),
        };
        let data =
            content.data().into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        let mut secret = Secret { data: Some(data.collect()), ..Secret::default() };
        let fingerprint = content.fingerprint();
        secret.metadata.annotations =
            Some([(keys::secret::FINGERPRINT.to_owned(), fingerprint.clone())].into());
        (secret, fingerprint)
    }

    fn judge(secret: &Secret, bootstrap: &str) -> SecretContent {
        StoredSecret::new(secret.clone()).judge("op.shop.w", &endpoint(bootstrap), "shop.w")
    }

    #[test]
    fn new_addresses_make_it_outdated_and_foreign_hands_make_it_altered() {
        let (secret, fingerprint) = written(&"x".repeat(43));
        assert_eq!(StoredSecret::new(secret.clone()).fingerprint(), fingerprint);
        assert_eq!(judge(&secret, "kafka:9093"), SecretContent::Current);
        assert_eq!(judge(&secret, "other:9093"), SecretContent::Outdated);
        let mut altered = secret.clone();
        altered.data.as_mut().unwrap().insert("group.id".to_owned(), ByteString(b"other".to_vec()));
        assert_eq!(judge(&altered, "kafka:9093"), SecretContent::Altered);
        let mut unrecorded = secret;
        unrecorded.metadata.annotations = None;
        assert_eq!(judge(&unrecorded, "kafka:9093"), SecretContent::Outdated);
    }

    #[test]
    fn a_password_that_was_made_for_another_user_is_not_this_ones() {
        let (secret, _) = written(&"x".repeat(43));
        let stored = StoredSecret::new(secret);
        for username in ["op.shop.w_2", "op.shop.v"] {
            let judged = stored.judge(username, &endpoint("kafka:9093"), "shop.w");
            assert_eq!(judged, SecretContent::Altered, "{username}");
        }
    }

    #[test]
    fn a_password_that_we_would_not_make_is_not_taken() {
        let (weak, _) = written("hunter2");
        assert_eq!(StoredSecret::new(weak.clone()).password(), None);
        assert_eq!(judge(&weak, "kafka:9093"), SecretContent::Altered);
    }

    #[test]
    fn debug_does_not_show_the_content() {
        let password = "y".repeat(43);
        let (secret, _) = written(&password);
        let shown = format!("{:?}", StoredSecret::new(secret));
        assert!(!shown.contains(&password), "{shown}");
    }
}

use std::fmt;

use topicops_contract::TopicName;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramMechanism {
    Sha256,
    Sha512,
}

impl fmt::Display for ScramMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        })
    }
}

/// A user that has a SCRAM credential, as a broker describes it. Brokers never tell salt or keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramUser {
    pub username: String,
    pub credentials: Vec<(ScramMechanism, i32)>,
}

/// What a password becomes before it goes to the brokers: PBKDF2 of it, with its salt and iterations. It is as good as
/// the password for logging in, so it is redacted likewise.
#[derive(Clone)]
pub struct ScramKeys {
    pub mechanism: ScramMechanism,
    pub iterations: i32,
    pub salt: Vec<u8>,
    pub salted_password: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramKeys({}, {} iterations, redacted)", self.mechanism, self.iterations)
    }
}

/// A login to try, and what has to be visible to the user once in.
#[derive(Clone, Debug)]
pub struct LoginCheck {
    pub username: String,
    pub keys: ScramKeys,
    pub topics: Vec<TopicName>,
    pub groups: Vec<String>,
    pub transactional_ids: Vec<String>,
}

/// What a login saw. All is well when nothing is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginReport {
    /// Topics that the brokers did not show to this user, with their answer.
    pub hidden_topics: Vec<(TopicName, String)>,
    /// Groups that the brokers did not show to this user, with their answer.
    pub hidden_groups: Vec<(String, String)>,
    /// Transactional ids that the brokers did not show to this user, with their answer.
    pub hidden_transactional_ids: Vec<(String, String)>,
}

impl LoginReport {
    pub fn is_complete(&self) -> bool {
        self.hidden_topics.is_empty()
            && self.hidden_groups.is_empty()
            && self.hidden_transactional_ids.is_empty()
    }
}

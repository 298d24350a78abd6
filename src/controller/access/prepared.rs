use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;
use topicops_contract::Password;

use super::secret_meta::Making;
use crate::{ObjectKey, kafka::ScramKeys};

/// A client's credential on its way into the Secret. Lives for as long as that takes.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) username: String,
    pub(super) secret: ObjectKey,
    pub(super) password: Password,
    /// Nobody is to log in with the password before, by whatever mechanism.
    pub(super) fresh: bool,
    /// `None`: the brokers know the password already, and nothing has to be tried.
    pub(super) keys: Option<ScramKeys>,
    /// The Secret as it was read, when there is one to replace.
    pub(super) base: Option<ObjectMeta>,
    /// Who may have to make room in the Secret.
    pub(super) replaces: Option<String>,
    pub(super) making: Making,
    /// The password is a new one.
    pub(super) generated: bool,
    /// Whether what the Secret holds has to change.
    pub(super) write: bool,
    /// Whether that is more than a mark of topicops' own.
    pub(super) tells: bool,
    /// When the brokers acknowledged the password.
    pub(super) upserted: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_password() {
        let prepared = Prepared {
            username: "u".to_owned(),
            secret: ObjectKey::new("n", "s"),
            password: Password::new("hunter2"),
            fresh: false,
            keys: None,
            base: None,
            replaces: None,
            making: Making::default(),
            generated: true,
            write: true,
            tells: true,
            upserted: None,
        };
        let shown = format!("{prepared:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

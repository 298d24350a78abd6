use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_protocol::{
    messages::{SaslAuthenticateRequest, SaslHandshakeRequest},
    protocol::StrBytes,
};
use topicops_contract::{Password, Problems};

use super::{connection::Connection, fault::Fault, scram_exchange::ScramExchange, token_login::TokenLogin};
use crate::kafka::{
    ClientProperties, ItemError, SaslMechanism, SaslProperties, ScramKeys, ScramMechanism, Trouble,
};

/// As whom a connection logs in.
pub(super) enum Login {
    Nobody,
    Plain { username: String, password: Password },
    Password(ScramPassword),
    Token(TokenLogin),
    Keys { username: String, keys: ScramKeys },
}

/// A SCRAM login whose password is hashed once per salt: brokers keep the salt, and hashing costs more than connecting.
pub(super) struct ScramPassword {
    mechanism: ScramMechanism,
    username: String,
    password: Password,
    last: Mutex<Option<ScramKeys>>,
}

/// Brokers refuse requests on a session that outlived its credential; we leave well before that, as Java clients do.
const SESSION_SHARE: f64 = 0.85;

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Login(nobody)",
            Self::Plain { .. } | Self::Password(_) | Self::Token(_) | Self::Keys { .. } => "Login(redacted)",
        })
    }
}

impl Login {
    /// # Errors
    /// What an authorization server could not be reached with.
    pub(super) fn of(properties: &ClientProperties) -> Result<Self, Problems> {
        match &properties.oauth {
            Some(oauth) => TokenLogin::new(oauth.clone()).map(Self::Token),
            None => Ok(Self::new(properties.sasl.clone())),
        }
    }

    fn new(properties: Option<SaslProperties>) -> Self {
        match properties {
            None => Self::Nobody,
            Some(SaslProperties { mechanism: SaslMechanism::Plain, username, password }) => {
                Self::Plain { username, password }
            }
            Some(SaslProperties { mechanism: SaslMechanism::Scram(mechanism), username, password }) => {
                Self::Password(ScramPassword { mechanism, username, password, last: Mutex::new(None) })
            }
        }
    }

    fn mechanism(&self) -> Option<String> {
        match self {
            Self::Nobody => None,
            Self::Plain { .. } => Some("PLAIN".to_owned()),
            Self::Password(scram) => Some(scram.mechanism.to_string()),
            Self::Token(_) => Some("OAUTHBEARER".to_owned()),
            Self::Keys { keys, .. } => Some(keys.mechanism.to_string()),
        }
    }

    /// Authenticates a fresh connection. Has no time-out of its own beyond that of each request.
    pub(super) async fn perform(&self, connection: &mut Connection) -> Result<(), Fault> {
        let Some(mechanism) = self.mechanism() else { return Ok(()) };
        handshake(connection, mechanism).await?;
        match self {
            Self::Nobody => Ok(()),
            Self::Plain { username, password } => {
                let token = format!("\0{username}\0{}", password.reveal());
                authenticate(connection, token.into_bytes()).await.map(|_| ())
            }
            Self::Password(scram) => exchange(connection, &scram.username, Secret::Password(scram)).await,
            Self::Token(token) => show(connection, token).await,
            Self::Keys { username, keys } => exchange(connection, username, Secret::Keys(keys)).await,
        }
    }
}

/// A broker that does not take a token says why, and refuses once that was heard.
async fn show(connection: &mut Connection, token: &TokenLogin) -> Result<(), Fault> {
    const HEARD: u8 = 1;
    let answer = authenticate(connection, token.message().await?).await?;
    if answer.is_empty() {
        return Ok(());
    }
    token.forget().await;
    let why = String::from_utf8_lossy(&answer).escape_default().to_string();
    match authenticate(connection, vec![HEARD]).await {
        Err(fault) => Err(Fault { message: format!("{}; it says {why}", fault.message), ..fault }),
        Ok(_) => Err(Fault::protocol(format!("an answer to a token that is none: {why}"))),
    }
}

async fn handshake(connection: &mut Connection, mechanism: String) -> Result<(), Fault> {
    match ask_for(connection, &mechanism).await? {
        None => Ok(()),
        Some(offered) => Err(Fault::unoffered(
            Trouble::Authentication,
            format!("this listener does not offer {mechanism}; it offers {}", offered.join(", ")),
        )),
    }
}

/// The mechanisms that a listener offers; asked on a connection that is good for nothing else after that.
pub(super) async fn offered(connection: &mut Connection) -> Result<Vec<String>, Fault> {
    // Brokers name all that they have to who asks for one that they do not have.
    Ok(ask_for(connection, "NONE").await?.unwrap_or_default())
}

/// `Some`: the listener does not offer it, but these.
async fn ask_for(connection: &mut Connection, mechanism: &str) -> Result<Option<Vec<String>>, Fault> {
    let mechanism = StrBytes::from_string(mechanism.to_owned());
    let answer = connection.call(&SaslHandshakeRequest::default().with_mechanism(mechanism)).await?;
    match answer.error_code {
        0 => Ok(None),
        34 => Err(Fault::unoffered(
            Trouble::Protocol,
            "this listener takes no SASL login; see security.protocol",
        )),
        _ => Ok(Some(answer.mechanisms.iter().map(ToString::to_string).collect())),
    }
}

#[derive(Clone, Copy)]
enum Secret<'a> {
    Password(&'a ScramPassword),
    Keys(&'a ScramKeys),
}

async fn exchange(connection: &mut Connection, username: &str, secret: Secret<'_>) -> Result<(), Fault> {
    let unfit = |message: String| Fault::new(Trouble::Authentication, message);
    let exchange = ScramExchange::start(username).map_err(|message| unfit(message.to_owned()))?;
    let answer = authenticate(connection, exchange.first().into_bytes()).await?;
    let challenge = exchange.challenge(&text(&answer)?).map_err(unfit)?;
    let keys = match secret {
        Secret::Password(scram) => scram.keys(challenge.salt.clone(), challenge.iterations).await?,
        Secret::Keys(keys) => {
            let same =
                keys.salt == challenge.salt && i64::from(keys.iterations) == i64::from(challenge.iterations);
            if !same {
                // The same answer as for a wrong proof, without the broker's delay for one.
                return Err(Fault::refused_login(ItemError {
                    retriable: true,
                    ..ItemError::of(
                        ItemError::SASL_AUTHENTICATION_FAILED,
                        Some("the broker still holds an older credential of this user"),
                    )
                }));
            }
            keys.clone()
        }
    };
    let (last, proof) = exchange.finish(&challenge, &keys);
    let answer = authenticate(connection, last.into_bytes()).await?;
    proof.verify(&text(&answer)?).map_err(unfit)
}

fn text(bytes: &Bytes) -> Result<String, Fault> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::protocol("the SASL answer is no text"))
}

async fn authenticate(connection: &mut Connection, token: Vec<u8>) -> Result<Bytes, Fault> {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(token));
    let answer = connection.call(&request).await?;
    if answer.error_code != 0 {
        // Retriable: a credential takes a moment to reach every broker.
        return Err(Fault::refused_login(ItemError {
            retriable: true,
            ..ItemError::of(answer.error_code, answer.error_message.as_deref())
        }));
    }
    if let Ok(millis @ 1..) = u64::try_from(answer.session_lifetime_ms) {
        connection.expires = Some(Instant::now() + Duration::from_millis(millis).mul_f64(SESSION_SHARE));
    }
    Ok(answer.auth_bytes)
}

impl ScramPassword {
    async fn keys(&self, salt: Vec<u8>, iterations: u32) -> Result<ScramKeys, Fault> {
        let lock = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().clone();
        if let Some(keys) = known
            && keys.salt == salt
            && i64::from(keys.iterations) == i64::from(iterations)
        {
            return Ok(keys);
        }
        let (mechanism, password) = (self.mechanism, self.password.clone());
        let derive = move || ScramKeys::with_salt(mechanism, iterations, salt, &password);
        let keys = tokio::task::spawn_blocking(derive).await.map_err(|error| {
            Fault::new(Trouble::Authentication, format!("the password was not hashed: {error}"))
        })?;
        *lock() = Some(keys.clone());
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let scram = |mechanism| {
            Login::new(Some(SaslProperties {
                mechanism,
                username: "u".to_owned(),
                password: Password::new("hunter2"),
            }))
        };
        for login in [scram(SaslMechanism::Plain), scram(SaslMechanism::Scram(ScramMechanism::Sha512))] {
            assert!(!format!("{login:?}").contains("hunter2"));
        }
    }
}

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::Mutex;
use topicops_contract::{Password, Problems};
use zeroize::Zeroizing;

use super::{connection::Endpoint, fault::Fault, tls, transport};
use crate::kafka::{OAuthProperties, TokenEndpoint, TokenSource, Trouble};

/// A login by OAUTHBEARER (RFC 7628). Tokens of an authorization server are kept for as long as they are good.
pub(super) struct TokenLogin {
    properties: OAuthProperties,
    /// How the authorization server is reached.
    server: Arc<Endpoint>,
    last: Mutex<Option<(Password, Instant)>>,
}

/// Of a token's life: the rest is for clocks that differ, and for the way.
const SHARE: f64 = 0.8;
/// Where the server does not say how long a token is good.
const UNTOLD: Duration = Duration::from_secs(60);
/// Far more than any answer with a token.
const LONGEST: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<f64>,
}

/// What RFC 6749 lets a server say instead.
#[derive(Default, Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl TokenLogin {
    /// # Errors
    /// A trust store for the authorization server that cannot be used.
    pub(super) fn new(properties: OAuthProperties) -> Result<Self, Problems> {
        let tls = match &properties.source {
            TokenSource::File(_) => None,
            TokenSource::Endpoint(endpoint) => endpoint.tls.as_ref().map(tls::client_config).transpose()?,
        };
        let server = Endpoint { tls, client_id: String::new(), request_timeout: PATIENCE };
        Ok(Self { properties, server: Arc::new(server), last: Mutex::new(None) })
    }

    /// The one message of the exchange.
    pub(super) async fn message(&self) -> Result<Vec<u8>, Fault> {
        let token = self.token().await?;
        let mut message = format!("n,,\u{1}auth=Bearer {}", token.reveal());
        for (name, value) in &self.properties.extensions {
            let _ = write!(message, "\u{1}{name}={value}");
        }
        message.push_str("\u{1}\u{1}");
        Ok(message.into_bytes())
    }

    /// The broker did not take the token: the next login asks for another.
    pub(super) async fn forget(&self) {
        *self.last.lock().await = None;
    }

    async fn token(&self) -> Result<Password, Fault> {
        match &self.properties.source {
            TokenSource::File(file) => {
                let unread = |error: &dyn std::fmt::Display| {
                    unfit(format!("{}: cannot be read: {error}", file.display()))
                };
                let text = tokio::fs::read_to_string(file).await.map_err(|error| unread(&error))?;
                token(&Zeroizing::new(text))
                    .ok_or_else(|| unfit(format!("{}: holds no token", file.display())))
            }
            TokenSource::Endpoint(endpoint) => {
                // Held while it is asked for: whoever logs in meanwhile has the same one.
                let mut last = self.last.lock().await;
                if let Some((token, until)) = last.as_ref()
                    && Instant::now() < *until
                {
                    return Ok(token.clone());
                }
                let said = |fault: Fault| {
                    let message = format!("no token from {}: {}", endpoint.address, fault.message);
                    Fault { message, ..fault }
                };
                let (token, life) = self.ask(endpoint).await.map_err(said)?;
                let until = Instant::now() + life.mul_f64(SHARE);
                *last = Some((token.clone(), until));
                Ok(token)
            }
        }
    }

    /// Client credentials for a token, as RFC 6749 has it in section 4.4.
    async fn ask(&self, endpoint: &TokenEndpoint) -> Result<(Password, Duration), Fault> {
        let stream = transport::open(&self.server, &endpoint.address).await?;
        let broken = |error: hyper::Error| Fault::new(Trouble::Unreachable, error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request(endpoint)?).await.map_err(broken);
        let answer = match answer {
            Ok(answer) => {
                let status = answer.status();
                let body = Limited::new(answer.into_body(), LONGEST).collect().await;
                body.map(|body| (status, body.to_bytes())).map_err(|error| unfit(error.to_string()))
            }
            Err(fault) => Err(fault),
        };
        connection.abort();
        let (status, body) = answer?;
        if !status.is_success() {
            let refused: Refused = serde_json::from_slice(&body).unwrap_or_default();
            let words = [refused.error, refused.error_description];
            let words: Vec<String> = words
                .iter()
                .filter(|word| !word.is_empty())
                .map(|word| word.escape_default().to_string())
                .collect();
            return Err(unfit(format!("{status} {}", words.join(": ")).trim_end().to_owned()));
        }
        // What is there instead may be a secret all the same.
        let granted: Granted = serde_json::from_slice(&body)
            .map_err(|_| unfit("the answer holds no access_token".to_owned()))?;
        let text = Zeroizing::new(granted.access_token);
        let token = token(&text).ok_or_else(|| unfit("the access_token is none for a header".to_owned()))?;
        let life = granted.expires_in.filter(|seconds| (1.0..=1e9).contains(seconds));
        Ok((token, life.map_or(UNTOLD, Duration::from_secs_f64)))
    }
}

fn request(endpoint: &TokenEndpoint) -> Result<Request<Full<Bytes>>, Fault> {
    let credentials = Zeroizing::new(format!("{}:{}", endpoint.client_id, endpoint.client_secret.reveal()));
    let mut body = "grant_type=client_credentials".to_owned();
    if let Some(scope) = &endpoint.scope {
        body.push_str("&scope=");
        body.push_str(&form_encoded(scope));
    }
    Request::post(&endpoint.path)
        .header(header::HOST, endpoint.address.to_string())
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(credentials.as_bytes())))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| unfit(error.to_string()))
}

fn form_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            other => {
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

/// What RFC 6750 lets a token be made of: nothing that would end its place in a message.
fn token(text: &str) -> Option<Password> {
    let text = text.trim();
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    (!text.is_empty() && text.chars().all(legal)).then(|| Password::new(text))
}

fn unfit(message: String) -> Fault {
    Fault::new(Trouble::Authentication, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tokens_file_is_read_at_each_login_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let extensions = vec![("pool".to_owned(), "p-1".to_owned())];
        let login =
            TokenLogin::new(OAuthProperties { source: TokenSource::File(file.clone()), extensions }).unwrap();
        assert!(login.message().await.unwrap_err().message.contains("cannot be read"));
        for text in ["a.b.c", "d.e.f\n"] {
            std::fs::write(&file, text).unwrap();
            let message = String::from_utf8(login.message().await.unwrap()).unwrap();
            assert_eq!(message, format!("n,,\u{1}auth=Bearer {}\u{1}pool=p-1\u{1}\u{1}", text.trim()));
        }
        for bad in ["", "hunter2 hunter2", "hunter2\u{1}user=admin"] {
            std::fs::write(&file, bad).unwrap();
            let told = login.message().await.unwrap_err().message;
            assert!(told.contains("holds no token") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn scopes_are_encoded_as_forms_are() {
        assert_eq!(form_encoded("kafka read/ä&x=1"), "kafka+read%2F%C3%A4%26x%3D1");
    }
}

//! How a token is come by, in the words of Java clients: KIP-768, and the names that Kafka 4.1 added.

use std::collections::BTreeMap;

use topicops_contract::Password;

use super::{MECHANISM, PemSource, Reader, TlsProperties};
use crate::kafka::{OAuthProperties, TokenEndpoint, TokenSource, jaas::Jaas};

const TOKEN_URL: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.credentials.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
const SCOPE: &str = "sasl.oauthbearer.scope";
const LOGIN_HANDLER: &str = "sasl.login.callback.handler.class";

impl Reader {
    /// What would say how to come by a token, where none is shown.
    pub(super) fn without_oauth(&mut self) {
        for key in [TOKEN_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, LOGIN_HANDLER] {
            if self.take(key).is_some() {
                self.missing::<()>(key, "is not supported with this sasl.mechanism; take it out");
            }
        }
    }

    pub(super) fn oauth(&mut self) -> Option<OAuthProperties> {
        self.take(MECHANISM);
        if let Some(class) =
            self.take(LOGIN_HANDLER).filter(|class| !class.ends_with(".OAuthBearerLoginCallbackHandler"))
        {
            self.wrong::<()>(
                LOGIN_HANDLER,
                &class,
                "is not supported; only Kafka's own OAuthBearerLoginCallbackHandler has a counterpart here",
            );
        }
        for key in ["sasl.username", "sasl.password"] {
            if self.take(key).is_some() {
                self.missing::<()>(key, "is of no use with OAUTHBEARER; take it out");
            }
        }
        let mut options = self.oauth_options()?;
        let extensions = options.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix("extension_")?.to_owned(), value.reveal().to_owned()))
        });
        let extensions: Vec<(String, String)> = extensions.collect();
        let legal = |(name, value): &(String, String)| {
            // RFC 7628; `auth` is the token's own place.
            name != "auth"
                && name.chars().all(|c| c.is_ascii_alphabetic())
                && value.chars().all(|c| matches!(c, ' '..='~' | '\t' | '\r' | '\n'))
        };
        if !extensions.iter().all(legal) {
            return self
                .missing("sasl.jaas.config", "has an extension_ that is none: letters, and printable text");
        }
        let source = self.token_source(&mut options)?;
        Some(OAuthProperties { source, extensions })
    }

    /// The options of its login module; with a file none are needed.
    fn oauth_options(&mut self) -> Option<BTreeMap<String, Password>> {
        const KEY: &str = "sasl.jaas.config";
        const MODULE: &str = "OAuthBearerLoginModule";
        let Some(text) = self.take(KEY) else { return Some(BTreeMap::new()) };
        match Jaas::parse(&text) {
            Ok(jaas) if jaas.module.rsplit('.').next() == Some(MODULE) => Some(jaas.options),
            Ok(_) => self.missing(
                KEY,
                format!("names a login module that does not fit sasl.mechanism, which needs {MODULE}"),
            ),
            Err(expected) => self.missing(KEY, format!("cannot be read: it {expected}")),
        }
    }

    fn token_source(&mut self, options: &mut BTreeMap<String, Password>) -> Option<TokenSource> {
        const EXPECTED: &str =
            "an authorization server's https://host/path (or http://…), or a token's file:///path";
        let Some(url) = self.take(TOKEN_URL) else {
            return self.missing(TOKEN_URL, format!("is missing: {EXPECTED}"));
        };
        let mut credential = |reader: &mut Self, option: &str, key: &str| {
            options.remove(option).or_else(|| reader.take(key).map(Password::new))
        };
        let client_id = credential(self, "clientId", CLIENT_ID);
        let client_secret = credential(self, "clientSecret", CLIENT_SECRET);
        let scope = credential(self, "scope", SCOPE).map(|scope| scope.reveal().to_owned());
        if let Some(path) = url.strip_prefix("file://") {
            return if path.starts_with('/') {
                Some(TokenSource::File(path.into()))
            } else {
                self.wrong(TOKEN_URL, &url, EXPECTED)
            };
        }
        let (secure, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return self.wrong(TOKEN_URL, &url, EXPECTED),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let port = if secure { 443 } else { 80 };
        let address = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        let Ok(address) = address.parse() else { return self.wrong(TOKEN_URL, &url, EXPECTED) };
        let path_is_legal = path.chars().all(|c| c.is_ascii_graphic() && c != '#');
        if !path_is_legal {
            return self.wrong(TOKEN_URL, &url, EXPECTED);
        }
        let (Some(client_id), Some(client_secret)) = (client_id, client_secret) else {
            return self.missing(
                "sasl.jaas.config",
                format!("lacks clientId or clientSecret, with which a token is asked for; or give {CLIENT_ID} and {CLIENT_SECRET}"),
            );
        };
        let trust = self.token_trust(options)?;
        let tls = secure.then_some(TlsProperties { trust, identity: None, tls12: true, tls13: true });
        Some(TokenSource::Endpoint(Box::new(TokenEndpoint {
            address,
            tls,
            path: path.to_owned(),
            client_id: client_id.reveal().to_owned(),
            client_secret,
            scope,
        })))
    }

    /// As Java clients have it: the authorization server's trust store is an option of the login module, and is not that of
    /// the brokers.
    fn token_trust(&mut self, options: &mut BTreeMap<String, Password>) -> Option<Option<PemSource>> {
        let mut take = |option: &str| options.remove(option).map(|value| value.reveal().to_owned());
        let kind = take("ssl.truststore.type");
        let source = match (take("ssl.truststore.certificates"), take("ssl.truststore.location")) {
            (Some(pem), _) => Some(PemSource::Inline(pem)),
            (None, Some(file)) => Some(PemSource::File(file.into())),
            (None, None) => None,
        };
        if source.is_some() && kind.is_none_or(|kind| !kind.eq_ignore_ascii_case("PEM")) {
            return self.missing(
                "sasl.jaas.config",
                "has a trust store for the authorization server whose ssl.truststore.type must be PEM",
            );
        }
        Some(source)
    }
}

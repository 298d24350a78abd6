use std::path::PathBuf;

use topicops_contract::Password;

use super::{Address, TlsProperties};

/// A login by OAUTHBEARER: with a token that somebody else vouches for.
#[derive(Clone, Debug)]
pub struct OAuthProperties {
    pub source: TokenSource,
    /// What the broker is told beside the token, as `extension_…` options of the JAAS text.
    pub extensions: Vec<(String, String)>,
}

/// Where tokens come from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// A file that holds one, and that somebody renews; read at each login.
    File(PathBuf),
    /// An authorization server that gives them for client credentials.
    Endpoint(Box<TokenEndpoint>),
}

#[derive(Clone, Debug)]
pub struct TokenEndpoint {
    pub address: Address,
    /// `None` for `http`.
    pub tls: Option<TlsProperties>,
    /// Path and query, as in the URL.
    pub path: String,
    pub client_id: String,
    pub client_secret: Password,
    pub scope: Option<String>,
}

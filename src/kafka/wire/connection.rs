use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use kafka_protocol::{
    messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader},
    protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes},
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{fault::Fault, transport};
use crate::kafka::{Address, Trouble};

/// What all connections of one cluster handle have in common.
pub(super) struct Endpoint {
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) client_id: String,
    pub(super) request_timeout: Duration,
}

impl Endpoint {
    /// TCP, TLS, versions and login together. Java's `socket.connection.setup.timeout.ms`.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

    pub(super) fn connect_timeout(&self) -> Duration {
        Self::CONNECT_TIMEOUT.min(self.request_timeout)
    }
}

/// An answer may be this long, in bytes; the same number as Kafka's own `socket.request.max.bytes`.
const MAX_ANSWER: usize = 100 * 1024 * 1024;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// A framed connection to one broker: one request, then its answer.
///
/// After an error, or when a call was dropped half-way, it is out of step with the broker and must be dropped.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    endpoint: Arc<Endpoint>,
    address: Address,
    versions: HashMap<i16, (i16, i16)>,
    next_correlation: i32,
    /// When the broker will want a new login.
    pub(super) expires: Option<Instant>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.address)
    }
}

impl Connection {
    /// Connects and asks which requests the broker understands. Does not log in, and has no time-out of its own.
    pub(super) async fn open(endpoint: &Arc<Endpoint>, address: &Address) -> Result<Self, Fault> {
        let stream = transport::open(endpoint, address).await?;
        let mut connection = Self {
            stream,
            endpoint: endpoint.clone(),
            address: address.clone(),
            versions: HashMap::new(),
            next_correlation: 0,
            expires: None,
        };
        connection.negotiate().await?;
        Ok(connection)
    }

    /// Whether it was made as connections are made now.
    pub(super) fn is_of(&self, endpoint: &Arc<Endpoint>) -> bool {
        Arc::ptr_eq(&self.endpoint, endpoint)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the broker still listens, as far as this side can know without asking.
    pub(super) fn is_alive(&mut self) -> bool {
        // Nothing is owed to us between requests, so whatever can be read now is an end, an alert or a mistake.
        let silent = self.stream.read(&mut [0; 1]).now_or_never().is_none();
        silent && self.expires.is_none_or(|expires| Instant::now() < expires)
    }

    /// The broker's newest version of a request that we know, too.
    pub(super) fn version_of<R: Request>(&self) -> Result<i16, Fault> {
        common_version::<R>(self.versions.get(&R::KEY))
    }

    /// Sends a request and reads its answer, in the newest version both sides know, within the request time-out.
    pub(super) async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, Fault> {
        let version = self.version_of::<R>()?;
        let limit = self.endpoint.request_timeout;
        let body = timeout(limit, self.exchange(request, version))
            .await
            .map_err(|_| Fault::new(Trouble::Unreachable, format!("no answer within {limit:?}")))??;
        decode::<R::Response>(body, version)
    }

    async fn negotiate(&mut self) -> Result<(), Fault> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("topicops"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut body = self.exchange(&request, 3).await?;
        let mut version = 3;
        // A broker that does not know version 3 says so in the format of version 0.
        if body.len() >= 2 && (&body[..2]).get_i16() == 35 {
            body = self.exchange(&ApiVersionsRequest::default(), 0).await?;
            version = 0;
        }
        let answer = decode::<ApiVersionsResponse>(body, version)?;
        if answer.error_code != 0 {
            return Err(Fault::answer(answer.error_code, None));
        }
        self.versions =
            answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(())
    }

    /// One frame out, one frame in; what comes back begins after the answer's header.
    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, Fault> {
        let correlation = self.next_correlation;
        self.next_correlation = correlation.wrapping_add(1);
        let frame = self.encode(request, version, correlation)?;
        self.stream.write_all(&frame).await.map_err(|error| Fault::io(&error))?;
        self.stream.flush().await.map_err(|error| Fault::io(&error))?;
        drop(frame);
        let mut body = self.read_frame().await?;
        let header = ResponseHeader::decode(&mut body, R::Response::header_version(version))
            .map_err(|error| Fault::protocol(format!("the answer's header cannot be read: {error}")))?;
        if header.correlation_id != correlation {
            return Err(Fault::protocol(format!(
                "the answer is to request {} and not to {correlation}: not a Kafka broker, or out of step",
                header.correlation_id
            )));
        }
        Ok(body)
    }

    fn encode<R: Request>(&self, request: &R, version: i16, correlation: i32) -> Result<BytesMut, Fault> {
        let unfit = |error| Fault::protocol(format!("the request cannot be written: {error}"));
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(correlation)
            .with_client_id(Some(StrBytes::from_string(self.endpoint.client_id.clone())));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        header.encode(&mut frame, R::header_version(version)).map_err(unfit)?;
        request.encode(&mut frame, version).map_err(unfit)?;
        let length = i32::try_from(frame.len() - 4)
            .ok()
            .filter(|length| usize::try_from(*length).is_ok_and(|length| length <= MAX_ANSWER))
            .ok_or_else(|| Fault::protocol("the request is too long to be sent"))?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame)
    }

    /// Memory grows with what arrives, never with what a length field promises.
    async fn read_frame(&mut self) -> Result<Bytes, Fault> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Fault::broken(self.hang_up()),
            _ => Fault::io(&error),
        })?;
        let length = usize::try_from(i32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
        if length > MAX_ANSWER {
            let trouble = if is_tls(prefix) { Trouble::Tls } else { Trouble::Protocol };
            return Err(Fault::new(trouble, too_long(prefix)));
        }
        let mut body = Vec::new();
        let mut rest = (&mut self.stream).take(length as u64);
        rest.read_to_end(&mut body).await.map_err(|error| Fault::io(&error))?;
        if body.len() < length {
            return Err(Fault::broken("the connection ended in the middle of an answer"));
        }
        Ok(Bytes::from(body))
    }

    fn hang_up(&self) -> String {
        let hint = match (self.versions.is_empty(), &self.endpoint.tls) {
            (true, None) => " before it said a word; a listener that expects TLS does that",
            (true, Some(_)) => {
                " before it said a word; a listener that asks for a client certificate does that"
            }
            (false, _) => "",
        };
        format!("the broker closed the connection{hint}")
    }
}

/// The newest version of a request that both sides know; `broker`: its oldest and newest.
pub(super) fn common_version<R: Request>(broker: Option<&(i16, i16)>) -> Result<i16, Fault> {
    let ours = R::VERSIONS;
    let name = ApiKey::try_from(R::KEY).map_or_else(|()| R::KEY.to_string(), |key| format!("{key:?}"));
    let Some((least, newest)) = broker else {
        return Err(Fault::protocol(format!("the broker does not know {name} requests; it is too old")));
    };
    let version = ours.max.min(*newest);
    if version < ours.min || version < *least {
        return Err(Fault::protocol(format!(
            "the broker speaks {name} requests of versions {least} to {newest}, and topicops {ours}"
        )));
    }
    Ok(version)
}

fn decode<A: Message + Decodable + HeaderVersion>(mut body: Bytes, version: i16) -> Result<A, Fault> {
    A::decode(&mut body, version)
        .map_err(|error| Fault::protocol(format!("the answer cannot be read: {error}")))
}

/// An alert or a handshake message of TLS.
fn is_tls(prefix: [u8; 4]) -> bool {
    matches!(prefix, [0x15 | 0x16, 3, _, _])
}

/// The first bytes of other protocols make absurd lengths, and tell which one it is.
fn too_long(prefix: [u8; 4]) -> String {
    match &prefix {
        b"HTTP" => "this is an HTTP server and no Kafka broker".to_owned(),
        b"SSH-" => "this is an SSH server and no Kafka broker".to_owned(),
        _ if is_tls(prefix) => "this listener speaks TLS, and security.protocol is without it".to_owned(),
        _ if prefix.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
            format!(
                "this is no Kafka broker: it begins with \"{}\"",
                String::from_utf8_lossy(&prefix).escape_default()
            )
        }
        _ => format!(
            "an answer of {} bytes was announced, and {MAX_ANSWER} is the most that is read",
            u32::from_be_bytes(prefix)
        ),
    }
}

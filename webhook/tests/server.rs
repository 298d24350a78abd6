//! The listener, over real sockets and real TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // clippy knows tests by their functions, not by their file

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::pem::PemObject,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use topicops_certs::{Authority, LeafResolver, Validity};
use topicops_webhook::{
    Limits, Metrics, MinimumTls, ServerReport, Shutdown, Unquestioned, WebhookState, router, serve,
};

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "topicops.kafka.svc";

struct Server {
    address: SocketAddr,
    authority: Authority,
    resolver: Arc<LeafResolver>,
    metrics: Metrics,
    shutdown: Shutdown,
    task: JoinHandle<Result<ServerReport, rustls::Error>>,
}

fn today() -> Validity {
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_hours(1);
    Validity { not_before: now - hour, not_after: now + hour }
}

fn issue(resolver: &LeafResolver) -> Authority {
    let authority = Authority::create(1, today()).unwrap();
    let names = [ServerName::try_from(NAME).unwrap()];
    resolver.serve(authority.issue(&names, today()).unwrap()).unwrap();
    authority
}

async fn start(limits: Limits, minimum: MinimumTls, extra: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let resolver = Arc::new(LeafResolver::new());
    let authority = issue(&resolver);
    let metrics = Metrics::default();
    let shutdown = Shutdown::default();
    let state = WebhookState::new(Arc::new(Unquestioned), Arc::new(Unquestioned), metrics.clone());
    let certificates: Arc<dyn rustls::server::ResolvesServerCert> = resolver.clone();
    let app = router(state).merge(extra);
    let task =
        tokio::spawn(serve(listener, certificates, minimum, app, limits, metrics.clone(), shutdown.clone()));
    Server { address, authority, resolver, metrics, shutdown, task }
}

async fn plain() -> Server {
    start(Limits::default(), MinimumTls::default(), Router::new()).await
}

type Connection = TlsStream<TcpStream>;

impl Server {
    async fn connect(&self) -> Connection {
        self.try_connect(&self.authority, rustls::ALL_VERSIONS).await.unwrap()
    }

    async fn try_connect(
        &self,
        trusted: &Authority,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> std::io::Result<Connection> {
        let mut roots = RootCertStore::empty();
        let pem = trusted.certificate().to_pem();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(NAME).unwrap();
        timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap()
    }

    async fn report(self) -> ServerReport {
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap()
    }
}

const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1",
    "kind":{"group":"apps","version":"v1","kind":"Deployment"},"operation":"DELETE","object":null}}"#;

fn review() -> String {
    format!("POST /mutate HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {}\r\n\r\n{REVIEW}", REVIEW.len())
}

/// Sends text and reads one answer, header and body.
async fn ask(connection: &mut Connection, text: &str) -> String {
    connection.write_all(text.as_bytes()).await.unwrap();
    answer(connection).await
}

async fn answer(connection: &mut Connection) -> String {
    let mut text = Vec::new();
    loop {
        let read = timeout(PATIENCE, connection.read_buf(&mut text)).await.unwrap().unwrap();
        let so_far = String::from_utf8_lossy(&text).to_lowercase();
        if let Some((header, body)) = so_far.split_once("\r\n\r\n") {
            let length = header.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse::<usize>().unwrap() {
                return so_far;
            }
        }
        assert_ne!(read, 0, "the connection ended after {so_far:?}");
    }
}

/// The server hangs up, with or without a farewell.
async fn ended(connection: &mut Connection) {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, connection.read_to_end(&mut rest)).await.expect("the connection stays open");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn several_reviews_are_answered_on_one_connection_over_http_1() {
    let server = plain().await;
    let mut connection = server.connect().await;
    assert_eq!(connection.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    assert_eq!(connection.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    for _ in 0..3 {
        let answer = ask(&mut connection, &review()).await;
        assert!(
            answer.starts_with("http/1.1 200") && answer.contains(r#""uid":"u-1","allowed":true"#),
            "{answer}"
        );
    }
    assert_eq!(server.metrics.served(), 3);
    assert_eq!(server.metrics.connections(), 1);
}

#[tokio::test]
async fn tls_1_2_is_spoken_only_when_allowed() {
    let only_1_2 = &[&rustls::version::TLS12];
    let server = plain().await;
    assert!(server.try_connect(&server.authority, only_1_2).await.is_err());
    let server = start(Limits::default(), MinimumTls::V1_2, Router::new()).await;
    let mut connection = server.try_connect(&server.authority, only_1_2).await.unwrap();
    assert!(ask(&mut connection, &review()).await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_it_is_sent() {
    let server = plain().await;
    let mut connection = server.connect().await;
    let header = format!("POST /mutate HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 99999999\r\n\r\n");
    assert!(ask(&mut connection, &header).await.starts_with("http/1.1 413"));
}

#[tokio::test]
async fn a_slow_header_is_cut_while_an_idle_connection_is_kept() {
    let limits = Limits { header: Duration::from_secs(1), ..Limits::default() };
    let server = start(limits, MinimumTls::default(), Router::new()).await;
    let mut idle = server.connect().await;
    ask(&mut idle, &review()).await;
    let mut unused = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"POST /mutate HTTP/1.1\r\nHost: ").await.unwrap();
    ended(&mut slow).await;
    for connection in [&mut idle, &mut unused] {
        assert!(ask(connection, &review()).await.starts_with("http/1.1 200"));
    }
    // The second request of a connection is watched like the first.
    idle.write_all(b"POST").await.unwrap();
    ended(&mut idle).await;
}

#[tokio::test]
async fn garbage_and_silence_instead_of_a_handshake_are_cut_and_harm_nobody() {
    let limits = Limits { handshake: Duration::from_secs(5), ..Limits::default() };
    let server = start(limits, MinimumTls::default(), Router::new()).await;
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0; 512], b""] {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.expect("the connection stays open");
    }
    let mut connection = server.connect().await;
    assert!(ask(&mut connection, &review()).await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn no_more_connections_are_served_than_allowed() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let server = start(limits, MinimumTls::default(), Router::new()).await;
    let mut first = server.connect().await;
    ask(&mut first, &review()).await;
    let second = server.connect();
    let mut second = std::pin::pin!(second);
    let text = review();
    // The first is served while the second waits; when it goes, the second is served.
    tokio::select! {
        biased;
        _ = &mut second => panic!("two connections at once"),
        answer = ask(&mut first, &text) => assert!(answer.starts_with("http/1.1 200")),
    }
    drop(first);
    let mut second = second.await;
    assert!(ask(&mut second, &review()).await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_new_certificate_is_served_to_new_connections_and_old_ones_live_on() {
    let server = plain().await;
    let mut old = server.connect().await;
    ask(&mut old, &review()).await;
    let next = issue(&server.resolver);
    let mut new = server.try_connect(&next, rustls::ALL_VERSIONS).await.unwrap();
    assert!(ask(&mut new, &review()).await.starts_with("http/1.1 200"));
    assert!(ask(&mut old, &review()).await.starts_with("http/1.1 200"));
    assert!(server.try_connect(&server.authority, rustls::ALL_VERSIONS).await.is_err());
}

#[tokio::test]
async fn before_the_drain_each_answer_is_the_last_on_its_connection_and_new_ones_are_accepted() {
    let server = plain().await;
    let mut connection = server.connect().await;
    assert!(!ask(&mut connection, &review()).await.contains("connection: close"));
    server.shutdown.last_requests.cancel();
    assert!(ask(&mut connection, &review()).await.contains("connection: close"));
    ended(&mut connection).await;
    assert!(ask(&mut server.connect().await, &review()).await.starts_with("http/1.1 200"));
}

/// A route that answers when it is told to; the first notification says that a request has arrived.
fn slow() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inner_arrived, inner_go) = (Arc::clone(&arrived), Arc::clone(&go));
    let handler = move || async move {
        inner_arrived.notify_one();
        inner_go.notified().await;
        "done"
    };
    (Router::new().route("/slow", get(handler)), arrived, go)
}

#[tokio::test]
async fn a_drain_finishes_what_is_being_answered_and_closes_what_is_idle() {
    let (route, arrived, go) = slow();
    let server = start(Limits::default(), MinimumTls::default(), route).await;
    let address = server.address;
    let mut idle = server.connect().await;
    ask(&mut idle, &review()).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    timeout(PATIENCE, arrived.notified()).await.unwrap();
    server.shutdown.drain.cancel();
    ended(&mut idle).await;
    assert!(TcpStream::connect(address).await.is_err(), "a draining server accepts connections");
    go.notify_one();
    let text = answer(&mut busy).await;
    assert!(text.ends_with("done") && text.contains("connection: close"), "{text}");
    let report = server.report().await;
    assert_eq!((report.accepted, report.broken_off), (2, 0), "{report:?}");
}

#[tokio::test]
async fn a_drain_is_bounded_and_tells_what_it_broke_off() {
    let (route, arrived, _go) = slow();
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let server = start(limits, MinimumTls::default(), route).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    timeout(PATIENCE, arrived.notified()).await.unwrap();
    server.shutdown.drain.cancel();
    let report = server.report().await;
    assert_eq!(report, ServerReport { accepted: 1, open_at_drain: 1, broken_off: 1 });
}

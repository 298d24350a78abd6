//! The listener: TLS, bounds, and an orderly end.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{NoServerSessionStorage, ResolvesServerCert},
    version::{TLS12, TLS13},
};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    Limits, Metrics,
    connection::{self, Shared},
};

/// After an accept that failed for want of file descriptors or memory: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinimumTls {
    V1_2,
    /// Every API server that is still maintained speaks it.
    #[default]
    V1_3,
}

/// How the end comes, in two steps that the caller times.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// At SIGTERM: serve on, new connections too, but let each answer be the last on its connection, so that clients move
    /// away before anything is closed under them.
    pub last_requests: CancellationToken,
    /// After the delay in which the Service forgets this replica: accept no more, close what is idle, finish what is not.
    pub drain: CancellationToken,
}

/// What the end of the server left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// Connections accepted in all.
    pub accepted: u64,
    /// Connections that were open when the drain began.
    pub open_at_drain: usize,
    /// Those of them that had to be broken off when [`Limits::drain`] was over. 0 means that no answer was lost.
    pub broken_off: usize,
}

/// Serves `router` over TLS until `shutdown.drain` is cancelled and the connections have ended, [`Limits::drain`] at most.
/// HTTP/1.1 only, because that is what API servers speak to webhooks.
///
/// # Errors
/// The TLS settings do not work out. Errors of single connections end those connections only.
pub async fn serve(
    listener: TcpListener,
    certificates: Arc<dyn ResolvesServerCert>,
    minimum: MinimumTls,
    router: Router,
    limits: Limits,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<ServerReport, rustls::Error> {
    let Shutdown { last_requests, drain } = shutdown;
    let shared = Arc::new(Shared {
        acceptor: acceptor(certificates, minimum)?,
        router,
        limits,
        metrics,
        last_requests,
        drain: drain.clone(),
    });
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut accepted = 0;
    loop {
        // Room first: a connection that nobody has time for stays in the kernel's queue.
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(tcp, _)| (permit, tcp))
        };
        tokio::select! {
            biased;
            () = drain.cancelled() => break,
            Some(_) = connections.join_next() => {}
            next = next => match next {
                Ok((permit, tcp)) => {
                    accepted += 1;
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        connection::serve(tcp, shared).await;
                        drop(permit);
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::select! {
                        () = drain.cancelled() => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            },
        }
    }
    drop(listener);
    while connections.try_join_next().is_some() {}
    let open_at_drain = connections.len();
    let deadline = Instant::now() + limits.drain;
    while let Ok(Some(_)) = timeout_at(deadline, connections.join_next()).await {}
    let broken_off = connections.len();
    connections.shutdown().await;
    Ok(ServerReport { accepted, open_at_drain, broken_off })
}

/// The client went away between its connect and our accept.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn acceptor(
    certificates: Arc<dyn ResolvesServerCert>,
    minimum: MinimumTls,
) -> Result<TlsAcceptor, rustls::Error> {
    let versions: &[_] = match minimum {
        MinimumTls::V1_2 => &[&TLS13, &TLS12],
        MinimumTls::V1_3 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // API servers do not resume sessions. Without resumption every connection verifies the certificate that is served now.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

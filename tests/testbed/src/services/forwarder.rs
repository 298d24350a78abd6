//! Listens at one address and hands each connection to one target.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Backend;
use crate::watched::Watched;

const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// One address that is listened on, until this is dropped. Connections that exist then live on; they
/// end when either side closes, as a Pod does that ends.
#[derive(Debug)]
pub(super) struct Forwarder {
    backend: Arc<Mutex<Arc<Backend>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Forwarder {
    pub(super) async fn start(
        address: SocketAddr,
        backend: Arc<Backend>,
        pods: Watched<Pod>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let backend = Arc::new(Mutex::new(backend));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&backend), pods));
        Ok(Self { backend, accepting })
    }

    pub(super) fn lead_to(&self, backend: Arc<Backend>) {
        *self.backend.lock().unwrap_or_else(PoisonError::into_inner) = backend;
    }
}

async fn accept(listener: TcpListener, backend: Arc<Mutex<Arc<Backend>>>, pods: Watched<Pod>) {
    let turn = AtomicUsize::new(0);
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let backend = Arc::clone(&backend.lock().unwrap_or_else(PoisonError::into_inner));
        let mut targets = backend.targets(&pods);
        if !targets.is_empty() {
            let first = turn.fetch_add(1, Ordering::Relaxed) % targets.len();
            targets.rotate_left(first);
        }
        tokio::spawn(forward(client, targets));
    }
}

/// With nobody behind the Service the connection is closed at once, which is the nearest to being
/// refused that a listener can do.
async fn forward(mut client: TcpStream, targets: Vec<SocketAddr>) {
    for target in targets {
        if let Ok(Ok(mut server)) = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(target)).await {
            // Without it, small messages wait for acknowledgements; with or without, they arrive.
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            // Either side may break off at any time; both are closed then.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}

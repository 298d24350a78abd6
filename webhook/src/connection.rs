//! One connection: TLS handshake, then HTTP/1.1 until either side has had enough.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, http::header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{Limits, Metrics};

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    /// From here on every answer is a connection's last one.
    pub(crate) last_requests: CancellationToken,
    /// From here on idle connections are closed.
    pub(crate) drain: CancellationToken,
}

pub(crate) async fn serve(tcp: TcpStream, shared: Arc<Shared>) {
    let _connected = shared.metrics.connected();
    // With Nagle's algorithm on, answers wait up to 40 ms for the client's acknowledgement.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "connection lost before it began");
        return;
    }
    let handshake = timeout(shared.limits.handshake, shared.acceptor.accept(tcp));
    let tls = tokio::select! {
        () = shared.drain.cancelled() => return,
        result = handshake => match result {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                shared.metrics.handshake_failed("tls");
                tracing::debug!(%error, "handshake failed");
                return;
            }
            Err(_) => {
                shared.metrics.handshake_failed("timeout");
                return;
            }
        },
    };

    let header = Arc::new(Header::default());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        header.complete();
        let answer = shared.router.clone().oneshot(request.map(Body::new));
        let (header, last_requests) = (Arc::clone(&header), shared.last_requests.clone());
        async move {
            let answered = answer.await;
            header.expect_next();
            answered.map(|mut response| {
                if last_requests.is_cancelled() {
                    let close = header::HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response
            }) as Result<_, Infallible>
        }
    });
    let watched = Watched { io: tls, header: Arc::clone(&header) };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper's timer runs between requests too; see `Limits::idle`.
        .header_read_timeout(shared.limits.idle)
        .max_buf_size(shared.limits.header_bytes.max(8192))
        .serve_connection(TokioIo::new(watched), service);
    let mut connection = std::pin::pin!(connection);
    let mut late = std::pin::pin!(header.late(shared.limits.header));
    let mut draining = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = late.as_mut() => {
                shared.metrics.cut("header");
                return;
            }
            () = shared.drain.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Whether a request has begun to arrive and its header is not complete.
#[derive(Debug, Default)]
struct Header {
    busy: AtomicBool,
    begun: Notify,
    completed: Notify,
}

impl Header {
    /// Bytes have come in.
    fn bytes(&self) {
        if !self.busy.swap(true, Ordering::Relaxed) {
            self.begun.notify_one();
        }
    }

    fn complete(&self) {
        self.completed.notify_one();
    }

    fn expect_next(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    /// Ends when a header that has begun takes longer than `limit`. Should two requests come and go between two looks, the
    /// header after them is bounded by the idle time instead.
    async fn late(&self, limit: Duration) {
        loop {
            self.begun.notified().await;
            if timeout(limit, self.completed.notified()).await.is_err() {
                return;
            }
        }
    }
}

struct Watched<T> {
    io: T,
    header: Arc<Header>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.header.bytes();
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

use std::time::Duration;

/// The bounds of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's queue. An API server keeps a handful.
    pub connections: usize,
    /// From a connection's acceptance to the end of its TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// Bytes of a header, 8,192 at least. It is also the most that is read at once.
    pub header_bytes: usize,
    /// How long a connection may lie idle. Longer than the 90 s after which an API server's client drops it itself: if we
    /// were first, a request might already be on its way, and be lost.
    pub idle: Duration,
    /// For requests that are being answered when the server is to end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            header_bytes: 64 * 1024,
            idle: Duration::from_secs(120),
            drain: Duration::from_secs(10),
        }
    }
}

//! The one part of kubelet's own server that a person at a bed needs: `kubectl logs`.
use std::io::SeekFrom;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::watched::Watched;
use crate::{tail, wait};

pub(super) const PORT: u16 = 10250;
const LONGEST_REQUEST: usize = 16 * 1024;
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) struct LogServer {
    bed: PathBuf,
    pods: Watched<Pod>,
    acceptor: TlsAcceptor,
}

impl LogServer {
    pub(super) async fn start(bed: &Path, address: SocketAddr, pods: Watched<Pod>) -> Result<()> {
        let pki = bed.join("pki");
        let certificates =
            CertificateDer::pem_file_iter(pki.join("node.pem"))?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(pki.join("node-key.pem"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let server = Arc::new(Self { bed: bed.to_owned(), pods, acceptor });
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    if let Err(error) = server.serve(stream).await {
                        tracing::debug!(error = format!("{error:#}"), "serving a log");
                    }
                });
            }
        });
        Ok(())
    }

    async fn serve(&self, stream: TcpStream) -> Result<()> {
        let (mut stream, target) = tokio::time::timeout(REQUEST_PATIENCE, async {
            let mut stream = self.acceptor.accept(stream).await?;
            let target = read_target(&mut stream).await?;
            anyhow::Ok((stream, target))
        })
        .await??;
        match Wanted::parse(&target).and_then(|wanted| self.find(&wanted).map(|file| (wanted, file))) {
            Ok((wanted, file)) => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")
                    .await?;
                self.send(&mut stream, &wanted, &file).await?;
            }
            Err(error) => {
                let message = format!("{error:#}");
                let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n", message.len());
                stream.write_all(format!("{head}Connection: close\r\n\r\n{message}").as_bytes()).await?;
            }
        }
        Ok(stream.shutdown().await?)
    }

    fn find(&self, wanted: &Wanted) -> Result<PathBuf> {
        let folder = tail::container_folder(&self.bed, &wanted.namespace, &wanted.pod, &wanted.container);
        let mut files = tail::instance_files(&folder);
        if wanted.previous {
            files.pop();
        }
        files.pop().context("the testbed's node has no such log")
    }

    async fn send(&self, stream: &mut (impl AsyncWrite + Unpin), wanted: &Wanted, file: &Path) -> Result<()> {
        let mut log = File::open(file).await?;
        if let Some(lines) = wanted.tail_lines {
            let text = tail::last_lines(file, lines);
            stream.write_all(text.as_bytes()).await?;
            stream.write_all(b"\n").await?;
            log.seek(SeekFrom::End(0)).await?;
        }
        loop {
            // First the question, then the copy: what is printed between the two is not lost.
            let is_over = !wanted.follow || self.has_ended(wanted, file);
            tokio::io::copy(&mut log, stream).await?;
            stream.flush().await?;
            if is_over {
                return Ok(());
            }
            wait::pause_unless(LOOK_AGAIN, std::future::pending::<()>()).await;
        }
    }

    fn has_ended(&self, wanted: &Wanted, file: &Path) -> bool {
        let newest = self.find(&Wanted { previous: false, ..wanted.clone() });
        let pod = self.pods.get(&wanted.namespace, &wanted.pod);
        let status = pod.as_ref().and_then(|pod| pod.status.as_ref());
        let statuses = status.into_iter().flat_map(|status| {
            status.container_statuses.iter().chain(&status.init_container_statuses).flatten()
        });
        let runs = statuses
            .filter(|status| status.name == wanted.container)
            .any(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
        !runs || newest.is_ok_and(|newest| newest != file)
    }
}

async fn read_target(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut chunk).await?;
        if count == 0 || request.len() > LONGEST_REQUEST {
            bail!("no whole request");
        }
        request.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&request);
    text.split_whitespace().nth(1).map(str::to_owned).context("no request line")
}

/// `/containerLogs/NAMESPACE/POD/CONTAINER?follow=true&tailLines=10&previous=true`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    namespace: String,
    pod: String,
    container: String,
    follow: bool,
    previous: bool,
    tail_lines: Option<usize>,
}

impl Wanted {
    fn parse(target: &str) -> Result<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let ["containerLogs", namespace, pod, container] = parts[..] else {
            bail!("the testbed's node serves logs, and not {path}")
        };
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        Ok(Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            follow: value("follow") == Some("true"),
            previous: value("previous") == Some("true"),
            tail_lines: value("tailLines").map(str::parse).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_asks_for_is_understood() {
        let wanted = Wanted::parse("/containerLogs/shop/cart-0/main?follow=true&tailLines=5").unwrap();
        assert_eq!((wanted.pod.as_str(), wanted.follow, wanted.tail_lines), ("cart-0", true, Some(5)));
        assert!(Wanted::parse("/exec/shop/cart-0/main").is_err());
    }
}

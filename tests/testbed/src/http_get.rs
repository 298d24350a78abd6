//! One HTTP request and the status of its answer: what probes and readiness checks need.
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// More of an answer than this is not read: the status line comes first.
const ENOUGH: usize = 4096;

#[derive(Debug, Clone)]
pub(crate) struct HttpGet {
    pub(crate) address: SocketAddr,
    /// HTTPS, without verification: as kubelet probes.
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl HttpGet {
    pub(crate) fn https(address: SocketAddr, path: &str) -> Self {
        Self { address, tls: true, host: address.to_string(), path: path.to_owned(), headers: Vec::new() }
    }

    /// Sends the request; an answer between 200 and 399 is a success, as it is to kubelet.
    pub(crate) async fn succeed(&self) -> Result<()> {
        let stream = TcpStream::connect(self.address)
            .await
            .with_context(|| format!("connecting to {}", self.address))?;
        let answer = if self.tls {
            let name = ServerName::IpAddress(self.address.ip().into());
            self.exchange(connector()?.connect(name, stream).await.context("TLS handshake")?).await?
        } else {
            self.exchange(stream).await?
        };
        match status(&answer) {
            Some(200..=399) => Ok(()),
            Some(code) => bail!("HTTP probe failed with status code {code}: {}", body(&answer)),
            None => bail!("the answer is not HTTP"),
        }
    }

    async fn exchange(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<String> {
        let mut request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.path, self.host);
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("User-Agent: kube-probe/testbed\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut chunk = [0; 1024];
        while answer.len() < ENOUGH {
            match stream.read(&mut chunk).await {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&chunk[..count]),
                // A server that closes without a TLS goodbye has answered all the same.
                Err(_) if !answer.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn status(answer: &str) -> Option<u16> {
    let mut words = answer.lines().next()?.split_whitespace();
    words.next()?.starts_with("HTTP/").then_some(())?;
    words.next()?.parse().ok()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim()
}

fn connector() -> Result<TlsConnector> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

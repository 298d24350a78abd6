use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{CertificateError, Leaf};

/// Hands the server its certificate, handshake by handshake. A new leaf is served to the next handshake, with no restart
/// and no lock; connections that exist keep what they have. Before the first leaf, handshakes fail.
#[derive(Debug, Default)]
pub struct LeafResolver(ArcSwapOption<Served>);

struct Served {
    leaf: Leaf,
    key: Arc<CertifiedKey>,
}

impl LeafResolver {
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `leaf` from now on.
    ///
    /// # Errors
    /// Key and certificate do not belong together; what was served before is served on.
    pub fn serve(&self, leaf: Leaf) -> Result<(), CertificateError> {
        let key = leaf.certified_key()?;
        self.0.store(Some(Arc::new(Served { leaf, key })));
        Ok(())
    }

    /// What is being served.
    pub fn leaf(&self) -> Option<Leaf> {
        self.0.load().as_ref().map(|served| served.leaf.clone())
    }
}

impl ResolvesServerCert for LeafResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|served| Arc::clone(&served.key))
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.leaf.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
    use tokio::io::duplex;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::{Authority, ServerName, Validity};

    fn authority_for_today() -> (Authority, Leaf) {
        let now = jiff::Timestamp::now();
        let hours = |count: i64| jiff::SignedDuration::from_hours(count);
        let validity = Validity { not_before: now - hours(1), not_after: now + hours(1) };
        let authority = Authority::create(1, validity).unwrap();
        let leaf = authority.issue(&[ServerName::try_from("a.b.svc").unwrap()], validity).unwrap();
        (authority, leaf)
    }

    async fn handshake(resolver: &Arc<LeafResolver>, trusted: &Authority) -> Result<(), String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let resolver: Arc<dyn ResolvesServerCert> = resolver.clone();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate().der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = duplex(16 * 1024);
        let (accepted, connected) = tokio::join!(
            TlsAcceptor::from(Arc::new(server)).accept(near),
            TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("a.b.svc").unwrap(), far)
        );
        connected.map_err(|error| error.to_string())?;
        accepted.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_next_handshake_sees_the_new_leaf() {
        let ((one, first), (two, second)) = (authority_for_today(), authority_for_today());
        let resolver = Arc::new(LeafResolver::new());
        assert!(handshake(&resolver, &one).await.is_err(), "served without a leaf");
        resolver.serve(first).unwrap();
        handshake(&resolver, &one).await.unwrap();
        resolver.serve(second).unwrap();
        handshake(&resolver, &two).await.unwrap();
        assert!(handshake(&resolver, &one).await.is_err(), "served the old leaf");
    }
}

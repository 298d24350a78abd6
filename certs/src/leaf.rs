use std::{fmt, sync::Arc};

use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{CaCertificate, CertificateError, PrivateKey, Validity, ca_certificate::validity_of};

/// What the server proves itself with: a certificate chain and the key of its first certificate. Lives in memory only.
#[derive(Clone)]
pub struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    names: Vec<ServerName<'static>>,
    validity: Validity,
    issuer: Option<CaCertificate>,
}

impl Leaf {
    pub(crate) fn issued(
        der: CertificateDer<'static>,
        key: PrivateKey,
        names: Vec<ServerName<'static>>,
        issuer: CaCertificate,
    ) -> Result<Self, CertificateError> {
        let (validity, _) = read("issued certificate", &der)?;
        Ok(Self { chain: vec![der], key, names, validity, issuer: Some(issuer) })
    }

    /// Reads a leaf that somebody else issued, cert-manager for instance (`tls.crt` and `tls.key`); the chain begins
    /// with the leaf. The places name the two in errors.
    pub fn from_pem(
        (chain_place, chain): (&str, &[u8]),
        (key_place, key): (&str, &[u8]),
    ) -> Result<Self, CertificateError> {
        const EXPECTED: &str = "must hold the server certificate and then its intermediates as PEM";
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|cause| CertificateError::malformed(chain_place, format!("{cause:?}"), EXPECTED))?;
        let first = chain
            .first()
            .ok_or_else(|| CertificateError::malformed(chain_place, "holds no PEM certificate", EXPECTED))?;
        let (validity, names) = read(chain_place, first)?;
        if names.is_empty() {
            return Err(CertificateError::malformed(
                chain_place,
                "holds a certificate without DNS names and IP addresses",
                "must be issued for the name that the API server calls, <service>.<namespace>.svc",
            ));
        }
        let key = PrivateKey::from_pem(key_place, key)?;
        let leaf = Self { chain, key, names, validity, issuer: None };
        leaf.certified_key().map_err(|_| CertificateError::KeyMismatch {
            certificate_place: chain_place.to_owned(),
            key_place: key_place.to_owned(),
        })?;
        Ok(leaf)
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The DNS names and IP addresses that it is valid for; never empty.
    pub fn names(&self) -> &[ServerName<'static>] {
        &self.names
    }

    /// Whether `ca` signed it. Never true of a leaf read by [`Leaf::from_pem`], whose issuer's certificate is unknown.
    pub fn issued_by(&self, ca: &CaCertificate) -> bool {
        self.issuer.as_ref() == Some(ca)
    }

    /// The certificate itself, then its intermediates.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// For rustls; fails when key and certificate do not belong together.
    pub(crate) fn certified_key(&self) -> Result<Arc<CertifiedKey>, CertificateError> {
        let key = self.key.reveal_der()?.clone_key();
        CertifiedKey::from_der(self.chain.clone(), key, &aws_lc_rs::default_provider())
            .map(Arc::new)
            .map_err(CertificateError::unservable)
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names.iter().map(ServerName::to_str).collect();
        f.debug_struct("Leaf")
            .field("names", &names)
            .field("validity", &self.validity)
            .field("issuer_generation", &self.issuer.as_ref().and_then(CaCertificate::generation))
            .finish_non_exhaustive()
    }
}

fn read(
    place: &str,
    der: &CertificateDer<'_>,
) -> Result<(Validity, Vec<ServerName<'static>>), CertificateError> {
    let unreadable = || {
        CertificateError::malformed(
            place,
            "holds bytes that are no X.509 certificate",
            "must be a PEM certificate for a TLS server",
        )
    };
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
    let validity = validity_of(&parsed).ok_or_else(unreadable)?;
    let names = match parsed.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(server_name).collect(),
        Ok(None) => Vec::new(),
        Err(_) => return Err(unreadable()),
    };
    Ok((validity, names))
}

fn server_name(name: &x509_parser::extensions::GeneralName<'_>) -> Option<ServerName<'static>> {
    use x509_parser::extensions::GeneralName;
    match name {
        // A wildcard verifies as the name of one label under it.
        GeneralName::DNSName(name) => ServerName::try_from(name.replacen('*', "wildcard", 1)).ok(),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| std::net::IpAddr::from(octets).into()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|octets| std::net::IpAddr::from(octets).into()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        Authority,
        authority::tests::{at, authority},
    };

    pub(crate) fn leaf(authority: &Authority) -> Leaf {
        let names =
            ["topicops.kafka.svc", "127.0.0.1", "::1"].map(|name| ServerName::try_from(name).unwrap());
        let validity =
            Validity { not_before: at("2026-06-01T00:00:00Z"), not_after: at("2026-06-08T00:00:00Z") };
        authority.issue(&names, validity).unwrap()
    }

    #[test]
    fn names_and_addresses_are_read_back_from_the_certificate() {
        let leaf = leaf(&authority(1));
        let (validity, names) = read("tls.crt", &leaf.chain()[0]).unwrap();
        assert_eq!(names, leaf.names());
        assert_eq!(validity, leaf.validity());
        assert_eq!(validity.not_after, at("2026-06-08T00:00:00Z"));
    }

    #[test]
    fn a_leaf_from_elsewhere_is_read_with_its_key() {
        let issued = leaf(&authority(1));
        let key = issued.key.reveal_pem().unwrap();
        let pem = pem_of(&issued);
        let read = Leaf::from_pem(("tls.crt", pem.as_bytes()), ("tls.key", key.as_bytes())).unwrap();
        assert_eq!(read.names(), issued.names());
        let other = leaf(&authority(1)).key.reveal_pem().unwrap();
        let error = Leaf::from_pem(("tls.crt", pem.as_bytes()), ("tls.key", other.as_bytes())).unwrap_err();
        assert!(matches!(error, CertificateError::KeyMismatch { .. }), "{error}");
        let error = Leaf::from_pem(("tls.crt", b""), ("tls.key", key.as_bytes())).unwrap_err();
        assert!(error.to_string().starts_with("tls.crt: holds no PEM"), "{error}");
    }

    #[test]
    fn the_issuer_is_known() {
        let (one, two) = (authority(1), authority(2));
        let leaf = leaf(&one);
        assert!(leaf.issued_by(one.certificate()));
        assert!(!leaf.issued_by(two.certificate()));
    }

    fn pem_of(leaf: &Leaf) -> String {
        use base64::{Engine, engine::general_purpose::STANDARD};
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(&leaf.chain()[0])
        )
    }
}

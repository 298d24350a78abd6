use std::sync::Arc;

use jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
};
use rustls_pki_types::UnixTime;

use crate::{CaCertificate, CertificateError, Leaf};

/// CA certificates that are trusted together: what stands in `caBundle`. Each certificate once, in order.
///
/// Two bundles are equal when they trust the same certificates; order and PEM layout do not matter.
#[derive(Clone, Debug, Default)]
pub struct Bundle(Vec<CaCertificate>);

impl Bundle {
    /// Reads the PEM text of a `caBundle` (already decoded from base64). An empty text is the empty bundle, which
    /// trusts nothing.
    pub fn from_pem(place: &str, pem: &[u8]) -> Result<Self, CertificateError> {
        CaCertificate::all_from_pem(place, pem).map(Self::from_iter)
    }

    pub fn to_pem(&self) -> String {
        self.0.iter().map(CaCertificate::to_pem).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, certificate: &CaCertificate) -> bool {
        self.0.contains(certificate)
    }

    pub fn certificates(&self) -> &[CaCertificate] {
        &self.0
    }

    pub(crate) fn push(&mut self, certificate: CaCertificate) {
        if !self.contains(&certificate) {
            self.0.push(certificate);
        }
    }

    /// Whether a client that trusts this bundle accepts `leaf` at the time `at` for every name that it was issued for:
    /// signature, both validities, names and purpose.
    pub fn verifies(&self, leaf: &Leaf, at: Timestamp) -> bool {
        let (Ok(seconds), Some((certificate, intermediates))) =
            (u64::try_from(at.as_second()), leaf.chain().split_first())
        else {
            return false;
        };
        let mut roots = RootCertStore::empty();
        // rustls does not look at a root's own dates; the API server does.
        for ca in self.0.iter().filter(|ca| ca.validity().contains(at)) {
            if roots.add(ca.der().clone()).is_err() {
                return false;
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()
        else {
            return false;
        };
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        !leaf.names().is_empty()
            && leaf
                .names()
                .iter()
                .all(|name| verifier.verify_server_cert(certificate, intermediates, name, &[], now).is_ok())
    }
}

impl FromIterator<CaCertificate> for Bundle {
    fn from_iter<I: IntoIterator<Item = CaCertificate>>(certificates: I) -> Self {
        let mut bundle = Self::default();
        for certificate in certificates {
            bundle.push(certificate);
        }
        bundle
    }
}

impl PartialEq for Bundle {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|certificate| other.contains(certificate))
    }
}

impl Eq for Bundle {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authority::tests::{at, authority},
        leaf::tests::leaf,
    };

    #[test]
    fn order_layout_and_repetition_do_not_matter() {
        let (one, two) = (authority(1).certificate().clone(), authority(2).certificate().clone());
        let bundle = Bundle::from_iter([one.clone(), two.clone()]);
        let pem = format!("# second\n{}\n\n{}{}", two.to_pem(), one.to_pem(), two.to_pem());
        assert_eq!(Bundle::from_pem("caBundle", pem.as_bytes()).unwrap(), bundle);
        assert_eq!(Bundle::from_pem("caBundle", bundle.to_pem().as_bytes()).unwrap(), bundle);
        assert_ne!(bundle, Bundle::from_iter([one]));
        assert!(Bundle::from_pem("caBundle", b"").unwrap().is_empty());
    }

    #[test]
    fn a_leaf_is_verified_by_its_ca_within_its_time_only() {
        let (one, two) = (authority(1), authority(2));
        let leaf = leaf(&one);
        let both = Bundle::from_iter([two.certificate().clone(), one.certificate().clone()]);
        let other = Bundle::from_iter([two.certificate().clone()]);
        let during = at("2026-06-02T00:00:00Z");
        assert!(both.verifies(&leaf, during));
        assert!(!other.verifies(&leaf, during));
        assert!(!Bundle::default().verifies(&leaf, during));
        assert!(!both.verifies(&leaf, at("2026-05-31T23:59:59Z")));
        assert!(!both.verifies(&leaf, at("2026-06-08T00:00:01Z")));
    }

    #[test]
    fn a_new_ca_of_the_same_name_is_not_taken_for_the_old_one() {
        let leaf = leaf(&authority(1));
        let namesake = Bundle::from_iter([authority(1).certificate().clone()]);
        assert!(!namesake.verifies(&leaf, at("2026-06-02T00:00:00Z")));
    }
}

use std::fmt;

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use zeroize::{Zeroize, Zeroizing};

use crate::CertificateError;

/// A private key. `Debug` shows nothing of it, there is no `Display` and no serialisation, and its memory is overwritten
/// when it goes. [`PrivateKey::reveal_pem`] is the one way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

const EXPECTED: &str = "must be one unencrypted PEM private key, such as -----BEGIN PRIVATE KEY-----";

impl PrivateKey {
    /// A new ECDSA P-256 key.
    pub(crate) fn generate() -> Result<Self, CertificateError> {
        let mut pair = KeyPair::generate().map_err(CertificateError::issue)?;
        let key = Self(Zeroizing::new(pair.serialized_der().to_vec()));
        pair.zeroize();
        Ok(key)
    }

    /// Reads PKCS #8, SEC1 and PKCS #1. `place` names the source in errors, which never quote the content.
    pub fn from_pem(place: &str, pem: &[u8]) -> Result<Self, CertificateError> {
        let found = match PrivateKeyDer::from_pem_slice(pem) {
            Ok(key) => {
                let key = Self(Zeroizing::new(key.secret_der().to_vec()));
                match key.pair() {
                    Ok(_) => return Ok(key),
                    Err(_) => "holds a private key of an unknown kind",
                }
            }
            Err(_) if pem.is_empty() => "is empty",
            Err(_) => "holds no PEM private key",
        };
        Err(CertificateError::malformed(place, found, EXPECTED))
    }

    /// The key as PEM, for the Secret. Search for this name to find every place that sees it.
    pub fn reveal_pem(&self) -> Result<Zeroizing<String>, CertificateError> {
        Ok(Zeroizing::new(self.pair()?.0.serialize_pem()))
    }

    /// For the signer of certificates.
    pub(crate) fn pair(&self) -> Result<WipedPair, CertificateError> {
        let der = PrivateKeyDer::try_from(self.0.as_slice()).map_err(CertificateError::issue)?;
        KeyPair::try_from(&der).map(WipedPair).map_err(CertificateError::issue)
    }

    /// For the TLS server, which keeps a copy of its own.
    pub(crate) fn reveal_der(&self) -> Result<PrivateKeyDer<'_>, CertificateError> {
        PrivateKeyDer::try_from(self.0.as_slice()).map_err(CertificateError::unservable)
    }

    /// The public half as it stands in a certificate.
    pub(crate) fn public_key_info(&self) -> Result<Vec<u8>, CertificateError> {
        Ok(self.pair()?.0.subject_public_key_info())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// rcgen keeps the key's bytes in a plain vector; this wipes them.
pub(crate) struct WipedPair(pub(crate) KeyPair);

impl Drop for WipedPair {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_round_trips() {
        let key = PrivateKey::generate().unwrap();
        let read = PrivateKey::from_pem("ca.key", key.reveal_pem().unwrap().as_bytes()).unwrap();
        assert_eq!(read, key);
    }

    #[test]
    fn errors_name_the_place_and_never_quote_the_key() {
        let key = PrivateKey::generate().unwrap();
        let pem = key.reveal_pem().unwrap();
        let cut = &pem[..pem.len() / 2];
        for (bad, found) in [("", "is empty"), ("nonsense", "holds no PEM"), (cut, "holds no PEM")] {
            let error = PrivateKey::from_pem("ca.key", bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("ca.key: ") && error.contains(found), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{CertificateError, Validity};

/// What stands before the generation in the subject of a CA of ours.
const SUBJECT: &str = "topicops webhook CA ";

const EXPECTED: &str = "must hold PEM certificates of CAs (-----BEGIN CERTIFICATE-----)";

/// A CA's certificate without its key: something to trust. Two are equal when their bytes are.
#[derive(Clone, Debug)]
pub struct CaCertificate {
    der: CertificateDer<'static>,
    validity: Validity,
    generation: Option<u64>,
}

impl CaCertificate {
    /// The common name of the CA of `generation`.
    pub(crate) fn subject(generation: u64) -> String {
        format!("{SUBJECT}{generation}")
    }

    /// All certificates of a PEM text, in its order; text between them is skipped, none at all is an empty list.
    pub(crate) fn all_from_pem(place: &str, pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        CertificateDer::pem_slice_iter(pem)
            .map(|der| {
                let der =
                    der.map_err(|cause| CertificateError::malformed(place, format!("{cause:?}"), EXPECTED))?;
                Self::from_der(place, der)
            })
            .collect()
    }

    /// Exactly one certificate.
    pub(crate) fn from_pem(place: &str, pem: &[u8]) -> Result<Self, CertificateError> {
        const ONE: &str = "must hold exactly one PEM certificate of a CA (-----BEGIN CERTIFICATE-----)";
        let mut all = Self::all_from_pem(place, pem)?;
        match (all.pop(), all.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Err(CertificateError::malformed(place, "holds no PEM certificate", ONE)),
            (Some(_), others) => {
                Err(CertificateError::malformed(place, format!("holds {} certificates", others + 1), ONE))
            }
        }
    }

    pub(crate) fn from_der(place: &str, der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let unreadable = |found: &str| CertificateError::malformed(place, format!("holds {found}"), EXPECTED);
        let (rest, parsed) =
            X509Certificate::from_der(&der).map_err(|_| unreadable("bytes that are no X.509 certificate"))?;
        if !rest.is_empty() {
            return Err(unreadable("a certificate with bytes after its end"));
        }
        if !parsed.is_ca() {
            return Err(unreadable("a certificate that is no CA (basicConstraints without CA:TRUE)"));
        }
        let validity = validity_of(&parsed)
            .ok_or_else(|| unreadable("a certificate with dates beyond the year 9999"))?;
        let generation = parsed
            .subject()
            .iter_common_name()
            .find_map(|name| name.as_str().ok()?.strip_prefix(SUBJECT)?.parse().ok());
        Ok(Self { der, validity, generation })
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The how-many-th CA of ours this is, counted over all rotations; `None` for a CA that somebody else made.
    ///
    /// A replica whose view of the Secret is old recognises by it a CA that it has not heard of yet.
    pub fn generation(&self) -> Option<u64> {
        self.generation
    }

    pub fn to_pem(&self) -> String {
        const LINE: usize = 64;
        let base64 = STANDARD.encode(&self.der);
        let mut pem = String::with_capacity(base64.len() + base64.len() / LINE + 60);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(crate) fn public_key_info(&self) -> Vec<u8> {
        X509Certificate::from_der(&self.der)
            .map(|(_, parsed)| parsed.public_key().raw.to_vec())
            .unwrap_or_default()
    }
}

/// The period of any certificate; `None` when it cannot be expressed.
pub(crate) fn validity_of(certificate: &X509Certificate<'_>) -> Option<Validity> {
    let period = certificate.validity();
    Some(Validity {
        not_before: Timestamp::from_second(period.not_before.timestamp()).ok()?,
        not_after: Timestamp::from_second(period.not_after.timestamp()).ok()?,
    })
}

impl PartialEq for CaCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for CaCertificate {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::tests::authority;

    #[test]
    fn pem_round_trips_with_generation_and_validity() {
        let certificate = authority(7).certificate().clone();
        let read = CaCertificate::from_pem("ca.crt", certificate.to_pem().as_bytes()).unwrap();
        assert_eq!(read, certificate);
        assert_eq!(read.generation(), Some(7));
        assert_eq!(read.validity(), certificate.validity());
    }

    #[test]
    fn errors_name_the_place_and_what_would_be_right() {
        let pem = authority(1).certificate().to_pem();
        let twice = format!("{pem}{pem}");
        let torn = pem.replacen("MII", "AII", 1);
        for (bad, found) in [
            ("", "holds no PEM certificate"),
            ("hello", "holds no PEM certificate"),
            (twice.as_str(), "holds 2 certificates"),
            (torn.as_str(), "no X.509 certificate"),
            (&pem[..pem.len() - 30], "MissingSectionEnd"),
        ] {
            let error = CaCertificate::from_pem("next.crt", bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("next.crt: ") && error.contains(found), "{error}");
            assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
        }
    }

    #[test]
    fn a_leaf_is_no_ca() {
        let leaf = crate::leaf::tests::leaf(&authority(1));
        let error = CaCertificate::from_der("ca.crt", leaf.chain()[0].clone()).unwrap_err().to_string();
        assert!(error.contains("is no CA"), "{error}");
    }
}

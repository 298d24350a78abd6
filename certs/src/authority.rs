use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::ServerName;

use crate::{CaCertificate, CertificateError, Leaf, PrivateKey, Validity};

/// A CA that signs: certificate and private key, which belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    certificate: CaCertificate,
    key: PrivateKey,
}

impl Authority {
    /// Makes a new CA with a new ECDSA P-256 key.
    pub fn create(generation: u64, validity: Validity) -> Result<Self, CertificateError> {
        let key = PrivateKey::generate()?;
        let mut params = params(&CaCertificate::subject(generation), validity)?;
        // It signs leaves only: an intermediate in its name would not be accepted.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key.pair()?.0).map_err(CertificateError::issue)?;
        Ok(Self { certificate: CaCertificate::from_der("new CA", certificate.der().clone())?, key })
    }

    /// Reads a CA from two values of the Secret; the places name them in errors.
    pub fn from_pem(
        (certificate_place, certificate): (&str, &[u8]),
        (key_place, key): (&str, &[u8]),
    ) -> Result<Self, CertificateError> {
        let certificate = CaCertificate::from_pem(certificate_place, certificate)?;
        let key = PrivateKey::from_pem(key_place, key)?;
        if key.public_key_info()? != certificate.public_key_info() {
            return Err(CertificateError::KeyMismatch {
                certificate_place: certificate_place.to_owned(),
                key_place: key_place.to_owned(),
            });
        }
        Ok(Self { certificate, key })
    }

    pub fn certificate(&self) -> &CaCertificate {
        &self.certificate
    }

    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Issues a server certificate with a key of its own for `names` (DNS names and IP addresses). It never outlives
    /// its CA: the end of `validity` is cut to the CA's.
    ///
    /// # Errors
    /// No names, or a period that ends before it begins.
    pub fn issue(&self, names: &[ServerName<'static>], validity: Validity) -> Result<Leaf, CertificateError> {
        let Some(first) = names.first() else {
            return Err(CertificateError::issue("no DNS name and no IP address to issue it for"));
        };
        let validity = Validity {
            not_before: validity.not_before,
            not_after: validity.not_after.min(self.certificate.validity().not_after),
        };
        if validity.not_after <= validity.not_before {
            return Err(CertificateError::issue(format!(
                "it would hold from {} to {}",
                validity.not_before, validity.not_after
            )));
        }
        let mut params = params(&subject_of(first), validity)?;
        params.subject_alt_names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = PrivateKey::generate()?;
        let signer = self.key.pair()?;
        let issuer =
            Issuer::from_ca_cert_der(self.certificate.der(), &signer.0).map_err(CertificateError::issue)?;
        let certificate = params.signed_by(&key.pair()?.0, &issuer).map_err(CertificateError::issue)?;
        Leaf::issued(certificate.der().clone(), key, names.to_vec(), self.certificate.clone())
    }
}

/// X.520 limits a common name to 64 characters; names of Services may be longer, and stand in full as alternative names.
fn subject_of(name: &ServerName<'_>) -> String {
    let mut subject = name.to_str().into_owned();
    subject.truncate(64);
    subject
}

fn alternative_name(name: &ServerName<'_>) -> Result<SanType, CertificateError> {
    match name {
        ServerName::DnsName(name) => {
            Ok(SanType::DnsName(name.as_ref().try_into().map_err(CertificateError::issue)?))
        }
        ServerName::IpAddress(address) => Ok(SanType::IpAddress((*address).into())),
        other => Err(CertificateError::issue(format!("{other:?} is neither a DNS name nor an IP address"))),
    }
}

fn params(common_name: &str, validity: Validity) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.serial_number = Some(serial()?);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(validity.not_before)?;
    params.not_after = epoch + since_1970(validity.not_after)?;
    Ok(params)
}

/// 127 random bits: the top one is clear, because a serial number is positive.
fn serial() -> Result<SerialNumber, CertificateError> {
    let mut bytes = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| CertificateError::issue("no random numbers"))?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

/// X.509 as rcgen writes it reaches from 1970 to the end of the year 9999.
fn since_1970(at: jiff::Timestamp) -> Result<Duration, CertificateError> {
    const YEAR_9999_ENDS: u64 = 253_402_300_799;
    match u64::try_from(at.as_second()) {
        Ok(seconds) if seconds <= YEAR_9999_ENDS => Ok(Duration::from_secs(seconds)),
        _ => Err(CertificateError::issue(format!("{at} is not between the years 1970 and 9999"))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn at(text: &str) -> jiff::Timestamp {
        text.parse().unwrap()
    }

    pub(crate) fn authority(generation: u64) -> Authority {
        let validity =
            Validity { not_before: at("2026-01-01T00:00:00Z"), not_after: at("2027-01-01T00:00:00Z") };
        Authority::create(generation, validity).unwrap()
    }

    #[test]
    fn pem_round_trips() {
        let authority = authority(3);
        let certificate = authority.certificate().to_pem();
        let key = authority.key().reveal_pem().unwrap();
        let read =
            Authority::from_pem(("ca.crt", certificate.as_bytes()), ("ca.key", key.as_bytes())).unwrap();
        assert_eq!(read, authority);
    }

    #[test]
    fn a_key_of_another_ca_is_refused_by_name() {
        let certificate = authority(1).certificate().to_pem();
        let key = authority(2).key().reveal_pem().unwrap();
        let error = Authority::from_pem(("next.crt", certificate.as_bytes()), ("next.key", key.as_bytes()))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("next.key: not the private key") && error.contains("next.crt"), "{error}");
    }

    #[test]
    fn a_leaf_never_outlives_its_ca() {
        let names = [ServerName::try_from("a.b.svc").unwrap()];
        let late = Validity { not_before: at("2026-12-30T00:00:00Z"), not_after: at("2027-01-06T00:00:00Z") };
        let leaf = authority(1).issue(&names, late).unwrap();
        assert_eq!(leaf.validity().not_after, at("2027-01-01T00:00:00Z"));
        let after =
            Validity { not_before: at("2027-01-02T00:00:00Z"), not_after: at("2027-01-06T00:00:00Z") };
        assert!(authority(1).issue(&names, after).is_err());
        assert!(authority(1).issue(&[], late).is_err());
    }

    #[test]
    fn long_service_names_are_issued_for() {
        let name = format!("{}.{}.svc", "s".repeat(63), "n".repeat(63));
        let names = [ServerName::try_from(name).unwrap()];
        let validity =
            Validity { not_before: at("2026-02-01T00:00:00Z"), not_after: at("2026-02-08T00:00:00Z") };
        let authority = authority(1);
        let leaf = authority.issue(&names, validity).unwrap();
        let bundle = crate::Bundle::from_iter([authority.certificate().clone()]);
        assert!(bundle.verifies(&leaf, at("2026-02-02T00:00:00Z")));
    }

    #[test]
    fn nothing_that_holds_a_key_shows_it() {
        let authority = authority(1);
        let leaf = crate::leaf::tests::leaf(&authority);
        let pem = authority.key().reveal_pem().unwrap();
        let stored = crate::StoredAuthorities::first(authority.clone());
        let resolver = crate::LeafResolver::new();
        resolver.serve(leaf.clone()).unwrap();
        let shown = format!(
            "{authority:?} {authority:#?} {:?} {leaf:?} {leaf:#?} {stored:?} {stored:#?} {resolver:?}",
            authority.key()
        );
        let key = pem.lines().nth(1).unwrap();
        assert!(!shown.contains(key) && !shown.contains("PRIVATE KEY"), "{shown}");
        let der = authority.key().reveal_der().unwrap();
        let bytes: Vec<_> = der.secret_der()[40..48].iter().map(u8::to_string).collect();
        assert!(!shown.contains(&bytes.join(", ")), "{shown}");
    }
}

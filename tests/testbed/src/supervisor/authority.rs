//! A certificate authority of the bed's own.
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

pub(super) struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { certificate_pem, issuer: Issuer::new(params, key) })
    }

    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Writes `<name>.pem` and `<name>-key.pem` for a server of these host names and addresses.
    pub(super) fn issue(&self, folder: &Path, name: &str, hosts: Vec<String>) -> Result<()> {
        let (certificate, key) = self.pair(name, hosts)?;
        write(&folder.join(format!("{name}.pem")), &certificate)?;
        write(&folder.join(format!("{name}-key.pem")), &key)
    }

    /// Certificate and key in one PEM text, as Kafka's key stores want them.
    pub(super) fn pair(&self, name: &str, hosts: Vec<String>) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// The key pair that signs service account tokens: `<name>.pem` (public) and `<name>-key.pem`.
pub(super) fn write_signing_key(folder: &Path, name: &str) -> Result<()> {
    let key = KeyPair::generate()?;
    write(&folder.join(format!("{name}.pem")), &key.public_key_pem())?;
    write(&folder.join(format!("{name}-key.pem")), &key.serialize_pem())
}

pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

use std::{fs, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use topicops_contract::{Problem, Problems};

use crate::kafka::{PemSource, TlsIdentity, TlsProperties};

/// Builds the TLS configuration that all connections of one cluster handle share; sharing it is what lets them resume
/// each other's sessions. The provider is given explicitly: none is installed for the process.
pub(super) fn client_config(properties: &TlsProperties) -> Result<Arc<ClientConfig>, Problems> {
    let mut problems = Problems::new();
    let roots = problems.note(roots(properties.trust.as_ref()));
    let identity = properties.identity.as_ref().map(identity).transpose();
    let identity = problems.note(identity);
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if properties.tls13 {
        versions.push(&version::TLS13);
    }
    if properties.tls12 {
        versions.push(&version::TLS12);
    }
    let (Some(roots), Some(identity)) = (roots, identity) else { return Err(problems) };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&versions)
        .map_err(|error| Problem::missing("ssl.enabled.protocols", error.to_string()))?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            Problem::missing("ssl.keystore", format!("key and certificate chain: {error}"))
        })?,
    };
    Ok(Arc::new(config))
}

fn roots(trust: Option<&PemSource>) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    let Some(trust) = trust else {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        return if added > 0 {
            Ok(roots)
        } else {
            Err(Problem::missing(
                "ssl.truststore.location",
                "is missing, and the system has no trusted roots either",
            ))
        };
    };
    let (key, pem) = match trust {
        PemSource::Inline(pem) => ("ssl.truststore.certificates", pem.clone()),
        PemSource::File(path) => ("ssl.truststore.location", read("ssl.truststore.location", path)?),
    };
    for certificate in certificates(key, &pem)? {
        roots.add(certificate).map_err(|error| no_authority(key, &error))?;
    }
    Ok(roots)
}

fn no_authority(key: &str, error: &rustls::Error) -> Problem {
    Problem::missing(key, format!("holds a certificate that is no CA's: {error}"))
}

/// The certificates in PEM text that is to be everybody's trust store, and nothing else of it. `key` says whose text it is.
///
/// # Errors
/// What is wrong with it. A private key is: it is there by mistake, and nobody is to get it.
pub fn authorities(key: &str, pem: &str) -> Result<String, Problem> {
    const LINE: usize = 64;
    // PEM errors may quote what they choke on, so this comes first.
    if pem.contains("PRIVATE KEY-----") {
        let why = "holds a private key: as a trust store, which clients get too, name a file with nothing but certificates";
        return Err(Problem::missing(key, why));
    }
    let mut roots = RootCertStore::empty();
    let mut text = String::new();
    for certificate in certificates(key, pem)? {
        let encoded = STANDARD.encode(&certificate);
        roots.add(certificate).map_err(|error| no_authority(key, &error))?;
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for (index, character) in encoded.chars().enumerate() {
            if index > 0 && index % LINE == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    Ok(text)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(identity: &TlsIdentity) -> Result<Identity, Problem> {
    match identity {
        TlsIdentity::File(path) => {
            const KEY: &str = "ssl.keystore.location";
            let pem = zeroize::Zeroizing::new(read(KEY, path)?);
            Ok((certificates(KEY, &pem)?, private_key(KEY, &pem)?))
        }
        TlsIdentity::Inline { chain, key } => Ok((
            certificates("ssl.keystore.certificate.chain", chain)?,
            private_key("ssl.keystore.key", key.reveal())?,
        )),
    }
}

fn read(key: &str, path: &std::path::Path) -> Result<String, Problem> {
    fs::read_to_string(path)
        .map_err(|error| Problem::new(key, path.display().to_string(), format!("cannot be read: {error}")))
}

fn certificates(key: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Problem::missing(key, "holds no PEM certificate")),
        Err(error) => Err(Problem::missing(key, format!("holds PEM that cannot be read: {error}"))),
    }
}

/// PEM errors may quote what they choke on, so they are not passed on for keys.
fn private_key(key: &str, pem: &str) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        Problem::missing(key, "holds no unencrypted PEM private key (PKCS #8, PKCS #1 or SEC 1)")
    })
}

#[cfg(test)]
mod tests {
    use topicops_contract::Password;

    use super::*;

    #[test]
    fn of_a_trust_store_clients_get_the_certificates_alone_and_of_one_with_a_key_nothing() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        assert_eq!(authorities("K", &pem).unwrap(), pem);
        let around = format!("subject=CN = hunter2\n{pem}issuer=\n{pem}\n\n");
        assert_eq!(authorities("K", &around).unwrap(), format!("{pem}{pem}"));
        for kind in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let key = key.serialize_pem().replace("PRIVATE KEY", kind);
            for combined in [format!("{key}{pem}"), format!("{pem}{key}"), format!("{pem}{}", &key[..60])] {
                let told = authorities("K", &combined).unwrap_err().to_string();
                assert!(told.contains("K") && told.contains("holds a private key"), "{told}");
                assert!(!told.contains(key.lines().nth(1).unwrap()), "{told}");
            }
        }
    }

    #[test]
    fn all_mistakes_of_the_stores_are_told_at_once_and_without_the_key() {
        let properties = TlsProperties {
            trust: Some(PemSource::File("/nowhere/ca.pem".into())),
            identity: Some(TlsIdentity::Inline { chain: "C".into(), key: Password::new("hunter2") }),
            tls12: true,
            tls13: true,
        };
        let told = client_config(&properties).unwrap_err().to_string();
        assert!(told.contains("/nowhere/ca.pem") && told.contains("certificate.chain"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

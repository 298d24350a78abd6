use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{Authority, Bundle, CaCertificate, CertificateError, Step};

const CURRENT_CERTIFICATE: &str = "ca.crt";
const CURRENT_KEY: &str = "ca.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const NEXT_TRUSTED_SINCE: &str = "next.trusted-since";
const PREVIOUS_CERTIFICATES: &str = "previous.crt";
const PREVIOUS_UNTIL: &str = "previous.until";

/// What the Secret that all replicas share holds. Times are RFC 3339.
///
/// | key | content |
/// |---|---|
/// | `ca.crt`, `ca.key` | the CA that signs leaves |
/// | `next.crt`, `next.key` | the CA that will, once it is trusted everywhere |
/// | `next.trusted-since` | when that was first seen |
/// | `previous.crt` | CAs that signed before, several perhaps; their keys are gone |
/// | `previous.until` | when the last leaf that they signed has expired for certain |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAuthorities {
    pub(crate) current: Authority,
    pub(crate) next: Option<Authority>,
    pub(crate) next_trusted_since: Option<Timestamp>,
    pub(crate) previous: Vec<CaCertificate>,
    pub(crate) previous_until: Option<Timestamp>,
}

impl StoredAuthorities {
    /// A Secret with nothing but a current CA.
    pub fn first(current: Authority) -> Self {
        Self { current, next: None, next_trusted_since: None, previous: Vec::new(), previous_until: None }
    }

    /// Reads the data of the Secret. `None` when it holds none of our keys: a Secret that was made empty, so that the right
    /// to write it can be granted by name, counts as absent.
    ///
    /// # Errors
    /// Names the key and what would be right. A Secret that cannot be read is never overwritten: that would be another CA
    /// than the one the other replicas serve with.
    pub fn read(data: &BTreeMap<String, Vec<u8>>) -> Result<Option<Self>, CertificateError> {
        const ALL: [&str; 7] = [
            CURRENT_CERTIFICATE,
            CURRENT_KEY,
            NEXT_CERTIFICATE,
            NEXT_KEY,
            NEXT_TRUSTED_SINCE,
            PREVIOUS_CERTIFICATES,
            PREVIOUS_UNTIL,
        ];
        if !ALL.iter().any(|key| data.contains_key(*key)) {
            return Ok(None);
        }
        let current =
            authority(data, CURRENT_CERTIFICATE, CURRENT_KEY)?.ok_or_else(|| CertificateError::Missing {
                place: CURRENT_CERTIFICATE.to_owned(),
                expected: "a Secret with certificates of topicops holds ca.crt and ca.key; delete it to begin anew",
            })?;
        let next = authority(data, NEXT_CERTIFICATE, NEXT_KEY)?;
        let previous = match data.get(PREVIOUS_CERTIFICATES) {
            Some(pem) => CaCertificate::all_from_pem(PREVIOUS_CERTIFICATES, pem)?,
            None => Vec::new(),
        };
        let previous_until = timestamp(data, PREVIOUS_UNTIL)?;
        if !previous.is_empty() && previous_until.is_none() {
            return Err(CertificateError::Missing {
                place: PREVIOUS_UNTIL.to_owned(),
                expected: "where there is previous.crt, it says until when that stays trusted, \
                           such as 2026-11-21T12:00:00Z",
            });
        }
        let next_trusted_since = timestamp(data, NEXT_TRUSTED_SINCE)?.filter(|_| next.is_some());
        Ok(Some(Self { current, next, next_trusted_since, previous, previous_until }))
    }

    /// The data to write: all of it, replacing what was there.
    pub fn to_data(&self) -> Result<BTreeMap<String, Vec<u8>>, CertificateError> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, value: &str| data.insert(key.to_owned(), value.as_bytes().to_vec());
        put(CURRENT_CERTIFICATE, &self.current.certificate().to_pem());
        put(CURRENT_KEY, &self.current.key().reveal_pem()?);
        if let Some(next) = &self.next {
            put(NEXT_CERTIFICATE, &next.certificate().to_pem());
            put(NEXT_KEY, &next.key().reveal_pem()?);
        }
        if let Some(since) = &self.next_trusted_since {
            put(NEXT_TRUSTED_SINCE, &since.to_string());
        }
        if !self.previous.is_empty() {
            put(PREVIOUS_CERTIFICATES, &self.previous.iter().map(CaCertificate::to_pem).collect::<String>());
        }
        if let Some(until) = &self.previous_until {
            put(PREVIOUS_UNTIL, &until.to_string());
        }
        Ok(data)
    }

    /// The CA that signs.
    pub fn current(&self) -> &Authority {
        &self.current
    }

    /// All that has to be trusted: current, next, previous.
    pub fn bundle(&self) -> Bundle {
        [&self.current]
            .into_iter()
            .chain(&self.next)
            .map(|authority| authority.certificate().clone())
            .chain(self.previous.iter().cloned())
            .collect()
    }

    /// What the Secret must hold after `step`; `None` when the step does not concern the Secret. Write it on condition that
    /// the Secret is still the one that `step` was decided on (its `resourceVersion`, or that there is none).
    ///
    /// # Errors
    /// The step was decided on another content, or no key could be made.
    pub fn after(stored: Option<&Self>, step: &Step) -> Result<Option<Self>, CertificateError> {
        let there = || stored.cloned().ok_or(CertificateError::StaleStep { reason: "the Secret is gone" });
        let after = match step {
            Step::CreateAuthority { generation, validity, previous, previous_until } => {
                if stored.is_some() {
                    return Err(CertificateError::StaleStep { reason: "a CA is there by now" });
                }
                Self {
                    previous: previous.clone(),
                    previous_until: *previous_until,
                    ..Self::first(Authority::create(*generation, *validity)?)
                }
            }
            Step::AddNextAuthority { generation, validity } => Self {
                next: Some(Authority::create(*generation, *validity)?),
                next_trusted_since: None,
                ..there()?
            },
            Step::NoteTrusted { at } => {
                let before = there()?;
                if before.next.is_none() {
                    return Err(CertificateError::StaleStep { reason: "there is no next CA" });
                }
                Self { next_trusted_since: Some(*at), ..before }
            }
            Step::SwitchSigner { previous_until } => {
                let Self { current: old, next, mut previous, .. } = there()?;
                let Some(current) = next else {
                    return Err(CertificateError::StaleStep { reason: "there is no next CA" });
                };
                previous.insert(0, old.certificate().clone());
                Self { previous, previous_until: Some(*previous_until), ..Self::first(current) }
            }
            Step::RetireOld => Self { previous: Vec::new(), previous_until: None, ..there()? },
            Step::PublishBundle(_)
            | Step::WaitForBundle { .. }
            | Step::IssueLeaf { .. }
            | Step::Nothing { .. } => return Ok(None),
        };
        Ok(Some(after))
    }
}

fn authority(
    data: &BTreeMap<String, Vec<u8>>,
    certificate: &'static str,
    key: &'static str,
) -> Result<Option<Authority>, CertificateError> {
    let missing = |place: &str| CertificateError::Missing {
        place: place.to_owned(),
        expected: "certificate and private key are written together; one of them is lost",
    };
    match (data.get(certificate), data.get(key)) {
        (None, None) => Ok(None),
        (Some(pem), Some(key_pem)) => Authority::from_pem((certificate, pem), (key, key_pem)).map(Some),
        (None, Some(_)) => Err(missing(certificate)),
        (Some(_), None) => Err(missing(key)),
    }
}

fn timestamp(data: &BTreeMap<String, Vec<u8>>, key: &str) -> Result<Option<Timestamp>, CertificateError> {
    let Some(bytes) = data.get(key) else { return Ok(None) };
    let text = String::from_utf8_lossy(bytes);
    text.trim().parse().map(Some).map_err(|_| {
        CertificateError::malformed(
            key,
            format!("holds {:?}", text.chars().take(40).collect::<String>()),
            "must be a time such as 2026-11-21T12:00:00Z",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::tests::{at, authority};

    fn full() -> StoredAuthorities {
        StoredAuthorities {
            current: authority(3),
            next: Some(authority(4)),
            next_trusted_since: Some(at("2026-05-01T00:00:00Z")),
            previous: vec![authority(2).certificate().clone(), authority(1).certificate().clone()],
            previous_until: Some(at("2026-05-08T00:00:00Z")),
        }
    }

    #[test]
    fn data_round_trips() {
        for stored in [full(), StoredAuthorities::first(authority(1))] {
            assert_eq!(StoredAuthorities::read(&stored.to_data().unwrap()).unwrap(), Some(stored));
        }
    }

    #[test]
    fn an_empty_secret_counts_as_none() {
        assert_eq!(StoredAuthorities::read(&BTreeMap::new()).unwrap(), None);
        let foreign = BTreeMap::from([("note".to_owned(), b"made by the chart".to_vec())]);
        assert_eq!(StoredAuthorities::read(&foreign).unwrap(), None);
    }

    #[test]
    fn every_broken_key_is_named() {
        for key in full().to_data().unwrap().into_keys() {
            let mut data = full().to_data().unwrap();
            data.insert(key.clone(), b"rubbish".to_vec());
            match StoredAuthorities::read(&data) {
                Err(error) => assert!(error.to_string().starts_with(&format!("{key}: ")), "{key}: {error}"),
                // Without a certificate in it there is no previous CA: the same as an empty value.
                Ok(read) => assert!(key == "previous.crt" && read.unwrap().previous.is_empty()),
            }
        }
        for key in ["ca.crt", "ca.key", "next.crt", "next.key", "previous.until"] {
            let mut data = full().to_data().unwrap();
            data.remove(key);
            let error = StoredAuthorities::read(&data).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key}: missing")), "{key}: {error}");
        }
    }

    #[test]
    fn the_old_key_is_forgotten_with_the_switch() {
        let before = full();
        let step = Step::SwitchSigner { previous_until: at("2026-06-01T00:00:00Z") };
        let after = StoredAuthorities::after(Some(&before), &step).unwrap().unwrap();
        assert_eq!(Some(&after.current), before.next.as_ref());
        assert_eq!(after.bundle(), before.bundle());
        let old_key = before.current.key().reveal_pem().unwrap();
        assert!(after.to_data().unwrap().values().all(|value| value != old_key.as_bytes()));
    }

    #[test]
    fn a_step_decided_on_other_content_is_refused() {
        let alone = StoredAuthorities::first(authority(1));
        let switch = Step::SwitchSigner { previous_until: at("2026-06-01T00:00:00Z") };
        assert!(StoredAuthorities::after(Some(&alone), &switch).is_err());
        assert!(StoredAuthorities::after(None, &Step::RetireOld).is_err());
        let create = Step::CreateAuthority {
            generation: 1,
            validity: alone.current.certificate().validity(),
            previous: Vec::new(),
            previous_until: None,
        };
        assert!(StoredAuthorities::after(Some(&alone), &create).is_err());
    }
}

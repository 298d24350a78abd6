use std::time::Duration;

use crate::CertificateError;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long things hold and how long is waited. All replicas run with the same policy.
///
/// A CA is renewed when a third of its life is left, a leaf likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) authority_lifetime: Duration,
    pub(crate) leaf_lifetime: Duration,
    pub(crate) propagation: Duration,
    pub(crate) clock_skew: Duration,
}

impl Policy {
    /// - `authority_lifetime`, `leaf_lifetime`: how long each holds from its making on.
    /// - `propagation`: how long a new CA stays published before it signs. "Live" is seen at one API server; the others
    ///   of a control plane need a moment too.
    /// - `clock_skew`: how far the clocks of replicas and API servers may be apart, and at the same time how old a view of
    ///   the Secret may be when a leaf is issued from it. Certificates are dated back by it.
    ///
    /// # Errors
    /// The last third of a CA's life must have room for a whole hand-over: propagation, the longest leaf, thrice the skew.
    pub fn new(
        authority_lifetime: Duration,
        leaf_lifetime: Duration,
        propagation: Duration,
        clock_skew: Duration,
    ) -> Result<Self, CertificateError> {
        let room = authority_lifetime / 3;
        let needed = leaf_lifetime.saturating_add(propagation).saturating_add(clock_skew.saturating_mul(3));
        if leaf_lifetime.is_zero() {
            return Err(CertificateError::Policy { reason: "a leaf must live longer than 0 s".to_owned() });
        }
        if needed > room {
            return Err(CertificateError::Policy {
                reason: format!(
                    "a third of the CA's life is {} s; it must hold a leaf's life, the propagation and thrice the \
                     clock skew, which are {} s together",
                    room.as_secs(),
                    needed.as_secs()
                ),
            });
        }
        Ok(Self { authority_lifetime, leaf_lifetime, propagation, clock_skew })
    }
}

/// CA 90 days, leaf 7 days, propagation one minute, clocks an hour apart at most.
impl Default for Policy {
    fn default() -> Self {
        Self {
            authority_lifetime: 90 * DAY,
            leaf_lifetime: 7 * DAY,
            propagation: Duration::from_secs(60),
            clock_skew: HOUR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_legal_policy() {
        let Policy { authority_lifetime, leaf_lifetime, propagation, clock_skew } = Policy::default();
        Policy::new(authority_lifetime, leaf_lifetime, propagation, clock_skew).unwrap();
    }

    #[test]
    fn a_ca_must_outlive_a_whole_hand_over() {
        let second = Duration::from_secs(1);
        assert!(Policy::new(30 * second, 10 * second, Duration::ZERO, Duration::ZERO).is_ok());
        let error = Policy::new(30 * second, 10 * second, second, Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("10 s") && error.contains("11 s"), "{error}");
        assert!(Policy::new(DAY, Duration::ZERO, second, second).is_err());
    }
}

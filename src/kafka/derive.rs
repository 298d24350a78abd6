use std::num::NonZeroU32;

use aws_lc_rs::{error::Unspecified, pbkdf2, rand};
use topicops_contract::Password;
use zeroize::Zeroizing;

use super::{ScramKeys, ScramMechanism};

impl ScramMechanism {
    /// Length of its hash in bytes.
    pub fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// The system's source of randomness failed. Nothing can be made secret then, so nothing is.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's source of randomness failed")]
pub struct RandomnessFailed;

impl From<Unspecified> for RandomnessFailed {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl ScramKeys {
    /// Brokers refuse fewer (RFC 5802 and 7677 call it the least), and it is enough for generated passwords.
    pub const MIN_ITERATIONS: u32 = 4096;
    /// More than a broker accepts (16,384) and still under half a second of work.
    pub(super) const MAX_ITERATIONS: u32 = 200_000;
    const SALT_LEN: usize = 32;

    /// Hashes a password with a fresh random salt. CPU-bound: about 1.5 to 3 ms at 4,096 iterations, so many of them
    /// belong on blocking threads. Fewer iterations than [`Self::MIN_ITERATIONS`] are raised to that, and more than a
    /// broker could accept are lowered.
    pub fn derive(
        mechanism: ScramMechanism,
        iterations: u32,
        password: &Password,
    ) -> Result<Self, RandomnessFailed> {
        let mut salt = vec![0; Self::SALT_LEN];
        rand::fill(&mut salt)?;
        let iterations = iterations.clamp(Self::MIN_ITERATIONS, Self::MAX_ITERATIONS);
        Ok(Self::with_salt(mechanism, iterations, salt, password))
    }

    /// Hashes a password with a known salt, as a client does that logs in.
    pub(crate) fn with_salt(
        mechanism: ScramMechanism,
        iterations: u32,
        salt: Vec<u8>,
        password: &Password,
    ) -> Self {
        let mut salted_password = Zeroizing::new(vec![0; mechanism.output_len()]);
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(mechanism.pbkdf2(), rounds, &salt, password.reveal().as_bytes(), &mut salted_password);
        Self { mechanism, iterations: i32::try_from(iterations).unwrap_or(i32::MAX), salt, salted_password }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_derivation_has_a_salt_of_its_own() {
        let password = Password::new("hunter2");
        let one = ScramKeys::derive(ScramMechanism::Sha512, 4096, &password).unwrap();
        let other = ScramKeys::derive(ScramMechanism::Sha512, 4096, &password).unwrap();
        assert_ne!(one.salt, other.salt);
        assert_ne!(*one.salted_password, *other.salted_password);
        assert_eq!((one.salt.len(), one.salted_password.len(), one.iterations), (32, 64, 4096));
    }

    #[test]
    fn too_few_iterations_are_raised() {
        let keys = ScramKeys::derive(ScramMechanism::Sha256, 1, &Password::new("p")).unwrap();
        assert_eq!(keys.iterations, 4096);
    }

    #[test]
    fn debug_shows_neither_salt_nor_keys() {
        let keys =
            ScramKeys::with_salt(ScramMechanism::Sha256, 4096, vec![222; 4], &Password::new("hunter2"));
        let shown = format!("{keys:?}");
        assert!(!shown.contains("222") && !shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains(&format!("{:?}", *keys.salted_password)), "{shown}");
    }
}

//! The passwords of clients: 43 characters that stand for 32 random bytes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use topicops_contract::Password;
use zeroize::Zeroizing;

/// 256 bits: nobody guesses that, whatever SCRAM's iterations.
const RANDOM_BYTES: usize = 32;
const LENGTH: usize = 43;

/// A new password; `None` when the system has no randomness to give.
pub(super) fn generate() -> Option<Password> {
    let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).ok()?;
    Some(Password::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// Whether a text is as long and made of the same letters as a password of ours.
pub(super) fn is_well_made(text: &str) -> bool {
    text.len() == LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_well_made_and_differ() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert!(is_well_made(one.reveal()) && is_well_made(two.reveal()));
        assert_ne!(one, two);
        for bad in ["", "hunter2", &"x".repeat(42), &"x".repeat(44), &format!("{}\"", "x".repeat(42))] {
            assert!(!is_well_made(bad), "{bad:?}");
        }
    }
}

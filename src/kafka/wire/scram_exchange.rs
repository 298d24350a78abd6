use aws_lc_rs::{constant_time, digest, hmac, rand};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::kafka::{ScramKeys, ScramMechanism};

/// One SCRAM login of RFC 5802 and 7677, seen from the client, without channel binding: Kafka has none.
///
/// Pure: text in, text out. The order is [`ScramExchange::first`], [`ScramExchange::challenge`],
/// [`ScramExchange::finish`], [`ServerProof::verify`].
pub(super) struct ScramExchange {
    nonce: String,
    first_bare: String,
}

/// What the server asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
    nonce: String,
    text: String,
}

/// What the server has to answer to prove that it knows the credential, too.
pub(super) struct ServerProof {
    signature: Vec<u8>,
}

impl ScramExchange {
    pub(super) fn start(username: &str) -> Result<Self, &'static str> {
        let mut bytes = [0; 24];
        rand::fill(&mut bytes).map_err(|_| "the system's source of randomness failed")?;
        Ok(Self::with_nonce(username, STANDARD.encode(bytes)))
    }

    fn with_nonce(username: &str, nonce: String) -> Self {
        let escaped = username.replace('=', "=3D").replace(',', "=2C");
        Self { first_bare: format!("n={escaped},r={nonce}"), nonce }
    }

    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// Reads the server's first message. Its iterations are bounded, for they are our work.
    pub(super) fn challenge(&self, text: &str) -> Result<Challenge, String> {
        let mut fields = text.split(',');
        let mut field = |name: &str| {
            fields
                .next()
                .and_then(|field| field.strip_prefix(name))
                .ok_or_else(|| format!("the SCRAM challenge has no {name} where it belongs"))
        };
        let nonce = field("r=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the SCRAM challenge is not an answer to our nonce".to_owned());
        }
        let salt = STANDARD.decode(field("s=")?).map_err(|_| "the SCRAM salt is no base64".to_owned())?;
        let iterations: u32 =
            field("i=")?.parse().map_err(|_| "the SCRAM iterations are no number".to_owned())?;
        if !(ScramKeys::MIN_ITERATIONS..=ScramKeys::MAX_ITERATIONS).contains(&iterations) {
            return Err(format!("the server asks for {iterations} SCRAM iterations, out of bounds"));
        }
        Ok(Challenge { salt, iterations, nonce: nonce.to_owned(), text: text.to_owned() })
    }

    /// The client's final message, and what the server must say to it.
    pub(super) fn finish(&self, challenge: &Challenge, keys: &ScramKeys) -> (String, ServerProof) {
        let without_proof = format!("c=biws,r={}", challenge.nonce);
        let message = format!("{},{},{without_proof}", self.first_bare, challenge.text);
        let (hash, mac) = algorithms(keys.mechanism);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(mac, key), text);
        let client_key = sign(&keys.salted_password, b"Client Key");
        let stored_key = digest::digest(hash, client_key.as_ref());
        let signature = sign(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, mask)| key ^ mask).collect();
        let server_key = sign(&keys.salted_password, b"Server Key");
        let signature = sign(server_key.as_ref(), message.as_bytes()).as_ref().to_vec();
        (format!("{without_proof},p={}", STANDARD.encode(proof)), ServerProof { signature })
    }
}

impl ServerProof {
    pub(super) fn verify(&self, text: &str) -> Result<(), String> {
        if let Some(error) = text.strip_prefix("e=") {
            return Err(format!("the server ended the SCRAM login: {error}"));
        }
        let given = text
            .strip_prefix("v=")
            .and_then(|rest| rest.split(',').next())
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .ok_or("the server's last SCRAM message cannot be read")?;
        constant_time::verify_slices_are_equal(&given, &self.signature).map_err(|_| {
            "the server did not prove that it knows the credential: it is not the broker it claims to be"
                .to_owned()
        })
    }
}

fn algorithms(mechanism: ScramMechanism) -> (&'static digest::Algorithm, hmac::Algorithm) {
    match mechanism {
        ScramMechanism::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256),
        ScramMechanism::Sha512 => (&digest::SHA512, hmac::HMAC_SHA512),
    }
}

#[cfg(test)]
mod tests {
    use topicops_contract::Password;

    use super::*;

    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn exchange() -> ScramExchange {
        ScramExchange::with_nonce("user", "rOprNGfwEbeRWgbNEkqO".to_owned())
    }

    #[test]
    fn the_example_of_rfc_7677_comes_out() {
        let exchange = exchange();
        assert_eq!(exchange.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = exchange.challenge(SERVER_FIRST).unwrap();
        let keys = ScramKeys::with_salt(
            ScramMechanism::Sha256,
            challenge.iterations,
            challenge.salt.clone(),
            &Password::new("pencil"),
        );
        let (last, proof) = exchange.finish(&challenge, &keys);
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        proof.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        for forged in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", "v=", "e=other-error", "", "v=AAAA"]
        {
            assert!(proof.verify(forged).is_err(), "{forged:?} was accepted");
        }
    }

    #[test]
    fn names_cannot_break_out_of_their_field() {
        let exchange = ScramExchange::with_nonce("a,r=b=", "N".to_owned());
        assert_eq!(exchange.first(), "n,,n=a=2Cr=3Db=3D,r=N");
    }

    #[test]
    fn a_challenge_out_of_bounds_is_refused() {
        let exchange = exchange();
        for (from, to) in [
            ("r=rOpr", "r=xOpr"),
            ("i=4096", "i=4095"),
            ("i=4096", "i=2147483647"),
            ("i=4096", "i=many"),
            ("s=W22", "s=*"),
            (",s=W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
        ] {
            let text = SERVER_FIRST.replace(from, to);
            assert!(exchange.challenge(&text).is_err(), "{text:?} was accepted");
        }
    }
}

//! Signatures by the Standard Webhooks specification over `id.timestamp.body`: scheme `v1`, HMAC-SHA256, by a secret
//! that both sides have (`whsec_…`), or `v1a`, ed25519, by a key of which the receiver has the public half (`whsk_…`).
//! Neither ever appears in a log or an error.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::Sha256;

const SHARED: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";
/// The specification's bounds for a shared key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const SEED_BYTES: usize = 32;

/// One secret, ready for use.
#[derive(Clone)]
pub struct Signer(Scheme);

#[derive(Clone)]
enum Scheme {
    V1(Hmac<Sha256>),
    V1a(std::sync::Arc<Ed25519KeyPair>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error(
        "the webhook secret is not base64 (after an optional whsec_ or whsk_): make one with `openssl rand -base64 32`"
    )]
    NotBase64,
    #[error("the webhook secret has {bytes} bytes, expected 24 to 64: make one with `openssl rand -base64 32`")]
    WrongLength { bytes: usize },
    #[error(
        "the webhook's ed25519 key has {bytes} bytes, expected whsk_ and base64 of 32 (seed) or 64 (seed and public key that fit)"
    )]
    WrongKey { bytes: usize },
}

impl Signer {
    /// `whsec_` and base64 of 24 to 64 bytes, or that base64 alone; or `whsk_` and base64 of an ed25519 key.
    pub fn new(secret: &str) -> Result<Self, SecretError> {
        let text = secret.trim();
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| SecretError::NotBase64);
        if let Some(key) = text.strip_prefix(PRIVATE) {
            return ed25519(&decode(key)?).map(|pair| Self(Scheme::V1a(pair.into())));
        }
        let key = decode(text.strip_prefix(SHARED).unwrap_or(text))?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(SecretError::WrongLength { bytes: key.len() });
        }
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of any length");
        Ok(Self(Scheme::V1(mac)))
    }

    /// Several, one a line or separated by spaces: each signs, so that a receiver can change from one to the next.
    pub fn all(secrets: &str) -> Result<Vec<Self>, SecretError> {
        secrets.split_whitespace().map(Self::new).collect()
    }

    /// One signature, with its scheme before it.
    pub fn sign(&self, webhook_id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let head = format!("{webhook_id}.{timestamp_secs}.");
        match &self.0 {
            Scheme::V1(mac) => {
                let mut mac = mac.clone();
                mac.update(head.as_bytes());
                mac.update(body);
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            }
            Scheme::V1a(pair) => {
                let signed = [head.as_bytes(), body].concat();
                format!("v1a,{}", STANDARD.encode(pair.sign(&signed)))
            }
        }
    }

    /// What the receiver of `v1a` signatures needs.
    pub fn public_key(&self) -> Option<String> {
        match &self.0 {
            Scheme::V1(_) => None,
            Scheme::V1a(pair) => Some(format!("{PUBLIC}{}", STANDARD.encode(pair.public_key()))),
        }
    }
}

/// The value of `webhook-signature`.
pub fn header(signers: &[Signer], webhook_id: &str, timestamp_secs: i64, body: &[u8]) -> Option<String> {
    let signatures: Vec<_> = signers.iter().map(|signer| signer.sign(webhook_id, timestamp_secs, body)).collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

fn ed25519(key: &[u8]) -> Result<Ed25519KeyPair, SecretError> {
    let wrong = SecretError::WrongKey { bytes: key.len() };
    let pair = match key.split_at_checked(SEED_BYTES) {
        Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
        Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        None => return Err(wrong),
    };
    pair.map_err(|_| wrong)
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn the_published_example_comes_out() {
        for secret in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            let signature = Signer::new(secret).unwrap().sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#,
            );
            assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        }
    }

    #[test]
    fn an_ed25519_signature_is_verified_by_the_public_key() {
        let seed = STANDARD.encode([7; 32]);
        let signer = Signer::new(&format!("whsk_{seed}")).unwrap();
        let public = signer.public_key().unwrap();
        let public = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
        let signature = signer.sign("id", 5, b"body");
        let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
        UnparsedPublicKey::new(&ED25519, &public).verify(b"id.5.body", &signature).unwrap();
        let both = [[7; 32].as_slice(), &public].concat();
        let same = Signer::new(&format!("whsk_{}", STANDARD.encode(&both))).unwrap();
        assert_eq!(same.public_key(), signer.public_key());
        let other = [[8; 32].as_slice(), &public].concat();
        let refused = Signer::new(&format!("whsk_{}", STANDARD.encode(other))).unwrap_err();
        assert_eq!(refused, SecretError::WrongKey { bytes: 64 });
    }

    #[test]
    fn while_a_secret_changes_both_sign() {
        let (one, two) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let signers = Signer::all(&format!("whsec_{one}\nwhsk_{two}\n")).unwrap();
        let value = header(&signers, "id", 5, b"body").unwrap();
        let schemes: Vec<_> = value.split(' ').map(|signature| signature.split_once(',').unwrap().0).collect();
        assert_eq!(schemes, ["v1", "v1a"]);
        assert_eq!(header(&[], "id", 5, b"body"), None);
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        assert_eq!(Signer::new("whsec_not base64!").unwrap_err(), SecretError::NotBase64);
        assert_eq!(Signer::new("c2hvcnQ=").unwrap_err(), SecretError::WrongLength { bytes: 5 });
        assert_eq!(Signer::new("whsk_c2hvcnQ=").unwrap_err(), SecretError::WrongKey { bytes: 5 });
    }
}

//! Signatures by the Standard Webhooks specification: HMAC-SHA256 over `id.timestamp.body`, scheme `v1`.
//! The secret never appears in a log or an error.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// The specification's bounds for the key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("the webhook secret is not base64 (after an optional whsec_): make one with `openssl rand -base64 32`")]
    NotBase64,
    #[error("the webhook secret has {bytes} bytes, expected 24 to 64: make one with `openssl rand -base64 32`")]
    WrongLength { bytes: usize },
}

impl Signer {
    /// `secret`: base64 of 24 to 64 bytes, with or without `whsec_` before it.
    pub fn new(secret: &str) -> Result<Self, SecretError> {
        let text = secret.trim();
        let key = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).map_err(|_| SecretError::NotBase64)?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(SecretError::WrongLength { bytes: key.len() });
        }
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of any length");
        Ok(Self { mac })
    }

    /// The value of `webhook-signature`.
    pub fn sign(&self, webhook_id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let mut mac = self.mac.clone();
        mac.update(format!("{webhook_id}.{timestamp_secs}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
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
    fn a_secret_that_is_none_is_refused() {
        assert_eq!(Signer::new("whsec_not base64!").unwrap_err(), SecretError::NotBase64);
        assert_eq!(Signer::new("c2hvcnQ=").unwrap_err(), SecretError::WrongLength { bytes: 5 });
    }
}

//! Addresses at which a receiver fetches a picture from this box: signed, so that nobody can guess them, and good for
//! a day, on the clock that both sides read.

use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::domain::UnixMs;
use crate::domain::evidence::hex;

/// From when the message was stored.
pub const FETCHABLE: Duration = Duration::from_secs(24 * 3600);

/// `<base>/pictures/<id>.jpg?expires=<Unix seconds>&signature=<hex>`.
pub fn address(base: &str, key: &[u8; 32], message_id: &str, expires: UnixMs) -> String {
    let (base, secs) = (base.trim_end_matches('/'), expires.secs());
    format!("{base}/pictures/{message_id}.jpg?expires={secs}&signature={}", signature(key, message_id, secs))
}

/// Whether such an address was made here and is still good.
pub fn is_good(key: &[u8; 32], message_id: &str, expires_secs: i64, given: &str, now: UnixMs) -> bool {
    let wanted = signature(key, message_id, expires_secs);
    let same =
        wanted.len() == given.len() && bool::from(subtle::ConstantTimeEq::ct_eq(wanted.as_bytes(), given.as_bytes()));
    same && now.secs() < expires_secs
}

fn signature(key: &[u8; 32], message_id: &str, expires_secs: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("picture.{message_id}.{expires_secs}").as_bytes());
    hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_good_until_it_expires_and_only_as_it_was_made() {
        let key = [7; 32];
        let text = address("http://box:8800/", &key, "a-1", UnixMs(90_000));
        let (path, query) = text.split_once('?').unwrap();
        assert_eq!(path, "http://box:8800/pictures/a-1.jpg");
        let signature = query.strip_prefix("expires=90&signature=").unwrap();
        assert!(is_good(&key, "a-1", 90, signature, UnixMs(89_999)));
        assert!(!is_good(&key, "a-1", 90, signature, UnixMs(90_000)), "expired");
        assert!(!is_good(&key, "a-1", 91, signature, UnixMs(0)), "another time");
        assert!(!is_good(&key, "a-2", 90, signature, UnixMs(0)), "another picture");
        assert!(!is_good(&[8; 32], "a-1", 90, signature, UnixMs(0)), "another box");
        assert!(!is_good(&key, "a-1", 90, &signature[1..], UnixMs(0)), "cut");
    }
}

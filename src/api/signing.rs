//! Signed requests, as the published SDK sends them (SDK-HMAC-SHA256).
//!
//! The signature is hex(HMAC-SHA256(secret key, S)); S is the algorithm, the date and hex(SHA-256(C)), joined by
//! newlines; C is the method, the encoded path with a slash at its end, the sorted query, the signed headers, their
//! names, and the body's hash. What is not signed is not trusted: method, path, query and body always are, unless
//! the body is declared UNSIGNED-PAYLOAD, which the SDK does for bodies that are not JSON.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use chrono::NaiveDateTime;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::keys::hex;
use crate::domain::UnixMs;

const ALGORITHM: &str = "SDK-HMAC-SHA256";
const DATE: &str = "x-sdk-date";
const CONTENT_HASH: &str = "x-sdk-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// How far the client's clock may be off, either way.
const TOLERANCE_MS: i64 = 15 * 60 * 1000;

pub fn is_signed(headers: &HeaderMap) -> bool {
    text(headers, "authorization").is_some_and(|value| value.starts_with(ALGORITHM))
}

/// The access key that claims to have signed this request.
pub fn access_key(headers: &HeaderMap) -> Option<&str> {
    Some(Claim::read(headers)?.access_key)
}

/// Whether the request was signed with this secret key, and not too long ago.
pub fn verify(parts: &Parts, body: &[u8], now: UnixMs, secret_key: &str) -> bool {
    check(parts, body, now, secret_key).is_some()
}

fn check(parts: &Parts, body: &[u8], now: UnixMs, secret_key: &str) -> Option<()> {
    let claim = Claim::read(&parts.headers)?;
    let date = text(&parts.headers, DATE)?;
    let sent = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ").ok()?.and_utc().timestamp_millis();
    if (now.0 - sent).abs() > TOLERANCE_MS {
        return None;
    }
    let canonical = canonical(parts, &claim, body)?;
    let to_sign = format!("{ALGORITHM}\n{date}\n{}", hex(&Sha256::digest(canonical)));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret_key.as_bytes()).ok()?;
    mac.update(to_sign.as_bytes());
    mac.verify_slice(&from_hex(claim.signature)?).ok()
}

/// `SDK-HMAC-SHA256 Access=…, SignedHeaders=a;b, Signature=…`
struct Claim<'a> {
    access_key: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn read(headers: &'a HeaderMap) -> Option<Self> {
        let fields = text(headers, "authorization")?.strip_prefix(ALGORITHM)?;
        let field = |name: &str| fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        Some(Self {
            access_key: field("Access")?,
            signed_headers: field("SignedHeaders")?,
            signature: field("Signature")?,
        })
    }
}

fn canonical(parts: &Parts, claim: &Claim, body: &[u8]) -> Option<String> {
    let names: Vec<_> = claim.signed_headers.split(';').collect();
    if !names.contains(&DATE) {
        return None;
    }
    let mut headers = String::new();
    for name in &names {
        // Bytes rather than text: the client may send UTF-8, which a header's text form refuses.
        let value = String::from_utf8(parts.headers.get(*name)?.as_bytes().to_vec()).ok()?;
        headers.push_str(&format!("{name}:{}\n", value.trim()));
    }
    let unsigned = !body.is_empty() && text(&parts.headers, CONTENT_HASH) == Some(UNSIGNED);
    let hash = if unsigned { UNSIGNED.to_owned() } else { hex(&Sha256::digest(body)) };
    let path = canonical_path(parts.uri.path())?;
    let query = canonical_query(parts.uri.query().unwrap_or_default());
    Some(format!("{}\n{path}\n{query}\n{headers}\n{}\n{hash}", parts.method, claim.signed_headers))
}

fn canonical_path(path: &str) -> Option<String> {
    let decoded = String::from_utf8(percent_decode(path.as_bytes())).ok()?;
    let mut encoded = decoded.split('/').map(encode).collect::<Vec<_>>().join("/");
    if !encoded.ends_with('/') {
        encoded.push('/');
    }
    Some(encoded)
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    pairs.sort();
    pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect::<Vec<_>>().join("&")
}

/// All but letters, digits and `-._~` as %XX.
fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// What is no valid escape stays as it is.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escape = (text[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|two| from_hex(std::str::from_utf8(two).ok()?)));
        match escape.flatten() {
            Some(byte) => {
                decoded.extend(byte);
                at += 3;
            }
            None => {
                decoded.push(text[at]);
                at += 1;
            }
        }
    }
    decoded
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    text.len().is_multiple_of(2).then(|| text.as_bytes().chunks_exact(2).map(pair).collect())?
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    const GET: (&str, &str, &str) = (
        "GET /v2/p1/services/c-face-edge/tasks?limit=10&name_like=a%20b~%2A%2F%2B%25%C3%A9&order=name%3AASC",
        "content-type:application/json host:127.0.0.1:8800 x-project-id:p1 x-sdk-date:20261121T220000Z",
        "b011eef2e88bb5c41ade8fb672140797d89a55b64b7a88e2cd28ea643eb2fee7",
    );
    const POST: (&str, &str, &str) = (
        "POST /v2/p1/services/c-face-edge/tasks",
        "content-type:application/json host:127.0.0.1:8800 x-project-id:p1 x-sdk-date:20261121T220000Z",
        "953c6a25ea1e0e8186487259af46359a41856db3bdee938558988f566a844806",
    );
    const UNSIGNED_BODY: (&str, &str, &str) = (
        "POST /v2/p1/services/c-face-edge/tasks",
        "content-type:text/plain host:127.0.0.1:8800 x-sdk-content-sha256:UNSIGNED-PAYLOAD x-sdk-date:20261121T220000Z",
        "ff589b3b22f7bd567defbe8d97375d827a9b25193c952c676b942f171e09e1ed",
    );

    /// The signatures were made by the signer of huaweicloudsdkcore 3.1.219 with the pair AK, SK.
    fn request((line, headers, signature): (&str, &str, &str)) -> Parts {
        let (method, uri) = line.split_once(' ').unwrap();
        let pairs: Vec<_> = headers.split(' ').map(|header| header.split_once(':').unwrap()).collect();
        let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        let claim = format!("{ALGORITHM} Access=AK, SignedHeaders={}, Signature={signature}", names.join(";"));
        let mut request = Request::builder().method(method).uri(uri).header("authorization", claim);
        for (name, value) in pairs {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn holds(parts: &Parts, body: &str) -> bool {
        holds_at(parts, body, 0)
    }

    fn holds_at(parts: &Parts, body: &str, off_ms: i64) -> bool {
        let sent = 1_795_298_400_000;
        access_key(&parts.headers) == Some("AK") && verify(parts, body.as_bytes(), UnixMs(sent + off_ms), "SK")
    }

    #[test]
    fn the_published_signer_is_believed() {
        assert!(holds(&request(GET), ""));
        assert!(holds(&request(POST), "{\"name\":\"门口\"}"));
        assert!(holds(&request(UNSIGNED_BODY), "{\"name\":\"x\"}"));
        assert!(holds_at(&request(GET), "", -TOLERANCE_MS) && holds_at(&request(GET), "", TOLERANCE_MS));
    }

    #[test]
    fn what_was_changed_is_not() {
        assert!(!holds(&request(POST), "{\"name\":\"门\"}"));
        assert!(!holds_at(&request(GET), "", TOLERANCE_MS + 1) && !holds_at(&request(GET), "", -TOLERANCE_MS - 1));
        let changed = |(line, headers, signature): (&str, &str, &str), from: &str, to: &str| {
            let (line, headers) = (line.replace(from, to), headers.replace(from, to));
            let parts = request((&line, &headers, signature));
            !holds(&parts, "")
        };
        assert!(holds(&request(GET), ""), "unchanged it holds");
        assert!(changed(GET, "limit=10", "limit=11"));
        assert!(changed(GET, "/p1/", "/p2/"));
        assert!(changed(GET, "x-project-id:p1", "x-project-id:p2"));
        assert!(changed(GET, "GET", "DELETE"));
        let cut = (GET.0, GET.1, &GET.2[2..]);
        assert!(!holds(&request(cut), ""));
    }

    #[test]
    fn a_claim_in_pieces_does_no_harm() {
        for claim in [
            "",
            " Access=AK",
            " Access=AK, SignedHeaders=x-sdk-date, Signature=zz",
            " Access=AK, SignedHeaders=nope, Signature=00",
            " Access=AK, SignedHeaders=, Signature=0",
        ] {
            let request = Request::builder().uri("/%zz%C3").header("authorization", format!("{ALGORITHM}{claim}"));
            let parts = request.header(DATE, "20261121T220000Z").body(()).unwrap().into_parts().0;
            assert!(!verify(&parts, b"", UnixMs(1_795_298_400_000), "SK"), "{claim}");
        }
    }
}

//! One POST to one webhook, and what its answer means. Redirects are never followed; proxies of the environment are
//! not used; nothing of the address or of the answer's body gets into a reason.

use std::error::Error as _;
use std::sync::Once;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};

use super::sign::Signer;
use super::{Verdict, payload, retry};
use crate::domain::{Message, UnixMs};

/// Headers that belong to the connection or to the signature; a task cannot set them.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];
/// An answer's body is read up to here, so that the connection can be used again, and thrown away.
const LONGEST_ANSWER_BYTES: usize = 64 * 1024;
/// And for so long.
const LONGEST_ANSWER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
pub struct WebhookSettings {
    pub connect_timeout: Duration,
    /// From the first byte out to the answer's head.
    pub total_timeout: Duration,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), total_timeout: Duration::from_secs(30) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("the HTTP client could not be set up ({0}): are the system's certificates (ca-certificates) installed?")]
    Client(String),
}

/// Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    signer: Option<Signer>,
}

impl Webhook {
    pub fn new(signer: Option<Signer>, settings: WebhookSettings) -> Result<Self, WebhookError> {
        install_crypto();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.total_timeout)
            .user_agent(concat!("face-edge/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| WebhookError::Client(innermost(&error)))?;
        Ok(Self { client, signer })
    }

    pub async fn deliver(&self, url: &str, headers: &[(String, String)], message: &Message, now: UnixMs) -> Verdict {
        let mut headers = match task_headers(headers) {
            Ok(headers) => headers,
            Err(reason) => return Verdict::dead(reason),
        };
        let body = payload::inline(message);
        self.identify(&mut headers, message, now, body.as_bytes());
        match self.client.post(url).headers(headers).body(body).send().await {
            Ok(response) => {
                let verdict = judge_answer(&response, now);
                // Late or broken, the body changes nothing: the head has said what counts.
                tokio::time::timeout(LONGEST_ANSWER, drain(response)).await.ok();
                verdict
            }
            Err(error) => judge_error(&error),
        }
    }

    /// The Standard Webhooks headers. The id is the message's, the same in every try.
    fn identify(&self, headers: &mut HeaderMap, message: &Message, now: UnixMs, body: &[u8]) {
        let id = payload::message_id(message);
        if let Some(signer) = &self.signer {
            let signature = signer.sign(&id, now.secs(), body);
            let value = HeaderValue::try_from(signature).expect("base64 is a header value");
            headers.insert("webhook-signature", value);
        }
        headers.insert("webhook-id", HeaderValue::try_from(id).expect("a UUID is a header value"));
        headers.insert("webhook-timestamp", HeaderValue::from(now.secs()));
    }
}

/// rustls asks for one provider for the whole process.
pub(super) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider was there already");
        }
    });
}

/// The task's own headers, JSON's content type where they name none.
fn task_headers(given: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in given {
        let parsed = HeaderName::try_from(name).map_err(|_| format!("header name {name:?} is not valid"))?;
        if RESERVED.contains(&parsed.as_str()) {
            return Err(format!("header {parsed} cannot be set by a task"));
        }
        // The value may be a secret: it is not shown.
        let mut value =
            HeaderValue::try_from(value).map_err(|_| format!("the value of header {parsed} is not valid"))?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

fn judge_answer(response: &Response, now: UnixMs) -> Verdict {
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    judge_status(response.status(), asked.and_then(|value| retry::parse_retry_after(value, now.secs())))
}

fn judge_status(status: StatusCode, asked: Option<Duration>) -> Verdict {
    let reason = match status.canonical_reason() {
        Some(words) => format!("status {} {words}", status.as_u16()),
        None => format!("status {}", status.as_u16()),
    };
    let may_pass = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if status.is_success() {
        Verdict::Delivered
    } else if may_pass {
        Verdict::Retry { after: asked, reason }
    } else if status.is_client_error() {
        Verdict::dead(reason)
    } else {
        // A redirect may be somebody's login page on the way: it is not followed, and it may pass.
        Verdict::retry(reason)
    }
}

fn judge_error(error: &reqwest::Error) -> Verdict {
    if error.is_builder() {
        return Verdict::dead("the webhook's address is not valid");
    }
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    Verdict::retry(format!("{what} ({})", innermost(error)))
}

/// The root of an error: the outer ones repeat the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut text = String::from("no further detail");
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

async fn drain(mut response: Response) {
    let mut read = 0;
    while read < LONGEST_ANSWER_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        read += chunk.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_meaning() {
        let judge = |status: u16| judge_status(StatusCode::from_u16(status).unwrap(), None);
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judge(status), Verdict::Delivered, "{status}");
        }
        for status in [301, 302, 304, 307, 308, 408, 425, 429, 500, 502, 503, 599] {
            assert!(matches!(judge(status), Verdict::Retry { .. }), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 410, 413, 422, 451] {
            assert!(matches!(judge(status), Verdict::Dead { .. }), "{status}");
        }
        assert_eq!(judge(410), Verdict::dead("status 410 Gone"));
    }

    #[test]
    fn a_task_sets_its_headers_but_not_those_of_the_connection() {
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let headers = task_headers(&header("X-Token", "abc")).unwrap();
        assert_eq!(
            (headers["x-token"].as_bytes(), headers[CONTENT_TYPE].as_bytes()),
            (&b"abc"[..], &b"application/json"[..])
        );
        let headers = task_headers(&header("Content-Type", "text/json")).unwrap();
        assert_eq!(headers[CONTENT_TYPE], "text/json");
        for name in ["Host", "content-length", "Transfer-Encoding", "webhook-signature"] {
            assert!(task_headers(&header(name, "x")).unwrap_err().contains(&name.to_lowercase()));
        }
        let refused = task_headers(&header("x-key", "sec\nret")).unwrap_err();
        assert!(refused.contains("x-key") && !refused.contains("sec"), "{refused}");
    }
}

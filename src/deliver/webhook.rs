//! One POST to one webhook, and what its answer means. Redirects are never followed; proxies of the environment are
//! not used; nothing of the address or of the answer's body gets into a reason.

use std::collections::HashMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::{Arc, Once};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};

use super::evidence::Evidence;
use super::guard::Guard;
use super::sign::{self, Signer};
use super::tls::TlsKey;
use super::{Verdict, payload, retry};
use crate::domain::{Message, UnixMs};
use crate::store::{Form, WebhookOptions, picture_link};

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
    shared: Arc<Shared>,
}

struct Shared {
    /// The box's own, for outputs that have none.
    signers: Vec<Signer>,
    guard: Guard,
    settings: WebhookSettings,
    picture_key: [u8; 32],
    clients: Mutex<HashMap<ClientKey, Client>>,
}

/// Clients that are kept; more are made anew for each call.
const CLIENTS: usize = 64;

#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    tls: TlsKey,
    /// Names that lead to this machine are refused: at this port our own interface listens.
    own_port: Option<u16>,
}

/// One message on its way to one webhook.
pub struct Call<'a> {
    pub url: &'a str,
    pub headers: &'a [(String, String)],
    pub options: &'a WebhookOptions,
    pub message: &'a Message,
    pub evidence: Option<&'a Evidence>,
    /// Up to when its picture may be fetched.
    pub picture_until: UnixMs,
}

impl Webhook {
    /// `signers` sign for outputs that have no secrets of their own; `picture_key` signs addresses of pictures.
    pub fn new(
        signers: Vec<Signer>,
        guard: Guard,
        picture_key: [u8; 32],
        settings: WebhookSettings,
    ) -> Result<Self, WebhookError> {
        let shared = Shared { signers, guard, settings, picture_key, clients: Mutex::default() };
        let plain = ClientKey { tls: TlsKey::of(&WebhookOptions::default().connection), own_port: None };
        shared.client(plain).map_err(WebhookError::Client)?;
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn guard(&self) -> &Guard {
        &self.shared.guard
    }

    pub async fn deliver(&self, call: Call<'_>, now: UnixMs) -> Verdict {
        let request = match self.shared.request(&call, now) {
            Ok(request) => request,
            Err(verdict) => return verdict,
        };
        match request.send().await {
            Ok(response) => {
                let verdict = judge_answer(&response, now);
                // Late or broken, the body changes nothing: the head has said what counts.
                tokio::time::timeout(LONGEST_ANSWER, drain(response)).await.ok();
                verdict
            }
            Err(error) => judge_error(&error),
        }
    }
}

impl Shared {
    fn request(&self, call: &Call<'_>, now: UnixMs) -> Result<reqwest::RequestBuilder, Verdict> {
        let mut headers = task_headers(call.headers).map_err(Verdict::dead)?;
        let url = Url::parse(call.url).ok().filter(|url| url.has_host());
        let url = url.ok_or_else(|| Verdict::dead("the webhook's address is not valid"))?;
        // May pass: whoever changes the box's configuration has the waiting messages sent.
        self.guard.check_url(&url).map_err(|refused| Verdict::retry(refused.to_string()))?;
        let port = url.port_or_known_default().unwrap_or(0);
        let own_port = self.guard.is_own_port(port).then_some(port);
        let client = self.client(ClientKey { tls: TlsKey::of(&call.options.connection), own_port });
        let client = client.map_err(Verdict::retry)?;
        let body = self.body(call, &mut headers);
        self.identify(&mut headers, call, now, &body)?;
        Ok(client.post(url).headers(headers).body(body))
    }

    fn body(&self, call: &Call<'_>, headers: &mut HeaderMap) -> Vec<u8> {
        match &call.options.form {
            Form::Inline => payload::inline(call.message, call.evidence).into_bytes(),
            Form::Multipart => {
                let (kind, body) = payload::multipart(call.message, call.evidence);
                headers.insert(CONTENT_TYPE, HeaderValue::try_from(kind).expect("a UUID between plain words"));
                body
            }
            Form::Thin { base } => {
                let (id, until) = (call.message.id().to_string(), call.picture_until);
                let address = picture_link::address(base, &self.picture_key, &id, until);
                payload::thin(call.message, &address, until.secs(), call.evidence).into_bytes()
            }
        }
    }

    /// The Standard Webhooks headers. The id is the message's, the same in every try.
    fn identify(&self, headers: &mut HeaderMap, call: &Call<'_>, now: UnixMs, body: &[u8]) -> Result<(), Verdict> {
        let id = payload::message_id(call.message);
        let own = call.options.secrets.iter().map(|secret| Signer::new(secret)).collect::<Result<Vec<_>, _>>();
        let own = own.map_err(|error| Verdict::retry(error.to_string()))?;
        let signers = if own.is_empty() { &self.signers } else { &own };
        if let Some(signatures) = sign::header(signers, &id, now.secs(), body) {
            let value = HeaderValue::try_from(signatures).expect("base64 is a header value");
            headers.insert("webhook-signature", value);
        }
        headers.insert("webhook-id", HeaderValue::try_from(id).expect("a UUID is a header value"));
        headers.insert("webhook-timestamp", HeaderValue::from(now.secs()));
        Ok(())
    }

    fn client(&self, key: ClientKey) -> Result<Client, String> {
        if let Some(client) = self.clients.lock().get(&key) {
            return Ok(client.clone());
        }
        let client = self.build(&key)?;
        let mut clients = self.clients.lock();
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn build(&self, key: &ClientKey) -> Result<Client, String> {
        install_crypto();
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(self.settings.connect_timeout)
            .timeout(self.settings.total_timeout)
            .dns_resolver(Arc::new(GuardedNames { guard: self.guard.clone(), port: key.own_port.unwrap_or(0) }))
            .user_agent(concat!("face-edge/", env!("CARGO_PKG_VERSION")));
        if !key.tls.is_plain() {
            let mut config = key.tls.config()?;
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            builder = builder.tls_backend_preconfigured(config);
        }
        builder.build().map_err(|error| innermost(&error))
    }
}

/// Resolves names, and lets only those addresses through that the guard lets through. The connection is made to them.
struct GuardedNames {
    guard: Guard,
    /// 0 where no port has to be looked at.
    port: u16,
}

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, port) = (self.guard.clone(), self.port);
        Box::pin(async move {
            let found = guard.resolve(name.as_str(), port).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|found| SocketAddr::new(found.ip(), 0)));
            Ok(addresses)
        })
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
    } else if status == StatusCode::GONE {
        Verdict::Gone { reason }
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
        for status in [400, 401, 403, 404, 405, 413, 422, 451] {
            assert!(matches!(judge(status), Verdict::Dead { .. }), "{status}");
        }
        assert_eq!(judge(410), Verdict::Gone { reason: "status 410 Gone".into() });
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

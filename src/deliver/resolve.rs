//! Asks a server for a stream's address: one GET, bounded in time and size, and a place in its JSON answer. What the
//! answer holds is never repeated in an error, for it may hold passwords.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, redirect};
use serde_json::Value;

use super::webhook::install_crypto;

const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_ANSWER_BYTES: usize = 1 << 20;

/// Whom to ask for a stream's address, and where it stands in the answer.
#[derive(Clone, PartialEq, Eq)]
pub struct AddressQuestion {
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// False: any certificate will do.
    pub certificate_check: bool,
    /// Keys and positions from the outermost to the innermost, separated by `.` or `/`: `data.streams.0.url`.
    pub path_in_answer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// May pass: ask again later.
    #[error("the server that is asked for the stream's address does not answer as it should: {0}")]
    Later(String),
    /// Asking again cannot help.
    #[error("{0}")]
    Never(String),
}

/// Answers with the stream's address.
pub async fn resolve(question: &AddressQuestion) -> Result<String, ResolveError> {
    let client = client(question.certificate_check)?;
    let request = client.get(&question.url).headers(headers(&question.headers)?);
    let mut response = request.send().await.map_err(|error| ResolveError::Later(failure(&error).to_owned()))?;
    let status = response.status();
    if !status.is_success() {
        let passes = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        let message = format!("it answered with status {}", status.as_u16());
        return Err(if passes {
            ResolveError::Later(message)
        } else {
            ResolveError::Never(format!("input.data.url: {message}; check address and headers"))
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ResolveError::Later(failure(&error).to_owned()))? {
        if body.len() + chunk.len() > LONGEST_ANSWER_BYTES {
            return Err(ResolveError::Never(format!(
                "input.data.url: the answer is over {LONGEST_ANSWER_BYTES} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    address_in(&body, &question.path_in_answer)
}

fn address_in(body: &[u8], path: &str) -> Result<String, ResolveError> {
    let never = |problem: &str| ResolveError::Never(format!("input.data.rtsp_path_in_response: {problem}"));
    let answer: Value = serde_json::from_slice(body).map_err(|_| never("the server's answer is not JSON"))?;
    let steps = path.split(['.', '/']).filter(|step| !step.is_empty() && *step != "$");
    let found = steps.clone().try_fold(&answer, |at, step| match at {
        Value::Array(entries) => step.parse().ok().and_then(|position: usize| entries.get(position)),
        other => other.get(step),
    });
    match found {
        Some(Value::String(address)) => Ok(address.clone()),
        Some(_) => Err(never("what the server's answer has at that place is no string")),
        None => Err(never("the server's answer has nothing at that place, expected keys like data.url")),
    }
}

fn client(certificate_check: bool) -> Result<Client, ResolveError> {
    install_crypto();
    let builder = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(TIMEOUT);
    let built = builder.tls_danger_accept_invalid_certs(!certificate_check).build();
    built.map_err(|_| ResolveError::Later("the HTTP client could not be set up".to_owned()))
}

fn headers(given: &[(String, String)]) -> Result<HeaderMap, ResolveError> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let bad = || ResolveError::Never(format!("input.data.headers: {name:?} is not valid"));
        let name = HeaderName::try_from(name).map_err(|_| bad())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// In words of ours: the library's repeat the address.
fn failure(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_at_its_place() {
        let body = br#"{"data": {"streams": [{"url": "rtsp://h/1"}, {"url": 7}]}}"#;
        for path in ["data.streams.0.url", "/data/streams/0/url", "$.data.streams.0.url"] {
            assert_eq!(address_in(body, path), Ok("rtsp://h/1".to_owned()), "{path}");
        }
        for (body, path, words) in [
            (&body[..], "data.streams.1.url", "no string"),
            (body, "data.nothing", "nothing at that place"),
            (body, "data.streams.9.url", "nothing at that place"),
            (b"secret", "a", "not JSON"),
        ] {
            let error = address_in(body, path).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("rtsp_path_in_response") && !error.contains("secret"));
        }
    }
}

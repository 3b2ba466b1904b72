//! What is around every request: an id, a log line, a count, a time limit, and one shape for all errors.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, OriginalUri, Request};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use uuid::Uuid;

use super::error::ApiError;
use crate::clock;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// A hundred pictures of 4 MB come over a slow line in this time, and are looked at.
const PICTURES_TIME_LIMIT: Duration = Duration::from_secs(600);

/// The id under which the log, the answer and the log of changes know a request; an extension of it.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The outermost layer stands last.
pub fn around(router: Router) -> Router {
    router
        .fallback(not_found)
        .layer(middleware::map_response(explain_method))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn(observe))
}

async fn not_found(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::NotFound(format!("there is nothing at {}", uri.path()))
}

/// The router's own 405 has no body: give it one.
async fn explain_method(response: Response) -> Response {
    let bare = response.status() == axum::http::StatusCode::METHOD_NOT_ALLOWED
        && !response.headers().contains_key(header::CONTENT_TYPE);
    if bare { ApiError::Method.into_response() } else { response }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("of an unknown kind"), "a request's handler panicked");
    ApiError::Internal.into_response()
}

async fn limit_time(request: Request, next: Next) -> Response {
    let takes_pictures = request.uri().path().starts_with(super::persons::PATH);
    let limit = if takes_pictures { PICTURES_TIME_LIMIT } else { TIME_LIMIT };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("not available now: no answer was ready within {} s", limit.as_secs());
            ApiError::Unavailable(message).into_response()
        }
    }
}

/// Logs and counts by route, never by address: addresses hold ids, and queries hold what people search for.
async fn observe(mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let text = id.to_str().unwrap_or_default().to_owned();
    request.extensions_mut().insert(RequestId(text));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, route);
    let begun = clock::monotonic();
    let mut response = async {
        let response = next.run(request).await;
        let (status, took_ms) = (response.status().as_u16(), begun.elapsed().as_millis());
        tracing::debug!(status, took_ms, "answered");
        response
    }
    .instrument(span)
    .await;
    response.headers_mut().insert(REQUEST_ID, id);
    let labels =
        [("method", known(&method).to_owned()), ("route", route), ("status", response.status().as_str().to_owned())];
    metrics::counter!("face_edge_http_requests_total", &labels).increment(1);
    response
}

/// The client's own where it is short and plain, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        value.len() <= 64 && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    match request.headers().get(REQUEST_ID).filter(plain) {
        Some(id) if !id.is_empty() => id.clone(),
        _ => HeaderValue::from_str(&Uuid::new_v4().to_string()).expect("hex digits and dashes"),
    }
}

/// Bounds the metric's label: a client may invent methods.
fn known(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS") => name,
        _ => "other",
    }
}

//! What is asked by machines that watch over this one: alive, ready, figures, and the interface's description.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;

/// Open to all: nothing here names a camera, a person or a key.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// Written out once: it is large, and the same for everybody.
pub fn description(description: &Value) -> Router<AppState> {
    let text = Bytes::from(description.to_string());
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Router::new().route("/openapi.json", get(move || std::future::ready((kind, text.clone()))))
}

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "system", responses((status = 200, body = String, content_type = "text/plain")))]
async fn healthz() -> &'static str {
    "ok\n"
}

#[derive(Serialize, ToSchema)]
struct Readiness {
    ready: bool,
    /// Empty when ready.
    reasons: Vec<Reason>,
}

#[derive(Serialize, ToSchema)]
struct Reason {
    part: &'static str,
    reason: String,
}

/// Ready to analyse and to send, or why not.
#[utoipa::path(get, path = "/readyz", tag = "system",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Readiness>) {
    let reasons: Vec<_> = state.status.reasons().into_iter().map(|(part, reason)| Reason { part, reason }).collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: reasons.is_empty(), reasons }))
}

/// Figures in Prometheus' text form.
#[utoipa::path(get, path = "/metrics", tag = "system", responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render()).into_response()
}

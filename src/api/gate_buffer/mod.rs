//! The ticket-gate face buffer: `/api/Servo/Face/Buffer/…` and `/api/Servo/Gate/Register`. JSON, XML, forms and BSON,
//! in and out; see docs/gate-buffer.md and `crate::gate_wire`.

mod calls;
mod exchange;
mod fields;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ApiError, AppState, auth};

/// With its own authentication around it: a refusal has this interface's shape.
pub fn routes(state: &AppState) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(calls::total_scan))
        .routes(routes!(calls::add))
        .routes(routes!(calls::sync))
        .routes(routes!(calls::remove))
        .routes(routes!(calls::list))
        .routes(routes!(calls::register))
        .route_layer(middleware::from_fn_with_state(state.clone(), authenticate))
}

async fn authenticate(state: State<AppState>, request: Request, next: Next) -> Response {
    match auth::authenticate(state, request, next).await {
        Ok(response) => response,
        Err(error) => refusal(&error),
    }
}

/// As such servers answer what is no answer of a call.
fn refusal(error: &ApiError) -> Response {
    let status = match error {
        ApiError::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
        ApiError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ApiError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        ApiError::Invalid(_) => StatusCode::BAD_REQUEST,
        ApiError::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = (status, Json(json!({"Message": error.to_string()}))).into_response();
    response.headers_mut().extend(error.header());
    response
}

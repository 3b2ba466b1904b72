//! The one error body: `{"error_code":"IVA.0004","error_msg":"…"}`, and which HTTP status goes with which code.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::StoreError;
use crate::task_json::TaskProblem;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("the key is missing or wrong: {0}")]
    Unauthorized(&'static str),
    #[error("project id {0:?} is invalid, expected 1 to 64 letters, digits, - and _")]
    ProjectId(String),
    #[error("the body is not JSON: line {line} column {column}: {expected}")]
    NotJson { line: usize, column: usize, expected: String },
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    #[error("something went wrong here, and it is not your fault; the service's log says more under this request's id")]
    Internal,
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("this key asks too often; it may again in {} s", seconds(*.again_in))]
    TooOften { again_in: Duration },
    #[error("over the specification: {0}")]
    OverSpecification(String),
    #[error("the body is larger than {limit_bytes} bytes, which is the most that is read here")]
    TooLarge { limit_bytes: usize },
    /// The router adds the header.
    #[error("this method is not possible here; the header Allow names those that are")]
    Method,
}

/// As it goes over the wire.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    #[schema(example = "IVA.0004")]
    error_code: &'static str,
    error_msg: String,
}

impl ApiError {
    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "IVA.0001"),
            Self::ProjectId(_) => (StatusCode::BAD_REQUEST, "IVA.0002"),
            Self::NotJson { .. } => (StatusCode::BAD_REQUEST, "IVA.0003"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "IVA.0004"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "IVA.0005"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "IVA.0006"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "IVA.0009"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "IVA.0010"),
            Self::TooOften { .. } => (StatusCode::TOO_MANY_REQUESTS, "IVA.0010"),
            Self::OverSpecification(_) => (StatusCode::BAD_REQUEST, "IVA.0011"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "IVA.0011"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "IVA.0004"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error_code) = self.code();
        let mut response = (status, Json(ErrorBody { error_code, error_msg: self.to_string() })).into_response();
        response.headers_mut().extend(self.header());
        response
    }
}

impl ApiError {
    /// What goes with it beside its body.
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::TooLarge { .. } => Some((header::CONNECTION, HeaderValue::from_static("close"))),
            Self::TooOften { again_in } => Some((header::RETRY_AFTER, seconds(*again_in).into())),
            _ => None,
        }
    }
}

/// Whole ones, not 0: Retry-After knows no others.
fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1) as u64
}

impl From<TaskProblem> for ApiError {
    fn from(problem: TaskProblem) -> Self {
        match problem {
            TaskProblem::NotJson { line, column, expected } => Self::NotJson { line, column, expected },
            TaskProblem::Invalid(_) => Self::Invalid(problem.to_string()),
            TaskProblem::OverSpecification(_) => Self::OverSpecification(problem.to_string()),
        }
    }
}

/// What a client can wait out is 503, the rest is ours; the log has the details either way.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store refused a request");
        match error {
            StoreError::Full
            | StoreError::ReadOnly
            | StoreError::Disk
            | StoreError::Busy { .. }
            | StoreError::Closed => Self::Unavailable(format!("not available now: {error}")),
            _ => Self::Internal,
        }
    }
}

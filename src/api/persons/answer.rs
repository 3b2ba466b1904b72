//! The envelope of every answer, `{"status":200,"body":{…},"htmlencoded":false,"last_modified":0}`; of a failure the
//! body is a string and the HTTP status the same.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::ApiError;
use crate::store::StoreError;

#[derive(Serialize, ToSchema)]
pub struct Envelope<B> {
    status: u16,
    body: B,
    htmlencoded: bool,
    last_modified: i64,
}

impl<B> Envelope<B> {
    pub fn of(body: B) -> Self {
        Self { status: StatusCode::OK.as_u16(), body, htmlencoded: false, last_modified: 0 }
    }
}

impl<B: Serialize> IntoResponse for Envelope<B> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self)).into_response()
    }
}

/// Of truncate.
#[derive(Serialize, ToSchema)]
pub struct Nothing {}

#[derive(Serialize, ToSchema)]
pub struct Objects {
    pub objects: Vec<Item>,
    /// Of recognize.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub aliases_changed: Option<bool>,
}

/// What became of one image. 0 done, 1 a permanent error, 2 a temporary one.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Item {
    status: u8,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    persons: Option<Vec<Recognized>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Recognized {
    /// `person<N>`, or `undefined`.
    pub tag: String,
    /// Left, top, right, bottom.
    pub coord: [i64; 4],
    pub confidence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub similarity: Option<f64>,
}

impl Item {
    pub fn done(name: &str) -> Self {
        Self { status: 0, name: name.to_owned(), error: None, persons: None }
    }

    pub fn persons(name: &str, persons: Vec<Recognized>) -> Self {
        Self { persons: Some(persons), ..Self::done(name) }
    }

    pub fn refused(name: &str, error: impl Into<String>) -> Self {
        Self { status: 1, error: Some(error.into()), ..Self::done(name) }
    }

    /// Ours: a retry may help.
    pub fn failed(name: &str, error: impl Into<String>) -> Self {
        Self { status: 2, ..Self::refused(name, error) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonsError {
    status: StatusCode,
    message: String,
    /// When to come again, where that is known.
    header: Option<(HeaderName, HeaderValue)>,
}

impl PersonsError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), header: None }
    }

    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The token is not repeated: it may be a good one for something else.
    pub fn token(provider: &str) -> Self {
        let message = format!(
            "authorization failed, provider: {provider}, token: ***(...), reason: CONDITION/UNAUTHORIZED, Access Token invalid"
        );
        Self::new(StatusCode::UNAUTHORIZED, message)
    }
}

impl From<ApiError> for PersonsError {
    fn from(error: ApiError) -> Self {
        let status = match error {
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::Invalid(_) | ApiError::TooLarge { .. } => StatusCode::BAD_REQUEST,
            ApiError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
            _ => {
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
            }
        };
        Self { header: error.header(), ..Self::new(status, error.to_string()) }
    }
}

impl From<StoreError> for PersonsError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl IntoResponse for PersonsError {
    fn into_response(self) -> Response {
        let mut response = Envelope { status: self.status.as_u16(), ..Envelope::of(self.message) }.into_response();
        response.headers_mut().extend(self.header);
        response
    }
}

//! `{"error":{"code","message"}}`, with the code in the header `x-ms-error-code` as well.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{ApiError, LookFault};
use crate::picture::PictureFault;
use crate::store::{DirectoryRefusal, MAX_FACES, MAX_GROUPS, MAX_PERSONS, StoreError};

const CODE_HEADER: HeaderName = HeaderName::from_static("x-ms-error-code");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// When to come again, where that is known.
    header: Option<(HeaderName, HeaderValue)>,
}

/// As it goes over the wire.
#[derive(Serialize, ToSchema)]
pub struct FaceErrorResponse {
    error: FaceError,
}

#[derive(Serialize, ToSchema)]
pub struct FaceError {
    code: &'static str,
    message: String,
}

impl DirectoryError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadArgument", message)
    }

    pub fn url(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidURL", message)
    }

    pub fn image(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidImage", message)
    }

    pub fn group_id() -> Self {
        let message = "the dynamicPersonGroupId is not valid, expected 1 to 64 of a to z, 0 to 9, - and _";
        Self::new(StatusCode::BAD_REQUEST, "DynamicPersonGroupNotFound", message)
    }

    pub fn no_group() -> Self {
        Self::new(StatusCode::NOT_FOUND, "DynamicPersonGroupNotFound", "there is no such dynamic person group")
    }

    pub fn no_person() -> Self {
        Self::new(StatusCode::NOT_FOUND, "PersonNotFound", "there is no such person")
    }

    pub fn no_face() -> Self {
        Self::new(StatusCode::NOT_FOUND, "PersistedFaceNotFound", "this person has no such persisted face")
    }

    pub fn nothing(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }
}

impl From<DirectoryRefusal> for DirectoryError {
    fn from(refusal: DirectoryRefusal) -> Self {
        let full = |message: String| Self::new(StatusCode::FORBIDDEN, "QuotaExceeded", message);
        match refusal {
            DirectoryRefusal::GroupExists => {
                let message = "there is a dynamic person group of this id already";
                Self::new(StatusCode::CONFLICT, "DynamicPersonGroupExists", message)
            }
            DirectoryRefusal::NoGroup => Self::no_group(),
            DirectoryRefusal::NoPerson => Self::no_person(),
            DirectoryRefusal::NoFace => Self::no_face(),
            DirectoryRefusal::TooManyFaces => full(format!("a person has at most {MAX_FACES} persisted faces")),
            DirectoryRefusal::TooManyPersons => full(format!("there are {MAX_PERSONS} persons, which is the most")),
            DirectoryRefusal::TooManyGroups => full(format!("there are {MAX_GROUPS} groups, which is the most")),
        }
    }
}

impl From<LookFault> for DirectoryError {
    fn from(fault: LookFault) -> Self {
        let message = fault.to_string();
        match fault {
            LookFault::Picture(PictureFault::Bytes { .. } | PictureFault::Size { .. }) => {
                Self::new(StatusCode::BAD_REQUEST, "InvalidImageSize", message)
            }
            LookFault::Picture(_) => Self::image(message),
            LookFault::Eyes(why) => ApiError::Unavailable(format!("not available now: {why}")).into(),
        }
    }
}

impl From<StoreError> for DirectoryError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<ApiError> for DirectoryError {
    fn from(error: ApiError) -> Self {
        let header = error.header();
        let (status, code) = match error {
            ApiError::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "401"),
            ApiError::Forbidden(_) => (StatusCode::FORBIDDEN, "Forbidden"),
            ApiError::Invalid(_) => (StatusCode::BAD_REQUEST, "BadArgument"),
            ApiError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "InvalidImageSize"),
            ApiError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            ApiError::TooOften { .. } => (StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        };
        Self { header, ..Self::new(status, code, error.to_string()) }
    }
}

impl IntoResponse for DirectoryError {
    fn into_response(self) -> Response {
        let body = FaceErrorResponse { error: FaceError { code: self.code, message: self.message } };
        let code = [(CODE_HEADER, HeaderValue::from_static(self.code))];
        let mut response = (self.status, code, Json(body)).into_response();
        response.headers_mut().extend(self.header);
        response
    }
}

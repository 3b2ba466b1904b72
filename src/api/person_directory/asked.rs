//! What a request asks: the version and ids of its path, the window of a listing, and a body's fields.

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestPartsExt};
use serde_json::{Map, Value};
use url::form_urlencoded;
use uuid::Uuid;

use super::error::DirectoryError;
use crate::api::keys::Identity;
use crate::api::{auth, body};
use crate::store::Window;

const VERSIONS: [&str; 2] = ["v1.1-preview.1", "v1.2-preview.1"];
const OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");
const GROUP_ID_CHARS: usize = 64;
const NAME_CHARS: usize = 128;
pub const USER_DATA_CHARS: usize = 16_384;
const START_CHARS: usize = 64;
const TOP: std::ops::RangeInclusive<u32> = 1..=1000;

/// Path, query, and who asks. Extracted for those who may look only.
pub struct Asked {
    segments: Vec<(String, String)>,
    query: Vec<(String, String)>,
    /// `http://host/face/v1.1-preview.1`
    base: String,
    identity: Identity,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = DirectoryError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, DirectoryError> {
        let nowhere = || DirectoryError::nothing("there is nothing at this address");
        let segments = parts.extract::<RawPathParams>().await.map_err(|_| nowhere())?;
        let segments: Vec<_> = segments.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let query = parts.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let identity = parts.extensions.get::<Identity>().cloned().expect("authenticated before");
        auth::require(identity.role.may_see_tasks(), identity.role, "see the person directory")?;
        let asked = Self { base: String::new(), segments, query, identity };
        let version = asked.segment("apiVersion").to_owned();
        if !VERSIONS.contains(&version.as_str()) {
            return Err(DirectoryError::nothing("there is no such apiVersion here"));
        }
        Ok(Self { base: format!("{}/face/{version}", origin(&parts.headers)), ..asked })
    }
}

/// As the client sees this box.
fn origin(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    text(header::HOST.as_str()).map(|host| format!("{scheme}://{host}")).unwrap_or_default()
}

impl Asked {
    fn segment(&self, name: &str) -> &str {
        self.segments.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn require_change(&self) -> Result<(), DirectoryError> {
        let role = self.identity.role;
        Ok(auth::require(role.may_change_tasks(), role, "change the person directory")?)
    }

    pub fn group_id(&self) -> Result<&str, DirectoryError> {
        let id = self.segment("dynamicPersonGroupId");
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if (1..=GROUP_ID_CHARS).contains(&id.len()) && id.bytes().all(plain) {
            Ok(id)
        } else {
            Err(DirectoryError::group_id())
        }
    }

    pub fn person_id(&self) -> Result<Uuid, DirectoryError> {
        Uuid::parse_str(self.segment("personId")).map_err(|_| DirectoryError::no_person())
    }

    pub fn face_id(&self) -> Result<Uuid, DirectoryError> {
        Uuid::parse_str(self.segment("persistedFaceId")).map_err(|_| DirectoryError::no_face())
    }

    pub fn operation_id(&self) -> Option<Uuid> {
        Uuid::parse_str(self.segment("operationId")).ok()
    }

    pub fn recognition_model(&self) -> Result<&str, DirectoryError> {
        let model = self.segment("recognitionModel");
        let known = ["recognition_01", "recognition_02", "recognition_03", "recognition_04"].contains(&model);
        known.then_some(model).ok_or_else(|| {
            DirectoryError::argument("'recognitionModel' is invalid, expected recognition_01 to recognition_04")
        })
    }

    pub fn window(&self) -> Result<Window, DirectoryError> {
        let start = self.query("start").unwrap_or_default();
        if start.chars().count() > START_CHARS {
            return Err(DirectoryError::argument(format!(
                "'start' is too long, expected at most {START_CHARS} characters"
            )));
        }
        let top = match self.query("top").unwrap_or_default() {
            "" => Some(*TOP.end()),
            text => text.parse().ok().filter(|top| TOP.contains(top)),
        };
        let top = top.ok_or_else(|| DirectoryError::argument("'top' is invalid, expected a number from 1 to 1000"))?;
        Ok(Window { start: start.to_owned(), top })
    }

    /// 202 with `operation-Location`, and `Location` where something was made.
    pub fn accepted(&self, operation: Uuid, made: Option<String>, body: Option<Value>) -> Response {
        let mut response = match body {
            Some(body) => (StatusCode::ACCEPTED, Json(body)).into_response(),
            None => StatusCode::ACCEPTED.into_response(),
        };
        let mut put = |name: HeaderName, path: String| {
            if let Ok(value) = HeaderValue::from_str(&format!("{}/{path}", self.base)) {
                response.headers_mut().insert(name, value);
            }
        };
        put(OPERATION_LOCATION, format!("operations/{operation}"));
        if let Some(path) = made {
            put(header::LOCATION, path);
        }
        response
    }
}

/// A body's fields.
pub struct Fields(Map<String, Value>);

impl Fields {
    pub async fn read(headers: &HeaderMap, sent: Body) -> Result<Self, DirectoryError> {
        let bytes = body::read(headers, sent).await?;
        let fields: Value = serde_json::from_slice(&bytes)
            .map_err(|error| DirectoryError::argument(format!("the body does not parse as JSON: {error}")))?;
        match fields {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(DirectoryError::argument("the body does not parse as a JSON object")),
        }
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, DirectoryError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(DirectoryError::argument(format!("'{name}' is invalid, expected a string"))),
        }
    }

    /// Where it is given, 1 to 128 characters.
    pub fn name(&self) -> Result<Option<String>, DirectoryError> {
        let name = self.text("name")?;
        match name.as_ref().map(|name| name.chars().count()) {
            Some(0) => Err(DirectoryError::argument("'name' is empty")),
            Some(count) if count > NAME_CHARS => {
                Err(DirectoryError::argument(format!("'name' is too long, expected at most {NAME_CHARS} characters")))
            }
            _ => Ok(name),
        }
    }

    pub fn required_name(&self) -> Result<String, DirectoryError> {
        self.name()?.ok_or_else(|| DirectoryError::argument("'name' is empty"))
    }

    pub fn user_data(&self, max_chars: usize) -> Result<Option<String>, DirectoryError> {
        check_user_data(self.text("userData")?, max_chars)
    }

    /// Where they are given, at least one.
    pub fn persons(&self, name: &str) -> Result<Option<Vec<Uuid>>, DirectoryError> {
        let expected = || DirectoryError::argument(format!("'{name}' is invalid, expected at least one person id"));
        let ids = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(ids)) if !ids.is_empty() => ids,
            Some(_) => return Err(expected()),
        };
        let ids = ids.iter().map(|id| id.as_str().and_then(|id| Uuid::parse_str(id).ok()).ok_or_else(expected));
        ids.collect::<Result<_, _>>().map(Some)
    }
}

pub fn check_user_data(user_data: Option<String>, max_chars: usize) -> Result<Option<String>, DirectoryError> {
    if user_data.as_ref().is_some_and(|text| text.chars().count() > max_chars) {
        let message = format!("'userData' is too long, expected at most {max_chars} characters");
        return Err(DirectoryError::argument(message));
    }
    Ok(user_data)
}

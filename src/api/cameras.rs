//! The camera registry: `/v2/{project_id}/services/c-face-edge/cameras`. A task names a camera by its id and needs
//! neither its address nor its password. One registry an installation: every project may use its cameras.

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ErrorBody;
use super::face_tasks::{Given, Scope};
use super::keys::Identity;
use super::{ApiError, AppState, auth, body};
use crate::clock;
use crate::domain::UnixMs;
use crate::store::{CameraQuery, CameraRow, StoreError};
use crate::task_json::{check_stream_address, without_password};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, update, delete))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "door", "name": "front door", "url": "rtsp://127.0.0.1:9/cam0", "username": "viewer", "password": "secret"}))]
struct CameraBody {
    /// Letters, digits, `-`, `_` and `.`; the task's `input.data[].id`.
    #[schema(pattern = "^[A-Za-z0-9_.-]{1,63}$")]
    id: String,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// rtsp, rtsps, http, https, file or v4l2.
    #[schema(pattern = "^(rtsp|rtsps|http|https|file|v4l2)://", max_length = 1000)]
    url: String,
    /// The same camera's small stream: it is analysed, and pictures are cut out of the one at `url`. Both rtsp or rtsps.
    #[schema(pattern = "^rtsps?://", max_length = 1000)]
    detect_url: Option<String>,
    /// The camera's account, where it does not stand in the address.
    #[schema(max_length = 256)]
    username: Option<String>,
    #[schema(max_length = 256)]
    password: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Camera {
    id: String,
    name: String,
    /// For those who may only look: without its password.
    url: String,
    /// As `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    detect_url: Option<String>,
    /// Not for those who may only look.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
struct CameraList {
    /// All that match, not only the page.
    count: u64,
    cameras: Vec<Camera>,
}

/// Adds a camera.
#[utoipa::path(post, path = "/v2/{project_id}/services/{service_name}/cameras", tag = "cameras", operation_id = "create_camera",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge")),
    request_body(content = CameraBody, content_type = "application/json"),
    responses((status = 201, body = Camera), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn create(
    State(state): State<AppState>,
    _: Scope,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    sent: Body,
) -> Result<(StatusCode, Json<Camera>), ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "add cameras")?;
    let now = clock::unix_ms();
    let row = read(&body::read(&headers, sent).await?, now, now)?;
    match state.store.by(identity.actor()).insert_camera(row.clone()).await {
        Err(StoreError::Conflict { .. }) => {
            return Err(ApiError::Invalid(format!("id: there is a camera {:?} already; change it by PUT", row.id)));
        }
        answer => answer?,
    }
    Ok((StatusCode::CREATED, Json(shown(&identity, row))))
}

/// Cameras, ordered by id.
#[utoipa::path(get, path = "/v2/{project_id}/services/{service_name}/cameras", tag = "cameras", operation_id = "list_cameras",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("name_like" = Option<String>, Query, description = "contained in the name"),
        ("offset" = Option<u32>, Query, maximum = 100000),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = CameraList), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn list(
    State(state): State<AppState>,
    _: Scope,
    Extension(identity): Extension<Identity>,
    RawQuery(query): RawQuery,
) -> Result<Json<CameraList>, ApiError> {
    auth::require(identity.role.may_see_tasks(), identity.role, "see cameras")?;
    let query = query.unwrap_or_default();
    let given = Given::read(&query)?;
    let query = CameraQuery {
        name_like: given.like("name_like")?.unwrap_or_default(),
        offset: given.number("offset", 0..=100_000)?.unwrap_or(0),
        limit: given.number("limit", 1..=1000)?.unwrap_or(1000),
    };
    let (count, rows) = state.store.cameras(query).await?;
    Ok(Json(CameraList { count, cameras: rows.into_iter().map(|row| shown(&identity, row)).collect() }))
}

/// One camera.
#[utoipa::path(get, path = "/v2/{project_id}/services/{service_name}/cameras/{camera_id}", tag = "cameras", operation_id = "show_camera",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("camera_id" = String, Path)),
    responses((status = 200, body = Camera), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn show(
    State(state): State<AppState>,
    _: Scope,
    place: Place,
    Extension(identity): Extension<Identity>,
) -> Result<Json<Camera>, ApiError> {
    auth::require(identity.role.may_see_tasks(), identity.role, "see cameras")?;
    Ok(Json(shown(&identity, find(&state, &place).await?)))
}

/// Changes a camera: a whole body with the same id. Tasks that use it open it anew.
#[utoipa::path(put, path = "/v2/{project_id}/services/{service_name}/cameras/{camera_id}", tag = "cameras", operation_id = "update_camera",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("camera_id" = String, Path)),
    request_body(content = CameraBody, content_type = "application/json"),
    responses((status = 200, body = Camera), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn update(
    State(state): State<AppState>,
    _: Scope,
    place: Place,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Camera>, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "change cameras")?;
    let before = find(&state, &place).await?;
    let row = read(&body::read(&headers, sent).await?, before.created_at, clock::unix_ms())?;
    if row.id != before.id {
        let message = format!("id: is {:?}, expected {:?} as in the path; an id does not change", row.id, before.id);
        return Err(ApiError::Invalid(message));
    }
    if !state.store.by(identity.actor()).update_camera(row.clone()).await? {
        return Err(missing());
    }
    state.control.wake();
    Ok(Json(shown(&identity, row)))
}

/// Removes a camera. Tasks that use it stop as START_FAILED.
#[utoipa::path(delete, path = "/v2/{project_id}/services/{service_name}/cameras/{camera_id}", tag = "cameras", operation_id = "delete_camera",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("camera_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn delete(
    State(state): State<AppState>,
    _: Scope,
    place: Place,
    Extension(identity): Extension<Identity>,
) -> Result<StatusCode, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "remove cameras")?;
    if !state.store.by(identity.actor()).delete_camera(&place.camera_id).await? {
        return Err(missing());
    }
    state.control.wake();
    Ok(StatusCode::NO_CONTENT)
}

/// The camera that the path names.
#[derive(Deserialize)]
struct Segments {
    camera_id: String,
}

struct Place {
    camera_id: String,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Place {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, ApiError> {
        let segments = Path::<Segments>::from_request_parts(parts, state).await.map_err(|_| missing())?;
        Ok(Self { camera_id: segments.0.camera_id })
    }
}

async fn find(state: &AppState, place: &Place) -> Result<CameraRow, ApiError> {
    state.store.camera(&place.camera_id).await?.ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::NotFound("there is no such camera".to_owned())
}

fn read(text: &[u8], created_at: UnixMs, updated_at: UnixMs) -> Result<CameraRow, ApiError> {
    let sent: CameraBody = serde_json::from_slice(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ApiError::Invalid(error.to_string()),
        _ => {
            let (line, column) = (error.line(), error.column());
            ApiError::NotJson { line, column, expected: error.to_string() }
        }
    })?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=63).contains(&sent.id.len()) || !sent.id.bytes().all(plain) {
        return Err(ApiError::Invalid("id: expected 1 to 63 letters, digits, -, _ and .".to_owned()));
    }
    text_of("name", &sent.name, 1..=100)?;
    text_of("username", sent.username.as_deref().unwrap_or_default(), 0..=256)?;
    text_of("password", sent.password.as_deref().unwrap_or_default(), 0..=256)?;
    check_stream_address("url", &sent.url)?;
    let CameraBody { id, name, url, detect_url, username, password } = sent;
    let filled = |text: &String| !text.is_empty();
    let detect_url = detect_url.filter(filled);
    if let Some(detect_url) = &detect_url {
        check_pair(&url, detect_url)?;
    }
    let (username, password) = (username.filter(filled), password.filter(filled));
    Ok(CameraRow { id, name, url, detect_url, username, password, created_at, updated_at })
}

/// Two streams are paired by the times of their packets.
fn check_pair(url: &str, detect_url: &str) -> Result<(), ApiError> {
    check_stream_address("detect_url", detect_url)?;
    let is_rtsp = |url: &str| {
        let url = url.to_ascii_lowercase();
        ["rtsp://", "rtsps://"].iter().any(|scheme| url.starts_with(scheme))
    };
    for (field, address) in [("url", url), ("detect_url", detect_url)] {
        if !is_rtsp(address) {
            let message = format!("{field}: a camera with detect_url has both its streams at rtsp:// or rtsps://");
            return Err(ApiError::Invalid(message));
        }
    }
    Ok(())
}

fn text_of(field: &str, text: &str, chars: std::ops::RangeInclusive<usize>) -> Result<(), ApiError> {
    let count = text.chars().count();
    if chars.contains(&count) {
        return Ok(());
    }
    let (least, most) = (chars.start(), chars.end());
    Err(ApiError::Invalid(format!("{field}: has {count} characters, expected {least} to {most}")))
}

fn shown(identity: &Identity, row: CameraRow) -> Camera {
    let all = identity.role.may_change_tasks();
    let CameraRow { id, name, url, detect_url, username, password, created_at, updated_at } = row;
    let open = |url: String| if all { url } else { without_password(&url) };
    Camera {
        id,
        name,
        url: open(url),
        detect_url: detect_url.map(open),
        username: username.filter(|_| all),
        password: password.filter(|_| all),
        created_at: rfc3339(created_at),
        updated_at: rfc3339(updated_at),
    }
}

/// UTC, whole seconds, `Z`.
fn rfc3339(at: UnixMs) -> String {
    DateTime::from_timestamp(at.secs(), 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

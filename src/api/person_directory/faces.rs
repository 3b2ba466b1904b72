//! Persisted faces: found in the picture that is sent, or that a sent address names. Kept is the face with some room
//! around it, not the picture.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::asked::{Asked, Fields, check_user_data};
use super::error::{DirectoryError, FaceErrorResponse};
use crate::api::{AppState, Look, body};
use crate::clock;
use crate::domain::{FaceOwner, Rect, SeenFace};
use crate::picture::{Kind, PictureLimits};
use crate::store::{DirectoryChange, NewSample, SampleRow};

const USER_DATA_CHARS: usize = 1024;
const MAX_BYTES: usize = 6 << 20;
const PICTURES: PictureLimits = PictureLimits {
    min_bytes: 1024,
    max_bytes: MAX_BYTES,
    min_side_px: 36,
    max_side_px: 4096,
    kinds: &[Kind::Jpeg, Kind::Png, Kind::Gif, Kind::Bmp],
};

/// Where the picture lies; or the picture itself as application/octet-stream.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what Fields reads")]
pub struct FaceUrl {
    #[schema(format = "uri")]
    url: String,
}

#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what Fields reads")]
pub struct FaceChange {
    #[schema(max_length = 1024)]
    #[serde(rename = "userData")]
    user_data: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewFaceId {
    persisted_face_id: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonsFaces {
    person_id: String,
    persisted_face_ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersistedFace {
    persisted_face_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_data: Option<String>,
}

/// Adds a face to a person.
#[utoipa::path(post, path = "/face/{apiVersion}/persons/{personId}/recognitionModels/{recognitionModel}/persistedfaces", tag = "person directory", operation_id = "add_face",
    params(("apiVersion" = String, Path), ("personId" = String, Path), ("recognitionModel" = String, Path),
        ("targetFace" = Option<String>, Query, description = "left,top,width,height"),
        ("detectionModel" = Option<String>, Query), ("userData" = Option<String>, Query, max_length = 1024)),
    request_body(content = FaceUrl, content_type = "application/json"),
    responses((status = 202, body = NewFaceId), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn add(
    State(state): State<AppState>,
    asked: Asked,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let (person, model) = (asked.person_id()?, asked.recognition_model()?.to_owned());
    check_detection_model(asked.query("detectionModel"))?;
    let target = asked.query("targetFace").map(target_face).transpose()?;
    let user_data = check_user_data(asked.query("userData").map(str::to_owned), USER_DATA_CHARS)?;
    state.store.person(person).await?.ok_or_else(DirectoryError::no_person)?;
    let bytes = picture(&state, &headers, sent).await?;
    let look = state.faces.look(bytes, PICTURES, true).await?;
    let face = chosen(&look, target)?;
    let (jpeg, in_jpeg) = look.picture.keep(face);
    let (id, operation) = (Uuid::new_v4(), Uuid::new_v4());
    let sample = state.store.sealed(NewSample {
        owner: FaceOwner::Person(person),
        face: id.to_string(),
        seen: in_jpeg,
        picture: jpeg,
        model: state.faces.eyes.recognition().map(|recognition| recognition.model.clone()),
        validity: None,
        recognition_model: Some(model.clone()),
        user_data,
    })?;
    let change = DirectoryChange::AddFace { person, sample: Box::new(sample) };
    state.store.change_directory(change, Some(operation), clock::unix_ms()).await??;
    if let Some(embedding) = &face.embedding {
        state.faces.gallery.put(&FaceOwner::Person(person), &id.to_string(), embedding);
    }
    let made = format!("persons/{person}/recognitionModels/{model}/persistedfaces/{id}");
    Ok(asked.accepted(operation, Some(made), Some(json!({"persistedFaceId": id}))))
}

async fn picture(state: &AppState, headers: &HeaderMap, sent: Body) -> Result<Vec<u8>, DirectoryError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/octet-stream") {
        return Ok(body::read_up_to(headers, sent, MAX_BYTES).await?.to_vec());
    }
    let url = Fields::read(headers, sent).await?.text("url")?;
    let url = url.filter(|url| !url.is_empty()).ok_or_else(|| DirectoryError::url("'url' is empty"))?;
    state.faces.fetch.fetch(&url, MAX_BYTES).await.map_err(DirectoryError::url)
}

fn check_detection_model(model: Option<&str>) -> Result<(), DirectoryError> {
    match model.unwrap_or_default() {
        "" | "detection_01" | "detection_02" | "detection_03" => Ok(()),
        _ => Err(DirectoryError::argument("'detectionModel' is invalid, expected detection_01 to detection_03")),
    }
}

fn target_face(text: &str) -> Result<Rect, DirectoryError> {
    let numbers: Option<Vec<f32>> = text.split(',').map(|n| n.trim().parse::<u16>().ok().map(f32::from)).collect();
    match numbers.as_deref() {
        Some(&[left, top, width, height]) if width > 0.0 && height > 0.0 => Ok(Rect::new(left, top, width, height)),
        _ => Err(DirectoryError::argument("'targetFace' is invalid, expected left,top,width,height in pixels")),
    }
}

/// The only face; with a target, the one that overlaps it most.
fn chosen(look: &Look, target: Option<Rect>) -> Result<&SeenFace, DirectoryError> {
    match (target, look.faces.as_slice()) {
        (_, []) => Err(DirectoryError::image("no face was found in the image")),
        (None, [face]) => Ok(face),
        (None, faces) => {
            let message = format!("there is more than one face in the image ({}); name one by targetFace", faces.len());
            Err(DirectoryError::image(message))
        }
        (Some(target), faces) => faces
            .iter()
            .filter(|face| face.bbox.intersect(&target).area() > 0.0)
            .max_by(|a, b| a.bbox.iou(&target).total_cmp(&b.bbox.iou(&target)))
            .ok_or_else(|| DirectoryError::image("no face was found where targetFace is")),
    }
}

/// A person's faces.
#[utoipa::path(get, path = "/face/{apiVersion}/persons/{personId}/recognitionModels/{recognitionModel}/persistedfaces", tag = "person directory", operation_id = "list_faces",
    params(("apiVersion" = String, Path), ("personId" = String, Path), ("recognitionModel" = String, Path)),
    responses((status = 200, body = PersonsFaces), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn list(State(state): State<AppState>, asked: Asked) -> Result<Json<PersonsFaces>, DirectoryError> {
    let person = asked.person_id()?;
    let rows = faces(&state, &asked, person).await?;
    let persisted_face_ids = rows.into_iter().map(|row| row.face).collect();
    Ok(Json(PersonsFaces { person_id: person.to_string(), persisted_face_ids }))
}

/// One face: what was noted with it.
#[utoipa::path(get, path = "/face/{apiVersion}/persons/{personId}/recognitionModels/{recognitionModel}/persistedfaces/{persistedFaceId}", tag = "person directory", operation_id = "show_face",
    params(("apiVersion" = String, Path), ("personId" = String, Path), ("recognitionModel" = String, Path), ("persistedFaceId" = String, Path)),
    responses((status = 200, body = PersistedFace), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn show(State(state): State<AppState>, asked: Asked) -> Result<Json<PersistedFace>, DirectoryError> {
    let rows = faces(&state, &asked, asked.person_id()?).await?;
    let id = asked.face_id()?.to_string();
    let row = rows.into_iter().find(|row| row.face == id).ok_or_else(DirectoryError::no_face)?;
    Ok(Json(PersistedFace { persisted_face_id: row.face, user_data: row.user_data }))
}

/// Changes what was noted with a face.
#[utoipa::path(patch, path = "/face/{apiVersion}/persons/{personId}/recognitionModels/{recognitionModel}/persistedfaces/{persistedFaceId}", tag = "person directory", operation_id = "update_face",
    params(("apiVersion" = String, Path), ("personId" = String, Path), ("recognitionModel" = String, Path), ("persistedFaceId" = String, Path)),
    request_body(content = FaceChange, content_type = "application/json"),
    responses((status = 200), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn update(
    State(state): State<AppState>,
    asked: Asked,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let (person, face, model) = (asked.person_id()?, asked.face_id()?, asked.recognition_model()?.to_owned());
    let user_data = Fields::read(&headers, sent).await?.user_data(USER_DATA_CHARS)?;
    let change = DirectoryChange::UpdateFace { person, face, model, user_data };
    state.store.change_directory(change, None, clock::unix_ms()).await??;
    Ok(StatusCode::OK.into_response())
}

/// Erases a face.
#[utoipa::path(delete, path = "/face/{apiVersion}/persons/{personId}/recognitionModels/{recognitionModel}/persistedfaces/{persistedFaceId}", tag = "person directory", operation_id = "delete_face",
    params(("apiVersion" = String, Path), ("personId" = String, Path), ("recognitionModel" = String, Path), ("persistedFaceId" = String, Path)),
    responses((status = 202), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn delete(State(state): State<AppState>, asked: Asked) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let (person, face, model) = (asked.person_id()?, asked.face_id()?, asked.recognition_model()?.to_owned());
    let operation = Uuid::new_v4();
    let change = DirectoryChange::DeleteFace { person, face, model };
    state.store.change_directory(change, Some(operation), clock::unix_ms()).await??;
    state.faces.gallery.forget(&FaceOwner::Person(person), &face.to_string());
    Ok(asked.accepted(operation, None, None))
}

async fn faces(state: &AppState, asked: &Asked, person: Uuid) -> Result<Vec<SampleRow>, DirectoryError> {
    let model = asked.recognition_model()?;
    state.store.person(person).await?.ok_or_else(DirectoryError::no_person)?;
    Ok(state.store.persons_faces(person, model).await?)
}

//! Persons. A person goes with all faces, out of all groups.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::asked::{Asked, Fields, USER_DATA_CHARS};
use super::error::{DirectoryError, FaceErrorResponse};
use crate::api::AppState;
use crate::clock;
use crate::domain::FaceOwner;
use crate::store::{DirectoryChange, NamedRow};

#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what Fields reads")]
pub struct NewPerson {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    #[schema(max_length = 16384)]
    #[serde(rename = "userData")]
    user_data: Option<String>,
}

/// At least one of them.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what Fields reads")]
pub struct PersonChange {
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    #[schema(max_length = 16384)]
    #[serde(rename = "userData")]
    user_data: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    person_id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_data: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewPersonId {
    person_id: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupReferences {
    dynamic_person_group_ids: Vec<String>,
}

impl From<NamedRow> for Person {
    fn from(NamedRow { id, name, user_data }: NamedRow) -> Self {
        Self { person_id: id, name, user_data }
    }
}

/// Makes a person.
#[utoipa::path(post, path = "/face/{apiVersion}/persons", tag = "person directory", operation_id = "create_person",
    params(("apiVersion" = String, Path)),
    request_body(content = NewPerson, content_type = "application/json"),
    responses((status = 202, body = NewPersonId), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn create(
    State(state): State<AppState>,
    asked: Asked,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let fields = Fields::read(&headers, sent).await?;
    let (name, user_data) = (fields.required_name()?, fields.user_data(USER_DATA_CHARS)?);
    let (id, operation) = (Uuid::new_v4(), Uuid::new_v4());
    let change = DirectoryChange::CreatePerson { id, name, user_data };
    state.store.change_directory(change, Some(operation), clock::unix_ms()).await??;
    Ok(asked.accepted(operation, Some(format!("persons/{id}")), Some(json!({"personId": id}))))
}

/// Persons by id.
#[utoipa::path(get, path = "/face/{apiVersion}/persons", tag = "person directory", operation_id = "list_persons",
    params(("apiVersion" = String, Path),
        ("start" = Option<String>, Query, max_length = 64), ("top" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = [Person]), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn list(State(state): State<AppState>, asked: Asked) -> Result<Json<Vec<Person>>, DirectoryError> {
    let rows = state.store.persons(asked.window()?).await?;
    Ok(Json(rows.into_iter().map(Person::from).collect()))
}

/// One person.
#[utoipa::path(get, path = "/face/{apiVersion}/persons/{personId}", tag = "person directory", operation_id = "show_person",
    params(("apiVersion" = String, Path), ("personId" = String, Path)),
    responses((status = 200, body = Person), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn show(State(state): State<AppState>, asked: Asked) -> Result<Json<Person>, DirectoryError> {
    let row = state.store.person(asked.person_id()?).await?;
    Ok(Json(row.ok_or_else(DirectoryError::no_person)?.into()))
}

/// Changes a person: what is left out stays.
#[utoipa::path(patch, path = "/face/{apiVersion}/persons/{personId}", tag = "person directory", operation_id = "update_person",
    params(("apiVersion" = String, Path), ("personId" = String, Path)),
    request_body(content = PersonChange, content_type = "application/json"),
    responses((status = 200), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn update(
    State(state): State<AppState>,
    asked: Asked,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let id = asked.person_id()?;
    let fields = Fields::read(&headers, sent).await?;
    let (name, user_data) = (fields.name()?, fields.user_data(USER_DATA_CHARS)?);
    if name.is_none() && user_data.is_none() {
        return Err(DirectoryError::argument("'name' and 'userData' are both empty"));
    }
    let change = DirectoryChange::UpdatePerson { id, name, user_data };
    state.store.change_directory(change, None, clock::unix_ms()).await??;
    Ok(StatusCode::OK.into_response())
}

/// Erases a person with all faces.
#[utoipa::path(delete, path = "/face/{apiVersion}/persons/{personId}", tag = "person directory", operation_id = "delete_person",
    params(("apiVersion" = String, Path), ("personId" = String, Path)),
    responses((status = 202), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn delete(State(state): State<AppState>, asked: Asked) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let (id, operation) = (asked.person_id()?, Uuid::new_v4());
    let change = DirectoryChange::DeletePerson { id };
    state.store.change_directory(change, Some(operation), clock::unix_ms()).await??;
    state.faces.gallery.forget_owner(&FaceOwner::Person(id));
    Ok(asked.accepted(operation, None, None))
}

/// The groups that refer to a person, by id.
#[utoipa::path(get, path = "/face/{apiVersion}/persons/{personId}/dynamicPersonGroupReferences", tag = "person directory", operation_id = "groups_of_person",
    params(("apiVersion" = String, Path), ("personId" = String, Path),
        ("start" = Option<String>, Query, max_length = 64), ("top" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = GroupReferences), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn references(
    State(state): State<AppState>,
    asked: Asked,
) -> Result<Json<GroupReferences>, DirectoryError> {
    let groups = state.store.groups_of_person(asked.person_id()?, asked.window()?).await?;
    Ok(Json(GroupReferences { dynamic_person_group_ids: groups.ok_or_else(DirectoryError::no_person)? }))
}

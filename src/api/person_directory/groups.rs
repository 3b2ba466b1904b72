//! Dynamic person groups. A group holds no persons, it refers to them: they stay when it goes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::asked::{Asked, Fields, USER_DATA_CHARS};
use super::error::{DirectoryError, FaceErrorResponse};
use crate::api::AppState;
use crate::clock;
use crate::store::{DirectoryChange, NamedRow};

#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what Fields reads")]
pub struct NewGroup {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    #[schema(max_length = 16384)]
    #[serde(rename = "userData")]
    user_data: Option<String>,
    #[serde(rename = "addPersonIds")]
    #[schema(min_items = 1)]
    add_person_ids: Option<Vec<Uuid>>,
}

/// At least one of them.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what Fields reads")]
pub struct GroupChange {
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    #[schema(max_length = 16384)]
    #[serde(rename = "userData")]
    user_data: Option<String>,
    #[serde(rename = "addPersonIds")]
    #[schema(min_items = 1)]
    add_person_ids: Option<Vec<Uuid>>,
    #[serde(rename = "removePersonIds")]
    #[schema(min_items = 1)]
    remove_person_ids: Option<Vec<Uuid>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamicPersonGroup {
    dynamic_person_group_id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_data: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonIds {
    person_ids: Vec<String>,
}

impl From<NamedRow> for DynamicPersonGroup {
    fn from(NamedRow { id, name, user_data }: NamedRow) -> Self {
        Self { dynamic_person_group_id: id, name, user_data }
    }
}

/// Groups by id.
#[utoipa::path(get, path = "/face/{apiVersion}/dynamicpersongroups", tag = "person directory", operation_id = "list_groups",
    params(("apiVersion" = String, Path, description = "v1.1-preview.1 or v1.2-preview.1"),
        ("start" = Option<String>, Query, max_length = 64), ("top" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = [DynamicPersonGroup]), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn list(
    State(state): State<AppState>,
    asked: Asked,
) -> Result<Json<Vec<DynamicPersonGroup>>, DirectoryError> {
    let rows = state.store.person_groups(asked.window()?).await?;
    Ok(Json(rows.into_iter().map(DynamicPersonGroup::from).collect()))
}

/// Makes a group; with `addPersonIds` by an operation.
#[utoipa::path(put, path = "/face/{apiVersion}/dynamicpersongroups/{dynamicPersonGroupId}", tag = "person directory", operation_id = "create_group",
    params(("apiVersion" = String, Path), ("dynamicPersonGroupId" = String, Path)),
    request_body(content = NewGroup, content_type = "application/json"),
    responses((status = 200), (status = 202), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn create(
    State(state): State<AppState>,
    asked: Asked,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let id = asked.group_id()?.to_owned();
    let fields = Fields::read(&headers, sent).await?;
    let (name, user_data) = (fields.required_name()?, fields.user_data(USER_DATA_CHARS)?);
    let add = fields.persons("addPersonIds")?;
    let operation = add.is_some().then(Uuid::new_v4);
    let change = DirectoryChange::CreateGroup { id, name, user_data, add: add.unwrap_or_default() };
    state.store.change_directory(change, operation, clock::unix_ms()).await??;
    Ok(answered(&asked, operation))
}

/// One group.
#[utoipa::path(get, path = "/face/{apiVersion}/dynamicpersongroups/{dynamicPersonGroupId}", tag = "person directory", operation_id = "show_group",
    params(("apiVersion" = String, Path), ("dynamicPersonGroupId" = String, Path)),
    responses((status = 200, body = DynamicPersonGroup), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn show(
    State(state): State<AppState>,
    asked: Asked,
) -> Result<Json<DynamicPersonGroup>, DirectoryError> {
    let row = state.store.person_group(asked.group_id()?).await?;
    Ok(Json(row.ok_or_else(DirectoryError::no_group)?.into()))
}

/// Changes a group: what is left out stays.
#[utoipa::path(patch, path = "/face/{apiVersion}/dynamicpersongroups/{dynamicPersonGroupId}", tag = "person directory", operation_id = "update_group",
    params(("apiVersion" = String, Path), ("dynamicPersonGroupId" = String, Path)),
    request_body(content = GroupChange, content_type = "application/json"),
    responses((status = 200), (status = 202), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn update(
    State(state): State<AppState>,
    asked: Asked,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let id = asked.group_id()?.to_owned();
    let fields = Fields::read(&headers, sent).await?;
    let (name, user_data) = (fields.name()?, fields.user_data(USER_DATA_CHARS)?);
    let (add, remove) = (fields.persons("addPersonIds")?, fields.persons("removePersonIds")?);
    let members = add.is_some() || remove.is_some();
    if name.is_none() && user_data.is_none() && !members {
        return Err(DirectoryError::argument("'name' and 'userData' are both empty"));
    }
    let operation = members.then(Uuid::new_v4);
    let (add, remove) = (add.unwrap_or_default(), remove.unwrap_or_default());
    let change = DirectoryChange::UpdateGroup { id, name, user_data, add, remove };
    state.store.change_directory(change, operation, clock::unix_ms()).await??;
    Ok(answered(&asked, operation))
}

/// Removes a group; its persons stay.
#[utoipa::path(delete, path = "/face/{apiVersion}/dynamicpersongroups/{dynamicPersonGroupId}", tag = "person directory", operation_id = "delete_group",
    params(("apiVersion" = String, Path), ("dynamicPersonGroupId" = String, Path)),
    responses((status = 202), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn delete(State(state): State<AppState>, asked: Asked) -> Result<Response, DirectoryError> {
    asked.require_change()?;
    let (id, operation) = (asked.group_id()?.to_owned(), Uuid::new_v4());
    let change = DirectoryChange::DeleteGroup { id };
    state.store.change_directory(change, Some(operation), clock::unix_ms()).await??;
    Ok(asked.accepted(operation, None, None))
}

/// A group's persons by id.
#[utoipa::path(get, path = "/face/{apiVersion}/dynamicpersongroups/{dynamicPersonGroupId}/persons", tag = "person directory", operation_id = "persons_of_group",
    params(("apiVersion" = String, Path), ("dynamicPersonGroupId" = String, Path),
        ("start" = Option<String>, Query, max_length = 64), ("top" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = PersonIds), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn persons(State(state): State<AppState>, asked: Asked) -> Result<Json<PersonIds>, DirectoryError> {
    let person_ids = state.store.persons_of_group(asked.group_id()?, asked.window()?).await?;
    Ok(Json(PersonIds { person_ids: person_ids.ok_or_else(DirectoryError::no_group)? }))
}

fn answered(asked: &Asked, operation: Option<Uuid>) -> Response {
    match operation {
        Some(operation) => asked.accepted(operation, None, None),
        None => StatusCode::OK.into_response(),
    }
}

//! What changes a task that is there: its body, whether it shall run, and its end.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::object;
use super::scope::Scope;
use crate::api::error::ErrorBody;
use crate::api::keys::Identity;
use crate::api::{ApiError, AppState, auth, body};
use crate::clock;
use crate::store::Desired;
use crate::task_json::TaskSpec;

/// A camera that hangs is given so long to be let go; beyond, the answer does not wait for it.
const RELEASE_LIMIT: Duration = Duration::from_secs(20);

/// Changes a task: a whole body, with one input. It restarts if it runs.
#[utoipa::path(put, path = "/v2/{project_id}/services/{service_name}/tasks/{task_id}", tag = "tasks", operation_id = "update_task",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("task_id" = String, Path)),
    request_body(content = ref("#/components/schemas/TaskBody"), content_type = "application/json", description = "docs/api.md, Create"),
    responses((status = 200, body = ref("#/components/schemas/Task"), content_type = "application/json", description = "the task"), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(super) async fn update(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "change tasks")?;
    let (id, mut row) = scope.changeable_task(&state).await?;
    let spec = TaskSpec::parse(&body::read(&headers, body).await?)?;
    if spec.inputs.len() != 1 {
        let message = format!("input.data: holds {} entries, expected one: a task has one input", spec.inputs.len());
        return Err(ApiError::Invalid(message));
    }
    row.name = spec.name.clone();
    row.service_version = spec.service_version.clone();
    row.edge_pool_id = spec.edge_pool_id.clone();
    row.index = spec.inputs[0].index;
    row.body = spec.body_of_input(0).to_string();
    row.updated_at = clock::unix_ms();
    if !state.store.by(identity.actor()).update_task(row).await? {
        return Err(gone());
    }
    state.control.wake();
    let row = state.store.task(id.as_str()).await?.ok_or_else(gone)?;
    Ok(Json(object(&state, &identity, &row, true)?).into_response())
}

/// The task shall run.
#[utoipa::path(post, path = "/v2/{project_id}/services/{service_name}/tasks/{task_id}/start", tag = "tasks", operation_id = "start_task",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("task_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(super) async fn start(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
) -> Result<StatusCode, ApiError> {
    desire(&state, &scope, &identity, Desired::Start).await
}

/// The task shall not run; it stays.
#[utoipa::path(post, path = "/v2/{project_id}/services/{service_name}/tasks/{task_id}/stop", tag = "tasks", operation_id = "stop_task",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("task_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(super) async fn stop(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
) -> Result<StatusCode, ApiError> {
    desire(&state, &scope, &identity, Desired::Stop).await
}

async fn desire(
    state: &AppState,
    scope: &Scope,
    identity: &Identity,
    desired: Desired,
) -> Result<StatusCode, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "start or stop tasks")?;
    let (id, _) = scope.changeable_task(state).await?;
    if !state.store.by(identity.actor()).set_task_desired(id.as_str(), desired, clock::unix_ms()).await? {
        return Err(gone());
    }
    state.control.wake();
    Ok(StatusCode::NO_CONTENT)
}

/// Lets the camera go, then forgets the task. Killed in between, the service goes on with it at its next start.
#[utoipa::path(delete, path = "/v2/{project_id}/services/{service_name}/tasks/{task_id}", tag = "tasks", operation_id = "delete_task",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("task_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(super) async fn delete(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
) -> Result<StatusCode, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "delete tasks")?;
    let (id, _) = scope.changeable_task(&state).await?;
    if !state.store.by(identity.actor()).mark_task_deleting(id.as_str()).await? {
        return Err(gone());
    }
    state.control.wake();
    if tokio::time::timeout(RELEASE_LIMIT, state.control.released(&id)).await.is_err() {
        let message = "not available now: the camera was not let go in time; the task goes as soon as it is";
        return Err(ApiError::Unavailable(message.to_owned()));
    }
    // The supervisor may have taken this step already.
    state.store.delete_task(id.as_str()).await?;
    state.status.remove(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody else deleted it in the meantime.
fn gone() -> ApiError {
    ApiError::NotFound("there is no such task in this project any more".to_owned())
}

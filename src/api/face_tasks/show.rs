//! `GET …/tasks/{task_id}`: the task itself, not wrapped.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::object;
use super::scope::Scope;
use crate::api::error::ErrorBody;
use crate::api::keys::Identity;
use crate::api::{ApiError, AppState, auth};

/// One task.
#[utoipa::path(get, path = "/v2/{project_id}/services/{service_name}/tasks/{task_id}", tag = "tasks", operation_id = "show_task",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("task_id" = String, Path)),
    responses((status = 200, body = ref("#/components/schemas/Task"), content_type = "application/json", description = "the task"), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(super) async fn show(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
) -> Result<Response, ApiError> {
    auth::require(identity.role.may_see_tasks(), identity.role, "see tasks")?;
    let (_, row) = scope.task(&state).await?;
    Ok(Json(object(&state, &identity, &row, true)?).into_response())
}

//! `POST …/tasks`: one task an input, all or none.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::scope::Scope;
use crate::api::error::ErrorBody;
use crate::api::keys::Identity;
use crate::api::{ApiError, AppState, auth, body};
use crate::clock;
use crate::domain::TaskId;
use crate::status::State as TaskStateName;
use crate::store::{Desired, TaskRow, TaskState};
use crate::task_json::TaskSpec;

#[derive(Serialize, ToSchema)]
pub(super) struct Created {
    /// 32 lower-case hex digits.
    id: String,
}

/// Makes one task for each entry of `input.data`; each starts by itself.
#[utoipa::path(post, path = "/v2/{project_id}/services/{service_name}/tasks", tag = "tasks", operation_id = "create_task",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge")),
    request_body(content = ref("#/components/schemas/TaskBody"), content_type = "application/json", description = "docs/api.md, Create"),
    responses((status = 200, body = Vec<Created>, description = "one id an input, in their order"),
        (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(super) async fn create(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Vec<Created>>, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "create tasks")?;
    let spec = TaskSpec::parse(&body::read(&headers, body).await?)?;
    let rows: Vec<_> = (0..spec.inputs.len()).map(|position| row(&spec, position, &scope, &identity)).collect();
    let created = rows.iter().map(|row| Created { id: row.id.clone() }).collect();
    state.store.by(identity.actor()).insert_tasks(rows).await?;
    state.control.wake();
    Ok(Json(created))
}

fn row(spec: &TaskSpec, position: usize, scope: &Scope, identity: &Identity) -> TaskRow {
    let now = clock::unix_ms();
    TaskRow {
        id: TaskId::from_uuid(Uuid::new_v4()).to_string(),
        project_id: scope.project_id.clone(),
        name: spec.name.clone(),
        creator: identity.name.clone(),
        service_version: spec.service_version.clone(),
        edge_pool_id: spec.edge_pool_id.clone(),
        file: None,
        desired: Desired::Start,
        state: TaskState { name: TaskStateName::Pending.as_str().to_owned(), error: None },
        index: spec.inputs[position].index,
        body: spec.body_of_input(position).to_string(),
        created_at: now,
        updated_at: now,
    }
}

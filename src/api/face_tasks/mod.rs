//! Tasks: `/v2/{project_id}/services/c-face-edge/tasks`. Create, list, show, change, start, stop, delete.

mod change;
mod create;
mod list;
pub(super) mod schema;
mod scope;
mod show;

use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use list::Given;
pub(super) use scope::Scope;

use super::keys::Identity;
use super::{ApiError, AppState};
use crate::domain::TaskId;
use crate::store::{Desired, TaskRow};
use crate::task_json::{TaskFacts, TaskObject, mask_secrets};

/// The one service of the path that is served here.
pub const SERVICE_NAME: &str = "c-face-edge";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(show::show, change::update, change::delete))
        .routes(routes!(change::start))
        .routes(routes!(change::stop))
}

/// A task as one who asks may see it.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Whole(TaskObject<'a>),
    Masked(Value),
}

/// The task's row as the answer gives it. `service_name` stands in a single task only: the documented list has none.
fn object<'a>(state: &AppState, identity: &Identity, row: &'a TaskRow, single: bool) -> Result<Shown<'a>, ApiError> {
    let board = TaskId::parse(&row.id).and_then(|id| state.status.get(&id));
    // Words about another state than the one shown would mislead: the store is a moment behind the board.
    let why = board.filter(|board| board.state.as_str() == row.state.name).and_then(|board| board.why);
    let facts = TaskFacts {
        id: &row.id,
        creator: &row.creator,
        project_id: &row.project_id,
        service_name: single.then_some(SERVICE_NAME),
        created_at: row.created_at,
        updated_at: row.updated_at,
        state: &row.state.name,
        status: why.or_else(|| elsewhere(state, row)),
        error: row.state.error.as_ref().map(|error| (error.code.as_str(), error.message.as_str())),
    };
    let object = TaskObject::new(facts, &row.body).map_err(|error| {
        tracing::error!(task = row.id, %error, "a stored body is not JSON");
        ApiError::Internal
    })?;
    if identity.role.may_change_tasks() {
        return Ok(Shown::Whole(object));
    }
    let mut masked = object.to_value();
    mask_secrets(&mut masked);
    Ok(Shown::Masked(masked))
}

/// Why a task that shall run does not: it is another box's.
fn elsewhere(state: &AppState, row: &TaskRow) -> Option<String> {
    let waits = row.desired == Desired::Start && *row.edge_pool_id != *state.edge_pool_id;
    waits.then(|| {
        let (theirs, ours) = (&row.edge_pool_id, &state.edge_pool_id);
        format!("waits for a box of the edge pool {theirs:?}; this one belongs to {ours:?} (edge_pool_id)")
    })
}

//! Operations. A change is carried out before its request is answered, so an operation that can be asked for has
//! succeeded; it can be asked for 48 hours.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use utoipa::ToSchema;

use super::asked::Asked;
use super::error::{DirectoryError, FaceErrorResponse};
use crate::api::AppState;
use crate::clock;
use crate::domain::UnixMs;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationResult {
    operation_id: String,
    #[schema(pattern = "^(notStarted|running|succeeded|failed)$")]
    status: &'static str,
    created_time: String,
    last_action_time: String,
    finished_time: String,
}

/// How an operation stands.
#[utoipa::path(get, path = "/face/{apiVersion}/operations/{operationId}", tag = "person directory", operation_id = "show_operation",
    params(("apiVersion" = String, Path), ("operationId" = String, Path)),
    responses((status = 200, body = OperationResult), (status = "4XX", body = FaceErrorResponse), (status = "5XX", body = FaceErrorResponse)))]
pub(super) async fn show(State(state): State<AppState>, asked: Asked) -> Result<Json<OperationResult>, DirectoryError> {
    let missing = || DirectoryError::nothing("there is no such operation, or it is older than 48 hours");
    let id = asked.operation_id().ok_or_else(missing)?;
    let at = rfc3339(state.store.operation(id, clock::unix_ms()).await?.ok_or_else(missing)?);
    Ok(Json(OperationResult {
        operation_id: id.to_string(),
        status: "succeeded",
        created_time: at.clone(),
        last_action_time: at.clone(),
        finished_time: at,
    }))
}

fn rfc3339(at: UnixMs) -> String {
    DateTime::from_timestamp_millis(at.0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

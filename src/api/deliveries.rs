//! The ledger: `/v2/{project_id}/services/c-face-edge/deliveries` and `…/outputs`, and why a task's faces were sent or
//! not. What belongs to tasks of another project is not there.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ErrorBody;
use super::face_tasks::{Given, Scope};
use super::keys::Identity;
use super::{ApiError, AppState, auth, body};
use crate::domain::UnixMs;
use crate::store::{DeliveryId, DeliveryQuery, DeliveryRow, DeliveryState, OutputId, OutputRow, Revive, TimeRange};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(retry_one))
        .routes(routes!(retry))
        .routes(routes!(outputs))
        .routes(routes!(enable))
        .routes(routes!(why))
}

#[derive(Serialize, ToSchema)]
struct Delivery {
    id: i64,
    /// pending, claimed, delivered or dead.
    state: &'static str,
    /// Why the last try failed, or why it is dead.
    reason: Option<String>,
    attempts: u32,
    output: &'static str,
    destination: String,
    message_id: String,
    category: String,
    task_id: String,
    stream_id: String,
    face_id: Option<String>,
    seq: Option<u32>,
    /// Unix milliseconds, like the times below.
    taken_at: i64,
    created_at: i64,
    last_attempt_at: Option<i64>,
    finished_at: Option<i64>,
    /// 0 once the picture is gone; then it cannot be sent again.
    picture_bytes: u64,
}

#[derive(Serialize, ToSchema)]
struct Deliveries {
    /// Newest first; the last one's id as `before` gives the next page.
    deliveries: Vec<Delivery>,
}

#[derive(Serialize, ToSchema)]
struct PendingAgain {
    pending_again: u64,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"since": 1_700_000_000_000_i64, "until": 1_700_000_100_000_i64}))]
struct RetryBody {
    /// Of this task of the project; of all where it is left out.
    task_id: Option<String>,
    /// Unix milliseconds at which the pictures were taken, both ends included.
    #[schema(minimum = 0)]
    since: Option<i64>,
    #[schema(minimum = 0)]
    until: Option<i64>,
}

#[derive(Serialize, ToSchema)]
struct Output {
    id: i64,
    task_id: String,
    output: &'static str,
    destination: String,
    /// Deliveries that are neither delivered nor dead.
    waiting: u64,
    oldest_waits_ms: Option<i64>,
    /// Why nothing is sent there, if nothing is.
    disabled: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Outputs {
    outputs: Vec<Output>,
}

#[derive(Serialize, ToSchema)]
struct Decision {
    face_id: String,
    /// Unix milliseconds.
    at: i64,
    /// Since the stream's start.
    stream_ms: u64,
    what: String,
}

#[derive(Serialize, ToSchema)]
struct Decisions {
    /// In their order.
    decisions: Vec<Decision>,
}

/// The delivery or the output that the path names; `None` where that is no number.
struct Number(Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segments: Result<Path<HashMap<String, String>>, _> = Path::from_request_parts(parts, state).await;
        let Path(segments) = segments.map_err(|_| ApiError::NotFound("the path is no readable text".to_owned()))?;
        let text = segments.get("delivery_id").or_else(|| segments.get("output_id"));
        Ok(Self(text.and_then(|text| text.parse().ok())))
    }
}

/// Deliveries of this project's tasks.
#[utoipa::path(get, path = "/v2/{project_id}/services/{service_name}/deliveries", tag = "deliveries", operation_id = "list_deliveries",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("delivery_state" = Option<String>, Query, description = "pending, claimed, delivered or dead"),
        ("task" = Option<String>, Query), ("face_id" = Option<String>, Query), ("message_id" = Option<String>, Query),
        ("since" = Option<i64>, Query, minimum = 0, description = "pictures taken from then on, Unix milliseconds"),
        ("until" = Option<i64>, Query, minimum = 0, description = "pictures taken up to then"),
        ("before" = Option<i64>, Query, minimum = 0, description = "only those with a smaller id"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Deliveries), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn list(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    RawQuery(query): RawQuery,
) -> Result<Json<Deliveries>, ApiError> {
    auth::require(identity.role.may_see_tasks(), identity.role, "see deliveries")?;
    let query = query.unwrap_or_default();
    let given = Given::read(&query)?;
    let wanted = given.like("delivery_state")?;
    let delivery_state = wanted.as_deref().map(|name| {
        let known = DeliveryState::ALL.into_iter().find(|state| state.as_str() == name);
        let wrong = || ApiError::Invalid("delivery_state: expected pending, claimed, delivered or dead".to_owned());
        known.ok_or_else(wrong)
    });
    let query = DeliveryQuery {
        state: delivery_state.transpose()?,
        project_id: Some(scope.project_id),
        task_id: given.like("task")?,
        face_id: given.like("face_id")?,
        message_id: given.like("message_id")?,
        taken: TimeRange {
            since: given.number("since", 0..=i64::MAX)?.map(UnixMs),
            until: given.number("until", 0..=i64::MAX)?.map(UnixMs),
        },
        before: given.number("before", 0..=i64::MAX)?.map(DeliveryId),
        limit: given.number("limit", 1..=1000)?.unwrap_or(100),
    };
    let deliveries = state.store.deliveries(query).await?.into_iter().map(Delivery::from).collect();
    Ok(Json(Deliveries { deliveries }))
}

/// One delivery.
#[utoipa::path(get, path = "/v2/{project_id}/services/{service_name}/deliveries/{delivery_id}", tag = "deliveries", operation_id = "show_delivery",
    params(("project_id" = String, Path), ("service_name" = String, Path), ("delivery_id" = String, Path)),
    responses((status = 200, body = Delivery), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn show(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    number: Number,
) -> Result<Json<Delivery>, ApiError> {
    auth::require(identity.role.may_see_tasks(), identity.role, "see deliveries")?;
    Ok(Json(find(&state, &scope, &number).await?.into()))
}

/// Sends a dead delivery again, if it still has its picture.
#[utoipa::path(post, path = "/v2/{project_id}/services/{service_name}/deliveries/{delivery_id}/retry",
    tag = "deliveries", operation_id = "retry_delivery",
    params(("project_id" = String, Path), ("service_name" = String, Path), ("delivery_id" = String, Path)),
    responses((status = 200, body = PendingAgain), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn retry_one(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    number: Number,
) -> Result<Json<PendingAgain>, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "send deliveries again")?;
    let row = find(&state, &scope, &number).await?;
    revive(&state, Revive::One(row.id)).await
}

/// Sends dead deliveries again, all or those of a task or of a time, as far as they still have their pictures.
#[utoipa::path(post, path = "/v2/{project_id}/services/{service_name}/deliveries/retry", tag = "deliveries", operation_id = "retry_deliveries",
    params(("project_id" = String, Path), ("service_name" = String, Path)),
    request_body(content = RetryBody, content_type = "application/json"),
    responses((status = 200, body = PendingAgain), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn retry(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<PendingAgain>, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "send deliveries again")?;
    let asked = read_retry(&body::read(&headers, sent).await?)?;
    let range = TimeRange { since: asked.since.map(UnixMs), until: asked.until.map(UnixMs) };
    let project_id = Some(scope.project_id);
    revive(&state, Revive::Taken { range, task_id: asked.task_id, project_id }).await
}

/// Where this project's messages go, what waits there, and what is switched off.
#[utoipa::path(get, path = "/v2/{project_id}/services/{service_name}/outputs", tag = "deliveries", operation_id = "list_outputs",
    params(("project_id" = String, Path), ("service_name" = String, Path)),
    responses((status = 200, body = Outputs), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn outputs(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
) -> Result<Json<Outputs>, ApiError> {
    auth::require(identity.role.may_see_tasks(), identity.role, "see outputs")?;
    let outputs = state.store.outputs(Some(&scope.project_id)).await?.into_iter().map(Output::from).collect();
    Ok(Json(Outputs { outputs }))
}

/// Switches an output on again whose receiver had answered 410.
#[utoipa::path(post, path = "/v2/{project_id}/services/{service_name}/outputs/{output_id}/enable", tag = "deliveries", operation_id = "enable_output",
    params(("project_id" = String, Path), ("service_name" = String, Path), ("output_id" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn enable(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    number: Number,
) -> Result<StatusCode, ApiError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "switch outputs on")?;
    let known = state.store.outputs(Some(&scope.project_id)).await?;
    let output = known.iter().find(|output| Some(output.id.0) == number.0);
    let output = output.ok_or_else(|| ApiError::NotFound("there is no such output in this project".to_owned()))?;
    state.store.enable_output(OutputId(output.id.0)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the rules decided about a task's tracks, or about one of them.
#[utoipa::path(get, path = "/v2/{project_id}/services/{service_name}/tasks/{task_id}/why", tag = "tasks", operation_id = "explain_task",
    params(("project_id" = String, Path), ("service_name" = String, Path), ("task_id" = String, Path),
        ("face_id" = Option<String>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000)),
    responses((status = 200, body = Decisions), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
async fn why(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    RawQuery(query): RawQuery,
) -> Result<Json<Decisions>, ApiError> {
    auth::require(identity.role.may_see_tasks(), identity.role, "see decisions")?;
    let (task, _) = scope.task(&state).await?;
    let query = query.unwrap_or_default();
    let given = Given::read(&query)?;
    let face_id = given.like("face_id")?.map(|id| id.to_ascii_lowercase());
    let limit = given.number("limit", 1..=10_000)?.unwrap_or(1000);
    let rows = state.store.decisions(task.as_str(), face_id.as_deref(), limit).await?;
    let decision = |row: crate::store::Decision| Decision {
        face_id: row.face_id,
        at: row.at.0,
        stream_ms: row.stream_ms,
        what: row.what,
    };
    Ok(Json(Decisions { decisions: rows.into_iter().map(decision).collect() }))
}

async fn find(state: &AppState, scope: &Scope, number: &Number) -> Result<DeliveryRow, ApiError> {
    let missing = || ApiError::NotFound("there is no such delivery in this project".to_owned());
    let id: i64 = number.0.ok_or_else(missing)?;
    let row = state.store.delivery(DeliveryId(id)).await?.ok_or_else(missing)?;
    let task = state.store.task(&row.task_id).await?.filter(|task| task.project_id == scope.project_id);
    task.map(|_| row).ok_or_else(missing)
}

async fn revive(state: &AppState, which: Revive) -> Result<Json<PendingAgain>, ApiError> {
    let pending_again = state.store.revive(which, state.store.now()).await?;
    Ok(Json(PendingAgain { pending_again }))
}

fn read_retry(bytes: &[u8]) -> Result<RetryBody, ApiError> {
    let body: RetryBody = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ApiError::Invalid(format!("the body: {error}")),
        _ => ApiError::NotJson { line: error.line(), column: error.column(), expected: error.to_string() },
    })?;
    if body.since.is_some_and(|at| at < 0) || body.until.is_some_and(|at| at < 0) {
        return Err(ApiError::Invalid("since, until: expected Unix milliseconds of at least 0".to_owned()));
    }
    Ok(body)
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: row.id.0,
            state: row.state.as_str(),
            reason: row.reason,
            attempts: row.attempts,
            output: row.output,
            destination: row.destination,
            message_id: row.message_id.to_uppercase(),
            category: row.category,
            task_id: row.task_id,
            stream_id: row.stream_id,
            face_id: row.face_id,
            seq: row.seq,
            taken_at: row.taken_at.0,
            created_at: row.created_at.0,
            last_attempt_at: row.last_attempt_at.map(|at| at.0),
            finished_at: row.finished_at.map(|at| at.0),
            picture_bytes: row.picture_bytes,
        }
    }
}

impl From<OutputRow> for Output {
    fn from(row: OutputRow) -> Self {
        Self {
            id: row.id.0,
            task_id: row.task_id,
            output: row.kind,
            destination: row.destination,
            waiting: row.waiting,
            oldest_waits_ms: row.oldest_waits_ms,
            disabled: row.disabled.map(|(_, reason)| reason),
        }
    }
}

//! `GET …/tasks`: filter, order and page, all in SQL.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::scope::Scope;
use super::{Shown, object};
use crate::api::error::ErrorBody;
use crate::api::keys::Identity;
use crate::api::{ApiError, AppState, auth};
use crate::domain::UnixMs;
use crate::status::State as TaskStateName;
use crate::store::{OrderBy, TaskQuery};
use crate::task_json::is_version;

const LIKE_CHARS: usize = 256;

#[derive(Serialize, ToSchema)]
pub(super) struct TaskList<'a> {
    /// All that match, not only the page.
    count: u64,
    #[schema(schema_with = page)]
    tasks: Vec<Shown<'a>>,
}

fn page() -> utoipa::openapi::Array {
    utoipa::openapi::Array::new(utoipa::openapi::Ref::from_schema_name("Task"))
}

/// Tasks that match, a page of them.
#[utoipa::path(get, path = "/v2/{project_id}/services/{service_name}/tasks", tag = "tasks", operation_id = "list_tasks",
    params(("project_id" = String, Path), ("service_name" = String, Path, description = "c-face-edge"),
        ("service_version" = Option<String>, Query), ("state" = Option<String>, Query),
        ("name_like" = Option<String>, Query, description = "contained in the name"),
        ("id_like" = Option<String>, Query, description = "contained in the id"),
        ("created_since" = Option<i64>, Query, minimum = 0, description = "Unix milliseconds, inclusive"),
        ("created_until" = Option<i64>, Query, minimum = 0, description = "Unix milliseconds, inclusive"),
        ("order" = Option<String>, Query, description = "name, created_at or updated_at, then :ASC or :DESC"),
        ("offset" = Option<u32>, Query, maximum = 100000),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = TaskList<'static>), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(super) async fn list(
    State(state): State<AppState>,
    scope: Scope,
    Extension(identity): Extension<Identity>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    auth::require(identity.role.may_see_tasks(), identity.role, "see tasks")?;
    let query = read(query.as_deref().unwrap_or_default(), &scope.project_id)?;
    let (count, rows) = state.store.tasks(query).await?;
    let tasks = rows.iter().map(|row| object(&state, &identity, row, false)).collect::<Result<_, _>>()?;
    Ok(Json(TaskList { count, tasks }).into_response())
}

/// Parameters that we do not know are passed over.
fn read(query: &str, project_id: &str) -> Result<TaskQuery, ApiError> {
    let given = Given::read(query)?;
    let (order_by, descending) = order(&given)?;
    Ok(TaskQuery {
        project_id: Some(project_id.to_owned()),
        service_version: given.checked("service_version", is_version, "digits.digits like 3.0")?,
        state: given.checked(
            "state",
            |text| TaskStateName::parse(text).is_some(),
            "one of the states, like RUNNING",
        )?,
        name_like: given.like("name_like")?,
        id_like: given.like("id_like")?,
        created_since: given.number("created_since", 0..=i64::MAX)?.map(UnixMs),
        created_until: given.number("created_until", 0..=i64::MAX)?.map(UnixMs),
        order_by,
        descending,
        offset: given.number("offset", 0..=100_000)?.unwrap_or(0),
        limit: given.number("limit", 1..=1000)?.unwrap_or(1000),
    })
}

fn order(given: &Given) -> Result<(OrderBy, bool), ApiError> {
    let Some(text) = given.get("order") else { return Ok((OrderBy::CreatedAt, true)) };
    let (field, direction) = text.split_once(':').unwrap_or((text, "DESC"));
    let field = match field {
        "name" => OrderBy::Name,
        "created_at" => OrderBy::CreatedAt,
        "updated_at" => OrderBy::UpdatedAt,
        _ => return Err(invalid("order", text, "name, created_at or updated_at, then :ASC or :DESC")),
    };
    match direction {
        "ASC" => Ok((field, false)),
        "DESC" => Ok((field, true)),
        _ => Err(invalid("order", text, "ASC or DESC after the colon")),
    }
}

/// The query's parameters, decoded, each at most once.
pub struct Given<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Given<'a> {
    pub fn read(query: &'a str) -> Result<Self, ApiError> {
        let mut given = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if given.contains_key(&name) {
                return Err(ApiError::Invalid(format!("{}: is given twice, expected once", shown(&name))));
            }
            given.insert(name, value);
        }
        Ok(Self(given))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(AsRef::as_ref)
    }

    fn checked(&self, name: &str, ok: impl Fn(&str) -> bool, expected: &str) -> Result<Option<String>, ApiError> {
        match self.get(name) {
            Some(text) if !ok(text) => Err(invalid(name, text, expected)),
            text => Ok(text.map(str::to_owned)),
        }
    }

    pub fn like(&self, name: &str) -> Result<Option<String>, ApiError> {
        let short = |text: &str| text.chars().count() <= LIKE_CHARS && !text.contains('\0');
        self.checked(name, short, &format!("at most {LIKE_CHARS} characters, none of them NUL"))
    }

    pub fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| invalid(name, text, &expected()))
    }
}

fn invalid(name: &str, found: &str, expected: &str) -> ApiError {
    ApiError::Invalid(format!("{name}: is {:?}, expected {expected}", shown(found)))
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

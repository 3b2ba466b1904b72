//! The checked beginning of every task path: whose project, and that the service is ours.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;

use super::SERVICE_NAME;
use crate::api::{ApiError, AppState};
use crate::domain::TaskId;
use crate::store::TaskRow;

const PROJECT_ID_CHARS: usize = 64;

pub struct Scope {
    pub project_id: String,
    task_id: Option<String>,
}

#[derive(Deserialize)]
struct Segments {
    project_id: String,
    service_name: String,
    task_id: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Scope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segments: Result<Path<Segments>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path(segments) = segments.map_err(|_| ApiError::NotFound("the path is no readable text".to_owned()))?;
        let id = segments.project_id;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > PROJECT_ID_CHARS || !id.chars().all(plain) {
            return Err(ApiError::ProjectId(id.chars().take(PROJECT_ID_CHARS).collect()));
        }
        if segments.service_name != SERVICE_NAME {
            return Err(ApiError::NotFound(format!("there is no such service; this one is {SERVICE_NAME}")));
        }
        Ok(Self { project_id: id, task_id: segments.task_id })
    }
}

impl Scope {
    /// The task that the path names, if it is one of this project's.
    pub async fn task(&self, state: &AppState) -> Result<(TaskId, TaskRow), ApiError> {
        let missing = || ApiError::NotFound("there is no such task in this project".to_owned());
        let id = self.task_id.as_deref().and_then(TaskId::parse).ok_or_else(missing)?;
        let row = state.store.task(id.as_str()).await?.filter(|row| row.project_id == self.project_id);
        Ok((id, row.ok_or_else(missing)?))
    }

    /// As `task`; refuses those of files, which only their files change.
    pub async fn changeable_task(&self, state: &AppState) -> Result<(TaskId, TaskRow), ApiError> {
        let (id, row) = self.task(state).await?;
        match &row.file {
            None => Ok((id, row)),
            Some(file) => Err(ApiError::Forbidden(format!(
                "not allowed: this task comes from the file {file}; change or remove that file instead"
            ))),
        }
    }
}

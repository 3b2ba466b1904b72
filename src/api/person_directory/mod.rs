//! The person directory: `/face/{apiVersion}/…`. Groups, persons, their faces, and the operations by which they
//! changed. See docs/person-directory.md.

mod asked;
mod error;
mod faces;
mod groups;
mod operations;
mod persons;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AppState, auth};
use error::DirectoryError;

/// With its own authentication around it: a refusal has this interface's shape.
pub fn routes(state: &AppState) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(groups::list))
        .routes(routes!(groups::create, groups::show, groups::update, groups::delete))
        .routes(routes!(groups::persons))
        .routes(routes!(persons::create, persons::list))
        .routes(routes!(persons::show, persons::update, persons::delete))
        .routes(routes!(persons::references))
        .routes(routes!(faces::add, faces::list))
        .routes(routes!(faces::show, faces::update, faces::delete))
        .routes(routes!(operations::show))
        .route_layer(middleware::from_fn_with_state(state.clone(), authenticate))
}

async fn authenticate(state: State<AppState>, request: Request, next: Next) -> Response {
    match auth::authenticate(state, request, next).await {
        Ok(response) => response,
        Err(error) => DirectoryError::from(error).into_response(),
    }
}

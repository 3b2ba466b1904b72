//! Licences: `/bitanswer/api`. Products, authorization codes and what belongs to them, traversed and searched by the
//! store's one query engine. This interface has an answer's shape, errors and roles of its own: see docs/licences.md.

mod answer;
mod asked;
mod audit;
mod change;
mod params;
mod products;
mod search;
mod sns;
mod wire;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AppState, auth};
use answer::LicenceError;

/// With its own authentication around it: a refusal has this interface's shape.
pub fn routes(state: &AppState) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(products::traverse, change::add_product))
        .routes(routes!(products::search))
        .routes(routes!(products::features))
        .routes(routes!(products::search_features))
        .routes(routes!(products::templates))
        .routes(routes!(sns::traverse))
        .routes(routes!(sns::search))
        .routes(routes!(sns::of_account))
        .routes(routes!(change::generate))
        .routes(routes!(sns::show, change::change_sn))
        .routes(routes!(sns::features, change::set_features))
        .routes(routes!(sns::users, change::link_users, change::unlink_users))
        .routes(routes!(sns::customers, change::set_customers))
        .routes(routes!(sns::machines))
        .routes(routes!(audit::traverse))
        .routes(routes!(audit::search))
        .route_layer(middleware::from_fn_with_state(state.clone(), authenticate))
}

async fn authenticate(state: State<AppState>, request: Request, next: Next) -> Response {
    match auth::authenticate(state, request, next).await {
        Ok(response) => response,
        Err(error) => LicenceError::from(error).into_response(),
    }
}

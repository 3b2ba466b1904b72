//! `GET /pictures/{id}.jpg?expires=…&signature=…`: the picture of a thin message, for whoever holds its address.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ErrorBody;
use super::face_tasks::Given;
use super::{ApiError, AppState};
use crate::clock;
use crate::store::picture_link;

/// Open to all: the signature in the address is the key.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(picture))
}

/// One message's picture. The whole address comes with the message.
#[utoipa::path(get, path = "/pictures/{name}", tag = "pictures", operation_id = "fetch_picture",
    params(("name" = String, Path), ("expires" = Option<i64>, Query, minimum = 0), ("signature" = Option<String>, Query)),
    responses((status = 200, body = Vec<u8>, content_type = "image/jpeg"), (status = "4XX", body = ErrorBody),
        (status = "5XX", body = ErrorBody)))]
async fn picture(
    State(state): State<AppState>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    // One answer for all: whoever guesses learns nothing.
    let missing = || ApiError::NotFound("there is no such picture, or its address is no longer good".to_owned());
    let id = name.strip_suffix(".jpg").ok_or_else(missing)?.to_owned();
    let query = query.unwrap_or_default();
    let given = Given::read(&query)?;
    let expires = given.number("expires", 0..=i64::MAX)?.ok_or_else(missing)?;
    let signature = given.like("signature")?.ok_or_else(missing)?;
    let keys = state.store.box_keys().await?.ok_or_else(missing)?;
    let now = clock::unix_ms();
    if !picture_link::is_good(&keys.pictures, &id, expires, &signature, now) {
        return Err(missing());
    }
    let jpeg = state.store.picture_to_fetch(&id, now).await?.ok_or_else(missing)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok((headers, jpeg.to_vec()).into_response())
}

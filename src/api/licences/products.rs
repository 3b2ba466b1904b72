//! Products, and the features and templates of one.

use axum::extract::State;

use super::answer::{Answer, Envelope, LicenceError};
use super::asked::{Named, Sent};
use super::params::Params;
use super::search::{SearchBody, traverse as all};
use crate::api::AppState;
use crate::store::licences::{FEATURES, PRODUCTS, TEMPLATES};
use crate::store::{Owner, Refusal, Search};

/// All products, a page of them.
#[utoipa::path(get, path = "/bitanswer/api/products", tag = "licences", operation_id = "products",
    params(("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn traverse(State(state): State<AppState>, params: Params) -> Answer {
    Ok(Envelope::page(&state.store.products(all(&PRODUCTS, &params)?).await?))
}

/// Products that match. Query productName, productGuid, refId; sort productName.
#[utoipa::path(post, path = "/bitanswer/api/products/data", tag = "licences", operation_id = "search_products",
    params(("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    request_body(content = SearchBody, example = json!({"querys": [{"name": "productName", "op": "like", "values": ["de%"]}], "sorts": [{"name": "productName"}]})),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn search(State(state): State<AppState>, params: Params, Sent(body): Sent<SearchBody>) -> Answer {
    Ok(Envelope::page(&state.store.products(body.search(&PRODUCTS, &params)?).await?))
}

/// A product's features.
#[utoipa::path(get, path = "/bitanswer/api/products/{name}/features", tag = "licences", operation_id = "features",
    params(("name" = String, Path), ("offset" = Option<u32>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn features(State(state): State<AppState>, Named(name): Named, params: Params) -> Answer {
    of_product(&state, name, all(&FEATURES, &params)?).await
}

/// A product's features that match. Query guid, name, status; sort id, name, featureId, version, status.
#[utoipa::path(post, path = "/bitanswer/api/products/{name}/features/data", tag = "licences",
    operation_id = "search_features",
    params(("name" = String, Path), ("offset" = Option<u32>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    request_body(content = SearchBody, example = json!({"querys": [{"name": "name", "op": "=", "values": ["face-extraction"]}], "sorts": [{"name": "id"}]})),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn search_features(
    State(state): State<AppState>,
    Named(name): Named,
    params: Params,
    Sent(body): Sent<SearchBody>,
) -> Answer {
    of_product(&state, name, body.search(&FEATURES, &params)?).await
}

/// A product's templates.
#[utoipa::path(get, path = "/bitanswer/api/products/{name}/templates", tag = "licences", operation_id = "templates",
    params(("name" = String, Path), ("offset" = Option<u32>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn templates(State(state): State<AppState>, Named(name): Named, params: Params) -> Answer {
    of_product(&state, name, all(&TEMPLATES, &params)?).await
}

async fn of_product(state: &AppState, name: String, search: Search) -> Answer {
    let page = state.store.owned(search, Owner::Product(name)).await?;
    let page = page.ok_or_else(|| LicenceError::missing(Refusal::NoProduct, "there is no such product"))?;
    Ok(Envelope::page(&page))
}

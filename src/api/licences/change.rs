//! What changes licences. Each change may be sent again under the same `x-bit-req-id`; whatever became different, the
//! supervisor looks at it, so that tasks thaw and freeze by themselves.

use axum::extract::State;
use rand::Rng;
use uuid::Uuid;

use super::answer::{Answer, Envelope, LicenceError, outcome};
use super::asked::{Asked, Change, Named};
use super::params::Params;
use super::wire::{
    CustomerBody, FeatureBody, NewSnsBody, ProductBody, SnBody, UserBody, data_items, feature_terms, some_of, text,
};
use crate::api::AppState;
use crate::clock;
use crate::store::{LicenceChange, NewSns, SnTerms};

/// Without those that people take for one another.
const SN_LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const SN_LENGTH: usize = 16;
const DEFAULT_TEMPLATE: &str = "Default";
const DEFAULT_TYPE: &str = "LOCAL";

/// Adds a product, with a template `Default`.
#[utoipa::path(post, path = "/bitanswer/api/products", tag = "licences", operation_id = "add_product",
    params(("x-bit-req-id" = Option<String>, Header, description = "carried out once a day")),
    request_body(content = ProductBody, example = json!({"productName": "gate-cameras", "features": [{"name": "face-extraction", "featureId": 1, "version": "1", "value": 1}]})),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn add_product(State(state): State<AppState>, change: Change<ProductBody>) -> Answer {
    apply(&state, LicenceChange::AddProduct(change.body.product()?), change.asked).await
}

/// Makes authorization codes of one product, all alike.
#[utoipa::path(post, path = "/bitanswer/api/sns/generate_sn", tag = "licences", operation_id = "generate_sn",
    params(("count" = u32, Query, minimum = 1, maximum = 100), ("productName" = Option<String>, Query),
        ("templateName" = Option<String>, Query),
        ("x-bit-req-id" = Option<String>, Header, description = "carried out once a day")),
    request_body(content = NewSnsBody, example = json!({"product": {"productName": "demo"}, "concurrentNumber": 4, "expirationDays": 365, "data": [{"name": "site", "value": "north"}]})),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn generate(State(state): State<AppState>, params: Params, change: Change<NewSnsBody>) -> Answer {
    let (count, body) = (params.count(1, 100)?, change.body);
    body.refuse_dates()?;
    let product = body.product_name().or_else(|| params.get("productName").map(str::to_owned));
    let template = body.template_name().or_else(|| params.get("templateName").map(str::to_owned));
    let new = NewSns {
        sns: (0..count).map(|_| random_sn()).collect(),
        product: text("product.productName", product)?,
        template: text("template.name", template.or_else(|| Some(DEFAULT_TEMPLATE.to_owned())))?,
        business: body.business_json(params.get("businessName"))?,
        kind: text("type", body.kind.clone().or_else(|| Some(DEFAULT_TYPE.to_owned())))?,
        terms: SnTerms {
            status: None,
            expiration_days: body.expiration_days.map(Some),
            concurrent_number: body.concurrent_number.map(Some),
            users_number: body.users_number.map(Some),
        },
        transfer_volume: body.transfer_volume.unwrap_or(0),
        transfer_number: body.transfer_number.unwrap_or(0),
        license_borrow: body.license_borrow,
        features: feature_terms(body.features.unwrap_or_default())?,
        data: data_items(body.data.unwrap_or_default())?,
    };
    apply(&state, LicenceChange::GenerateSns(new), change.asked).await
}

/// Changes an authorization code: what is left out stays, `null` takes a limit away.
#[utoipa::path(patch, path = "/bitanswer/api/sns/{sn}", tag = "licences", operation_id = "change_sn",
    params(("sn" = String, Path),
        ("x-bit-req-id" = Option<String>, Header, description = "carried out once a day")),
    request_body(content = SnBody, example = json!({"status": 0, "concurrentNumber": 2, "expirationDays": null})),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn change_sn(State(state): State<AppState>, Named(sn): Named, change: Change<SnBody>) -> Answer {
    let body = change.body;
    if body.status.is_some_and(|status| status > 1) {
        return Err(LicenceError::bad("status: expected 0 (good) or 1 (disabled)"));
    }
    let terms = SnTerms {
        status: body.status.map(i64::from),
        expiration_days: body.expiration_days,
        concurrent_number: body.concurrent_number,
        users_number: body.users_number,
    };
    let data = data_items(body.data.unwrap_or_default())?;
    apply(&state, LicenceChange::ChangeSn { sn, terms, data }, change.asked).await
}

/// Sets features of an authorization code: what an item leaves out is reset.
#[utoipa::path(post, path = "/bitanswer/api/sns/{sn}/features", tag = "licences", operation_id = "set_sn_features",
    params(("sn" = String, Path),
        ("x-bit-req-id" = Option<String>, Header, description = "carried out once a day")),
    request_body(content = Vec<FeatureBody>, example = json!([{"name": "face-extraction", "value": 1}])),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn set_features(
    State(state): State<AppState>,
    Named(sn): Named,
    change: Change<Vec<FeatureBody>>,
) -> Answer {
    let features = feature_terms(some_of(change.body)?)?;
    apply(&state, LicenceChange::SetFeatures { sn, features }, change.asked).await
}

/// Links users to an authorization code; a new name makes a new user.
#[utoipa::path(post, path = "/bitanswer/api/sns/{sn}/users", tag = "licences", operation_id = "link_sn_users",
    params(("sn" = String, Path),
        ("x-bit-req-id" = Option<String>, Header, description = "carried out once a day")),
    request_body(content = Vec<UserBody>, example = json!([{"name": "the caretaker"}])),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn link_users(
    State(state): State<AppState>,
    Named(sn): Named,
    change: Change<Vec<UserBody>>,
) -> Answer {
    let named = some_of(change.body)?.into_iter().map(|user| Ok((text("name", user.name)?, new_guid())));
    let users = named.collect::<Result<_, LicenceError>>()?;
    apply(&state, LicenceChange::LinkUsers { sn, users }, change.asked).await
}

/// Takes users off an authorization code; they stay users.
#[utoipa::path(delete, path = "/bitanswer/api/sns/{sn}/users", tag = "licences", operation_id = "unlink_sn_users",
    params(("sn" = String, Path),
        ("x-bit-req-id" = Option<String>, Header, description = "carried out once a day")),
    request_body(content = Vec<UserBody>, example = json!([{"name": "the caretaker"}])),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn unlink_users(
    State(state): State<AppState>,
    Named(sn): Named,
    change: Change<Vec<UserBody>>,
) -> Answer {
    let named = some_of(change.body)?.into_iter().map(|user| text("name", user.name));
    let names = named.collect::<Result<_, _>>()?;
    apply(&state, LicenceChange::UnlinkUsers { sn, names }, change.asked).await
}

/// Makes or changes customers; the last one becomes the authorization code's.
#[utoipa::path(post, path = "/bitanswer/api/sns/{sn}/customers", tag = "licences", operation_id = "set_sn_customers",
    params(("sn" = String, Path),
        ("x-bit-req-id" = Option<String>, Header, description = "carried out once a day")),
    request_body(content = Vec<CustomerBody>, example = json!([{"name": "the station", "referenceId": "s-1", "city": "Basel"}])),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn set_customers(
    State(state): State<AppState>,
    Named(sn): Named,
    change: Change<Vec<CustomerBody>>,
) -> Answer {
    let customers = some_of(change.body)?.into_iter().map(CustomerBody::customer).collect::<Result<_, _>>()?;
    apply(&state, LicenceChange::SetCustomers { sn, customers }, change.asked).await
}

async fn apply(state: &AppState, change: LicenceChange, asked: Asked) -> Answer {
    let Asked { by, mark } = asked;
    let done = state.store.by(by).change_licences(change, mark, clock::unix_ms()).await?;
    if !done.records.is_empty() {
        state.control.wake();
    }
    outcome(&done)
}

pub(super) fn new_guid() -> String {
    Uuid::new_v4().simple().to_string()
}

fn random_sn() -> String {
    let mut random = rand::rng();
    (0..SN_LENGTH).map(|_| char::from(SN_LETTERS[random.random_range(0..SN_LETTERS.len())])).collect()
}

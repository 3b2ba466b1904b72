//! Authorization codes, and the features, users, customers and machines of one.

use axum::extract::State;

use super::answer::{Answer, Envelope, LicenceError};
use super::asked::{Named, Sent};
use super::params::{AccountScope, Params};
use super::search::{SearchBody, traverse as all};
use crate::api::AppState;
use crate::store::licences::{SN_CUSTOMERS, SN_FEATURES, SN_MACHINES, SN_USERS, SNS};
use crate::store::{Collection, Owner, Refusal, SnScope};

/// All authorization codes, a page of them.
#[utoipa::path(get, path = "/bitanswer/api/sns", tag = "licences", operation_id = "sns",
    params(("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("scope" = Option<String>, Query, description = "product template business feature data machine all")),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn traverse(State(state): State<AppState>, params: Params) -> Answer {
    let scope = params.scope()?;
    Ok(Envelope::page(&state.store.sns(all(&SNS, &params)?, scope).await?))
}

/// Authorization codes that match. Query and sort sn, status, type, regDate, activeDate, updateTime, expirationDays,
/// concurrentNumber, productName.
#[utoipa::path(post, path = "/bitanswer/api/sns/data", tag = "licences", operation_id = "search_sns",
    params(("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("scope" = Option<String>, Query, description = "product template business feature data machine all")),
    request_body(content = SearchBody, example = json!({"querys": [{"name": "concurrentNumber", "op": ">=", "values": [4]}], "sorts": [{"name": "regDate", "order": "DESC"}]})),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn search(State(state): State<AppState>, params: Params, Sent(body): Sent<SearchBody>) -> Answer {
    let scope = params.scope()?;
    Ok(Envelope::page(&state.store.sns(body.search(&SNS, &params)?, scope).await?))
}

/// The account's authorization codes: their count, their basic fields, or all.
#[utoipa::path(get, path = "/bitanswer/api/accounts/sns", tag = "licences", operation_id = "account_sns",
    params(("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("scope" = Option<String>, Query, description = "count, basic (default), all")),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn of_account(State(state): State<AppState>, params: Params) -> Answer {
    let wanted = params.account_scope()?;
    let scope = if wanted == AccountScope::All { SnScope::ALL } else { SnScope::default() };
    let page = state.store.sns(all(&SNS, &params)?, scope).await?;
    Ok(if wanted == AccountScope::Count { Envelope::count(page.total) } else { Envelope::page(&page) })
}

/// One authorization code.
#[utoipa::path(get, path = "/bitanswer/api/sns/{sn}", tag = "licences", operation_id = "sn",
    params(("sn" = String, Path),
        ("scope" = Option<String>, Query, description = "product template business feature data machine all")),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn show(State(state): State<AppState>, Named(sn): Named, params: Params) -> Answer {
    let found = state.store.sn(&sn, params.scope()?).await?;
    Ok(Envelope::records(&[found.ok_or_else(no_sn)?]))
}

/// An authorization code's features.
#[utoipa::path(get, path = "/bitanswer/api/sns/{sn}/features", tag = "licences", operation_id = "sn_features",
    params(("sn" = String, Path), ("offset" = Option<u32>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn features(State(state): State<AppState>, Named(sn): Named, params: Params) -> Answer {
    of_sn(&state, sn, &SN_FEATURES, &params).await
}

/// An authorization code's users.
#[utoipa::path(get, path = "/bitanswer/api/sns/{sn}/users", tag = "licences", operation_id = "sn_users",
    params(("sn" = String, Path), ("offset" = Option<u32>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn users(State(state): State<AppState>, Named(sn): Named, params: Params) -> Answer {
    of_sn(&state, sn, &SN_USERS, &params).await
}

/// An authorization code's customer: none or one.
#[utoipa::path(get, path = "/bitanswer/api/sns/{sn}/customers", tag = "licences", operation_id = "sn_customers",
    params(("sn" = String, Path), ("offset" = Option<u32>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn customers(State(state): State<AppState>, Named(sn): Named, params: Params) -> Answer {
    of_sn(&state, sn, &SN_CUSTOMERS, &params).await
}

/// The boxes that ran a channel of an authorization code.
#[utoipa::path(get, path = "/bitanswer/api/sns/{sn}/machines", tag = "licences", operation_id = "sn_machines",
    params(("sn" = String, Path), ("offset" = Option<u32>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn machines(State(state): State<AppState>, Named(sn): Named, params: Params) -> Answer {
    of_sn(&state, sn, &SN_MACHINES, &params).await
}

async fn of_sn(state: &AppState, sn: String, collection: &'static Collection, params: &Params) -> Answer {
    let page = state.store.owned(all(collection, params)?, Owner::Sn(sn)).await?;
    Ok(Envelope::page(&page.ok_or_else(no_sn)?))
}

fn no_sn() -> LicenceError {
    LicenceError::missing(Refusal::NoSn, "there is no such sn")
}

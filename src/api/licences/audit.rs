//! The log of changes: who changed which task, camera, key or licence, when, and what was before and after. For
//! admins; ours, not of the documented interface.

use axum::Extension;
use axum::extract::State;

use super::answer::{Answer, Envelope, LicenceError};
use super::asked::Sent;
use super::params::Params;
use super::search::{SearchBody, traverse as all};
use crate::api::AppState;
use crate::api::keys::{Identity, Role};
use crate::store::audit::AUDIT;

/// All entries, a page of them, the oldest first.
#[utoipa::path(get, path = "/bitanswer/api/audit", tag = "audit", operation_id = "audit",
    params(("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn traverse(
    State(state): State<AppState>,
    Extension(identity): Extension<Identity>,
    params: Params,
) -> Answer {
    admin(&identity)?;
    Ok(Envelope::entries(&state.store.audit(all(&AUDIT, &params)?).await?))
}

/// Entries that match. Query id, time, who, keyId, requestId, action, kind, object; sort id, time, who, object.
#[utoipa::path(post, path = "/bitanswer/api/audit/data", tag = "audit", operation_id = "search_audit",
    params(("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000)),
    request_body(content = SearchBody, example = json!({"querys": [{"name": "kind", "op": "=", "values": ["task", "camera"]}], "sorts": [{"name": "id", "order": "DESC"}]})),
    responses((status = 200, body = Envelope), (status = 401, body = Envelope), (status = 403, body = Envelope), (status = 429, body = Envelope)))]
pub(super) async fn search(
    State(state): State<AppState>,
    Extension(identity): Extension<Identity>,
    params: Params,
    Sent(body): Sent<SearchBody>,
) -> Answer {
    admin(&identity)?;
    Ok(Envelope::entries(&state.store.audit(body.search(&AUDIT, &params)?).await?))
}

fn admin(identity: &Identity) -> Result<(), LicenceError> {
    if identity.role == Role::Admin {
        return Ok(());
    }
    Err(LicenceError::not_allowed("only a key of the role admin may see who changed what"))
}

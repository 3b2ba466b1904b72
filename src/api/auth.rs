//! Who asks: a key in any of the five headers, or a signed request. Wrong ones are slowed down and counted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::keys::{Identity, Role};
use super::layers::RequestId;
use super::{ApiError, AppState, body, signing};
use crate::clock;

/// Each API of the field has its own header; a key is good in all of them.
const KEY_HEADERS: [&str; 4] = ["x-auth-token", "bitkey", "ocp-apim-subscription-key", "oauth_token"];

/// Lets a request through with its `Identity` as an extension, or answers 401.
pub async fn authenticate(State(state): State<AppState>, request: Request, next: Next) -> Result<Response, ApiError> {
    let peer = peer(&request);
    let (identity, mut request) = if signing::is_signed(request.headers()) {
        signed(&state, request).await?
    } else {
        match presented(request.headers()) {
            Some(key) => (state.keys.identify(&key, clock::unix_ms()).await?, request),
            None => {
                return Err(ApiError::Unauthorized("send it as X-Auth-Token, or sign the request (SDK-HMAC-SHA256)"));
            }
        }
    };
    let Some(mut identity) = identity else {
        metrics::counter!("face_edge_auth_failures_total").increment(1);
        tracing::warn!(%peer, "a wrong key was refused");
        tokio::time::sleep(state.keys.throttle.wrong(peer, clock::monotonic())).await;
        return Err(ApiError::Unauthorized("this key or signature is not known, was revoked, or is out of date"));
    };
    state.keys.throttle.right(peer);
    if let Err(again_in) = state.keys.rates.take(&identity.key, clock::monotonic()) {
        metrics::counter!("face_edge_rate_limited_total").increment(1);
        return Err(ApiError::TooOften { again_in });
    }
    identity.request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    request.extensions_mut().insert(identity);
    Ok(next.run(request).await)
}

pub fn require(allowed: bool, role: Role, deed: &str) -> Result<(), ApiError> {
    if allowed {
        return Ok(());
    }
    Err(ApiError::Forbidden(format!("not allowed: a key of the role {} may not {deed}", role.as_str())))
}

/// The body belongs to what is signed, so it is read here and put back.
async fn signed(state: &AppState, request: Request) -> Result<(Option<Identity>, Request), ApiError> {
    let (parts, stream) = request.into_parts();
    let bytes = body::read(&parts.headers, stream).await?;
    let now = clock::unix_ms();
    let signer = match signing::access_key(&parts.headers) {
        Some(access_key) => state.keys.signer(access_key, now).await?,
        None => None,
    };
    let holds = |secret: &str| signing::verify(&parts, &bytes, now, secret);
    let identity = signer.filter(|signer| holds(&signer.secret_key)).map(|signer| signer.identity);
    Ok((identity, Request::from_parts(parts, Body::from(bytes))))
}

fn presented(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(key) = KEY_HEADERS.into_iter().find_map(text) {
        return Some(key.to_owned());
    }
    let (scheme, key) = text(header::AUTHORIZATION.as_str())?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned())
}

/// Unknown where the router runs without a socket, as in tests.
fn peer(request: &Request) -> IpAddr {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip())
}
